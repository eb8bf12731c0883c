"""``lbtop`` and ``lbtop live``: the dashboard over this host's own traffic."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from lbtop.cli.listening import add_live_options, open_live
from lbtop.cli.reading import add_knowledge_options, engine_options
from lbtop.model.errors import LbtopError

if TYPE_CHECKING:
    from lbtop.model.snapshot import Snapshot

SUMMARY = "the dashboard over this host's own traffic: finds interfaces, services and probe by itself"
EXAMPLES = (
    "sudo lbtop",
    "sudo lbtop live -i eth0 --port 8080",
    "sudo lbtop live --probe packet",
)
EVERY_NS = 500_000_000
"""Two frames a second: more would cost more than anybody can read."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_live_options(parser)
    parser.add_argument("--theme", metavar="NAME", help="lbtop-dark, lbtop-light, lbtop-colour-blind, ansi-dark, …")
    add_knowledge_options(parser)


def run(options: argparse.Namespace) -> int:
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        raise LbtopError("the dashboard needs a terminal; without one: lbtop diagnose --for 60s, lbtop record, lbtop serve")
    source = open_live(options)
    from lbtop.cli.replay import prepare_slow_link

    prepare_slow_link()
    from lbtop.engine import live_snapshots
    from lbtop.faces.tui import run_dashboard
    from lbtop.faces.tui.feed import Feed

    known = replace(engine_options(options), detail=True)

    def snapshots(stop: threading.Event) -> Iterator[Snapshot]:
        return live_snapshots(source, EVERY_NS, known, stop=stop.is_set)

    try:
        return run_dashboard(Feed(snapshots, "live", live=True), theme=options.theme)
    finally:
        source.close()
