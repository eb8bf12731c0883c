"""The dashboard. It reads snapshots and nothing else: the same screens for a capture, a recording and the live probe."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer

from lbtop.faces.tui import export, settings
from lbtop.faces.tui.feed import Feed, History
from lbtop.faces.tui.filtering import Filter, parse_filter
from lbtop.faces.tui.screens.base import FrameScreen
from lbtop.faces.tui.screens.overview import OverviewScreen
from lbtop.faces.tui.screens.prompts import Choice, ColumnChooser, Prompt, parse_moment
from lbtop.faces.tui.themes import THEMES, default_theme
from lbtop.faces.tui.widgets.table import LineTable
from lbtop.model.snapshot import Snapshot


class LbtopApp(App[int]):
    """Holds the history of frames and which of them is on screen; screens only draw the frame they are given."""

    CSS_PATH = "lbtop.tcss"
    TITLE = "lbtop"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("space", "pause", "Pause"),
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
    SPEEDS: ClassVar[tuple[float, ...]] = (1, 2, 4, 8, 16, 32)
    """Frames a second while a capture is played."""

    class FrameReady(Message):
        """A newer frame waits in :attr:`_newest`. At most one of these is in the queue at any time."""

    class FeedEnded(Message):
        def __init__(self, problem: str | None) -> None:
            super().__init__()
            self.problem = problem

    def __init__(self, feed: Feed, *, theme: str | None = None, settings_file: Path | None = None) -> None:
        super().__init__()
        self.settings_file = settings_file
        self.settings = settings.load(settings_file) if settings_file else settings.Settings()
        self.speed = 2
        self._player: Timer | None = None
        self.feed = feed
        self.history = History()
        self.position: int | None = None  # index into the history; None follows the newest
        self.paused = False
        self.ended = False
        self.filter: Filter = parse_filter("")
        self._wanted_theme = theme
        self._newest: list[Snapshot] = []
        self._lock = threading.Lock()

    # -- life ---------------------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        for theme in THEMES:
            self.register_theme(theme)
        wanted = self._wanted_theme or self.settings.theme
        self.theme = wanted if wanted in self.available_themes else default_theme(os.environ)
        self.theme_changed_signal.subscribe(self, lambda theme: self._remember(theme=theme.name))
        self.push_screen(OverviewScreen())
        self.feed.start(self._frame_from_thread, self._end_from_thread)
        for name in ("SIGTERM", "SIGHUP"):
            try:
                signal.signal(getattr(signal, name), self._on_signal)
            except ValueError:  # not the main thread: a test drives the app
                break

    def on_unmount(self) -> None:
        self.feed.stop()

    def _on_signal(self, number: int, frame: object) -> None:
        self.call_later(self.exit, 128 + number)

    def _frame_from_thread(self, snapshot: Snapshot) -> None:
        with self._lock:
            self._newest.append(snapshot)
            first = len(self._newest) == 1
        if first:
            self.post_message(self.FrameReady())

    def _end_from_thread(self, problem: str | None) -> None:
        self.post_message(self.FeedEnded(problem))

    def on_lbtop_app_frame_ready(self) -> None:
        with self._lock:
            fresh, self._newest = self._newest, []
        before = self.frame
        for snapshot in fresh:
            if self.history.add(snapshot) and self.position is not None and before is not None:
                self.position = self.history.at(before.at_ns)
        self.redraw()

    def on_lbtop_app_feed_ended(self, message: FeedEnded) -> None:
        self.ended = True
        if message.problem:
            self.notify(message.problem, title="the source ended", severity="error", markup=False)
        self.redraw()

    # -- which frame --------------------------------------------------------------------------------------------------

    @property
    def frame(self) -> Snapshot | None:
        """The frame on screen."""
        if not self.history.frames:
            return None
        index = len(self.history.frames) - 1 if self.position is None else self.position
        return self.history.frames[min(index, len(self.history.frames) - 1)]

    def redraw(self) -> None:
        """Shows the current frame on the screen that is on top."""
        frame = self.frame
        for screen in reversed(self.screen_stack):
            if isinstance(screen, FrameScreen):
                if frame is not None and screen.is_mounted:
                    screen.show(frame)
                break

    def enter(self, index: int | None) -> None:
        """Puts the whole screen at a frame of the history; None is the newest."""
        last = len(self.history.frames) - 1
        follows = index is None or (index >= last and not self.paused)
        self.position = None if follows else max(0, index or 0)
        self.redraw()

    @property
    def playing(self) -> bool:
        return self._player is not None

    def action_pause(self) -> None:
        """Live: holds the screen, goes on with the newest. Over a capture that is read: plays from here, or holds."""
        if self.ended and not self.feed.live:
            self._play(not self.playing)
            return
        self.paused = not self.paused
        self.enter(len(self.history.frames) - 1 if self.paused else None)

    def _play(self, on: bool) -> None:
        if self._player is not None:
            self._player.stop()
            self._player = None
        if on and len(self.history.frames) > 1:
            if self.position is None:
                self.position = 0
            self._player = self.set_interval(1 / self.SPEEDS[self.speed], self._play_on)
        self.redraw()

    def _play_on(self) -> None:
        if self.position is None or self.position >= len(self.history.frames) - 1:
            self._play(False)
        else:
            self.enter(self.position + 1)

    def action_speed(self, by: int) -> None:
        self.speed = max(0, min(len(self.SPEEDS) - 1, self.speed + by))
        self.notify(f"{self.SPEEDS[self.speed]:g} frames a second", timeout=1.5)
        if self.playing:
            self._play(True)

    def action_step(self, by: int) -> None:
        last = len(self.history.frames) - 1
        if last >= 0:
            here = last if self.position is None else self.position
            self.enter(max(0, min(last, here + by)))

    def action_newest(self) -> None:
        self.paused = False
        self._play(False)
        self.enter(None)

    def action_finding(self, direction: int) -> None:
        """To the next or previous moment at which a new finding appeared."""
        frames = self.history.frames
        here = len(frames) - 1 if self.position is None else self.position
        index = here + direction
        while 0 < index < len(frames):
            before = {(f.id, f.service, f.subject) for f in frames[index - 1].findings}
            if any((f.id, f.service, f.subject) not in before for f in frames[index].findings):
                self.enter(index)
                return
            index += direction
        self.notify("no further finding in this direction", timeout=2)

    def set_filter(self, text: str) -> None:
        self.filter = parse_filter(text)
        self.redraw()

    def action_go_to(self) -> None:
        frames = self.history.frames
        if not frames:
            return
        started_ns, ended_ns = frames[-1].source.started_ns, frames[-1].at_ns

        def go(answer: str | None) -> None:
            if answer:
                moment = parse_moment(answer, started_ns, ended_ns)
                if moment is None:
                    self.notify("that is no time: 14:05, 14:05:30, +30s, -2m", severity="warning", markup=False)
                else:
                    self.enter(self.history.at(moment))

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
            table.following = not table.following
            row = table.current
            what = row.key if table.following and row else "nothing"
            self.notify(f"following {what}", timeout=2, markup=False)

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
            file = export.file_name(frame, kind, Path.cwd())
            try:
                if kind == "json":
                    export.write_json(frame, file)
                elif kind == "csv" and self.table is not None:
                    export.write_csv(self.table, file)
                else:
                    file.write_text(self.export_screenshot(title="lbtop"), encoding="utf-8")
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
