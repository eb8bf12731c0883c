"""The dashboard as an operator has it: the installed command in a real terminal (tmux), in a namespace of the lab."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

from tests.lab.net_base import Namespace
from tests.lab.record import Recorder
from tests.live.beside import LBTOP

SIZE = (120, 36)
EVERY_S = 0.1


class Screen:
    """``lbtop live`` in a terminal of its own, until :meth:`close`."""

    def __init__(self, ns: Namespace, *more: str) -> None:
        self._server = f"lbtopscreen{os.getpid()}"
        width, height = map(str, SIZE)
        words = ("ip", "netns", "exec", ns.name, str(LBTOP), "live", *more)
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", width, "-y", height, "env", "COLORTERM=truecolor", *words)
        self._tmux("set", "-g", "default-terminal", "tmux-256color")

    def _tmux(self, *words: str) -> str:
        return subprocess.run(("tmux", "-L", self._server, *words), capture_output=True, text=True).stdout

    def text(self) -> str:
        return self._tmux("capture-pane", "-p")

    def ansi(self) -> str:
        """With its colours, as escape sequences."""
        return self._tmux("capture-pane", "-p", "-e", "-N")

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def close(self) -> None:
        self.press("q")
        deadline = time.monotonic() + 10
        while self._tmux("list-sessions") and time.monotonic() < deadline:
            time.sleep(0.1)
        self._tmux("kill-server")


class Watched(Recorder):
    """A recorder with the dashboard beside it. ``verdict_s``: from the first packets until ``shows`` was on the screen."""

    shows = "offload"

    def __init__(self, ns: Namespace, interface: str, path: Path) -> None:
        super().__init__(ns, interface, path)
        self.screen = Screen(ns, "-i", interface)
        self.verdict_s: float | None = None
        self.last = ""
        self._ns, self._interface = ns, interface
        self._quiet = self._received()
        self._ended = threading.Event()
        deadline = time.monotonic() + 20
        while "lbtop" not in self.screen.text() and time.monotonic() < deadline:
            time.sleep(EVERY_S)
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _received(self) -> int:
        line = next(row for row in self._ns.run("cat", "/proc/net/dev").splitlines() if f"{self._interface}:" in row)
        return int(line.partition(":")[2].split()[1])

    def _watch(self) -> None:
        began = None
        while not self._ended.wait(EVERY_S):
            now = time.monotonic()
            if began is None and self._received() > self._quiet + 20:
                began = now
            if began is not None and self.verdict_s is None and self.shows in self.screen.text():
                self.verdict_s = now - began

    def finish(self) -> Path:
        if not self._ended.is_set():
            time.sleep(1.0)
            self.last = self.screen.ansi()
            self._ended.set()
            self._thread.join()
            self.screen.close()
        return super().finish()
