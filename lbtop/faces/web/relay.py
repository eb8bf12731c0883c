"""One engine's frames to any number of sessions: a browser that comes late, or comes back, gets the whole history first."""

from __future__ import annotations

import contextlib
import threading
from collections import deque

from lbtop.faces.tui.answering import Question, Told
from lbtop.faces.tui.channel import Channel
from lbtop.faces.tui.feed import ChannelFeed, Ended
from lbtop.faces.tui.frames import KEPT_LIVE_NS, MAX_FRAMES, History, Packed


class Relay:
    """Keeps the history of a feed and passes it on, frames one way and questions the other."""

    def __init__(self, feed: ChannelFeed) -> None:
        self._feed = feed
        self._history = History()
        self._ended: Ended | None = None
        self._news = threading.Condition()
        self._sessions: list[deque[Packed]] = []

    def start(self) -> None:
        self._feed.start(self._frame, self._end)

    def _frame(self, frame: Packed) -> None:
        with self._news:
            self._history.add(frame)
            if self._feed.live:
                self._history.forget_before(frame.at_ns - KEPT_LIVE_NS)
            for waiting in self._sessions:
                waiting.append(frame)
            self._news.notify_all()

    def _end(self, problem: str | None) -> None:
        with self._news:
            self._ended = Ended(problem or "")
            self._news.notify_all()

    def join(self, channel: Channel) -> None:
        """Serves one session until it is gone. Starts threads and returns at once."""
        # What a session has not taken yet is bounded: one that does not keep up loses the oldest frames.
        waiting: deque[Packed] = deque(maxlen=MAX_FRAMES)
        gone = threading.Event()
        with self._news:
            waiting.extend(self._history.frames)
            self._sessions.append(waiting)
        threading.Thread(target=self._send, args=(channel, waiting, gone), name="frames out", daemon=True).start()
        threading.Thread(target=self._listen, args=(channel, gone), name="questions in", daemon=True).start()

    def _send(self, channel: Channel, waiting: deque[Packed], gone: threading.Event) -> None:
        told = False
        with contextlib.suppress(OSError):
            while not gone.is_set() and not told:
                with self._news:
                    self._news.wait_for(lambda: waiting or self._ended or gone.is_set())
                    frames = list(waiting)
                    waiting.clear()
                    ended = self._ended
                for frame in frames:
                    channel.send(frame)
                if ended is not None:
                    channel.send(ended)
                    told = True
        with self._news:
            self._sessions = [other for other in self._sessions if other is not waiting]

    def _listen(self, channel: Channel, gone: threading.Event) -> None:
        for question in channel:
            if isinstance(question, Question):
                threading.Thread(target=self._ask, args=(channel, question), name="question", daemon=True).start()
        gone.set()
        with self._news:
            self._news.notify_all()
        channel.close()

    def _ask(self, channel: Channel, question: Question) -> None:
        try:
            told = Told(question.number, self._feed.ask(*question.asked), None)
        except RuntimeError as error:
            told = Told(question.number, None, str(error))
        with contextlib.suppress(OSError):
            channel.send(told)
