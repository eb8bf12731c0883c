"""Where the dashboard's frames come from: an engine in a process of its own, or in a thread.

A process, because Python's interpreter lock is shared by threads: while a capture is read, a key would wait for the engine.
One message per snapshot and the newest wins, so that a slow terminal can never be flooded.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import struct
import threading
from collections.abc import Callable, Iterable
from typing import BinaryIO, Protocol

from lbtop.faces.tui.frames import Packed, pack
from lbtop.model.snapshot import Snapshot

Snapshots = Callable[[], Iterable[Snapshot]]
OnFrame = Callable[[Packed], None]
OnEnd = Callable[[str | None], None]

_LENGTH = struct.Struct("<Q")


class Feed(Protocol):
    """``start`` calls back from a thread of its own: for every frame, and once at the end with what went wrong, if anything."""

    title: str
    live: bool
    pid: int | None  # of the engine's process, if it has one

    def start(self, on_frame: OnFrame, on_end: OnEnd) -> None: ...

    def stop(self) -> None: ...


class ThreadFeed:
    """Frames made in a thread: for what costs nothing to make."""

    def __init__(self, snapshots: Snapshots, title: str, *, live: bool = False) -> None:
        self.title = title
        self.live = live
        self.pid: int | None = None
        self._snapshots = snapshots
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, on_frame: OnFrame, on_end: OnEnd) -> None:
        def run() -> None:
            problem: str | None = None
            try:
                for snapshot in self._snapshots():
                    if self._stopped.is_set():
                        return
                    on_frame(pack(snapshot))
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            on_end(problem)

        self._thread = threading.Thread(target=run, name="engine", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(1.0)


class ProcessFeed:
    """Frames made by a process that is forked here and now: create it before Textual is imported and before any thread runs."""

    def __init__(self, snapshots: Snapshots, title: str, *, live: bool = False) -> None:
        self.title = title
        self.live = live
        self._thread: threading.Thread | None = None
        self._stopping = False
        read, write = os.pipe()
        self.pid: int | None = os.fork()
        if self.pid == 0:
            os.close(read)
            if not live:
                os.nice(5)  # a key comes before the capture; a live probe that waits would lose packets
            _engine(snapshots, write)
        os.close(write)
        self._pipe = os.fdopen(read, "rb", buffering=1 << 16)

    def start(self, on_frame: OnFrame, on_end: OnEnd) -> None:
        def run() -> None:
            problem: str | None = "the engine's process ended before its time"
            with contextlib.suppress(OSError, ValueError):  # closed while reading: the dashboard ends
                while (message := _received(self._pipe)) is not None:
                    if isinstance(message, Packed):
                        on_frame(message)
                    else:
                        problem = message
                        break
            if not self._stopping:
                on_end(problem)

        self._thread = threading.Thread(target=run, name="frames", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the process. It has nothing to tidy up: its sockets, maps and programs go with it."""
        self._stopping = True
        if self.pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        self.pid = None
        if self._thread is not None:
            self._thread.join(1.0)


def _received(pipe: BinaryIO) -> Packed | str | None:
    """The next frame, or how it ended (an empty text: well), or None where the other side is gone."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    body = pipe.read(length)
    return pickle.loads(body) if len(body) == length else None


def _engine(snapshots: Snapshots, write: int) -> None:
    """The forked process: frames into the pipe until there are none, or nobody reads them. Never returns."""
    status = 1
    try:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)  # the screen belongs to the dashboard
        with os.fdopen(write, "wb", buffering=0) as pipe:

            def send(message: Packed | str) -> None:
                body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
                view = memoryview(_LENGTH.pack(len(body)) + body)
                while view:
                    view = view[os.write(pipe.fileno(), view) :]

            problem = ""
            try:
                for snapshot in snapshots():
                    send(pack(snapshot))
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            send(problem)
        status = 0
    finally:
        os._exit(status)
