"""``python -m tests.bench.dashboard FILE…``: what a person waits for, measured in a terminal of our own.

The program runs as it is installed, in a pseudo-terminal; a key is answered when the words it leads to have been written. Times
are of the first frame, of the first verdict, of keys pressed while the capture is being read, and of the end of the reading.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import select
import signal
import statistics
import struct
import sys
import termios
import time
from dataclasses import dataclass, field
from pathlib import Path

SIZE = (120, 40)
PATIENCE_S = 20.0
TABS = {"2": b"session or client", "3": b"lasted", "4": b"returns", "5": b"different", "1": b"p99 ms"}
"""A key of a service's screen and words that are there only after it."""
_END = re.compile(rb"end (?:\x1b\[[0-9;]*m)+\d\d:\d\d:\d\d UTC")


class Screen:
    """One dashboard in a pseudo-terminal."""

    def __init__(self, arguments: list[str]) -> None:
        self._seen = b""
        self.began = time.perf_counter()
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
            os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
            os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
            os.execv(sys.executable, [sys.executable, "-m", "lbtop", *arguments])

    def step_back(self) -> None:
        """Under chrt the dashboard alone is measured in real time. Its engine steps back to where it would be: a process that
        never sleeps and goes before everything would keep the kernel from handing on what is written to a terminal."""
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            return
        for child in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            for task in os.listdir(f"/proc/{child}/task"):
                os.sched_setscheduler(int(task), os.SCHED_OTHER, os.sched_param(0))

    def press(self, key: str) -> float:
        self._seen = b""
        os.write(self.terminal, key.encode())
        return time.perf_counter()

    def until(self, words: bytes, since: float) -> float:
        """Seconds since ``since`` until these words were written."""
        deadline = time.perf_counter() + PATIENCE_S
        while words not in self._seen and time.perf_counter() < deadline:
            if not select.select([self.terminal], [], [], 1.0)[0]:
                continue
            self._seen = self._seen[-4096:] + os.read(self.terminal, 1 << 16)
        if words not in self._seen:
            raise TimeoutError(f"{words!r} never came; last: {self._seen[-200:]!r}")
        return time.perf_counter() - since

    def pause(self, seconds: float) -> bytes:
        """Lets time pass; what was written in it."""
        seen = b""
        deadline = time.perf_counter() + seconds
        while (left := deadline - time.perf_counter()) > 0:
            if select.select([self.terminal], [], [], left)[0]:
                try:
                    seen += os.read(self.terminal, 1 << 16)
                except OSError:  # the other side is gone
                    break
        return seen

    def close(self) -> None:
        os.kill(self.pid, signal.SIGTERM)
        deadline = time.perf_counter() + 5
        while time.perf_counter() < deadline and os.waitpid(self.pid, os.WNOHANG) == (0, 0):
            self.pause(0.02)
        os.close(self.terminal)


@dataclass(slots=True)
class Waits:
    """Milliseconds."""

    paint: list[float] = field(default_factory=list)
    verdict: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    keys: list[float] = field(default_factory=list)
    later: list[float] = field(default_factory=list)
    boxes: list[float] = field(default_factory=list)


def measure(capture: Path, waits: Waits) -> None:
    """One run over a capture."""
    screen = Screen(["replay", str(capture)])
    try:
        waits.paint.append(1e3 * screen.until(b" lbtop ", screen.began))
        screen.step_back()
        waits.verdict.append(1e3 * screen.until(b"clients", screen.began))
        screen.press("\r")
        screen.until(b"8 What-if", time.perf_counter())
        screen.pause(0.2)
        ended = 0.0
        while not ended:
            for key, words in TABS.items():
                (waits.later if ended else waits.keys).append(1e3 * screen.until(words, screen.press(key)))
                seen = screen.pause(0.05)
                if _END.search(seen) and not ended:
                    ended = time.perf_counter() - screen.began
            waits.boxes.append(1e3 * screen.until(b"choose a row", screen.press("?")))
            seen = screen.pause(0.1)
            screen.press("\x7f")  # no escape: with the next key it would be another
            seen += screen.pause(0.3)
            if _END.search(seen) and not ended:
                ended = time.perf_counter() - screen.began
        waits.ended.append(1e3 * ended)
    finally:
        screen.close()


def told(values: list[float]) -> str:
    """Median and 95th percentile in milliseconds."""
    if not values:
        return "– | – | 0"
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return f"{statistics.median(ordered):.0f} ms | {p95:.0f} ms | {len(ordered)}"


def rows(capture: Path, rounds: int) -> list[str]:
    """Rows of the table for one capture."""
    waits = Waits()
    for _ in range(rounds):
        measure(capture, waits)
    size = f"{capture.name} ({capture.stat().st_size / 1e9:.2f} GB)"
    waited = {
        "first paint": waits.paint,
        "first verdict": waits.verdict,
        "a key while it is read": waits.keys,
        "the help box while it is read": waits.boxes,
        "all read, every frame": waits.ended,
    }
    return [f"| {size} | {name} | {told(values)} |" for name, values in waited.items()]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.dashboard", description=__doc__)
    parser.add_argument("captures", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    print("| capture | what is waited for | median | p95 | times |", "|---|---|---|---|---|", sep="\n")
    for capture in options.captures:
        print(*rows(capture, options.rounds), sep="\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
