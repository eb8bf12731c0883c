"""``lbtop report``: one self-contained page with plots, for someone who was not there."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lbtop.cli import OK
from lbtop.cli.output import warn
from lbtop.cli.reading import FRAME_ROWS, add_knowledge_options, add_reading_options, engine_options, open_files
from lbtop.model.errors import LbtopError
from lbtop.model.record import replace

SUMMARY = "one self-contained HTML page with plots, for someone who was not there"
EXAMPLES = (
    "lbtop report x.pcap -o report.html",
    "lbtop report x.lbtop -o - | mail -s 'what the balancer does' --content-type text/html team@example.com",
)
FRAMES = 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_reading_options(parser)
    parser.add_argument("-o", "--output", metavar="FILE.html", required=True, help="where to; - is standard output")
    add_knowledge_options(parser)


def run(options: argparse.Namespace) -> int:
    from lbtop.engine import frames
    from lbtop.faces.report import render

    source = open_files(options, rows=FRAME_ROWS)
    try:
        page = render(list(frames(source, FRAMES, replace(engine_options(options), detail=True))))
    finally:
        source.close()
    if options.output == "-":
        sys.stdout.write(page)
        return OK
    try:
        Path(options.output).write_text(page, encoding="utf-8")
    except OSError as error:
        raise LbtopError(f"cannot write {options.output}: {error.strerror}") from None
    warn(f"wrote {options.output} ({len(page) // 1000:,} kB)")
    return OK
