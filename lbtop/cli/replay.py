"""``lbtop replay``: the dashboard over captures, with a timeline to scrub."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from lbtop.cli import OK
from lbtop.cli.output import terminal, warn
from lbtop.cli.reading import FRAME_ROWS, add_knowledge_options, add_reading_options, engine_options, open_files

if TYPE_CHECKING:
    from lbtop.model.snapshot import Snapshot

SUMMARY = "the dashboard over captures or a recording, with a timeline to scrub"
EXAMPLES = (
    "lbtop replay x.pcap",
    "lbtop replay 'x.pcap*' --since 14:05",
    "tcpdump -i any -s 0 -U -w - port 8080 | lbtop replay -",
)
FRAMES = 240
"""Frames a capture of known length is cut into: two per column of a wide terminal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_reading_options(parser)
    parser.add_argument("--theme", metavar="NAME", help="lbtop-dark, lbtop-light, lbtop-colour-blind, ansi-dark, ansi-light, …")
    add_knowledge_options(parser)


def run(options: argparse.Namespace) -> int:
    source = open_files(options, rows=FRAME_ROWS)
    known = replace(engine_options(options), detail=True)
    if not (sys.stdout.isatty() and (sys.stdin.isatty() or "-" in options.files)):
        return _print_diagnosis(source, known)
    prepare_slow_link()
    from lbtop.engine import frames
    from lbtop.faces.tui import run_dashboard
    from lbtop.faces.tui.feed import Feed

    def snapshots(stop: threading.Event) -> Iterator[Snapshot]:
        return frames(source, FRAMES, known, stop=stop.is_set)

    try:
        return run_dashboard(Feed(snapshots, ", ".join(options.files)), theme=options.theme)
    finally:
        source.close()


def _print_diagnosis(source: object, known: object) -> int:
    """Without a terminal there is nothing to draw on: say the same in text."""
    from lbtop.engine import diagnose
    from lbtop.faces import text

    warn("no terminal here: the diagnosis instead of the dashboard")
    snapshot = diagnose(source, known)  # type: ignore[arg-type]
    sys.stdout.write(text.render(snapshot, terminal(sys.stdout)))
    return OK


def prepare_slow_link() -> None:
    """Fewer frames a second over SSH. Textual reads this when it is imported."""
    if os.environ.get("SSH_CONNECTION"):
        os.environ.setdefault("TEXTUAL_FPS", "15")
