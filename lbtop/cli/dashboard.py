"""What the commands that open the dashboard share: the terminal, the engine's process, and what the dashboard may ask for."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lbtop.cli.reading import STDIN

if TYPE_CHECKING:
    from lbtop.faces.tui.tools import Tools
    from lbtop.model.snapshot import ConnectionRow, Snapshot

THEMES = "lbtop-dark, lbtop-light, lbtop-colour-blind, ansi-dark, ansi-light (the terminal's own colours), …"
_WEB = "TEXTUAL_DRIVER"  # set where textual-serve shows the dashboard in a browser: then there is no terminal
_MARGIN_NS = 1_000_000


def add_dashboard_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--theme", metavar="NAME", help=THEMES)


def has_screen(*, stdin_is_data: bool = False) -> bool:
    """Whether there is a terminal to draw on and to read keys from."""
    if os.environ.get(_WEB):
        return True
    return sys.stdout.isatty() and sys.stderr.isatty() and (stdin_is_data or sys.stdin.isatty())


def open_dashboard(
    snapshots: Callable[[], Iterable[Snapshot]],
    title: str,
    *,
    theme: str | None,
    tools: Callable[[], Tools] | None = None,
    live: bool = False,
    stdin_is_data: bool = False,
) -> int:
    """Forks the engine's process, then opens the dashboard. Returns the exit status.

    Forked before Textual is imported: both start at the same time, and no thread exists yet.
    """
    if os.environ.get("SSH_CONNECTION"):
        os.environ.setdefault("TEXTUAL_FPS", "15")  # a slow link; Textual reads it when it is imported
    from lbtop.faces.tui.feed import ProcessFeed

    feed = ProcessFeed(snapshots, title, live=live)
    try:
        if stdin_is_data:
            os.dup2(os.open("/dev/tty", os.O_RDWR), 0)  # the engine has the data, the keys come from the terminal
        from lbtop.faces.tui import run_dashboard

        return run_dashboard(feed, theme=theme, tools=tools() if tools else None)
    finally:
        feed.stop()


def capture_tools(options: argparse.Namespace) -> Tools:
    """Asks lbtop itself, as another process: reading a capture once more must not hold up a key."""
    from lbtop.cli.whatif import BALANCING
    from lbtop.faces.tui.tools import Tools
    from lbtop.recording import is_recording

    if STDIN in options.files:
        return Tools(without="standard input cannot be read a second time")
    if options.follow:
        return Tools(without="the file still grows")
    if any(is_recording(name) for name in options.files):
        return Tools(without="a recording; it needs the capture")
    shared = [*options.files, *_given(options, "since", "until")]
    known = [*_given(options, "vantage", "target", "lb", "name", "hosts")]

    def observations(row: ConnectionRow) -> Iterator[Mapping[str, object]]:
        command = ["observe", *options.files, "--until", _iso(row.last_ns + _MARGIN_NS)]
        if row.seen_from_start:  # else what tells who is client lies earlier
            command += ["--since", _iso(row.opened_ns - _MARGIN_NS)]
        with _lbtop(command) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if row.client.encode() in line:
                    fields = json.loads(line)
                    if fields.get("client") == row.client and fields.get("server") == row.target:
                        yield fields
            _check(process, process.stderr.read() if process.stderr else b"")

    def whatif(service: str, algorithm: str, targets: str) -> Mapping[str, object]:
        command = ["whatif", *shared, "--balancing", algorithm, "--service", service, "--targets", targets, "--json", *known]
        with _lbtop(command) as process:
            told, said = process.communicate()
            _check(process, said)
        answer: Mapping[str, object] = json.loads(told)
        return answer

    return Tools(observations, whatif, BALANCING)


def _given(options: argparse.Namespace, *names: str) -> Iterator[str]:
    """The options that were given, as they would be typed."""
    for name in names:
        value = getattr(options, name, None)
        for one in value if isinstance(value, list) else [value] if value is not None else []:
            yield f"--{name}={one}"


def _iso(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _lbtop(arguments: list[str]) -> subprocess.Popen[bytes]:
    nothing = subprocess.DEVNULL
    command = [sys.executable, "-m", "lbtop", *arguments]
    return subprocess.Popen(command, stdin=nothing, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _check(process: subprocess.Popen[bytes], said: bytes) -> None:
    """Raises RuntimeError with what it said, where it failed."""
    if process.wait() not in (0, 1):
        lines = said.decode(errors="replace").strip().splitlines()
        raise RuntimeError(lines[-1].removeprefix("lbtop: ") if lines else "lbtop could not read it again")
