"""``lbtop replay``: the dashboard over captures, with a timeline to scrub."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lbtop.cli import OK
from lbtop.cli.dashboard import add_dashboard_options, has_screen, open_dashboard
from lbtop.cli.output import terminal, warn
from lbtop.cli.reading import (
    STDIN,
    add_knowledge_options,
    add_reading_options,
    capture_files,
    engine_options,
    open_files,
)
from lbtop.model.record import replace
from lbtop.model.text import safe_text

if TYPE_CHECKING:
    from lbtop.engine import Options
    from lbtop.model.observation import Source
    from lbtop.model.snapshot import Snapshot

SUMMARY = "the dashboard over captures or a recording, with a timeline to scrub"
EXAMPLES = (
    "lbtop replay x.pcap",
    "lbtop replay 'x.pcap*' --since 14:05",
    "tcpdump -i any -s 0 -U -w - port 8080 | lbtop replay -",
    "lbtop replay x.pcap --web",
)
FRAMES = 80
"""Frames a capture of known length is cut into: one per column of the timeline. Each costs a judgement of everything so far."""
FINEST_ROWS, COARSEST_ROWS = 32, 2_048
_BYTES_PER_ROW = 150
"""A guess of how many bytes of a capture make one observation: only how finely it is cut depends on it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_reading_options(parser)
    add_dashboard_options(parser)
    add_knowledge_options(parser)


def run(options: argparse.Namespace) -> int:
    known = engine_options(options)
    stdin_is_data = STDIN in options.files
    if not has_screen(options, stdin_is_data=stdin_is_data):
        return _print_diagnosis(open_files(options), known)

    def snapshots(source: Source) -> Iterator[Snapshot]:
        from lbtop.engine import frames

        return frames(source, FRAMES, replace(known, detail=True))

    title = safe_text(", ".join(os.path.basename(name) for name in options.files), 60)
    return open_dashboard(
        options,
        "standard input" if stdin_is_data else title,
        lambda: open_files(options, rows=batch_rows(capture_files(options.files)), threads=False),
        snapshots,
    )


def batch_rows(files: list[str]) -> int:
    """Observations per batch, so that a small capture is cut finely and a large one is not slowed down."""
    try:
        total = sum(os.path.getsize(name) for name in files)
    except OSError:
        return FINEST_ROWS
    return max(FINEST_ROWS, min(COARSEST_ROWS, total // (FRAMES * _BYTES_PER_ROW)))


def _print_diagnosis(source: Source, known: Options) -> int:
    """Without a terminal there is nothing to draw on: say the same in text."""
    from lbtop.engine import diagnose
    from lbtop.faces import text

    warn("no terminal here: the diagnosis instead of the dashboard")
    snapshot = diagnose(source, known)
    sys.stdout.write(text.render(snapshot, terminal(sys.stdout)))
    return OK
