"""The names of a screen's parts on one line; a click opens one."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual import events
from textual.message import Message
from textual.widgets import Static

from lbtop.faces.tui.palette import style

_WIDE = 100


class Tabs(Static):
    """``names``: what each is called on a wide and on a narrow screen."""

    class Chosen(Message):
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self, names: Sequence[tuple[str, str]]) -> None:
        super().__init__(id="tabs", markup=False)
        self._names = names
        self._ends: list[int] = []

    def show(self, chosen: int) -> None:
        text = Text(no_wrap=True)
        wide = self.size.width >= _WIDE
        self._ends = []
        for i, (long, short) in enumerate(self._names):
            text.append(f" {i + 1} {long} " if wide else f"{i + 1} {short}", style("bold reverse" if i == chosen else "dim"))
            text.append(" ")
            self._ends.append(text.cell_len)
        self.update(text, layout=False)

    def on_click(self, event: events.Click) -> None:
        x = event.x - self.styles.padding.left
        number = next((i for i, end in enumerate(self._ends) if x < end), None)
        if number is not None:
            self.post_message(self.Chosen(number))
