"""The Textual dashboard. Only the commands that open it import it: a diagnosis never pays for Textual."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lbtop.faces.tui.feed import Feed


def run_dashboard(feed: Feed, *, theme: str | None = None) -> int:
    """Opens the dashboard over a feed and returns the exit status when it is closed."""
    from lbtop.faces.tui.app import LbtopApp

    return LbtopApp(feed, theme=theme).run() or 0
