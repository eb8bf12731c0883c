"""Tables of known names: data that the product and this reader share. The code that applies them is this reader's own."""

from __future__ import annotations

from lbtop.catalog.recognition import recognition as known_names

__all__ = ["known_names"]
