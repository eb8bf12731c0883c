"""What a service consists of, as table rows: targets, sessions, connections."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby

from rich.text import Text

from lbtop.faces.targets import programs
from lbtop.faces.tui import draw
from lbtop.faces.tui.palette import target_style
from lbtop.faces.tui.widgets.table import Column, Row
from lbtop.faces.words import fair_share, length, percent, size
from lbtop.model.snapshot import Break, ConnectionRow, Service, SessionRow, Target

TARGET_COLUMNS = (
    Column("target", "target", minimum=18, weight=9),
    Column("bar", "share │ fair", width=20, weight=8),
    Column("share", "share", width=6, right=True, weight=9),
    Column("state", "state", width=8, weight=9),
    Column("live", "open", width=5, right=True, weight=6),
    Column("connections", "conns", width=6, right=True, weight=7),
    Column("requests", "requests", width=8, right=True, weight=7),
    Column("p50", "p50 ms", width=6, right=True, weight=4),
    Column("p99", "p99 ms", width=6, right=True, weight=5),
    Column("errors", "5xx", width=4, right=True, weight=3),
    Column("resets", "RST", width=4, right=True, weight=3),
    Column("retransmits", "retr", width=5, right=True, weight=2),
    Column("refused", "refus", width=5, right=True, weight=2),
    Column("clients", "clients", width=7, right=True, weight=2),
    Column("in", "in", width=8, right=True),
    Column("out", "out", width=8, right=True),
)
SESSION_COLUMNS = (
    Column("key", "session or client", width=19, weight=9),
    Column("strip", "targets of its last arrivals, newest right", minimum=16, weight=9),
    Column("moves", "moves", width=6, right=True, weight=8),
    Column("arrivals", "arrivals", width=9, right=True, weight=7),
    Column("client", "client", width=17, weight=4),
    Column("last", "last seen", width=9, weight=5),
)
CONNECTION_COLUMNS = (
    Column("client", "client", minimum=16, weight=9),
    Column("target", "target", minimum=16, weight=8),
    Column("opened", "opened", width=8, weight=7),
    Column("lasted", "lasted", width=8, right=True, weight=6),
    Column("protocol", "protocol", width=8, weight=4),
    Column("requests", "req", width=5, right=True, weight=6),
    Column("out", "out", width=8, right=True, weight=3),
    Column("idle", "silence", width=8, right=True, weight=2),
    Column("retransmits", "retr", width=4, right=True),
    Column("end", "end", width=13, weight=7),
)
SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def target_sign(index: int) -> Text:
    """A letter in the colour of a target: the letter alone tells them apart up to 26."""
    return Text(SIGNS[index % len(SIGNS)], target_style(index))


def clock(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9, UTC).strftime("%H:%M:%S")


def session_rows(service: Service, sessions: Sequence[SessionRow]) -> list[Row]:
    """One row per key; its strip has a letter per arrival, A for the first target of the service, a move underlined."""
    names = [target.target for target in service.targets]
    return [_session_row(session, names) for session in sessions]


def _session_row(session: SessionRow, targets: Sequence[str]) -> Row:
    def cells() -> dict[str, str | Text]:
        return {
            "key": session.key,
            "client": session.client,
            "strip": _strip(session),
            "moves": Text(f"{session.moves:,}", draw.style("hot" if session.moves else "dim")),
            "arrivals": f"{session.arrivals:,}",
            "last": clock(session.last_ns),
        }

    values: dict[str, object] = {
        "key": session.key,
        "client": session.client,
        "target": " ".join(sorted({targets[i] for i in {i for _, i in session.strip} if i < len(targets)})),
        "moves": session.moves,
        "breaks": session.moves,
        "arrivals": session.arrivals,
        "requests": session.arrivals,
        "last": session.last_ns,
    }
    return Row(session_key(session), values, cells)


def _strip(session: SessionRow) -> Text:
    """Runs rather than letters: a text with a style per letter is slow to draw."""
    strip = Text()
    for number, (index, arrivals) in enumerate(groupby(index for _, index in session.strip)):
        sign, style = SIGNS[index % len(SIGNS)], target_style(index)
        count = sum(1 for _ in arrivals)
        if number:
            strip.append(sign, style + draw.style("bold reverse"))
            count -= 1
        if count:
            strip.append(sign * count, style)
    return strip


def session_key(session: SessionRow) -> str:
    return f"{session.key} {session.client}"


def session_history(service: Service, session: SessionRow) -> Text:
    """Where a session was, stay by stay, and why it moved where a break is known."""
    text = Text.assemble((f"{session.key}", draw.style("bold")), f"  from {session.client}  ")
    stays: list[tuple[int, int, int, int]] = []  # first, last, target, arrivals
    for at_ns, index in session.strip:
        if stays and stays[-1][2] == index:
            first, _, _, count = stays[-1]
            stays[-1] = (first, at_ns, index, count + 1)
        else:
            stays.append((at_ns, at_ns, index, 1))
    breaks = service.stickiness.breaks if service.stickiness else ()
    for number, (first, last, index, count) in enumerate(stays[-12:]):
        if number:
            before = stays[-12:][number - 1]
            why = _cause(service, breaks, before[2], index, before[1], first)
            text.append(f"\n  → {why or 'moved'} ", draw.style("hot" if why else "dim"))
        text.append_text(target_sign(index))
        name = service.targets[index].target if index < len(service.targets) else "?"
        text.append(f" {name}")
        text.append(f" {clock(first)} to {clock(last)}, {count} arrival{'s' if count > 1 else ''}", draw.style("dim"))
    return text


def _cause(service: Service, breaks: Sequence[Break], old: int, new: int, from_ns: int, to_ns: int) -> str | None:
    """Why a key went from one target to another at about this time, if a break says so."""
    names = [target.target for target in service.targets]
    for item in breaks:
        if item.from_ not in (None, names[old] if old < len(names) else None):
            continue
        if item.to not in (None, names[new] if new < len(names) else None):
            continue
        if from_ns - 2_000_000_000 <= item.time_ns <= to_ns + 2_000_000_000:
            return item.cause.replace("_", " ")
    return None


def connection_rows(connections: Sequence[ConnectionRow]) -> list[Row]:
    return [_connection_row(row) for row in connections]


def _connection_row(row: ConnectionRow) -> Row:
    end = row.end if not row.closed_by else f"{row.end} by {row.closed_by}"
    lasted = (row.last_ns - row.opened_ns) / 1e9

    def cells() -> dict[str, str | Text]:
        return {
            "client": row.client,
            "target": row.target,
            "opened": clock(row.opened_ns),
            "lasted": length(lasted),
            "protocol": row.protocol.replace("_", " ") + (" hc" if row.health_check else ""),
            "requests": f"{row.requests:,}",
            "out": size(row.bytes_out),
            "idle": length(row.idle_s),
            "retransmits": f"{row.retransmits:,}",
            "end": Text(end, draw.style("hot" if row.end == "rst" else "none")),
        }

    values: dict[str, object] = {
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
    }
    return Row(str(row.number), values, cells)


def target_rows(service: Service) -> list[Row]:
    """Shares as bars on one scale for all targets, with the fair share marked."""
    fair = fair_share(len(service.targets))
    top = max([fair, *(target.share for target in service.targets)]) * 1.1
    peak = max((target.share for target in service.targets), default=0.0)
    skewed = service.skew is not None and service.skew.significant
    return [
        _target_row(number, target, fair, top, skewed and target.share == peak) for number, target in enumerate(service.targets)
    ]


def _target_row(number: int, target: Target, fair: float, top: float, hot: bool) -> Row:
    response = target.response_ms
    status = target.status or {}
    values: dict[str, object] = {
        "target": target.target,
        "share": target.share * 100,
        "bar": target.share,
        "state": target.state,
        "connections": target.connections,
        "requests": target.requests or 0,
        "p50": response.p50 if response else None,
        "p99": response.p99 if response else None,
        "errors": status.get("5xx", 0),
        "resets": target.resets,
        "retransmits": target.retransmits,
        "refused": target.refused,
        "clients": target.clients or 0,
        "in": target.bytes_in,
        "out": target.bytes_out,
        "live": target.live,
        "status": status,
    }
    name = Text.assemble(target_sign(number), " ", f"{target.name} {target.target}" if target.name else target.target)
    errors = status.get("5xx", 0)
    cells: dict[str, str | Text] = {
        "target": name,
        "bar": draw.bar(target.share, fair, top, 20, hot=hot),
        "share": percent(target.share),
        "state": Text(target.state, draw.style({"serving": "good", "added": "info"}.get(target.state, "hot"))),
        "connections": f"{target.connections:,}",
        "requests": "–" if target.requests is None else f"{target.requests:,}",
        "p50": f"{response.p50:.1f}" if response else "–",
        "p99": f"{response.p99:.1f}" if response else "–",
        "errors": Text(f"{errors:,}", draw.style("critical" if errors else "dim")),
        "resets": Text(f"{target.resets:,}", draw.style("none" if target.resets else "dim")),
        "retransmits": Text(f"{target.retransmits:,}", draw.style("none" if target.retransmits else "dim")),
        "refused": Text(f"{target.refused:,}", draw.style("hot" if target.refused else "dim")),
        "clients": "–" if target.clients is None else f"{target.clients:,}",
        "in": size(target.bytes_in),
        "out": size(target.bytes_out),
        "live": f"{target.live:,}",
    }
    return Row(target.target, values, cells)


def target_story(number: int, target: Target) -> Text:
    """What the columns have no room for."""
    text = Text.assemble(target_sign(number), " ", (target.target, draw.style("bold")))
    if target.name:
        text.append(f" {target.name}")
    text.append(f"  {target.state}, seen {clock(target.first_seen_ns)} to {clock(target.last_seen_ns)}", draw.style("dim"))
    if target.processes:
        text.append(f"  {programs(target)}")
    parts = []
    if target.connect_ms:
        parts.append(f"accepts in {target.connect_ms.p50:.2f} ms (p99 {target.connect_ms.p99:.2f})")
    if target.response_ms:
        parts.append(f"answers in {target.response_ms.p50:.1f} ms (p99 {target.response_ms.p99:.1f})")
    if target.status:
        parts.append(", ".join(f"{count:,} {name}" for name, count in target.status.items() if count))
    if target.health_checks:
        parts.append(f"{target.health_checks:,} health checks")
    if target.probes:
        parts.append(f"{target.probes:,} probes without a byte")
    if parts:
        text.append("\n  " + " · ".join(part for part in parts if part))
    return text
