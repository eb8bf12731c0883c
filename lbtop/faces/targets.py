"""The targets of a service as a table: each share as a bar on one common scale, the fair share marked."""

from __future__ import annotations

from lbtop.faces.terminal import Terminal, columns, cut
from lbtop.faces.words import length, percent, plural
from lbtop.model.snapshot import Percentiles, Service, Target

SHOWN = 12
_BAR = 14


def target_lines(service: Service, terminal: Terminal) -> list[str]:
    """The hottest targets first; at most :data:`SHOWN` rows and a line that tells of the others."""
    ranked = sorted(service.targets, key=lambda target: -target.share)
    shown = ranked[:SHOWN]
    rest = ranked[SHOWN:]
    serving = sum(target.state != "gone" for target in ranked) or len(ranked)
    fair = 1 / serving
    unit = metric(service)
    with_requests = any(target.requests is not None for target in shown)
    with_response = any(target.response_ms is not None for target in shown)
    with_clients = any(target.clients is not None for target in shown)
    scale = max(ranked[0].share, 1.5 * fair)
    head = ["target", f"share of {unit}"[: _BAR + 7], "", "requests" if with_requests else "", "conns",
            "clients" if with_clients else "", "p99" if with_response else "", "state"]  # fmt: skip
    rows = [tuple(terminal.paint(cell, "dim") for cell in head)]
    for target in shown:
        rows.append((
            _name(target),
            terminal.bar(target.share, scale, fair if len(ranked) > 1 else None, _BAR),
            percent(target.share),
            _count(target.requests) if with_requests else "",
            _count(target.connections),
            _count(target.clients) if with_clients else "",
            _p99(target.response_ms) if with_response else "",
            _state(target),
        ))  # fmt: skip
    keep = [i for i in range(len(head)) if i in (1, 2) or any(row[i].strip() for row in rows)]
    lines = columns([tuple(row[i] for i in keep) for row in rows], frozenset(keep.index(i) for i in (2, 3, 4, 5, 6) if i in keep), gap=" ")
    if len(ranked) > 1:
        legend = f"{terminal.glyph('┃')} fair share {percent(fair)} of {unit}"
        lines.append(terminal.paint("  " + legend, "dim"))
    if rest:
        lines.append(f"  and {plural(len(rest), 'target')} more, {percent(rest[-1].share)} to {percent(rest[0].share)} each")
    return lines


def metric(service: Service) -> str:
    """What the shares count: as the contract says, the unit of the skew; without one, what there is to count."""
    if service.skew is not None:
        return service.skew.metric
    return "requests" if any(target.requests for target in service.targets) else "connections"


def _name(target: Target) -> str:
    return cut(f"{target.name} {target.target}" if target.name else target.target, 24)


def _count(value: int | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if value < 1_000_000 else f"{value / 1e6:.1f}M"


def _p99(response: Percentiles | None) -> str:
    return "-" if response is None else length(response.p99 / 1000)


def _state(target: Target) -> str:
    return target.state + (f" +{target.refused:,} refused" if target.refused else "")
