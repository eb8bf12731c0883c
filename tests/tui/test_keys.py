"""Every key, on a real capture: what it does to the screen, to time, and to the tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbtop.faces.tui.app import LbtopApp
from lbtop.faces.tui.screens.boxes import EvidenceScreen, FindingScreen
from lbtop.faces.tui.screens.help import KEYS, HelpScreen
from lbtop.faces.tui.screens.overview import OverviewScreen
from lbtop.faces.tui.screens.prompts import Choice, ColumnChooser, Prompt
from lbtop.faces.tui.screens.service import TABS, ServiceScreen
from lbtop.faces.tui.widgets.timeline import Timeline
from tests.tui.driving import SHOP, driven, read, run, screen_text, table


def test_the_first_screen_says_what_is_wrong_and_draws_the_path() -> None:
    async def drive() -> None:
        async with driven(read(SHOP)) as (app, _):
            text = screen_text(app)
            assert "!! " in text and "requests with a session were answered as new" in text
            assert "clients ══" in text and "ALB ┊── " in text.replace("─" * 4, "") and "3 targets :8080" in text
            assert "offload >99 %" in text and "cookie AWSALB" in text and "affinity 0.9" in text
            assert "chance alone gives" in text and "session cookies" in text
            assert "seen from several targets" in text and "all from their start" in text and "MB" in text

    run(drive())


def test_time_goes_back_and_forth_and_the_whole_screen_with_it() -> None:
    async def drive() -> None:
        async with driven(read(SHOP)) as (app, pilot):
            last = len(app.machine.history.frames) - 1
            assert last > 10 and app.machine.position is None
            await pilot.press("left")
            assert app.machine.position == last - 1 and "at -" in screen_text(app)
            await pilot.press("shift+left")
            assert app.machine.position == last - 11
            early = app.frame
            assert early is not None and early.source.connections < read(SHOP)[-1].source.connections
            await pilot.pause()
            assert f"{early.source.connections} connections" in screen_text(app)
            await pilot.press("right", "shift+right", "end")
            assert app.machine.position is None
            await pilot.press("N")
            assert app.machine.position is not None and app.machine.position < last
            await pilot.press("n")
            await pilot.press("t")
            assert isinstance(app.screen, Prompt)
            await pilot.press(*"+1s", "enter")
            assert app.frame is not None and app.frame.at_ns <= app.frame.source.started_ns + 1_000_000_000

    run(drive())


def test_a_time_that_is_none_is_said_and_changes_nothing() -> None:
    async def drive() -> None:
        async with driven(read(SHOP)) as (app, pilot):
            await pilot.press("t", *"soon", "enter")
            assert app.machine.position is None
            await pilot.press("t", "escape")
            assert isinstance(app.screen, OverviewScreen)

    run(drive())


def test_a_capture_is_played_and_held_slower_and_faster() -> None:
    async def drive() -> None:
        async with driven(read(SHOP)) as (app, pilot):
            await pilot.press("space")
            assert app.machine.playing and app.machine.position is not None
            began, slow = app.machine.position, app.machine.speed
            await pilot.press("greater_than_sign", "greater_than_sign", "less_than_sign")
            assert app.machine.speed == 2 * (slow or 0)
            await pilot.pause(0.6)
            assert app.machine.position is not None and app.machine.position > began and "playing" in screen_text(app)
            await pilot.press("space")
            assert not app.machine.playing

    run(drive())


def test_live_is_held_while_more_arrives() -> None:
    async def drive() -> None:
        async with driven(read(SHOP), live=True) as (app, pilot):
            await pilot.press("space")
            held = app.frame
            assert app.machine.paused and "paused" in screen_text(app)
            app.machine.history.add(app.machine.history.frames[-1])
            app.redraw()
            assert app.frame is held
            await pilot.press("end")
            assert not app.machine.paused and app.machine.position is None

    run(drive())


def test_a_column_of_the_timeline_is_entered_by_click_and_by_key() -> None:
    async def drive() -> None:
        async with driven(read(SHOP)) as (app, pilot):
            await pilot.click(Timeline, offset=(Timeline.LABEL + 10, 1))
            await pilot.pause()
            clicked = app.machine.position
            assert clicked is not None and clicked < len(app.machine.history.frames) - 1
            app.screen.query_one(Timeline).focus()
            await pilot.press("right")
            assert app.machine.position is not None and app.machine.position > clicked
            await pilot.press("home")
            assert app.machine.position == 0
            await pilot.press("enter")
            assert app.machine.position == 0

    run(drive())


def test_filter_sort_follow_copy(tmp_path: Path) -> None:
    async def drive() -> None:
        async with driven(read(SHOP)) as (app, pilot):
            await pilot.press("enter")
            targets = table(app, "targets")
            await pilot.press("slash", *"state:gone")
            await pilot.pause()
            assert [row.key for row in targets.rows] == ["10.0.1.11:8080"] and "✓state:gone" in screen_text(app)
            await pilot.press(*" nix:1")
            assert "no field nix" in screen_text(app)
            await pilot.press("escape")
            assert len(targets.rows) == 3
            await pilot.press("s")
            assert targets.sort_key == "target"
            await pilot.press("s", "S")
            assert targets.sort_key == "bar" and not targets.descending
            shares = [row.values["share"] for row in targets.rows]
            assert shares == sorted(shares)  # type: ignore[type-var]
            await pilot.press("down", "F")
            followed = targets.cursor
            await pilot.press("S")
            assert targets.cursor == followed == targets.followed
            await pilot.press("F", "c")
            assert targets.followed is None and str(followed) in app.clipboard

    run(drive())


def test_columns_are_chosen_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "lbtop" / "settings.toml"

    async def drive(first: bool) -> None:
        async with driven(read(SHOP), settings_file=file) as (app, pilot):
            await pilot.press("enter")
            if first:
                await pilot.press("C")
                assert isinstance(app.screen, ColumnChooser)
                await pilot.press("down", "down", "space", "enter")
            hidden = [column.key for column in table(app, "targets").columns if column.hidden]
            assert hidden == ["share"]

    run(drive(True))
    assert "share" in file.read_text()
    run(drive(False))


@pytest.mark.parametrize("kind", ["json", "csv", "svg"])
def test_export(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def drive() -> None:
        async with driven(read(SHOP)) as (app, pilot):
            await pilot.press("E")
            assert isinstance(app.screen, Choice)
            await pilot.press(*["down"] * ["json", "csv", "svg"].index(kind), "enter")
            await pilot.pause()

    run(drive())
    (written,) = tmp_path.iterdir()
    assert written.suffix == f".{kind}" and "shop.example" in written.read_text()


def test_every_tab_evidence_findings_help_and_back() -> None:
    async def drive() -> None:
        async with driven(read(SHOP)) as (app, pilot):
            await pilot.press("e")
            assert isinstance(app.screen, EvidenceScreen)
            evidence = app.screen.text().plain
            assert "where TLS ends: offload" in evidence and "what pins clients: lb_cookie" in evidence
            assert "for" in evidence and "X-Forwarded-Proto" in evidence
            await pilot.press("escape", "tab", "enter")
            assert isinstance(app.screen, FindingScreen)
            assert "what to do" in app.screen.text().plain
            await pilot.press("c", "escape")
            assert "x.pcap" not in app.clipboard and str(SHOP) in app.clipboard
            await pilot.press("shift+tab", "enter")
            assert isinstance(app.screen, ServiceScreen)
            for number in range(len(TABS)):
                await pilot.press(str(number + 1))
                assert app.screen.tab == number
            await pilot.press("question_mark")
            assert isinstance(app.screen, HelpScreen)
            await pilot.press("escape", "escape")
            assert isinstance(app.screen, OverviewScreen)
            await pilot.press("escape")
            assert isinstance(app.screen, OverviewScreen)

    run(drive())


def test_the_mouse_opens_sorts_and_goes_back() -> None:
    async def drive() -> None:
        async with driven(read(SHOP)) as (app, pilot):
            await pilot.click("#services", offset=(4, 1))  # the cursor is there already: it opens
            await pilot.pause()
            assert isinstance(app.screen, ServiceScreen)
            await pilot.click("#tabs", offset=(18, 0))
            assert app.screen.tab == 1
            await pilot.click("#sessions", offset=(3, 0))
            assert table(app, "sessions").sort_key == "key"
            await pilot.click("Header", offset=(10, 0))
            await pilot.pause()
            assert isinstance(app.screen, OverviewScreen)

    run(drive())


def test_the_palette_offers_what_the_keys_do() -> None:
    async def drive() -> None:
        async with driven(read(SHOP)) as (app, pilot):
            titles = {command.title for command in app.get_system_commands(app.screen)}
            assert {"Go to a time", "Export", "Columns", "Newest"} <= titles
            await pilot.press("ctrl+p")
            await pilot.pause()
            assert type(app.screen).__name__ == "CommandPalette"

    run(drive())


def test_the_help_names_every_key() -> None:
    told = " ".join(key for _, keys in KEYS for key, _ in keys)
    for binding in [*LbtopApp.BINDINGS, *ServiceScreen.BINDINGS, *OverviewScreen.BINDINGS]:
        for key in binding.key.split(","):  # type: ignore[union-attr]
            shown = {
                "slash": "/",
                "less_than_sign": "<",
                "greater_than_sign": ">",
                "left": "←",
                "right": "→",
                "shift+left": "shift",
                "shift+right": "shift",
                "end": "End",
                "plus": "+",
                "equals_sign": "+",
                "minus": "-",
            }.get(key, key)
            assert shown in told or shown.isdigit(), key
