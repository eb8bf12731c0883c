"""Where the dashboard's frames come from: an engine in a process of its own, or in a thread.

A process, because Python's interpreter lock is shared by threads: while a capture is read, a key would wait for the engine.
One message per snapshot and the newest wins, so that a slow terminal can never be flooded. The same channel takes questions
the other way: what the engine has in memory and no snapshot holds.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from lbtop.faces.tui.answering import Answer, Answers, Question, Told, what_went_wrong
from lbtop.faces.tui.channel import Channel
from lbtop.faces.tui.frames import Lately, Packed, pack
from lbtop.model.snapshot import Snapshot

Snapshots = Callable[[], Iterable[Snapshot]]
Attend = Callable[[], None]
"""To be called now and then by whoever makes the snapshots: questions that have come are answered in it."""
AttendedSnapshots = Callable[[Attend], Iterable[Snapshot]]
OnFrame = Callable[[Packed], None]
OnEnd = Callable[[str | None], None]

_PATIENCE_S = 60.0


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
            lately = Lately()
            try:
                for snapshot in self._snapshots():
                    if self._stopped.is_set():
                        return
                    on_frame(pack(snapshot, lately))
            except Exception as error:
                problem = what_went_wrong(error)
            on_end(problem)

        self._thread = threading.Thread(target=run, name="engine", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(1.0)


@dataclass(frozen=True, slots=True)
class Ended:
    """No more frames come; the problem is empty where all went well. Questions are still answered."""

    problem: str


class ChannelFeed:
    """Frames that come through a channel, whoever is at its other end."""

    def __init__(self, channel: Channel, title: str, *, live: bool = False, pid: int | None = None) -> None:
        self.title = title
        self.live = live
        self.pid = pid
        self._channel = channel
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._numbers = itertools.count()
        self._waiting: dict[int, tuple[threading.Event, list[Told]]] = {}

    def start(self, on_frame: OnFrame, on_end: OnEnd) -> None:
        def run() -> None:
            ended = False
            for message in self._channel:
                if isinstance(message, Packed):
                    on_frame(message)
                elif isinstance(message, Ended):
                    ended = True
                    on_end(message.problem or None)
                elif isinstance(message, Told):
                    event, told = self._waiting.get(message.number, (threading.Event(), []))
                    told.append(message)
                    event.set()
            for event, _ in list(self._waiting.values()):
                event.set()
            if not ended and not self._stopping:
                on_end("the engine's process ended before its time")

        self._thread = threading.Thread(target=run, name="frames", daemon=True)
        self._thread.start()

    def ask(self, *asked: object) -> object:
        """What the engine answers. Waits for it: not to be called where keys are handled. Raises RuntimeError with a sentence."""
        number = next(self._numbers)
        event, told = self._waiting[number] = (threading.Event(), [])
        try:
            self._channel.send(Question(number, asked))
            event.wait(_PATIENCE_S)
        except OSError:
            pass
        finally:
            del self._waiting[number]
        if not told:
            raise RuntimeError("the engine does not answer")
        if told[0].problem is not None:
            raise RuntimeError(told[0].problem)
        return told[0].answer

    def stop(self) -> None:
        self._stopping = True
        self._channel.close()
        if self._thread is not None:
            self._thread.join(1.0)


class ProcessFeed(ChannelFeed):
    """Frames made by a process that is forked here and now: create it before Textual is imported and before any thread runs."""

    def __init__(self, snapshots: AttendedSnapshots, title: str, *, live: bool = False, answer: Answer | None = None) -> None:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            if not live:
                os.nice(5)  # a key comes before the capture; a live probe that waits would lose packets
            _engine(snapshots, answer, theirs)
        theirs.close()
        super().__init__(Channel(ours), title, live=live, pid=pid)

    def stop(self) -> None:
        """Ends the process. It has nothing to tidy up: its sockets, maps and programs go with it."""
        self._stopping = True
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
            self.pid = None
        super().stop()


def _engine(snapshots: AttendedSnapshots, answer: Answer | None, theirs: socket.socket) -> None:
    """The forked process: frames until there are none, answers until nobody listens. Never returns."""
    status = 1
    try:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)  # the screen belongs to the dashboard
        channel = Channel(theirs)
        answers = Answers(channel, answer)
        problem = ""
        lately = Lately()
        try:
            for snapshot in snapshots(answers.attend):
                channel.send(pack(snapshot, lately))
        except BrokenPipeError:
            return
        except Exception as error:
            problem = what_went_wrong(error)
        channel.send(Ended(problem))
        while answers.open:
            answers.attend(None)
        status = 0
    finally:
        os._exit(status)
