"""What-if questions of one service: asked one after the other in a thread, so that rows fill in as answers come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from lbtop.faces.tui.tools import Fields, Tools

Asked = tuple[str, int]
"""An algorithm, and how many targets more or fewer."""


class Foretelling:
    """``extra``: how many targets more or fewer the rows on screen are about."""

    def __init__(self, service: str, tools: Tools) -> None:
        self.extra = 0
        self._service = service
        self._tools = tools
        self._answers: dict[Asked, Fields | str] = {}
        self._asked: set[Asked] = set()
        self._waiting: list[Asked] = []
        self._lock = threading.Lock()
        self._working = False

    def want(self) -> bool:
        """Asks what is not asked yet. Returns whether somebody must go and :meth:`work`."""
        with self._lock:
            fresh = [(name, self.extra) for name in self._tools.algorithms if (name, self.extra) not in self._asked]
            self._asked.update(fresh)
            self._waiting += fresh
            due = bool(fresh) and not self._working
            self._working = self._working or due
            return due

    def forget(self) -> None:
        """What was said is of another time: asks again."""
        with self._lock:
            self._asked -= set(self._answers)
            self._answers.clear()

    def work(self, told: Callable[[], object], cancelled: Callable[[], bool]) -> None:
        """Gets the answers, those about the rows on screen first. ``told`` is called after each."""
        ask = self._tools.whatif
        while ask is not None and not cancelled():
            with self._lock:
                if not self._waiting:
                    self._working = False
                    return
                number = next((i for i, (_, extra) in enumerate(self._waiting) if extra == self.extra), 0)
                algorithm, extra = self._waiting.pop(number)
            answer: Fields | str
            try:
                answer = ask(self._service, algorithm, f"{extra:+d}")
            except RuntimeError as error:
                answer = str(error)
            self._answers[(algorithm, extra)] = answer
            if not cancelled():
                told()
        self._working = False

    def rows(self) -> Sequence[tuple[str, Fields | str | None]]:
        """Every algorithm and what is known of it: an answer, why there is none, or None while it is asked."""
        return [(name, self._answers.get((name, self.extra))) for name in self._tools.algorithms]

    def any(self) -> Fields | None:
        """One of the answers, for what all of them have in common."""
        return next((answer for answer in self._answers.values() if isinstance(answer, Mapping)), None)
