"""Snapshots as the dashboard keeps them: packed, so that an hour of them is tens of megabytes and not gigabytes.

The engine's process packs a snapshot; the screen unpacks the one it shows, and the detail of a service only where somebody
looks at it. Nothing here imports Textual: the engine's process does not pay for it.
"""

from __future__ import annotations

import pickle
import zlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

from lbtop.model.snapshot import Detail, Service, Snapshot, Target

MAX_FRAMES = 720
MAX_BYTES = 128_000_000
KEPT_LIVE_NS = 3_600_000_000_000
"""The last hour is kept while listening live."""

FindingKey = tuple[str, str, str]
"""What makes a finding the same one in two frames: id, service, subject."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What the timeline needs of one frame. Arrivals are the total since the start; skew and affinity are of the last arrivals
    before the frame (:class:`Lately`), the skew the worst service's, the affinity the weakest's."""

    at_ns: int
    started_ns: int
    arrivals: int
    skew: float | None
    affinity: float | None
    breaks: tuple[tuple[int, int], ...]  # (time, keys)
    findings: Mapping[FindingKey, tuple[str, int | None]]  # severity, and when it happened if it has a time


class Lately:
    """Skew and affinity of the last arrivals rather than of all: after an hour, a minute that goes wrong hardly moves a total.

    As many frames are looked back as it takes for :data:`ENOUGH` arrivals per target, or returns: fewer would show chance alone.
    """

    ENOUGH = 20
    _MOST_FRAMES = 240

    def __init__(self) -> None:
        self._counts: dict[str, deque[dict[str, int]]] = {}
        self._returns: dict[str, deque[tuple[int, float]]] = {}

    def skew(self, service: Service) -> float | None:
        """Peak to mean of the arrivals at the targets that are there, None while there are too few."""
        now = {target.target: _arrivals(target) for target in service.targets}
        there = {target.target for target in service.targets if target.state not in _NOT_THERE}
        past = self._counts.setdefault(service.service, deque([{}], self._MOST_FRAMES))
        past.append(now)

        def fresh(before: dict[str, int]) -> list[int]:
            gains = {target: count - before.get(target, 0) for target, count in now.items()}
            return [gain for target, gain in gains.items() if gain > 0 or target in there]

        enough = self.ENOUGH * len(now)
        while len(past) > 2 and sum(fresh(past[1])) >= enough:
            past.popleft()
        counts = fresh(past[0])
        return max(counts) * len(counts) / sum(counts) if len(now) > 1 and sum(counts) >= enough else None

    def affinity(self, service: Service) -> float | None:
        """Affinity of the last returns: what they added to the whole, None while there are too few. It is an approximation where
        chance changes."""
        stickiness = service.stickiness
        if stickiness is None or stickiness.affinity is None:
            return None
        past = self._returns.setdefault(service.service, deque([(0, 0.0)], self._MOST_FRAMES))
        if stickiness.returns < past[-1][0]:  # another key explains the target from now on, and its returns are counted
            past.clear()
            past.append((0, 0.0))
        past.append((stickiness.returns, stickiness.affinity * stickiness.returns))
        while len(past) > 2 and past[-1][0] - past[1][0] >= self.ENOUGH:
            past.popleft()
        (before, sum_before), (now, sum_now) = past[0], past[-1]
        return max(-1.0, min(1.0, (sum_now - sum_before) / (now - before))) if now - before >= self.ENOUGH else None


_NOT_THERE = frozenset({"gone", "silent", "draining"})


def _arrivals(target: Target) -> int:
    # Requests, or connections where those are more: a service may be readable in part only.
    return max(target.connections, target.requests or 0)


def moment_of(frame: Snapshot, lately: Lately | None = None) -> Moment:
    """The summary of a frame. ``lately`` remembers the frames before it."""
    lately = lately or Lately()
    skews = [skew for service in frame.services if (skew := lately.skew(service)) is not None]
    affinities = [affinity for service in frame.services if (affinity := lately.affinity(service)) is not None]
    breaks = tuple((item.time_ns, item.keys) for s in frame.services if s.stickiness for item in s.stickiness.breaks)
    return Moment(
        frame.at_ns,
        frame.source.started_ns,
        sum(_arrivals(target) for service in frame.services for target in service.targets),
        max(skews, default=None),
        min(affinities, default=None),
        breaks,
        {(f.id, str(f.service or ""), f.subject): (f.severity.value, f.at_ns) for f in frame.findings if not f.accepted},
    )


@dataclass(frozen=True, slots=True)
class Packed:
    """One snapshot: its summary, the snapshot without details, and the details of its services."""

    moment: Moment
    core: bytes
    details: Mapping[str, bytes]

    @property
    def at_ns(self) -> int:
        return self.moment.at_ns

    @property
    def size(self) -> int:
        return len(self.core) + sum(map(len, self.details.values()))

    def open(self) -> Snapshot:
        """The snapshot, its services without their details."""
        frame: Snapshot = pickle.loads(zlib.decompress(self.core))
        return frame

    def detail(self, service: str) -> Detail | None:
        """Sessions and connections of one service."""
        packed = self.details.get(service)
        if packed is None:
            return None
        detail: Detail = pickle.loads(zlib.decompress(packed))
        return detail


def pack(frame: Snapshot, lately: Lately | None = None) -> Packed:
    """A frame as it is kept. ``lately`` remembers the frames before it."""
    bare = replace(frame, services=tuple(replace(service, detail=None) for service in frame.services))
    details = {str(service.service): _packed(service.detail) for service in frame.services if service.detail is not None}
    return Packed(moment_of(frame, lately), _packed(bare), details)


def _packed(thing: object) -> bytes:
    return zlib.compress(pickle.dumps(thing, pickle.HIGHEST_PROTOCOL), 1)


class History:
    """Frames in order of time, bounded in number and in bytes.

    When it is full, every second frame of its older half goes, so that an hour stays an hour, only coarser the further back.
    """

    def __init__(self, limit: int = MAX_FRAMES, most_bytes: int = MAX_BYTES) -> None:
        self.limit = limit
        self.most_bytes = most_bytes
        self.bytes = 0
        self.frames: list[Packed] = []

    def add(self, frame: Packed) -> bool:
        """Appends a frame. Returns whether older frames were thinned out (indexes changed)."""
        self.frames.append(frame)
        self.bytes += frame.size
        if len(self.frames) <= self.limit and (self.bytes <= self.most_bytes or len(self.frames) < 8):
            return False
        half = len(self.frames) // 2
        self.frames = self.frames[:half:2] + self.frames[half:]
        self.bytes = sum(kept.size for kept in self.frames)
        return True

    def forget_before(self, at_ns: int) -> bool:
        """Drops what is older than a time. Returns whether something was dropped."""
        kept = next((i for i, frame in enumerate(self.frames) if frame.at_ns >= at_ns), 0)
        if kept:
            self.bytes -= sum(frame.size for frame in self.frames[:kept])
            self.frames = self.frames[kept:]
        return kept > 0

    def at(self, at_ns: int) -> int:
        """Index of the last frame not after a time; 0 when all are after it."""
        index = 0
        for i, frame in enumerate(self.frames):
            if frame.at_ns > at_ns:
                break
            index = i
        return index

    def first_seen(self) -> dict[FindingKey, tuple[int, str]]:
        """When each finding of the newest frame happened, or was first there, and how severe it is."""
        if not self.frames:
            return {}
        newest = self.frames[-1].moment.findings
        when: dict[FindingKey, tuple[int, str]] = {}
        for key, (severity, at_ns) in newest.items():
            if at_ns is not None:
                when[key] = (at_ns, severity)
                continue
            first = self.frames[-1].at_ns
            for frame in reversed(self.frames):
                if key not in frame.moment.findings:
                    break
                first = frame.at_ns
            when[key] = (first, severity)
        return when
