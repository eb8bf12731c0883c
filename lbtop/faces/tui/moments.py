"""Frames as the timeline shows them. Rates are differences between neighbouring frames."""

from __future__ import annotations

from collections.abc import Sequence

from lbtop.faces.tui.widgets.timeline import Moment
from lbtop.model.judgement import Severity
from lbtop.model.snapshot import Snapshot


def moments(frames: Sequence[Snapshot]) -> list[Moment]:
    """One moment per frame. The skew is the worst service's, the affinity the weakest sticky one's."""
    result: list[Moment] = []
    before: Snapshot | None = None
    seen: set[tuple[str, str | None, str]] = set()
    for frame in frames:
        span = (frame.at_ns - before.at_ns) / 1e9 if before else (frame.at_ns - frame.source.started_ns) / 1e9
        done = _arrivals(frame) - (_arrivals(before) if before else 0)
        skews = [service.skew.peak_to_mean for service in frame.services if service.skew]
        affinities = [s.stickiness.affinity for s in frame.services if s.stickiness and s.stickiness.affinity is not None]
        keys = {(finding.id, finding.service, finding.subject): finding.severity for finding in frame.findings}
        fresh = [severity for key, severity in keys.items() if key not in seen]
        seen |= keys.keys()
        mark = min(fresh, key=lambda severity: severity.rank).value if fresh else ""
        result.append(
            Moment(
                frame.at_ns,
                max(0.0, done / span) if span > 0 else 0.0,
                max(skews, default=None),
                min(affinities, default=None),
                max(0, _breaks(frame) - (_breaks(before) if before else 0)),
                mark,
            )
        )
        before = frame
    return result


def _arrivals(frame: Snapshot) -> int:
    return sum(target.connections if target.requests is None else target.requests for s in frame.services for target in s.targets)


def _breaks(frame: Snapshot) -> int:
    return sum(item.keys for service in frame.services if service.stickiness for item in service.stickiness.breaks)


def worst(frame: Snapshot) -> Severity | None:
    """The worst severity of a frame's findings that nobody accepted."""
    return min((f.severity for f in frame.findings if not f.accepted), key=lambda s: s.rank, default=None)
