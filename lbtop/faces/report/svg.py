"""Plots as inline SVG. Every colour is a class of the page's style sheet, so that light, dark and print need no second drawing.

Every plot has a title that says in words what it shows: it is what a screen reader reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from lbtop.faces.paths import Segment, last_node, segments
from lbtop.faces.targets import metric
from lbtop.faces.words import fair_share, percent, plural
from lbtop.model.snapshot import Service, SessionRow, Snapshot
from lbtop.model.times import clock_utc

WIDTH = 860
_NODE_HEIGHT = 44


def text(x: float, y: float, content: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(content)}</text>'


def figure(height: float, title: str, body: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title, quote=True)}">'
        f"<title>{escape(title)}</title>{body}</svg>"
    )


def path(service: Service) -> str:
    """The way of a request: boxes and lines, double where encrypted, red where protection ends."""
    drawn: list[Segment] = segments(service)
    if not drawn:
        return ""
    nodes = [segment.node for segment in drawn] + [last_node(service)]
    widths = [max(90.0, 8.2 * len(node) + 24) for node in nodes]
    gap = max(110.0, (WIDTH - sum(widths)) / len(drawn))
    x, y = 0.0, 8.0
    parts: list[str] = []
    for index, node in enumerate(nodes):
        parts.append(f'<rect x="{x:.1f}" y="{y}" width="{widths[index]:.1f}" height="{_NODE_HEIGHT}" rx="6" class="node"/>')
        parts.append(text(x + widths[index] / 2, y + 27, node, "node-name", "middle"))
        if index < len(drawn):
            parts.append(_hop(drawn[index], x + widths[index], x + widths[index] + gap, y + _NODE_HEIGHT / 2))
        x += widths[index] + gap
    scale = max(1.0, (x - gap) / WIDTH)
    body = "".join(parts)
    if scale > 1:
        body = f'<g transform="scale({1 / scale:.3f})">{body}</g>'
    words = ", then ".join(f"{segment.label} from {segment.node}" for segment in drawn)
    return figure(86 / scale, f"{words}, to {nodes[-1]}", body)


def _hop(segment: Segment, x1: float, x2: float, y: float) -> str:
    kind = {"tls": "tls", "plain": "plain"}.get(segment.encryption, "unclear")
    lines = (y - 3, y + 3) if segment.encryption == "tls" else (y,)
    parts = [f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{at}" y2="{at}" class="hop {kind}"/>' for at in lines]
    if segment.boundary:
        parts.append(f'<line x1="{x1 + 7:.1f}" x2="{x1 + 7:.1f}" y1="{y - 26}" y2="{y + 40}" class="boundary"/>')
    middle = (x1 + x2) / 2
    parts += [
        text(middle, y - 10, segment.label.strip(), f"hop-label {kind}", "middle"),
        text(middle, y + 22, segment.note, "small", "middle"),
    ]
    return "".join(parts)


def shares(service: Service) -> str:
    """Every target's share on one scale from zero, with the fair share marked."""
    ranked = sorted(service.targets, key=lambda target: -target.share)[:24]
    if len(ranked) < 2:
        return ""
    fair = fair_share(len(service.targets))
    left, right, row = 210.0, 90.0, 26.0
    top = max(ranked[0].share, 1.5 * fair)
    room = WIDTH - left - right
    parts: list[str] = []
    for index, target in enumerate(ranked):
        y = 6 + index * row
        name = f"{target.name} {target.target}" if target.name else target.target
        parts.append(text(left - 10, y + 15, name[-32:], "label", "end"))
        parts.append(f'<rect x="{left}" y="{y}" width="{max(1.0, target.share / top * room):.1f}" height="18" class="bar"/>')
        parts.append(text(left + target.share / top * room + 8, y + 15, percent(target.share), "label"))
    bottom = 6 + len(ranked) * row
    mark = left + fair / top * room
    parts.append(f'<line x1="{mark:.1f}" x2="{mark:.1f}" y1="0" y2="{bottom:.1f}" class="mark"/>')
    parts.append(text(mark, bottom + 13, f"fair share {percent(fair)}", "small", "middle"))
    return figure(bottom + 20, f"Share of {metric(service)} per target; the fair share is {percent(fair)}", "".join(parts))


def affinity(service: Service) -> str:
    """Affinity by key: point and 95 % interval on a scale from -0.5 to 1; 0 is chance."""
    stickiness = service.stickiness
    rows = [row for row in stickiness.by_key if row.affinity is not None] if stickiness else []
    if not rows:
        return ""
    left, right, row_height = 210.0, 130.0, 24.0
    room = WIDTH - left - right

    def at(value: float) -> float:
        return left + (max(-0.5, min(1.0, value)) + 0.5) / 1.5 * room

    parts: list[str] = []
    bottom = 6 + row_height * len(rows[:12])
    for value, label in ((-0.5, "-0.5"), (0.0, "0: chance"), (0.5, "0.5"), (1.0, "1: always")):
        kind = "mark" if value == 0 else "grid"
        parts.append(f'<line x1="{at(value):.1f}" x2="{at(value):.1f}" y1="0" y2="{bottom:.1f}" class="{kind}"/>')
        parts.append(text(at(value), bottom + 14, label, "small", "middle"))
    for index, key in enumerate(rows[:12]):
        y = 6 + index * row_height + 10
        parts.append(text(left - 10, y + 4, key.key[:30], "label", "end"))
        if key.interval:
            parts.append(
                f'<line x1="{at(key.interval[0]):.1f}" x2="{at(key.interval[1]):.1f}" y1="{y}" y2="{y}" class="interval"/>'
            )
        parts.append(f'<circle cx="{at(key.affinity or 0.0):.1f}" cy="{y}" r="5" class="point"/>')
        parts.append(text(WIDTH - right + 12, y + 4, f"{key.affinity or 0.0:.2f}, {plural(key.keys, 'key')}", "small"))
    return figure(bottom + 20, "Affinity by key: 0 is chance, 1 is always the same target", "".join(parts))


def strip(service: Service, sessions: Sequence[SessionRow], limit: int = 40) -> str:
    """Sessions over time: a square per arrival in the colour and with the letter of its target."""
    # A client's row holds its requests without a session: where sessions are known, those say nothing about affinity.
    known = [s for s in sessions if s.arrivals > 1 and s.key != s.client] or [s for s in sessions if s.arrivals > 1]
    chosen = sorted(known, key=lambda s: (-s.moves, -s.arrivals))[:limit]
    if len(chosen) < 2:
        return ""
    start = min(session.strip[0][0] for session in chosen)
    end = max(session.strip[-1][0] for session in chosen)
    left, row = 150.0, 15.0
    room = WIDTH - left - 10
    parts: list[str] = []
    for index, session in enumerate(chosen):
        y = 4 + index * row
        parts.append(text(left - 10, y + 11, session.key[:20], "small", "end"))
        for moment, target in session.strip:
            x = left + (moment - start) / max(1, end - start) * (room - 10)
            letter = chr(ord("A") + target % 26)
            parts.append(f'<rect x="{x:.1f}" y="{y}" width="10" height="12" class="t{target % 8}"/>')
            parts.append(f'<text x="{x + 5:.1f}" y="{y + 10}" class="letter" text-anchor="middle">{letter}</text>')
    bottom = 4 + row * len(chosen)
    parts += [text(left, bottom + 14, clock_utc(start), "small"), text(WIDTH - 10, bottom + 14, clock_utc(end), "small", "end")]
    legend = " · ".join(f"{chr(ord('A') + i % 26)} {target.target}" for i, target in enumerate(service.targets[:8]))
    parts.append(text((left + WIDTH) / 2, bottom + 30, legend, "small", "middle"))
    return figure(
        bottom + 36, "Which target each session's requests reached; a row that changes colour lost its target", "".join(parts)
    )


def timeline(frames: Sequence[Snapshot]) -> str:
    """Requests (connections where there are none) a second and the peak-to-mean of the worst service, over the capture."""
    points: list[tuple[int, float, float | None]] = []
    before: Snapshot | None = None
    for frame in frames:
        if before is not None and frame.at_ns > before.at_ns:
            done = _arrivals(frame) - _arrivals(before)
            skews = [service.skew.peak_to_mean for service in frame.services if service.skew]
            points.append((frame.at_ns, max(0.0, done / ((frame.at_ns - before.at_ns) / 1e9)), max(skews, default=None)))
        before = frame
    if len(points) < 3:
        return ""
    left, right, height = 60.0, 60.0, 130.0
    room = WIDTH - left - right
    start = frames[0].at_ns
    span = max(1, points[-1][0] - start)
    top = max(rate for _, rate, _ in points) or 1.0
    peak = max([skew for _, _, skew in points if skew is not None] or [1.0])


    def x(at: int) -> float:
        return left + (at - start) / span * room

    # A bar is as wide as the time it is the rate of: frames come when something happened, not at equal distances.
    parts = [
        f'<rect x="{x(since):.1f}" y="{height - rate / top * (height - 10):.1f}" width="{max(0.5, x(at) - x(since) - 0.5):.1f}" '
        f'height="{max(0.5, rate / top * (height - 10)):.1f}" class="bar soft"/>'
        for since, (at, rate, _) in zip((start, *(at for at, _, _ in points)), points, strict=False)
    ]
    line = " ".join(
        f"{x(at):.1f},{height - skew / peak * (height - 10):.1f}"
        for at, _, skew in points
        if skew is not None
    )
    parts += [
        f'<polyline points="{line}" class="curve"/>' if line else "",
        text(left - 8, 14, f"{top:.0f}/s", "small", "end"),
        text(left - 8, height, "0", "small", "end"),
        text(WIDTH - right + 8, 14, f"{peak:.1f}×" if line else "", "small curve-label"),
        text(left, height + 16, clock_utc(start), "small"),
        text(WIDTH - right, height + 16, clock_utc(points[-1][0]), "small", "end"),
        text(WIDTH / 2, height + 16, "bars: arrivals a second · line: peak to mean", "small", "middle"),
    ]
    return figure(height + 24, "Arrivals a second and peak to mean over time", "".join(parts))


def _arrivals(frame: Snapshot) -> int:
    return sum(t.connections if t.requests is None else t.requests for service in frame.services for t in service.targets)
