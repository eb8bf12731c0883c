"""``lbtop observe``: the observations themselves, one row each, for other tools."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from lbtop.cli import OK
from lbtop.cli.output import Progress
from lbtop.cli.reading import add_reading_options, open_files
from lbtop.model.errors import LbtopError
from lbtop.model.text import safe_text

if TYPE_CHECKING:
    from lbtop.faces.observe import Row

SUMMARY = "the observations behind a diagnosis, one row each: connections, handshakes, requests, cookies"
EXAMPLES = (
    "lbtop observe x.pcap --kind request | jq -r '[.client, .server, .path] | @tsv'",
    "lbtop observe x.pcap --kind connection --format csv -o connections.csv",
    "lbtop observe big.pcap --format parquet -o x.parquet",
)
FORMATS = ("ndjson", "csv", "parquet")
_PARQUET_ROWS = 65_536


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from lbtop.faces.observe import KINDS

    add_reading_options(parser)
    parser.add_argument(
        "--format", choices=FORMATS, default="ndjson", help="ndjson (default), csv, or parquet (needs lbtop[parquet])"
    )
    parser.add_argument("-o", "--output", metavar="PATH", help="write to a file instead of standard output")
    parser.add_argument(
        "--kind", action="append", choices=sorted(KINDS.values()), default=[], help="only rows of this kind (repeatable)"
    )


def run(options: argparse.Namespace) -> int:
    from lbtop.faces.observe import KINDS, columns_of

    kinds = frozenset(table for table, kind in KINDS.items() if not options.kind or kind in options.kind)
    columns = columns_of(kinds)
    if options.format == "parquet":
        if not options.output:
            raise LbtopError("parquet needs a file: add -o observations.parquet")
        _parquet(_rows(options, kinds), columns, options.output)
        return OK
    if not options.output:
        _write(_rows(options, kinds), columns, options.format, sys.stdout)
        return OK
    rows = _rows(options, kinds)
    first = next(rows, None)  # unusable input must not empty a file that is there
    try:
        with open(options.output, "w", encoding="utf-8", newline="") as file:
            _write(_chain(first, rows), columns, options.format, file)
    except OSError as error:
        raise LbtopError(f"cannot write {safe_text(options.output)}: {error.strerror}") from None
    return OK


def _rows(options: argparse.Namespace, kinds: frozenset[str]) -> Iterator[Row]:
    from lbtop.faces.observe import Values, rows

    source = open_files(options)
    progress = Progress(interrupted="the rows so far")
    values = Values()
    try:
        while (batch := source.poll()) is not None:
            yield from rows(batch, values, kinds)
            progress(source.stats())
            if batch.final:
                break
    finally:
        progress.done()
        source.close()


def _chain(first: Row | None, rest: Iterator[Row]) -> Iterator[Row]:
    if first is not None:
        yield first
        yield from rest


def _write(rows: Iterator[Row], columns: dict[str, str], format: str, file: IO[str]) -> None:
    if format == "ndjson":
        from json import JSONEncoder

        encode = JSONEncoder(separators=(",", ":")).encode
        for row in rows:
            file.write(encode(row) + "\n")
        return
    import csv

    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in columns])


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t"):
        return "'" + value  # a spreadsheet would run it: the text comes from the network
    return "" if value is None else value


def _parquet(rows: Iterator[Row], columns: dict[str, str], path: str) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise LbtopError("parquet needs pyarrow: pip install 'lbtop[parquet]' (or use --format csv)") from None
    import itertools

    from lbtop.faces.observe import NUMBER, SECONDS, TEXT, TEXTS

    types = {NUMBER: pa.int64(), SECONDS: pa.float64(), TEXT: pa.string(), TEXTS: pa.list_(pa.string())}
    schema = pa.schema([(name, types[type]) for name, type in columns.items()])
    first = next(rows, None)
    chained = _chain(first, rows)
    try:
        with pq.ParquetWriter(path, schema) as writer:
            while chunk := list(itertools.islice(chained, _PARQUET_ROWS)):
                writer.write_table(
                    pa.Table.from_pylist([{name: row.get(name) for name in columns} for row in chunk], schema=schema)
                )
    except OSError as error:
        raise LbtopError(f"cannot write {safe_text(path)}: {error.strerror}") from None
