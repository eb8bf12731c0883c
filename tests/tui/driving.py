"""What the tests of the dashboard share: feeds of captures and of hand-made snapshots, an app that is driven, its text."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

from lbtop.probes.files import open_capture
from textual.pilot import Pilot

from lbtop.catalog.recognition import recognition
from lbtop.engine import Options, frames
from lbtop.faces.tui.app import LbtopApp
from lbtop.faces.tui.feed import ThreadFeed
from lbtop.faces.tui.tools import Tools
from lbtop.faces.tui.widgets.table import LineTable
from lbtop.model.snapshot import Snapshot

CAPTURES = Path(__file__).parents[2] / "captures"
SHOP = CAPTURES / "offload-target-removed-lost-targets.pcap.gz"
SIZES = ((80, 24), (120, 40))
SECOND = 1_000_000_000


@cache
def read(capture: Path, count: int = 40) -> tuple[Snapshot, ...]:
    """Frames of a capture, read once for all tests."""
    source = open_capture([str(capture)], rows=128, recognition=recognition())
    return tuple(frames(source, count, Options(detail=True)))


def feed(snapshots: Iterable[Snapshot], *, live: bool = False, title: str = "x.pcap") -> ThreadFeed:
    made = tuple(snapshots)
    return ThreadFeed(lambda: made, title, live=live)


def spread(frame: Snapshot, count: int = 10) -> tuple[Snapshot, ...]:
    """The same snapshot at several moments."""
    return tuple(replace(frame, at_ns=frame.at_ns - (count - 1 - i) * SECOND) for i in range(count))


@contextlib.asynccontextmanager
async def driven(
    snapshots: Iterable[Snapshot], size: tuple[int, int] = (120, 40), *, live: bool = False, **given: object
) -> AsyncIterator[tuple[LbtopApp, Pilot[int]]]:
    """The app over these snapshots, when it has taken them all."""
    tools = given.pop("tools", None)
    assert tools is None or isinstance(tools, Tools)
    app = LbtopApp(feed(snapshots, live=live), theme=str(given.pop("theme", "lbtop-dark")), tools=tools, **given)  # type: ignore[arg-type]
    async with app.run_test(size=size) as pilot:
        for _ in range(200):
            if app.ended:
                break
            await pilot.pause(0.02)
        await pilot.pause()
        yield app, pilot


def screen_text(app: LbtopApp) -> str:
    """What is on screen, as lines of text."""
    return "\n".join(strip.text.rstrip() for strip in app.screen._compositor.render_strips())


def table(app: LbtopApp, name: str) -> LineTable:
    return app.screen.query_one(f"#{name}", LineTable)


def written(svg: str) -> str:
    """The text in an SVG of a screen."""
    return re.sub(r"<[^>]+>", "", svg).replace("&#160;", " ")


def run(test: object) -> None:
    asyncio.run(test)  # type: ignore[arg-type]
