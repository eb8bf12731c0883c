"""What drawing costs. Figures are printed (`pytest -s`) and never asserted: a busy machine must not fail a test."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from lbtop.faces.tui.frames import pack
from lbtop.model.snapshot import ConnectionRow, Detail, Event, Service, SessionRow, Snapshot
from lbtop.model.text import SafeText, safe_text
from tests.cli import frames
from tests.tui.driving import SECOND, driven, run

SERVICES, TARGETS, SESSIONS = 20, 10, 50_000
UPDATES, EVERY_S = 8, 0.25


def large(moment: int) -> Snapshot:
    """20 services, 200 targets, 50,000 live sessions, of which a service shows its last 200."""
    at_ns = frames.START + moment * SECOND // 2
    return replace(
        frames.snapshot(*(_service(number, moment) for number in range(SERVICES)), findings=frames.FINDINGS), at_ns=at_ns
    )


def _service(number: int, moment: int) -> Service:
    targets = tuple(
        frames.target(f"10.{number}.0.{i + 1}", (1 + (i + moment) % 3) / 20, 10_000 + i * moment, clients=SESSIONS // SERVICES)
        for i in range(TARGETS)
    )
    strip = tuple((j, (number + j // 9) % TARGETS) for j in range(40))
    sessions = tuple(SessionRow(f"session {i}", f"203.0.113.{i % 250}", 40, 0, moment, strip, 4) for i in range(200))
    events = tuple(Event(frames.START + j, "request", SafeText("GET /")) for j in range(10))
    connections = tuple(
        ConnectionRow(i, f"203.0.113.9:{i}", targets[0].target, frames.START, frames.START + SECOND, "http1", 5, 1000, 9000, 0,
                      "fin", "client", 0.2, 0.1, True, False, events)
        for i in range(200)
    )  # fmt: skip
    return frames.service(
        service=safe_text(f"service-{number:02}.example"), targets=targets, detail=Detail(sessions, connections)
    )


def test_cost_of_two_snapshots_a_second() -> None:
    packed = [pack(large(moment)) for moment in range(UPDATES)]
    print(f"\none frame: {packed[0].size / 1000:.0f} kB packed")

    async def drive() -> None:
        async with driven([large(0)], live=True) as (app, pilot):
            for name, keys in (("overview", ()), ("targets", ("enter",)), ("sessions", ("2",)), ("connections", ("3",))):
                await pilot.press(*keys)
                await pilot.pause(0.2)
                began = time.process_time()
                for frame in packed:
                    app._frame_from_thread(frame)
                    await asyncio.sleep(EVERY_S)
                spent = (time.process_time() - began) / UPDATES
                began = time.process_time()
                for _ in range(10):
                    await pilot.press("down")
                key = (time.process_time() - began) / 10
                print(f"{name:<12} {1000 * spent:5.1f} ms of CPU per frame, {200 * spent:4.1f} % of a core at two a second; "
                      f"a key {1000 * key:4.1f} ms")  # fmt: skip

    run(drive())
