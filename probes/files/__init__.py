"""Capture files: pcap and pcapng, compressed or not, one or many, walked in place."""

from lbtop.probes.files.ahead import decoded_ahead
from lbtop.probes.files.source import CaptureSource, open_capture

__all__ = ["CaptureSource", "decoded_ahead", "open_capture"]
