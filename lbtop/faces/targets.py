"""The targets of a service as a table: each share as a bar on one common scale, the fair share marked."""

from __future__ import annotations

from lbtop.faces.terminal import Terminal, columns, cut
from lbtop.faces.words import fair_share, length, percent, plural
from lbtop.model.snapshot import Percentiles, Service, Target

SHOWN = 12
_NARROWEST_BAR, _WIDEST_BAR = 8, 24


def target_lines(service: Service, terminal: Terminal) -> list[str]:
    """The hottest targets first; at most :data:`SHOWN` rows and a line that tells of the others."""
    ranked = sorted(service.targets, key=lambda target: -target.share)
    shown, rest = ranked[:SHOWN], ranked[SHOWN:]
    fair = fair_share(len(ranked))
    unit = metric(service)
    counts = [
        ("requests", [_count(target.requests) for target in shown]),
        ("conns", [_count(target.connections) for target in shown]),
        ("clients", [_count(target.clients) for target in shown]),
        ("p99", [_p99(target.response_ms) for target in shown]),
    ]
    counts = [(name, cells) for name, cells in counts if any(cell != "-" for cell in cells)]
    names = [_name(target) for target in shown]
    states = [_state(target) for target in shown]
    taken = sum(max(len(name), *map(len, cells)) + 1 for name, cells in counts)
    taken += max(map(len, ["target", *names])) + max(map(len, ["state", *states])) + len("99.9 %") + 3
    width = min(max(terminal.width - taken, _NARROWEST_BAR), _WIDEST_BAR)
    scale = max(ranked[0].share, 1.5 * fair)
    mark = fair if len(ranked) > 1 else None

    head = ("target", f"share of {unit}", *(name for name, _ in counts), "state")
    rows = [tuple(terminal.paint(cell, "dim") for cell in head)]
    for i, target in enumerate(shown):
        bar = terminal.bar(target.share, scale, mark, width)
        rows.append((names[i], f"{bar} {percent(target.share):>6}", *(cells[i] for _, cells in counts), states[i]))
    lines = columns(rows, frozenset(range(2, 2 + len(counts))), gap=" ")
    if mark is not None:
        lines.append(terminal.paint(f"  {terminal.glyph('┃')} fair share {percent(fair)} of {unit}", "dim"))
    if rest:
        lines.append(f"  and {plural(len(rest), 'target')} more, {percent(rest[-1].share)} to {percent(rest[0].share)} each")
    lines += [f"  {_name(target)}: {cut(programs(target), terminal.width - 30)}" for target in shown if target.processes]
    return lines


def metric(service: Service) -> str:
    """What the shares count: as the contract says, the unit of the skew; without one, what there is to count."""
    if service.skew is not None:
        return service.skew.metric
    return "requests" if any(target.requests for target in service.targets) else "connections"


def _name(target: Target) -> str:
    return cut(f"{target.name} {target.target}" if target.name else target.target, 24)


def programs(target: Target) -> str:
    """ "nginx (pid 700, container web-1)", several joined by commas."""
    found = []
    for process in target.processes:
        facts = [("pid", process.pid), ("container", process.container), ("pod", process.pod)]
        known = [f"{word} {value}" for word, value in facts if value is not None]
        found.append(f"{process.name or 'process'} ({', '.join(known)})" if known else str(process.name))
    return ", ".join(found)


def _count(value: int | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if value < 1_000_000 else f"{value / 1e6:.1f}M"


def _p99(response: Percentiles | None) -> str:
    return "-" if response is None else length(response.p99 / 1000)


def _state(target: Target) -> str:
    return target.state + (f" +{target.refused:,} refused" if target.refused else "")
