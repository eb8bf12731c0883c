"""Where the dashboard's frames come from: a thread that runs the engine and hands over the newest snapshot.

One message per snapshot and the newest wins, so that a slow terminal can never be flooded. The history is bounded: when it
is full, every second frame of its older half is dropped, so that an hour stays an hour, only coarser the further back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from lbtop.model.snapshot import Snapshot

MAX_FRAMES = 720


class History:
    """Frames in order of time, bounded."""

    def __init__(self, limit: int = MAX_FRAMES) -> None:
        self.limit = limit
        self.frames: list[Snapshot] = []

    def add(self, frame: Snapshot) -> bool:
        """Appends a frame. Returns whether older frames were thinned out (indexes changed)."""
        self.frames.append(frame)
        if len(self.frames) <= self.limit:
            return False
        half = len(self.frames) // 2
        self.frames = self.frames[:half:2] + self.frames[half:]
        return True

    def at(self, at_ns: int) -> int:
        """Index of the last frame not after a time; 0 when all are after it."""
        index = 0
        for i, frame in enumerate(self.frames):
            if frame.at_ns > at_ns:
                break
            index = i
        return index


class Feed:
    """Runs ``snapshots()`` in a thread of its own. ``on_frame`` is called from that thread for every snapshot."""

    def __init__(self, snapshots: Callable[[threading.Event], Iterable[Snapshot]], title: str, *, live: bool = False) -> None:
        self.title = title
        self.live = live
        self.error: str | None = None
        self._snapshots = snapshots
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, on_frame: Callable[[Snapshot], None], on_end: Callable[[str | None], None]) -> None:
        def run() -> None:
            problem: str | None = None
            try:
                for snapshot in self._snapshots(self._stop):
                    if self._stop.is_set():
                        break
                    on_frame(snapshot)
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
                self.error = problem
            on_end(problem)

        self._thread = threading.Thread(target=run, name="engine", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Asks the engine to end and waits briefly. The thread is a daemon: a stuck source cannot keep the process alive."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(1.0)
