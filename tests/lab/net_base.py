"""A network namespace, and ending the processes the lab started."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """One network namespace, by name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *command: str, check: bool = True) -> str:
        """Standard output of a command inside the namespace."""
        done = subprocess.run(("ip", "netns", "exec", self.name, *command), capture_output=True, text=True)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def start(
        self, *command: str, log: Path | None = None, env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """A process inside the namespace; its output goes to ``log``."""
        out = open(log, "ab") if log else subprocess.DEVNULL  # noqa: SIM115  the process keeps it
        return subprocess.Popen(
            ("ip", "netns", "exec", self.name, *command),
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **env} if env else None,
            cwd=cwd,
        )

    def enter(self) -> None:
        """Move the calling thread, and no other, into the namespace."""
        handle = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            if _libc.setns(handle, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"setns {self.name}")
        finally:
            os.close(handle)

    def thread(self, work: Callable[[], None]) -> threading.Thread:
        """A started thread that does ``work`` inside the namespace."""

        def body() -> None:
            self.enter()
            work()

        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        return thread

    def sysctl(self, **settings: object) -> None:
        """Set ``net.*`` values; dots are written as double underscores."""
        self.run("sysctl", "-qw", *(f"{key.replace('__', '.')}={value}" for key, value in settings.items()))


def stop(process: subprocess.Popen[bytes], with_signal: int = signal.SIGTERM, patience: float = 5.0) -> None:
    """End a process the lab started, by its own handle, and wait for it."""
    if process.poll() is None:
        process.send_signal(with_signal)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
