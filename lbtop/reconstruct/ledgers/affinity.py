"""Placeholder: keeps nothing yet."""

from __future__ import annotations

from lbtop.reconstruct.window import ServiceWindow


class AffinityLedger:
    def fold(self, window: ServiceWindow) -> None:
        """Folds one window."""
