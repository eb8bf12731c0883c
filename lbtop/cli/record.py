"""``lbtop record``: observations into a file that holds no secret, to be replayed or shared."""

from __future__ import annotations

import argparse
import re
import time

from lbtop.cli import OK
from lbtop.cli.listening import add_live_options
from lbtop.cli.moments import duration_ns
from lbtop.cli.output import Progress, warn, writing
from lbtop.cli.reading import add_reading_options, open_source
from lbtop.cli.stopping import Stop
from lbtop.model.errors import LbtopError

SUMMARY = "a recording that holds no secret and can be shared, from live traffic or from captures"
EXAMPLES = (
    "sudo lbtop record -o x.lbtop --for 10m",
    "lbtop record -o x.lbtop x.pcap",
    "sudo lbtop record -o /var/log/lbtop/web.lbtop --max-size 100M --keep 5",
)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([kMG]?)B?$")
FLUSH_S = 1.0
ROWS = 256
"""Rows per batch: between two of them it can be written which connections are open."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_reading_options(parser, files="*")
    add_live_options(parser)
    parser.add_argument("-o", "--output", metavar="FILE.lbtop", required=True, help="where to; an existing file is replaced")
    parser.add_argument("--for", dest="for_", metavar="TIME", help="without FILE: how long to record, such as 10m")
    parser.add_argument("--max-size", metavar="SIZE", default="256M", help="start a new file at this size (default 256M)")
    parser.add_argument(
        "--keep", metavar="N", type=int, default=4, help="how many full files to keep, as FILE.1 … FILE.N (default 4)"
    )


def byte_size(text: str) -> int:
    """``100M`` in bytes, in units of 1000. Raises LbtopError."""
    match = _SIZE.match(text)
    if match is None:
        raise LbtopError(f"{text!r} is not a size: write 100M, 2G or 500k")
    return int(float(match[1]) * {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}[match[2]])


def run(options: argparse.Namespace) -> int:
    from lbtop.recording import Recorder

    max_bytes = byte_size(options.max_size)
    if max_bytes < 100_000 or options.keep < 1:
        raise LbtopError("--max-size must be at least 100k and --keep at least 1")
    source = open_source(options, for_s=duration_ns(options.for_) / 1e9 if options.for_ else None, rows=ROWS)
    stop = Stop()
    stats = source.stats()
    with writing(options.output):
        recorder = Recorder(options.output, kind=stats.kind, inputs=stats.inputs, max_bytes=max_bytes, keep=options.keep)
        progress = Progress()
        flushed = time.monotonic()
        try:
            while not stop.is_set():
                batch = source.poll(0.25)
                stats = source.stats()
                if batch is not None:
                    recorder.add(batch, stats)
                    if batch.final:
                        break
                    if recorder.wants_open:
                        recorder.mark_open(source.live(), stats)
                if time.monotonic() - flushed > FLUSH_S:
                    recorder.flush(stats)
                    flushed = time.monotonic()
                progress(stats)
            if stop.is_set():
                recorder.add_open(source.live(), stats)
        finally:
            progress.done()
            recorder.close(stats)
            source.close()
    warn(f"{recorder.rows:,} observations in {options.output}; look at them with: lbtop replay {options.output}")
    return OK
