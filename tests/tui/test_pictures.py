"""The main states as stored pictures: a change in what a person sees is a change in a file that can be looked at.

``pytest tests/tui/test_pictures.py --update-pictures`` stores them anew.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lbtop.faces.tui.screens.base import Header
from lbtop.model.snapshot import Snapshot
from lbtop.model.text import safe_text
from tests.cli import frames
from tests.tui.driving import SIZES, driven, run, spread
from tests.tui.picture import picture
from tests.tui.test_states import LONG, RIGHT_TO_LEFT, STATES

FOLDER = Path(__file__).parent / "snapshots"
ESCAPES = safe_text(b"\x1b[31mred\x1b]0;title\x07 [bold red]markup[/] \xe2\x80\xaereversed")


def hostile() -> Snapshot:
    """Names that somebody chose to break a screen."""
    names = (LONG, RIGHT_TO_LEFT, ESCAPES)
    return replace(frames.snapshot(*(frames.service(service=name) for name in names)), findings=frames.hostile().findings)


PICTURES = {
    "empty": (frames.empty, False, ()),
    "busy": (frames.busy, False, ()),
    "busy-service": (frames.busy, False, ("enter",)),
    "busy-evidence": (frames.busy, False, ("e",)),
    "paused": (frames.busy, True, ("space",)),
    "degraded": (STATES["degraded"], False, ()),
    "hostile": (hostile, False, ()),
    "hostile-findings": (frames.hostile, False, ("enter", "7")),
}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", PICTURES)
def test_it_looks_as_it_did(
    name: str, size: tuple[int, int], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, live, keys = PICTURES[name]
    monkeypatch.setattr(Header, "_own_cost", lambda header: "1 % cpu 60 MB")  # what differs from run to run
    drawn: list[str] = []

    async def drive() -> None:
        async with driven(spread(made()), size=size, live=live) as (app, pilot):
            await pilot.press(*keys)
            if "space" in keys:  # and then more arrives
                app._frame_from_thread(app.machine.history.frames[-1])
                await pilot.pause(0.4)
            await pilot.pause()
            drawn.append(picture(app))

    run(drive())
    assert "\x1b" not in drawn[0] and "\u202e" not in drawn[0]
    file = FOLDER / f"{name}-{size[0]}x{size[1]}.svg"
    if request.config.getoption("update_pictures"):
        file.write_text(drawn[0], encoding="utf-8")
    assert file.exists(), "store it: --update-pictures"
    new = request.config.rootpath / "build" / file.name
    if drawn[0] != file.read_text("utf-8"):
        new.parent.mkdir(exist_ok=True)
        new.write_text(drawn[0], encoding="utf-8")
        pytest.fail(f"it looks different: compare {file.relative_to(request.config.rootpath)} with build/{file.name}")


def test_every_stored_picture_is_of_a_state() -> None:
    assert {file.stem for file in FOLDER.glob("*.svg")} == {f"{name}-{w}x{h}" for name in PICTURES for w, h in SIZES}
    assert sum(file.stat().st_size for file in FOLDER.glob("*.svg")) < 400_000
