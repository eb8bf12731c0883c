"""Packets of this host as a source of observations: AF_PACKET rings, with or without the eBPF filter in front."""

from lbtop.probes.live.choose import open_probe

__all__ = ["open_probe"]
