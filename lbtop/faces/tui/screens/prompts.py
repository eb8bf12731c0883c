"""Small questions: a time to go to, what to export, which columns to show."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, SelectionList, Static
from textual.widgets.option_list import Option

from lbtop.faces.tui.widgets.table import LineTable

_OFFSET = re.compile(r"([+-])(\d+(?:\.\d+)?)(ms|s|m|h)?$")
_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


def parse_moment(text: str, started_ns: int, ended_ns: int) -> int | None:
    """``14:05``, ``14:05:30``, ``+30s`` after the start, ``-2m`` before the end; None where it is none of these. UTC."""
    text = text.strip()
    offset = _OFFSET.match(text)
    if offset:
        by = int(float(offset[2]) * _UNITS[offset[3]] * 1e9)
        return started_ns + by if offset[1] == "+" else ended_ns - by
    for form in ("%H:%M:%S.%f", "%H:%M:%S", "%H:%M"):
        try:
            clock = datetime.strptime(text, form)
        except ValueError:
            continue
        day = datetime.fromtimestamp(started_ns / 1e9, UTC)
        moment = day.replace(hour=clock.hour, minute=clock.minute, second=clock.second, microsecond=clock.microsecond)
        found = int(moment.timestamp() * 1e9)
        return found if found >= started_ns - 1_000_000_000 else found + 86_400_000_000_000
    return None


class Prompt(ModalScreen[str | None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Cancel")]

    def __init__(self, question: str, example: str) -> None:
        super().__init__()
        self.question, self.example = question, example

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Static(Text(self.question), markup=False)
            yield Input(placeholder=self.example)

    @on(Input.Submitted)
    def _answer(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)


class Choice(ModalScreen[str | None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Cancel")]

    def __init__(self, question: str, options: tuple[tuple[str, str], ...]) -> None:
        super().__init__()
        self.question, self.options = question, options

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Static(Text(self.question), markup=False)
            yield OptionList(*(Option(Text(text), id=key) for key, text in self.options))

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id)


class ColumnChooser(ModalScreen[list[str] | None]):
    """Answers with the keys of the columns to hide."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel"),
        Binding("enter", "accept", "Show these", priority=True),
    ]

    def __init__(self, table: LineTable) -> None:
        super().__init__()
        self.columns = [(column.key, column.title or column.key, not column.hidden) for column in table.columns]

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Static(Text("columns to show: space toggles, Enter keeps"), markup=False)
            yield SelectionList[str](*((Text(title), key, shown) for key, title, shown in self.columns))

    def action_accept(self) -> None:
        shown = set(self.query_one(SelectionList).selected)
        self.dismiss([key for key, _, _ in self.columns if key not in shown])
