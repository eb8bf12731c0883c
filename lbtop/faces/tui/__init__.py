"""The Textual dashboard. Only the commands that open it import it: a diagnosis never pays for Textual."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lbtop.faces.tui.feed import Feed
    from lbtop.faces.tui.tools import Tools


_CRASHED = 70


def run_dashboard(feed: Feed, *, theme: str | None = None, tools: Tools | None = None) -> int:
    """Opens the dashboard over a feed and returns the exit status when it is closed: 70 (EX_SOFTWARE) after a crash."""
    from lbtop.faces.tui import settings
    from lbtop.faces.tui.app import LbtopApp

    app = LbtopApp(feed, theme=theme, tools=tools, settings_file=settings.path())
    status = app.run()
    return status if status is not None else _CRASHED if app.return_code else 0
