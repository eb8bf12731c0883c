"""Recordings (``.lbtop``): observations kept without their secrets, to be shared and replayed.

A recording holds what the decoder observed, not the packets: a diagnosis or a dashboard over it says the same as over the
capture it was made from. :mod:`privacy` decides what may be written, :mod:`format` how it lies in the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbtop.recording.magic import MAGIC, VERSION

if TYPE_CHECKING:
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


def __getattr__(name: str) -> object:
    """Reader and writer when somebody asks for them: a diagnosis only wants to know that its file is no recording."""
    if name == "open_recording":
        from lbtop.recording.reader import open_recording

        return open_recording
    if name == "Recorder":
        from lbtop.recording.writer import Recorder

        return Recorder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
