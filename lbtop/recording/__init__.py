"""Recordings (``.lbtop``): observations kept without their secrets, to be shared and replayed.

A recording holds what the decoder observed, not the packets: a diagnosis or a dashboard over it says the same as over the
capture it was made from. :mod:`privacy` decides what may be written, :mod:`format` how it lies in the file.
"""

from __future__ import annotations

from lbtop.recording.format import MAGIC, VERSION
from lbtop.recording.reader import open_recording
from lbtop.recording.writer import Recorder

__all__ = ["MAGIC", "VERSION", "Recorder", "is_recording", "open_recording"]


def is_recording(path: str) -> bool:
    """Whether a file begins like a recording. False also where it cannot be read: whoever opens it will say why."""
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False
