"""What is known of a service beside its targets, as table rows: keys and breaks, what is readable, handshakes, what-if."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from lbtop.faces.tui import draw
from lbtop.faces.tui.screens.rows import clock
from lbtop.faces.tui.tools import Fields
from lbtop.faces.tui.widgets.table import Column, Row
from lbtop.faces.words import hop_name, percent, sensitive_name
from lbtop.model.judgement import Finding
from lbtop.model.snapshot import Service, Snapshot

KEY_COLUMNS = (
    Column("key", "key", minimum=20, weight=9),
    Column("affinity", "affinity", width=9, right=True, weight=9),
    Column("scale", "chance 0 ─ always 1", width=21, weight=3),
    Column("interval", "95 % interval", width=14, weight=5),
    Column("keys", "keys", width=7, right=True, weight=6),
    Column("returns", "returns", width=8, right=True, weight=6),
)
EXPOSURE_COLUMNS = (
    Column("kind", "what is readable", minimum=18, weight=9),
    Column("hop", "on the hop", width=25, weight=8),
    Column("count", "times", width=8, right=True, weight=9),
    Column("distinct", "different", width=9, right=True, weight=9),
    Column("rate", "per minute", width=10, right=True, weight=4),
    Column("first", "first", width=8, weight=3),
    Column("last", "last", width=8, weight=3),
)
TLS_COLUMNS = (
    Column("what", "", width=11, weight=9),
    Column("value", "value", minimum=30, weight=9),
    Column("count", "handshakes", width=10, right=True, weight=9),
)
FINDING_COLUMNS = (Column("mark", "", width=2, weight=9), Column("title", "finding", weight=9))
WHATIF_COLUMNS = (
    Column("algorithm", "balancing", width=17, weight=9),
    Column("peak", "peak/mean", width=9, right=True, weight=9),
    Column("interval", "nine of ten", width=13, weight=6),
    Column("kept", "returns kept", width=12, right=True, weight=8),
    Column("moved", "moved", width=7, right=True, weight=7),
    Column("radius", "one address", width=11, right=True, weight=5),
    Column("shares", "shares, hottest first", minimum=20, weight=4),
)


def key_rows(service: Service) -> list[Row]:
    if service.stickiness is None:
        return []
    explains = service.stickiness.key
    return [
        Row(
            row.key,
            {"key": row.key, "affinity": row.affinity, "keys": row.keys, "returns": row.returns, "scale": row.affinity},
            {
                "key": _key_name(row.key, explains),
                "affinity": "–" if row.affinity is None else f"{row.affinity:+.2f}",
                "scale": "" if row.affinity is None else draw.bar(max(0.0, row.affinity), 0.0, 1.0, 21, marked=False),
                "interval": f"{row.interval[0]:+.2f} to {row.interval[1]:+.2f}" if row.interval else "",
                "keys": f"{row.keys:,}",
                "returns": f"{row.returns:,}",
            },
        )
        for row in service.stickiness.by_key
    ]


def _key_name(key: str, explains: str | None) -> Text:
    return Text(f"{key}  (explains the target)", draw.style("bold")) if key == explains else Text(key)


def breaks_text(service: Service, limit: int) -> Text:
    """When keys changed target, and why: the newest last."""
    text = Text()
    breaks = service.stickiness.breaks if service.stickiness else ()
    if not breaks:
        return Text("no key changed target against its habit", draw.style("dim"))
    text.append(f"{sum(item.keys for item in breaks):,} keys changed target", draw.style("bold"))
    for item in breaks[-limit:]:
        text.append(f"\n  {clock(item.time_ns)}  ", draw.style("dim"))
        text.append(f"{item.cause.replace('_', ' '):<20}", draw.style("hot"))
        text.append(f" {item.keys:>4,} {'key' if item.keys == 1 else 'keys'}  {item.from_ or 'several'} → {item.to or 'several'}")
    return text


def exposure_rows(service: Service, started_ns: int, at_ns: int) -> list[Row]:
    minutes = max(1e-3, (at_ns - started_ns) / 60e9)
    return [
        Row(
            f"{row.kind}@{row.hop}",
            {
                "kind": row.kind,
                "count": row.count,
                "distinct": row.distinct,
                "hop": row.hop,
                "rate": row.count,
                "first": row.first_ns,
                "last": row.last_ns,
            },
            {
                "kind": Text(sensitive_name(row.kind, 2), draw.style("readable")),
                "hop": hop_name(row.hop),
                "count": f"{row.count:,}",
                "distinct": f"{row.distinct:,}",
                "rate": f"{row.count / minutes:,.1f}",
                "first": clock(row.first_ns),
                "last": clock(row.last_ns),
            },
        )
        for row in service.exposure.sensitive
    ]


def tls_rows(service: Service) -> list[Row]:
    tls = service.exposure.tls
    groups: tuple[tuple[str, Mapping[str, int]], ...] = (
        ("version", tls.versions),
        ("server name", {str(name): count for name, count in tls.sni.items()}),
        ("ALPN", {str(name): count for name, count in tls.alpn.items()}),
        ("cipher", tls.ciphers),
        ("client JA4", {str(name): count for name, count in tls.ja4.items()}),
    )
    fields = {"server name": "sni", "client JA4": "ja4"}
    return [
        Row(
            f"{what} {value}",
            {fields.get(what, what.lower()): value, "count": count, "value": value, "what": what},
            {"what": Text(what, draw.style("dim")), "value": value or "(none)", "count": f"{count:,}"},
        )
        for what, counts in groups
        for value, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    ]


def whatif_row(algorithm: str, answer: Fields | str | None) -> Row:
    """One algorithm; a text is why there is no answer, None is not asked yet."""
    values: dict[str, object] = {"algorithm": algorithm, "key": algorithm}
    cells: dict[str, str | Text] = {"algorithm": algorithm.replace("_", " ")}
    if answer is None or isinstance(answer, str):
        cells["shares"] = Text(answer or "…", draw.style("dim"))
        return Row(algorithm, values, cells)
    peak, moved = answer.get("peak_to_mean"), answer.get("sessions_moved")
    if isinstance(peak, Mapping):
        values["peak"] = peak["typical"]
        cells["peak"] = f"{peak['typical']:.2f}×"
        low, high = peak["interval"]
        cells["interval"] = Text("exact" if answer.get("exact") else f"{low:.2f} to {high:.2f}", draw.style("dim"))
    if isinstance(moved, Mapping):
        values["moved"] = moved["typical"]
        cells["moved"] = percent(moved["typical"])
    for key, name in (("kept", "returns_to_same_target"), ("radius", "nat_blast_radius")):
        figure = answer.get(name)
        if isinstance(figure, float | int):
            values[key] = figure
            cells[key] = percent(figure)
    shares = answer.get("shares")
    if isinstance(shares, list):
        cells["shares"] = " ".join(percent(share) for share in shares[:8])
    return Row(algorithm, values, cells)


def finding_rows(frame: Snapshot, service: Service) -> list[Row]:
    """The findings of one service, worst first."""
    return [_finding_row(finding) for finding in frame.findings if finding.service == service.service]


def _finding_row(finding: Finding) -> Row:
    return Row(
        finding_key(finding),
        {"finding": finding.id, "severity": finding.severity.value, "title": finding.title, "mark": -finding.severity.rank},
        {"mark": draw.severity_mark(finding.severity), "title": Text(finding.title)},
        (Text(finding.detail, draw.style("dim")),),
    )


def finding_key(finding: Finding) -> str:
    return f"{finding.id}@{finding.subject}"
