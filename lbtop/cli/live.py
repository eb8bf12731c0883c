"""``lbtop`` and ``lbtop live``: the dashboard over this host's own traffic."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lbtop.cli.dashboard import add_dashboard_options, has_screen, open_dashboard
from lbtop.cli.listening import add_live_options, open_live
from lbtop.cli.reading import add_knowledge_options, engine_options
from lbtop.model.errors import LbtopError
from lbtop.model.record import replace

if TYPE_CHECKING:
    from lbtop.model.observation import Source
    from lbtop.model.snapshot import Snapshot

SUMMARY = "the dashboard over this host's own traffic: finds interfaces, services and probe by itself"
EXAMPLES = (
    "sudo lbtop",
    "sudo lbtop live -i eth0 --port 8080",
    "sudo lbtop live --probe packet",
    "sudo lbtop live --web --listen 10.0.0.5:9470",
)
EVERY_NS = 500_000_000
"""Two frames a second: more would cost more than anybody can read."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_live_options(parser)
    add_dashboard_options(parser)
    add_knowledge_options(parser)


def run(options: argparse.Namespace) -> int:
    if not has_screen(options):
        raise LbtopError("the dashboard needs a terminal; without one: --web, or lbtop diagnose --for 60s, record, serve")
    options.files = []
    known = replace(engine_options(options), detail=True)

    def snapshots(source: Source) -> Iterator[Snapshot]:
        from lbtop.engine import live_snapshots

        return live_snapshots(source, EVERY_NS, known)

    return open_dashboard(options, "live", lambda: open_live(options), snapshots, live=True)
