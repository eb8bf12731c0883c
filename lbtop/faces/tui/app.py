"""The dashboard. It reads snapshots and nothing else: the same screens for a capture, a recording and the live probe."""

from __future__ import annotations

import os
import signal
import threading
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.message import Message

from lbtop.faces.tui.feed import Feed, History
from lbtop.faces.tui.filtering import Filter, parse_filter
from lbtop.faces.tui.screens.base import FrameScreen
from lbtop.faces.tui.screens.overview import OverviewScreen
from lbtop.faces.tui.themes import THEMES, default_theme
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
    ]

    class FrameReady(Message):
        """A newer frame waits in :attr:`_newest`. At most one of these is in the queue at any time."""

    class FeedEnded(Message):
        def __init__(self, problem: str | None) -> None:
            super().__init__()
            self.problem = problem

    def __init__(self, feed: Feed, *, theme: str | None = None) -> None:
        super().__init__()
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
        self.theme = self._wanted_theme or default_theme(os.environ)
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
        self.position = None if index is None or (index >= last and not self.paused) else max(0, index)
        self.redraw()

    def action_pause(self) -> None:
        self.paused = not self.paused
        self.position = len(self.history.frames) - 1 if self.paused and self.position is None else self.position
        if not self.paused:
            self.position = None
        self.redraw()

    def action_step(self, by: int) -> None:
        last = len(self.history.frames) - 1
        if last >= 0:
            here = last if self.position is None else self.position
            self.enter(max(0, min(last, here + by)))

    def action_newest(self) -> None:
        self.paused = False
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
