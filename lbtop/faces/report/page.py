"""The page: the verdict first, then every service with its path, plots and ledgers, then the findings with what to do."""

from __future__ import annotations

from collections.abc import Container, Sequence
from html import escape
from pathlib import Path

from lbtop import __version__
from lbtop.faces import text as text_face
from lbtop.faces import words
from lbtop.faces.report import svg
from lbtop.model.judgement import Evidence, Finding, Severity
from lbtop.model.snapshot import Service, Snapshot
from lbtop.model.times import clock_utc, date_utc

_MARKS = {Severity.CRITICAL: "critical", Severity.WARNING: "warning", Severity.INFO: "info"}


def render(frames: Sequence[Snapshot]) -> str:
    """A whole HTML document about the last of the frames; the earlier ones only feed the timeline."""
    last = frames[-1]
    css = Path(__file__).with_name("report.css").read_text("utf-8")
    sentence, severity = text_face.headline(last)
    body = [
        f'<header class="{_MARKS[severity] if severity else "good"}"><p class="name">lbtop report</p><h1>{escape(sentence)}</h1>'
        f"{_source(last)}</header>",
        _contents(last),
        svg.timeline(frames),
        *(_service(service, last) for service in last.services),
        _findings(last.findings),
        f"<footer>Made by lbtop {escape(__version__)} from traffic alone. "
        "It holds no cookie value, token, password or card number.</footer>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # The page needs nothing from anywhere; a browser is told to enforce that.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>lbtop: {escape(sentence[:80])}</title><style>{css}</style></head>\n"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _source(frame: Snapshot) -> str:
    source = frame.source
    span = words.length(max(0, source.ended_ns - source.started_ns) / 1e9)
    rows = [
        ("seen", f"{date_utc(source.started_ns)} {clock_utc(source.started_ns)} to {clock_utc(source.ended_ns)} UTC ({span})"),
        ("from", ", ".join(source.inputs[:4]) or source.kind),
        ("vantage", words.VANTAGES.get(source.vantage, source.vantage)),
        (
            "coverage",
            f"{source.packets:,} packets, {source.connections:,} connections, "
            f"{source.connections_seen_from_start:,} of them from their start",
        ),
    ]
    weak = [
        f"{count:,} packets {what}"
        for count, what in (
            (source.dropped_packets or 0, "dropped before they were recorded"),
            (source.truncated_packets, "cut by the snap length"),
            (source.undecoded_packets, "not decoded"),
        )
        if count
    ]
    if weak or source.notes or source.caps_reached:
        caps = [f"limits reached: {', '.join(source.caps_reached)}"] if source.caps_reached else []
        rows.append(("weakened by", "; ".join([*weak, *source.notes, *caps])))
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows) + "</dl>"


def _contents(frame: Snapshot) -> str:
    if len(frame.services) < 2:
        return ""
    items = "".join(
        f'<li><a href="#s{i}">{escape(service.service)}</a> {escape(text_face.mode_sentence(service))}</li>'
        for i, service in enumerate(frame.services)
    )
    return f"<nav><ul>{items}</ul></nav>"


def _service(service: Service, frame: Snapshot) -> str:
    index = frame.services.index(service)
    parts = [f'<section id="s{index}"><h2>{escape(service.service)}</h2>', _figure(svg.path(service), "")]
    parts.append(
        _judged(
            "Where TLS ends",
            text_face.mode_sentence(service),
            service.termination.verdict.evidence,
            service.termination.verdict.settled_by,
        )
    )
    if service.stickiness is not None:
        verdict = service.stickiness.verdict
        parts.append(
            _judged("What pins clients", text_face.stickiness_sentence(service.stickiness), verdict.evidence, verdict.settled_by)
        )
        parts.append(_figure(svg.affinity(service), "Affinity by key, with 95 % intervals"))
        if service.detail is not None:
            parts.append(
                _figure(
                    svg.strip(service, service.detail.sessions),
                    "Where the last arrivals of sessions went; those that moved first",
                )
            )
    if service.skew is not None:
        parts.append(_judged("How even the load is", text_face.skew_sentence(service.skew, service), (), None))
    parts += [_figure(svg.shares(service), ""), _targets(service), _exposure(service), "</section>"]
    return "".join(parts)


def _figure(drawing: str, caption: str) -> str:
    if not drawing:
        return ""
    return f"<figure>{drawing}" + (f"<figcaption>{escape(caption)}</figcaption>" if caption else "") + "</figure>"


def _judged(title: str, sentence: str, evidence: Sequence[Evidence], settled_by: str | None) -> str:
    items = "".join(
        f'<tr><td>{escape(item.favours or "")}</td><td class="number">{_weight(item)}</td><td>{escape(item.detail)}</td></tr>'
        for item in evidence
    )
    ledger = f"<details><summary>evidence ({len(evidence)})</summary><table>{items}</table></details>" if items else ""
    settle = f'<p class="settle">It would be settled by: {escape(settled_by)}</p>' if settled_by else ""
    return f"<h3>{escape(title)}</h3><p>{escape(sentence[:1].upper() + sentence[1:])}</p>{settle}{ledger}"


def _weight(item: Evidence) -> str:
    if item.weight is not None:
        return f"{item.weight:+.1f}"
    return "proof" if item.favours else ""


def _targets(service: Service) -> str:
    head = (
        "target",
        "state",
        "connections",
        "requests",
        "clients",
        "in",
        "out",
        "p50 ms",
        "p99 ms",
        "5xx",
        "resets",
        "retransmits",
    )
    rows: list[tuple[str, ...]] = []
    for target in service.targets[:200]:
        response = target.response_ms
        cells = (
            f"{target.name} {target.target}" if target.name else target.target, target.state, f"{target.connections:,}",
            "–" if target.requests is None else f"{target.requests:,}", "–" if target.clients is None else f"{target.clients:,}",
            words.size(target.bytes_in), words.size(target.bytes_out), f"{response.p50:.1f}" if response else "–",
            f"{response.p99:.1f}" if response else "–", f"{(target.status or {}).get('5xx', 0):,}", f"{target.resets:,}",
            f"{target.retransmits:,}",
        )  # fmt: skip
        rows.append(cells)
    return f'<div class="wide">{_table(head, rows, numbers=range(2, len(head)))}</div>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Container[int]) -> str:
    """Rows of plain text; the columns in ``numbers`` are set to the right."""

    def row(cells: Sequence[str], tag: str) -> str:
        kinds = (' class="number"' if i in numbers else "" for i in range(len(cells)))
        return "<tr>" + "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for cell, kind in zip(cells, kinds, strict=True)) + "</tr>"

    return f"<table><thead>{row(head, 'th')}</thead><tbody>{''.join(row(cells, 'td') for cells in rows)}</tbody></table>"


def _exposure(service: Service) -> str:
    exposure = service.exposure
    clear = f"{words.size(exposure.plaintext_bytes)} over {words.plural(exposure.plaintext_connections, 'connection')} in clear"
    tls = f"{words.size(exposure.tls_bytes)} over {words.plural(exposure.tls_connections, 'connection')} in TLS"
    rows = [
        (
            words.sensitive_name(row.kind, 2),
            words.hop_name(row.hop),
            f"{row.count:,}",
            f"{row.distinct:,}",
            f"{clock_utc(row.first_ns)} to {clock_utc(row.last_ns)}",
        )
        for row in exposure.sensitive
    ]
    table = _table(("what", "hop", "times", "different ones", "when (UTC)"), rows, numbers=(2, 3)) if rows else ""
    return f"<h3>What can be read</h3><p>{escape(clear)}; {escape(tls)}.</p>{table}"


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return '<section id="findings"><h2>Findings</h2><p>Nothing was found in what was seen.</p></section>'
    return (
        '<section id="findings"><h2>Findings, worst first</h2>'
        + "".join(_finding(finding) for finding in findings)
        + "</section>"
    )


def _finding(finding: Finding) -> str:
    mark = _MARKS[finding.severity]
    evidence = "".join(f"<li>{escape(item.detail)}</li>" for item in finding.evidence)
    advice = "".join(f"<li>{escape(line)}</li>" for line in finding.advice)
    confirm = "".join(f"<pre>{escape(line)}</pre>" for line in finding.confirm)
    where = f" at {finding.service}" if finding.service else ""
    accepted = " (accepted)" if finding.accepted else ""
    return (
        f'<article class="{mark}"><h3><span class="mark-{mark}">{mark}</span> {escape(finding.title)}{accepted}</h3>'
        f'<p class="small">{escape(finding.id)}{escape(where)}</p><p>{escape(finding.detail)}</p>'
        + (f"<h4>Evidence</h4><ul>{evidence}</ul>" if evidence else "")
        + (f"<h4>What to do</h4><ul>{advice}</ul>" if advice else "")
        + (f"<h4>Confirm it</h4>{confirm}" if confirm else "")
        + "</article>"
    )
