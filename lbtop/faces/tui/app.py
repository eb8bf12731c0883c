"""The dashboard. It reads snapshots and nothing else: the same screens for a capture, a recording and the live probe."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.theme import Theme
from textual.timer import Timer

from lbtop.faces.tui import export, palette, settings
from lbtop.faces.tui.feed import Feed
from lbtop.faces.tui.filtering import Filter, parse_filter
from lbtop.faces.tui.frames import Packed
from lbtop.faces.tui.machine import TimeMachine
from lbtop.faces.tui.screens.base import FrameScreen
from lbtop.faces.tui.screens.overview import OverviewScreen
from lbtop.faces.tui.screens.prompts import Choice, ColumnChooser, Prompt, parse_moment
from lbtop.faces.tui.themes import THEMES, default_theme
from lbtop.faces.tui.tools import Tools
from lbtop.faces.tui.widgets.filter_line import FilterLine
from lbtop.faces.tui.widgets.table import LineTable
from lbtop.model.snapshot import Detail, Snapshot

_TICK_S = 0.1
_LAST_RESORT_S = 3.0
_REDRAW_S = 0.25
"""While a capture is read, frames come faster than anybody can see: at most one drawing in this time, and in half of it after a
key none, so that the next key does not wait for one."""


class LbtopApp(App[int]):
    """Holds the history of frames and which of them is on screen; screens only draw the frame they are given."""

    CSS_PATH = "lbtop.tcss"
    TITLE = "lbtop"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "pause", "Pause"),
        Binding("q", "quit", "Quit"),
        Binding("left", "step(-1)", "Earlier", show=False),
        Binding("right", "step(1)", "Later", show=False),
        Binding("shift+left", "step(-10)", "10 earlier", show=False),
        Binding("shift+right", "step(10)", "10 later", show=False),
        Binding("end", "newest", "Newest", show=False),
        Binding("n", "finding(1)", "Next finding", show=False),
        Binding("N", "finding(-1)", "Previous finding", show=False),
        Binding("t", "go_to", "Go to a time", show=False),
        Binding("less_than_sign", "speed(-1)", "Slower", show=False),
        Binding("greater_than_sign", "speed(1)", "Faster", show=False),
        Binding("F", "follow", "Follow", show=False),
        Binding("c", "copy_row", "Copy", show=False),
        Binding("E", "export", "Export", show=False),
        Binding("C", "columns", "Columns", show=False),
    ]

    class FrameReady(Message):
        """Newer frames wait in :attr:`_fresh`. At most one of these is in the queue at any time."""

    class FeedEnded(Message):
        def __init__(self, problem: str | None) -> None:
            super().__init__()
            self.problem = problem

    def __init__(
        self, feed: Feed, *, theme: str | None = None, settings_file: Path | None = None, tools: Tools | None = None
    ) -> None:
        # With NO_COLOR the terminal's own colours: Textual would turn "the default one" into black, on black.
        super().__init__(ansi_color=True if os.environ.get("NO_COLOR") else None)
        self.settings_file = settings_file
        self.settings = settings.load(settings_file) if settings_file else settings.Settings()
        self.tools = tools or Tools()
        self.feed = feed
        self.machine = TimeMachine(live=feed.live)
        self.ended = False
        self.problem: str | None = None
        self.filter: Filter = parse_filter("")
        self._player: Timer | None = None
        self._wanted_theme = theme
        self._fresh: list[Packed] = []
        self._lock = threading.Lock()
        self._redraw_due = False
        self._key_at = 0.0
        self._opened: tuple[Packed, Snapshot] | None = None
        self._details: tuple[Packed, str, Detail | None] | None = None

    # -- life ---------------------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        for theme in THEMES:
            self.register_theme(theme)
        self.theme_changed_signal.subscribe(self, self._themed)
        wanted = self._wanted_theme or self.settings.theme
        self.theme = wanted if wanted in self.available_themes else default_theme(os.environ)
        palette.use(self.theme, self.current_theme.dark)
        self.push_screen(OverviewScreen())
        self.feed.start(self._frame_from_thread, self._end_from_thread)
        if threading.current_thread() is threading.main_thread():
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, self._leave, 128 + number)

    def _leave(self, status: int) -> None:
        """Ends in good order, and in any case: a terminal that vanished can keep Textual waiting for it."""

        def force() -> None:
            self.feed.stop()
            os._exit(status)

        last_resort = threading.Timer(_LAST_RESORT_S, force)
        last_resort.daemon = True
        last_resort.start()
        self.exit(status)

    def on_unmount(self) -> None:
        self.feed.stop()

    def _themed(self, theme: Theme) -> None:
        palette.use(theme.name, theme.dark)
        if theme.name != self._wanted_theme and theme.name != default_theme(os.environ):
            self._remember(theme=theme.name)
        elif self.settings.theme is not None and self._wanted_theme is None:
            self._remember(theme=None)
        self.redraw()

    def _frame_from_thread(self, frame: Packed) -> None:
        with self._lock:
            self._fresh.append(frame)
            first = len(self._fresh) == 1
        if first:
            self.post_message(self.FrameReady())

    def _end_from_thread(self, problem: str | None) -> None:
        self.post_message(self.FeedEnded(problem))

    def _take(self) -> None:
        """Moves what came into the history."""
        with self._lock:
            fresh, self._fresh = self._fresh, []
        self.machine.take(fresh)

    def on_lbtop_app_frame_ready(self) -> None:
        first = not self.machine.history.frames
        self._take()
        if first:
            self.redraw()
        elif not self._redraw_due:
            self._redraw_due = True
            self.set_timer(_REDRAW_S, self._redraw_now)

    def _redraw_now(self) -> None:
        if time.monotonic() - self._key_at < _REDRAW_S / 2:
            self.set_timer(_REDRAW_S / 2, self._redraw_now)
            return
        self._redraw_due = False
        self.redraw()

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key):
            self._key_at = time.monotonic()
        await super().on_event(event)

    def on_lbtop_app_feed_ended(self, message: FeedEnded) -> None:
        self._take()
        self.ended = True
        if message.problem:
            self.problem = message.problem
            self.notify(message.problem, title="the source ended", severity="error", markup=False)
        self.redraw()

    # -- which frame --------------------------------------------------------------------------------------------------

    @property
    def frame(self) -> Snapshot | None:
        """The frame on screen."""
        here = self.machine.here
        if here is None:
            return None
        if self._opened is None or self._opened[0] is not here:
            self._opened = (here, here.open())
        return self._opened[1]

    def detail(self, service: str) -> Detail | None:
        """Sessions and connections of one service at the frame on screen."""
        here = self.machine.here
        if here is None:
            return None
        if self._details is None or self._details[0] is not here or self._details[1] != service:
            self._details = (here, service, here.detail(service))
        return self._details[2]

    def redraw(self) -> None:
        """Shows the current frame on the screen that is on top."""
        frame = self.frame
        for screen in reversed(self.screen_stack):
            if isinstance(screen, FrameScreen):
                if screen.is_mounted:
                    screen.refresh_frame(frame)
                break

    def enter(self, index: int | None) -> None:
        """Puts the whole screen at a frame of the history; None is the newest."""
        self.machine.enter(index)
        self.redraw()

    def action_pause(self) -> None:
        """Live: holds the screen, goes on with the newest. Over a capture that is read: plays from here, or holds."""
        if self.ended and not self.feed.live:
            self._play(not self.machine.playing)
        else:
            self.machine.hold()
        self.redraw()

    def _play(self, on: bool) -> None:
        self.machine.play(on)
        if self._player is not None:
            self._player.stop()
        self._player = self.set_interval(_TICK_S, self._play_on) if self.machine.playing else None

    def _play_on(self) -> None:
        if self.machine.play_on(_TICK_S):
            self.redraw()
        if not self.machine.playing:
            self._play(False)

    def action_speed(self, by: int) -> None:
        self.notify(f"{self.machine.faster(by):g} times as fast as it happened", timeout=1.5)
        self.redraw()

    def action_step(self, by: int) -> None:
        last = len(self.machine.history.frames) - 1
        if last >= 0:
            self._play(False)
            self.enter(max(0, min(last, self.machine.index + by)))

    def action_newest(self) -> None:
        self._play(False)
        self.machine.newest()
        self.redraw()

    def action_finding(self, direction: int) -> None:
        """To the next or previous moment at which something was found."""
        stop, around = self.machine.finding(direction)
        if stop is None:
            self.notify("nothing was found", timeout=2)
            return
        if around:
            self.notify("around: from the " + ("first" if direction > 0 else "last"), timeout=2)
        self.enter(stop)

    @on(FilterLine.Changed)
    def _filtered(self, message: FilterLine.Changed) -> None:
        self.filter = parse_filter(message.text)
        self.redraw()

    def action_go_to(self) -> None:
        frames = self.machine.history.frames
        if not frames:
            return
        started_ns, ended_ns = frames[0].moment.started_ns, frames[-1].at_ns

        def go(answer: str | None) -> None:
            if answer:
                moment = parse_moment(answer, started_ns, ended_ns)
                if moment is None:
                    self.notify("that is no time: 14:05, 14:05:30, +30s, -2m", severity="warning", markup=False)
                else:
                    self.enter(self.machine.history.at(moment))

        self.push_screen(Prompt("go to a time (UTC), after the start or before the end", "14:05:30   +30s   -2m"), go)

    # -- tables, files, settings --------------------------------------------------------------------------------------

    @property
    def table(self) -> LineTable | None:
        """The table that has the focus, else the first one on screen."""
        if isinstance(self.focused, LineTable):
            return self.focused
        return next((table for table in self.screen.query(LineTable) if table.display), None)

    def action_follow(self) -> None:
        table = self.table
        if table is not None:
            followed = table.follow()
            self.notify(f"following {followed}" if followed else "following nothing", timeout=2, markup=False)

    def action_copy_row(self) -> None:
        table = self.table
        row = table.current if table else None
        if table is not None and row is not None:
            cells = [str(row.cells.get(column.key, "")).strip() for column in table.columns if not column.hidden]
            self.copy_to_clipboard("\t".join(cell for cell in cells if cell))
            self.notify("row copied", timeout=2)

    def action_export(self) -> None:
        frame = self.frame
        if frame is None:
            return

        def write(kind: str | None) -> None:
            if kind is None:
                return
            if kind == "json":
                text = export.as_json(frame)
            elif kind == "csv" and self.table is not None:
                text = export.as_csv(self.table)
            else:
                text = self.export_screenshot(title="lbtop")
            file = export.file_name(frame, kind, Path.cwd())
            if self.is_web:  # to whoever looks at it, not onto the disk of the host it runs on
                self.deliver_text(io.StringIO(text), save_filename=file.name, open_method="download")
                return
            try:
                with file.open("x", encoding="utf-8", newline="") as new:  # never through a link that somebody put there
                    new.write(text)
            except OSError as error:
                self.notify(f"{file}: {error.strerror}", severity="error", markup=False)
            else:
                self.notify(f"wrote {file.name}", markup=False)

        kinds = (("json", "JSON: everything at this time"), ("csv", "CSV: this table as shown"), ("svg", "SVG: the picture"))
        self.push_screen(Choice("export to the current folder", kinds), write)

    def action_columns(self) -> None:
        table = self.table
        if table is None:
            return

        def apply(hidden: list[str] | None) -> None:
            if hidden is not None and len(hidden) < len(table.columns):
                table.hide(hidden)
                self._remember(hidden={**self.settings.hidden, table.id or "": hidden})

        self.push_screen(ColumnChooser(table), apply)

    def _remember(self, **changes: object) -> None:
        if all(getattr(self.settings, name) == value for name, value in changes.items()):
            return
        self.settings = replace(self.settings, **changes)  # type: ignore[arg-type]
        if self.settings_file is not None:
            try:
                settings.save(self.settings_file, self.settings)
            except OSError as error:
                self.notify(f"settings not kept: {error.strerror}", severity="warning", markup=False)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What the command palette offers beside Textual's own (themes, quit)."""
        yield from super().get_system_commands(screen)
        yield SystemCommand("Go to a time", "the whole screen at that second", self.action_go_to)
        yield SystemCommand("Export", "JSON, CSV or SVG of what is on screen", self.action_export)
        yield SystemCommand("Columns", "which columns the table shows", self.action_columns)
        yield SystemCommand("Newest", "back to now, or to the end of the capture", self.action_newest)
