"""Time to verdict: after how many packets, and seconds, the right verdict stands and stays."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass

from lbtop.probes.files import open_capture

from lbtop.catalog.recognition import recognition
from lbtop.engine import Engine
from lbtop.faces.json import render
from tests.corpus import Capture
from tests.scoreboard.sights import sight

GROWTH = 1.35
FIRST = 12


@dataclass(frozen=True, slots=True)
class Settling:
    """When one question was settled for good; None where it never was."""

    capture: str
    scenario: str
    group: str
    question: str
    packets: int | None
    seconds: float | None
    total_packets: int


def settling(capture: Capture) -> list[Settling]:
    """Verdicts on growing prefixes; only for questions that this capture can answer."""
    frames = list(_frames(capture))
    found = []
    for question in ("mode", "mechanism"):
        if not all(answer.observable for answer in frames[-1][2].answers[question]):
            continue
        since: tuple[int, float] | None = None
        for packets, seconds, seen in frames:
            good = all(answer.right and answer.said != "unknown" for answer in seen.answers[question])
            since = (since or (packets, seconds)) if good else None
        last = frames[-1]
        packets_at, seconds_at = since if since else (None, None)
        found.append(Settling(capture.name, last[2].scenario, last[2].group, question, packets_at, seconds_at, frames[-1][0]))
    return found


def _frames(capture: Capture):  # type: ignore[no-untyped-def]
    source = open_capture(str(capture.path), recognition=recognition(), chunk=1024, rows=4)
    try:
        engine = Engine(source)
        due = FIRST
        while not engine.finished:
            engine.step(1.0)
            stats = source.stats()
            if engine.finished or stats.packets >= due:
                due = max(due, stats.packets)
                due = math.ceil(due * GROWTH)
                seconds = (stats.ended_ns - stats.started_ns) / 1e9
                yield stats.packets, seconds, sight(capture, json.loads(render(engine.snapshot())))
    finally:
        source.close()


def quantiles(rows: Iterable[Settling], shares: tuple[float, ...] = (0.5, 0.9)) -> list[tuple[int, float] | None]:
    """(packets, seconds) by which such shares of the captures were settled for good; None where fewer ever were."""
    rows = list(rows)
    packets = sorted(row.packets if row.packets is not None else math.inf for row in rows)
    seconds = sorted(row.seconds if row.seconds is not None else math.inf for row in rows)
    found: list[tuple[int, float] | None] = []
    for share in shares:
        at = min(len(rows) - 1, math.ceil(share * len(rows)) - 1)
        found.append((int(packets[at]), seconds[at]) if rows and math.isfinite(packets[at]) else None)
    return found
