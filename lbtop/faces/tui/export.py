"""What is on screen as a file: the frame as JSON, the table under the cursor as CSV, the picture as SVG."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from pathlib import Path

from rich.text import Text

from lbtop.faces.tui.widgets.table import LineTable
from lbtop.model.snapshot import Snapshot


def file_name(frame: Snapshot, suffix: str, folder: Path) -> Path:
    """A name that is not taken, with the time of the frame in it."""
    stem = datetime.fromtimestamp(frame.at_ns / 1e9, UTC).strftime("lbtop-%Y%m%dT%H%M%SZ")
    candidate = folder / f"{stem}.{suffix}"
    number = 2
    while candidate.exists():
        candidate = folder / f"{stem}-{number}.{suffix}"
        number += 1
    return candidate


def as_json(frame: Snapshot) -> str:
    from lbtop.faces import json

    return json.render(frame)


def as_csv(table: LineTable) -> str:
    """The rows as shown (filtered, sorted), one column per visible column. Cells that a spreadsheet would run are quoted."""
    columns = [column for column in table.columns if not column.hidden and column.title]
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow([column.title for column in columns])
    for row in table.rows:
        writer.writerow([_plain(row.cells.get(column.key, "")) for column in columns])
    return out.getvalue()


def _plain(cell: str | Text) -> str:
    text = (cell.plain if isinstance(cell, Text) else cell).strip()
    return "'" + text if text[:1] in ("=", "+", "@", "\t") else text
