"""The time machine: which frame of the history is on screen, held, stepped through or played. No clock and no screen in it."""

from __future__ import annotations

from collections.abc import Iterable

from lbtop.faces.tui.frames import KEPT_LIVE_NS, History, Packed

SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
"""How many times faster than it happened a capture is played."""
_WHOLE_S = 30
"""Played for the first time, all of it takes half a minute at most."""


class TimeMachine:
    def __init__(self, *, live: bool) -> None:
        self.history = History()
        self.position: int | None = None
        """Index into the history; None follows the newest."""
        self.paused = False
        self.playing = False
        self.speed: float | None = None
        """None until somebody plays."""
        self._live = live
        self._played_ns = 0

    def take(self, fresh: Iterable[Packed]) -> None:
        """Adds frames to the history. The frame on screen stays on screen."""
        here, moved = self.here, False
        newest = None
        for newest in fresh:
            moved = self.history.add(newest) or moved
        if self._live and newest is not None:
            moved = self.history.forget_before(newest.at_ns - KEPT_LIVE_NS) or moved
        if moved and self.position is not None and here is not None:
            self.position = self.history.at(here.at_ns)

    @property
    def here(self) -> Packed | None:
        """The frame on screen."""
        return self.history.frames[self.index] if self.history.frames else None

    @property
    def index(self) -> int:
        """Where in the history the frame on screen stands; -1 where there is none."""
        return self._last if self.position is None else min(self.position, self._last)

    @property
    def _last(self) -> int:
        return len(self.history.frames) - 1

    def enter(self, index: int | None) -> None:
        """Goes to a frame of the history; None is the newest."""
        follows = index is None or (index >= self._last and not self.paused)
        self.position = None if follows else max(0, min(self._last, index or 0))
        if not self.playing and self.position is not None:
            self._played_ns = self.history.frames[self.position].at_ns

    def hold(self) -> None:
        """Holds the frame on screen, or goes on with the newest."""
        self.paused = not self.paused
        self.enter(self._last if self.paused else None)

    def newest(self) -> None:
        self.paused = self.playing = False
        self.enter(None)

    def play(self, on: bool) -> None:
        """From the frame on screen, or from the first where that is the last. One frame alone is nothing to play."""
        frames = self.history.frames
        self.playing = on and len(frames) > 1
        if self.playing:
            if self.position is None:
                self.position = 0
            if self.speed is None:
                length_s = (frames[-1].at_ns - frames[0].at_ns) / 1e9
                self.speed = next((speed for speed in SPEEDS if speed >= 1 and length_s / speed <= _WHOLE_S), SPEEDS[-1])
            self._played_ns = frames[self.position].at_ns

    def play_on(self, seconds: float) -> bool:
        """So many seconds of playing went by. Returns whether another frame is on screen."""
        self._played_ns += int(seconds * (self.speed or 1.0) * 1e9)
        if self._played_ns >= self.history.frames[-1].at_ns:
            self.newest()
            return True
        index = self.history.at(self._played_ns)
        moved = index != self.position
        self.position = index
        return moved

    def faster(self, by: int) -> float:
        """Steps up or down in :data:`SPEEDS`. Returns the speed."""
        now = SPEEDS.index(self.speed) if self.speed in SPEEDS else SPEEDS.index(1.0)
        self.speed = SPEEDS[max(0, min(len(SPEEDS) - 1, now + by))]
        return self.speed

    def finding(self, direction: int) -> tuple[int | None, bool]:
        """The next (1) or previous (-1) frame at which something was found, None where nothing was; whether it went around."""
        stops = sorted({self._frame_with(at_ns) for at_ns, _ in self.history.first_seen().values()})
        if direction < 0:
            stops.reverse()
        stop = next((stop for stop in stops if (stop - self.index) * direction > 0), None)
        return (stop, False) if stop is not None else (stops[0] if stops else None, True)

    def _frame_with(self, at_ns: int) -> int:
        """The first frame that knows of a moment."""
        return next((i for i, frame in enumerate(self.history.frames) if frame.at_ns >= at_ns), self._last)
