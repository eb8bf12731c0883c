"""Sessions and connections as table rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.style import Style
from rich.text import Text

from lbtop.faces.tui import draw
from lbtop.faces.tui.widgets.table import Row
from lbtop.faces.words import length, size
from lbtop.model.snapshot import ConnectionRow, Service, SessionRow

SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "red", "bright_cyan", "bright_magenta")


def target_sign(index: int) -> tuple[str, Style]:
    """A letter and a colour for a target: the letter alone tells them apart up to 26."""
    return SIGNS[index % len(SIGNS)], Style.parse(_COLOURS[index % len(_COLOURS)])


def _clock(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9, UTC).strftime("%H:%M:%S")


def session_rows(service: Service, sessions: Sequence[SessionRow]) -> list[Row]:
    """One row per key; its strip has a letter per arrival, A for the first target of the service."""
    rows: list[Row] = []
    for session in sessions:
        strip = Text()
        before: int | None = None
        for _, index in session.strip:
            sign, colour = target_sign(index)
            moved = before is not None and before != index
            strip.append(sign, colour + Style(bold=moved, reverse=moved))
            before = index
        targets = " ".join(sorted({service.targets[i].target for _, i in session.strip if i < len(service.targets)}))
        rows.append(
            Row(
                f"{session.key} {session.client}",
                {
                    "key": session.key,
                    "client": session.client,
                    "target": targets,
                    "moves": session.moves,
                    "breaks": session.moves,
                    "arrivals": session.arrivals,
                    "requests": session.arrivals,
                    "last": session.last_ns,
                },
                {
                    "key": session.key,
                    "client": session.client,
                    "strip": strip,
                    "moves": f"{session.moves:,}",
                    "arrivals": f"{session.arrivals:,}",
                    "last": _clock(session.last_ns),
                },
            )
        )
    return rows


def connection_rows(connections: Sequence[ConnectionRow]) -> list[Row]:
    rows: list[Row] = []
    for row in connections:
        end = row.end if not row.closed_by else f"{row.end} by {row.closed_by}"
        lasted = (row.last_ns - row.opened_ns) / 1e9
        rows.append(
            Row(
                str(row.number),
                {
                    "client": row.client,
                    "target": row.target,
                    "opened": row.opened_ns,
                    "lasted": lasted,
                    "protocol": row.protocol,
                    "requests": row.requests,
                    "out": row.bytes_out,
                    "idle": row.idle_s,
                    "retransmits": row.retransmits,
                    "end": end,
                    "state": row.end,
                },
                {
                    "client": row.client,
                    "target": row.target,
                    "opened": _clock(row.opened_ns),
                    "lasted": length(lasted),
                    "protocol": row.protocol.replace("_", " "),
                    "requests": f"{row.requests:,}",
                    "out": size(row.bytes_out),
                    "idle": length(row.idle_s),
                    "retransmits": f"{row.retransmits:,}",
                    "end": Text(end, draw.style("yellow") if row.end == "rst" else Style()),
                },
            )
        )
    return rows
