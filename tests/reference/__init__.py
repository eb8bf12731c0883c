"""The slow, independent reader: what a capture holds, written for reading and not for speed.

It shares nothing with the compiled decoder but the vocabulary (``lbtop.model.observation``) and the plain tables of
known names. Where the two disagree, one of them is wrong: that is its whole purpose.
"""

from tests.reference.reader import ReferenceSource, open_capture

__all__ = ["ReferenceSource", "open_capture"]
