"""Ending in order: SIGTERM, SIGHUP and Ctrl-C ask, the loop of a headless command answers."""

from __future__ import annotations

import signal
from contextlib import suppress
from types import FrameType


class Stop:
    """Set once somebody asked the process to end."""

    def __init__(self) -> None:
        self._asked = False
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            with suppress(ValueError):  # not the main thread: whoever runs this there stops it otherwise
                signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def is_set(self) -> bool:
        return self._asked
