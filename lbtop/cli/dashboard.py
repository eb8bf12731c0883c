"""What the commands that open the dashboard share: the engine's process, and the terminal or the browsers it is shown in."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from lbtop.cli.asking import Memory, can_be_read_again, memory_tools, reading_tools
from lbtop.cli.output import warn
from lbtop.cli.reading import STDIN
from lbtop.model.errors import LbtopError

if TYPE_CHECKING:
    from lbtop.faces.tui.feed import ChannelFeed
    from lbtop.model.observation import Source
    from lbtop.model.snapshot import Snapshot

THEMES = "lbtop-dark, lbtop-light, lbtop-colour-blind, ansi-dark, ansi-light (the terminal's own colours), …"
LISTEN = "127.0.0.1:9470"
TOKEN = "LBTOP_WEB_TOKEN"


def add_dashboard_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--theme", metavar="NAME", help=THEMES)
    web = parser.add_argument_group("in a browser (needs lbtop[web])")
    web.add_argument("--web", action="store_true", help="serve the same dashboard to browsers instead of opening it here")
    web.add_argument(
        "--listen",
        metavar="ADDR:PORT",
        default=LISTEN,
        help=f"where (default {LISTEN}); beyond this host a token is asked for: the one in ${TOKEN}, else one that is printed",
    )


def has_screen(options: argparse.Namespace, *, stdin_is_data: bool = False) -> bool:
    """Whether there is something to draw on and to read keys from."""
    from lbtop.faces.web.session import VARIABLE

    if options.web or os.environ.get(VARIABLE):
        return True
    return sys.stdout.isatty() and sys.stderr.isatty() and (stdin_is_data or sys.stdin.isatty())


def open_dashboard(
    options: argparse.Namespace,
    title: str,
    open_source: Callable[[], Source],
    frames: Callable[[Source], Iterable[Snapshot]],
    *,
    live: bool = False,
) -> int:
    """Opens the source, forks the engine's process that drives it, and shows its frames. Returns the exit status.

    Forked before Textual is imported: both start at the same time, and no thread exists yet. In a browser's session the frames
    come from whoever serves it, and nothing is opened.
    """
    if os.environ.get("SSH_CONNECTION"):
        os.environ.setdefault("TEXTUAL_FPS", "15")  # a slow link; Textual reads it when it is imported
    from lbtop.faces.web.session import joined

    feed = joined()
    if feed is not None:
        feed.title, feed.live = title, live
        return _show(options, feed)
    if options.web:
        _need_web()
    source = open_source()
    try:
        feed = _engine(options, title, source, frames, live)
        try:
            if options.web:
                return _serve(options, feed)
            if STDIN in getattr(options, "files", ()):
                os.dup2(os.open("/dev/tty", os.O_RDWR), 0)  # the engine has the data, the keys come from the terminal
            return _show(options, feed)
        finally:
            feed.stop()
    finally:
        source.close()


def _engine(
    options: argparse.Namespace, title: str, source: Source, frames: Callable[[Source], Iterable[Snapshot]], live: bool
) -> ChannelFeed:
    from lbtop.faces.tui.feed import ProcessFeed

    if can_be_read_again(options):
        return ProcessFeed(lambda attend: frames(source), title, live=live)
    memory = Memory(source, frames)
    return ProcessFeed(memory.snapshots, title, live=live, answer=memory.answer)


def _show(options: argparse.Namespace, feed: ChannelFeed) -> int:
    from lbtop.faces.tui import run_dashboard

    tools = reading_tools(options) if can_be_read_again(options) else memory_tools(feed)
    return run_dashboard(feed, theme=options.theme, tools=tools)


def _need_web() -> None:
    try:
        import textual_serve  # noqa: F401
    except ImportError:
        raise LbtopError("the dashboard in a browser needs textual-serve: pip install 'lbtop[web]'") from None


def _serve(options: argparse.Namespace, feed: ChannelFeed) -> int:
    from lbtop.cli.serve import listen_address
    from lbtop.faces.web.server import serve

    host, port = listen_address(options.listen, LISTEN)
    command = [sys.executable, "-m", "lbtop", *sys.argv[1:]]
    try:
        return serve(feed, host, port, command, os.environ.pop(TOKEN, None), warn)
    except (OSError, ValueError) as error:
        raise LbtopError(f"cannot serve on {options.listen}: {getattr(error, 'strerror', None) or error}") from None
