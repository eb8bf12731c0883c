"""The main states as pictures: empty, busy, paused, degraded, hostile, at the sizes people have."""

from __future__ import annotations

import pytest
from rich.text import Text

from lbtop.faces.tui.themes import default_theme
from lbtop.model.snapshot import Snapshot
from lbtop.model.text import safe_text
from tests.cli import frames
from tests.tui.driving import SIZES, driven, run, screen_text, spread, written

RIGHT_TO_LEFT = safe_text("חנות.example".encode())
LONG = safe_text("n" * 300)
SCREENS = {
    "overview": (),
    "service": ("enter",),
    "findings": ("enter", "7"),
    "evidence": ("e",),
    "help": ("question_mark",),
    "earlier": ("left", "left"),
    "filter": ("slash", *"target:10 foo:1"),
}


def renamed(name: str) -> Snapshot:
    return frames.snapshot(frames.service(service=name), findings=frames.FINDINGS)


STATES = {
    "empty": frames.empty,
    "busy": frames.busy,
    "unknown": frames.unknown,
    "hostile": frames.hostile,
    "long": lambda: renamed(LONG),
    "right-to-left": lambda: renamed(RIGHT_TO_LEFT),
    "degraded": lambda: frames.snapshot(
        frames.service(),
        dropped_packets=4711,
        caps_reached=("connections",),
        connections_seen_from_start=12,
        truncated_packets=99,
        vantage="unknown",
        notes=("the file ends in the middle of a packet, at byte 4,096",),
    ),
    "twenty services": lambda: frames.snapshot(
        *(frames.service(service=safe_text(f"service-{number:02}.example")) for number in range(20)), findings=frames.FINDINGS
    ),
}


@pytest.mark.parametrize(
    ("state", "size"),
    [*((state, size) for state in STATES for size in SIZES), ("busy", (200, 60))],
    ids=lambda value: value if isinstance(value, str) else f"{value[0]}x{value[1]}",
)
def test_no_state_breaks_a_screen(state: str, size: tuple[int, int]) -> None:
    """Every line fits, nothing that drives a terminal gets through, markup stays text."""

    async def drive() -> None:
        async with driven(spread(STATES[state]()), size=size) as (app, pilot):
            for name, keys in SCREENS.items():
                await pilot.press(*keys)
                await pilot.pause()
                text = screen_text(app)
                lines = text.split("\n")
                assert len(lines) <= size[1] and all(Text(line).cell_len <= size[0] for line in lines), name
                assert not any(ord(char) < 32 and char != "\n" for char in text), name
                assert "\u202e" not in text and "\x1b" not in text
                svg = app.export_screenshot()
                assert "\x1b" not in svg and "<script" not in svg
                if name in ("overview", "service", "findings"):
                    assert written(svg).strip()
                await pilot.press("escape")
                await pilot.press("end")

    run(drive())


def test_markup_of_the_wire_is_shown_and_not_obeyed() -> None:
    async def drive() -> None:
        async with driven(spread(frames.hostile())) as (app, pilot):
            assert "[bold red]" in screen_text(app)
            await pilot.press("tab", "enter")
            assert "[bold red]" in screen_text(app)

    run(drive())


def test_degraded_sight_is_told() -> None:
    async def drive() -> None:
        async with driven(spread(STATES["degraded"]()), size=(200, 60)) as (app, _):
            text = screen_text(app)
            assert "4,711 packets dropped" in text and "at cap: connections" in text and "99 cut" in text
            assert "only 2.9 % seen from their start" in text
            assert "an unknown place" in text and "the file ends in the middle" in text

    run(drive())


def test_unknown_says_what_would_settle_it() -> None:
    async def drive() -> None:
        async with driven(spread(frames.unknown())) as (app, pilot):
            assert "where TLS ends is unknown for 10.0.0.11:8080" in screen_text(app)
            assert "l4_tls 49 %, none 48 %" in screen_text(app) and "would be settled by a capture" in screen_text(app)
            await pilot.press("e")
            await pilot.pause()
            assert "it would be settled by a capture on the client's side" in screen_text(app)

    run(drive())


@pytest.mark.parametrize("theme", ["lbtop-dark", "lbtop-light", "lbtop-colour-blind", "ansi-dark", "ansi-light", "nord"])
def test_every_theme_draws_the_same_words(theme: str) -> None:
    async def drive() -> None:
        async with driven(spread(frames.busy()), theme=theme) as (app, _):
            assert app.theme == theme
            assert "!! Passwords reach the targets in clear" in screen_text(app) and "┊" in screen_text(app)

    run(drive())


def test_the_terminal_decides_the_first_theme() -> None:
    assert default_theme({"TERM": "xterm-256color"}) == default_theme({"COLORTERM": "truecolor"}) == "lbtop-dark"
    assert default_theme({"TERM": "linux"}) == default_theme({"TERM": "xterm-256color", "NO_COLOR": "1"}) == "ansi-dark"
