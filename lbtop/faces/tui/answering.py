"""Questions to the engine's process, answered by copies of it: what it remembers is there, and it goes on reading meanwhile."""

from __future__ import annotations

import os
import pickle
import select
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from lbtop.faces.tui.channel import Channel
from lbtop.model.errors import LbtopError

Answer = Callable[..., object]
"""From (what, *arguments) to the answer. Raises RuntimeError with a sentence."""


@dataclass(frozen=True, slots=True)
class Question:
    number: int
    asked: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """The answer to a question, or the sentence why there is none."""

    number: int
    answer: object
    problem: str | None


class Answers:
    """The engine's side of the questions. A fork for each: a live probe that stopped to think would lose packets."""

    def __init__(self, channel: Channel, answer: Answer | None) -> None:
        self.open = True
        """Whether somebody may still ask."""
        self._channel = channel
        self._answer = answer
        self._thinking: dict[int, tuple[int, int]] = {}  # pipe → question, process

    def attend(self, timeout_s: float | None = 0.0) -> None:
        """Takes the questions that have come and passes on the answers that are ready; with None it waits for one of them.
        Raises OSError where nobody is there to be told."""
        while self.open:
            channel = self._channel.fileno()
            ready, _, _ = select.select([channel, *self._thinking], [], [], timeout_s)
            if not ready:
                return
            timeout_s = 0.0
            for descriptor in ready:
                if descriptor == channel:
                    self._take()
                else:
                    self._pass_on(descriptor)

    def _take(self) -> None:
        question = self._channel.receive()
        if not isinstance(question, Question):
            self.open = False
            return
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            _think(self._answer, question, write)
        os.close(write)
        self._thinking[read] = (question.number, pid)

    def _pass_on(self, pipe: int) -> None:
        number, pid = self._thinking.pop(pipe)
        with os.fdopen(pipe, "rb") as file:
            body = file.read()
        os.waitpid(pid, 0)
        answer, problem = pickle.loads(body) if body else (None, "the answer was lost")
        self._channel.send(Told(number, answer, problem))


def what_went_wrong(error: Exception) -> str:
    """For a person: the sentence of an error that has one, of any other its kind as well."""
    return str(error) if isinstance(error, LbtopError) else f"{type(error).__name__}: {error}"


def _think(answer: Answer | None, question: Question, write: int) -> NoReturn:
    """The fork: one answer into the pipe, and away."""
    try:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.nice(10)
        told: object = None
        problem: str | None = None
        try:
            if answer is None:
                raise RuntimeError("nothing is kept that could be asked")
            told = answer(*question.asked)
        except RuntimeError as error:
            problem = str(error)
        except Exception as error:
            problem = what_went_wrong(error)
        with os.fdopen(write, "wb") as file:
            pickle.dump((told, problem), file, pickle.HIGHEST_PROTOCOL)
    finally:
        os._exit(0)
