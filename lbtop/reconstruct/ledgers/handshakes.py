"""Placeholder: keeps nothing yet."""

from __future__ import annotations

from lbtop.reconstruct.window import ServiceWindow


class HandshakeLedger:
    def fold(self, window: ServiceWindow) -> None:
        """Folds one window."""
