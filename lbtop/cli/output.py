"""What this process's terminal can show, and progress on it."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import TextIO

from lbtop.faces.terminal import Terminal
from lbtop.model.errors import LbtopError
from lbtop.model.observation import SourceStats
from lbtop.model.text import safe_text

COLOR_CHOICES = ("auto", "always", "never")
_NARROWEST, _WIDEST = 40, 110


def terminal(stream: TextIO, color: str = "auto") -> Terminal:
    """What ``stream`` can show. Away from a terminal: 80 columns, no colour, so that the same input gives the same bytes."""
    tty = stream.isatty()
    width = 80
    if tty:
        with contextlib.suppress(OSError):
            width = os.get_terminal_size(stream.fileno()).columns or 80
    wanted = color == "always" or (
        color == "auto" and tty and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )
    return Terminal(width=min(max(width, _NARROWEST), _WIDEST), color=wanted, unicode=_has_boxes(stream))


def _has_boxes(stream: TextIO) -> bool:
    try:
        "═┊█…".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


class Progress:
    """Bytes, rate and time left on one line of standard error: only on a terminal, only when it takes long.

    ``interrupted``: what is had when the reading is ended early.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        quiet_s: float = 1.0,
        every_s: float = 0.25,
        interrupted: str = "the verdict on what was read",
    ) -> None:
        self._stream = stream = stream or sys.stderr
        self._started = self._last = time.monotonic()
        self._quiet_s, self._every_s, self._interrupted = quiet_s, every_s, interrupted
        self._on = stream.isatty()
        self._drawn = False

    def __call__(self, stats: SourceStats) -> None:
        now = time.monotonic()
        if not self._on or now - self._started < self._quiet_s or now - self._last < self._every_s:
            return
        from lbtop.faces.words import length, size

        self._last, self._drawn = now, True
        elapsed = now - self._started
        rate = stats.read_bytes / elapsed
        text = f"{size(stats.read_bytes)}, {size(int(rate))}/s, {stats.packets:,} packets"
        if stats.total_bytes and rate:
            text = (
                f"{100 * stats.read_bytes / stats.total_bytes:.0f} % of {size(stats.total_bytes)}, {text[text.index(',') + 2 :]}"
            )
            text += f", {length(max(0.0, (stats.total_bytes - stats.read_bytes) / rate))} left"
        self._stream.write(f"\r\x1b[K{text}  (Ctrl-C: {self._interrupted})")
        self._stream.flush()

    def done(self) -> None:
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
    """What goes wrong inside is said to be about writing this file. Raises LbtopError."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise LbtopError(f"cannot write {safe_text(path)}: {error.strerror}") from None


def warn(message: str) -> None:
    print(f"lbtop: {message}", file=sys.stderr)
