"""From a service down to single observations and back, on real captures of different kinds."""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from lbtop.probes.files import open_capture

from lbtop.catalog.recognition import recognition
from lbtop.cli.asking import Memory, memory_tools, reading_tools
from lbtop.engine import Options, frames
from lbtop.faces.tui.feed import ProcessFeed
from lbtop.faces.tui.screens.connection import ConnectionScreen, FieldsScreen, ObservationsScreen
from lbtop.faces.tui.screens.overview import OverviewScreen
from lbtop.faces.tui.screens.service import NUMBER, ServiceScreen
from lbtop.faces.tui.tools import Observed, Tools
from lbtop.model.snapshot import ConnectionRow, Process
from lbtop.model.text import safe_text
from tests.cli import frames as frames_by_hand
from tests.tui.driving import CAPTURES, SHOP, driven, read, run, screen_text, spread, table

KINDS = ("passthrough-*-targets", "bridging-*targets", "l4-tls-*-one", "mixed-termination-targets")


def asked(capture: Path, **given: object) -> Tools:
    nothing = {"since": None, "until": None, "vantage": None, "target": [], "lb": [], "name": [], "hosts": [], "follow": False}
    return reading_tools(argparse.Namespace(**{**nothing, "files": [str(capture)], **given}))


def test_service_target_session_connection_observations_and_back() -> None:
    async def drive() -> None:
        async with driven(read(SHOP), tools=asked(SHOP)) as (app, pilot):
            await pilot.press("enter", "enter")  # service, then its first target: the one that left
            screen = app.screen
            assert isinstance(screen, ServiceScreen) and screen.tab == NUMBER["sessions"]
            assert screen.trail == ["shop.example", "target 10.0.1.11:8080"]
            sessions = table(app, "sessions")
            assert sessions.rows and all("10.0.1.11:8080" in str(row.values["target"]) for row in sessions.rows)
            assert any(int(str(row.values["moves"])) for row in sessions.rows)
            moved = next(i for i, row in enumerate(sessions.rows) if row.values["moves"])
            await pilot.press(*["down"] * moved)
            await pilot.pause()
            assert "target gone" in screen_text(app)  # why it moved
            await pilot.press("enter")
            connections = table(app, "connections")
            assert screen.tab == NUMBER["connections"] and connections.rows
            assert {row.values["target"] for row in connections.rows} == {"10.0.1.11:8080"}
            await pilot.press("enter")
            assert isinstance(app.screen, ConnectionScreen)
            await pilot.pause()
            text = screen_text(app)
            assert "synack" in text and "GET /" in text and "200 after" in text and "› connection " in text
            number = app.screen.row.number
            await pilot.press("enter")
            assert isinstance(app.screen, ObservationsScreen)
            await app.workers.wait_for_complete()
            await pilot.pause()
            rows = table(app, "observations").rows
            kinds = {row.values["kind"] for row in rows}
            assert {"opened", "request", "response", "connection"} <= kinds, f"connection {number}: {kinds}"
            await pilot.press("enter")
            assert isinstance(app.screen, FieldsScreen) and "10.0.1.11:8080" in app.screen.text().plain
            await pilot.press("escape", "escape", "escape")
            assert app.screen is screen and len(screen.scopes) == 2
            await pilot.press("escape")
            assert screen.tab == NUMBER["sessions"] and len(screen.scopes) == 1
            await pilot.press("escape", "escape")
            assert isinstance(app.screen, OverviewScreen)

    run(drive())


def test_strips_agree_with_the_targets_of_the_connections() -> None:
    """A letter of a session's strip is the target that its connection went to."""
    (service,) = read(SHOP)[-1].services
    assert service.detail is not None
    at = {row.number: row.target for row in service.detail.connections}
    checked = 0
    for session in service.detail.sessions:
        went = {at[number] for number in session.connections if number in at}
        if all(number in at for number in session.connections):
            assert {service.targets[index].target for _, index in session.strip} == went
            checked += 1
    assert checked > 10


@pytest.mark.parametrize("name", KINDS)
def test_every_row_of_every_tab_opens_and_nothing_fails(name: str) -> None:
    async def drive() -> None:
        capture = min(CAPTURES.glob(f"{name}.pcap*"))
        async with driven(read(capture), size=(80, 24)) as (app, pilot):
            await pilot.press("enter")
            assert isinstance(app.screen, ServiceScreen)
            for number in range(8):
                await pilot.press(str(number + 1), "down", "enter")
                await pilot.pause()
                while not isinstance(app.screen, ServiceScreen) or app.screen.scopes:
                    await pilot.press("escape")
            await pilot.press("shift+left", "left", "end")
            assert app.frame is not None

    run(drive())


def test_what_if_fills_in_and_counts_targets() -> None:
    async def drive() -> None:
        async with driven(read(SHOP), tools=Tools(whatif=answer, algorithms=("round_robin", "maglev"))) as (app, pilot):
            await pilot.press("enter", "8")
            await app.workers.wait_for_complete()
            await pilot.pause()
            text = screen_text(app)
            assert "1.50×" in text and "onto 3 targets" in text and "no seed will do" in text
            await pilot.press("plus")
            await app.workers.wait_for_complete()
            await pilot.pause()
            assert "onto 4 targets" in screen_text(app) and "25 %" in screen_text(app)

    def answer(service: str, algorithm: str, targets: str) -> Mapping[str, object]:
        if algorithm == "maglev":
            raise RuntimeError("no seed will do")
        moved = {"typical": 0.25, "interval": [0.2, 0.3]} if targets == "+1" else None
        peak = {"typical": 1.5, "interval": [1.2, 1.9]}
        return {"peak_to_mean": peak, "sessions_moved": moved, "shares": [0.5, 0.25, 0.25], "units": 758, "unit": "request",
                "observed_peak_to_mean": 1.24, "exact": False}  # fmt: skip

    run(drive())


def test_lbtop_answers_what_if_itself() -> None:
    ask = asked(SHOP, name=["10.0.1.11=web1"]).whatif
    assert ask is not None
    answer = ask("shop.example", "round_robin", "+1")
    assert answer["balancing"] == "round_robin" and answer["targets"] == {"before": 3, "after": 4}
    with pytest.raises(RuntimeError, match="no service"):
        ask("elsewhere", "round_robin", "+0")


def test_what_cannot_be_asked_is_said() -> None:
    async def drive() -> None:
        async with driven(read(SHOP)) as (app, pilot):
            await pilot.press("enter", "8")
            await pilot.pause()
            assert "what-if: only over a capture" in screen_text(app)
            await pilot.press("3", "enter", "enter")
            assert isinstance(app.screen, ConnectionScreen)

    run(drive())


def test_observations_that_cannot_be_read_say_why() -> None:
    def fails(row: ConnectionRow) -> Observed:
        raise RuntimeError("the file is gone")

    async def drive() -> None:
        async with driven(read(SHOP), tools=Tools(observations=fails)) as (app, pilot):
            await pilot.press("enter", "3", "enter", "o")
            await app.workers.wait_for_complete()
            await pilot.pause()
            assert "the file is gone" in screen_text(app)

    run(drive())


def engine_with_memory() -> ProcessFeed:
    """The engine's process over a source that cannot be read again, when it has read it all."""
    source = open_capture([str(SHOP)], rows=128, recognition=recognition())
    memory = Memory(source, lambda kept: frames(kept, 20, Options(detail=True)))
    feed = ProcessFeed(memory.snapshots, "live", answer=memory.answer)
    ended = threading.Event()
    feed.start(lambda frame: None, lambda problem: ended.set())
    assert ended.wait(30)
    return feed


def test_what_cannot_be_read_again_is_asked_of_the_engine() -> None:
    """The same observations and the same prediction as from reading the capture once more."""
    feed = engine_with_memory()
    try:
        remembered, again = memory_tools(feed), asked(SHOP)
        assert remembered.observations and again.observations and remembered.whatif and again.whatif
        detail = read(SHOP)[-1].services[0].detail
        assert detail is not None
        for connection in detail.connections[:2]:
            here, there = remembered.observations(connection), again.observations(connection)
            told = [[(row["kind"], row["at"], row.get("path"), row.get("status")) for row in side.rows] for side in (here, there)]
            assert told[0] == told[1] and len(told[0]) > 3 and not here.note
        said = remembered.whatif("shop.example", "round_robin", "+1")
        assert {**again.whatif("shop.example", "round_robin", "+1"), "kept_since_ns": None} == said
        with pytest.raises(RuntimeError, match="no service"):
            remembered.whatif("elsewhere", "round_robin", "+0")
    finally:
        feed.stop()


def test_live_observations_and_what_if_on_screen() -> None:
    feed = engine_with_memory()

    async def drive() -> None:
        async with driven(read(SHOP), live=True, tools=memory_tools(feed)) as (app, pilot):
            await pilot.press("enter", "3", "enter", "enter")
            await app.workers.wait_for_complete()
            await pilot.pause()
            assert isinstance(app.screen, ObservationsScreen) and len(table(app, "observations").rows) > 3
            await pilot.press("escape", "escape", "8")
            await app.workers.wait_for_complete()
            await pilot.pause()
            assert "least connections" in screen_text(app) and "onto 3 targets" in screen_text(app)

    try:
        run(drive())
    finally:
        feed.stop()


def test_a_recording_has_its_observations(tmp_path: Path) -> None:
    recording = tmp_path / "x.lbtop"
    subprocess.run([sys.executable, "-m", "lbtop", "record", "-o", str(recording), str(SHOP)], check=True, capture_output=True)
    again, recorded = asked(SHOP), asked(recording)
    assert again.observations and recorded.observations and recorded.whatif
    detail = read(SHOP)[-1].services[0].detail
    assert detail is not None
    here, there = again.observations(detail.connections[0]), recorded.observations(detail.connections[0])
    assert [row["kind"] for row in here.rows] == [row["kind"] for row in there.rows] and "recording" in there.note
    assert recorded.whatif("shop.example", "round_robin", "+1")["units"]


def test_the_programs_of_a_target_are_named_below_the_table() -> None:
    """As far as they are known: live, and where a capture names them. A name from the wire stays text."""
    programs = (Process(4711, safe_text("[red]nginx"), safe_text("web-1"), None),)
    made = frames_by_hand.service(targets=(frames_by_hand.target("10.0.0.11", 1.0, processes=programs),))

    async def drive() -> None:
        async with driven(spread(frames_by_hand.snapshot(made))) as (app, pilot):
            await pilot.press("enter")
            await pilot.pause()
            assert "[red]nginx" in screen_text(app) and "4711" in screen_text(app)

    run(drive())
