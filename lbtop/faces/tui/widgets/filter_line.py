"""The line in which a filter is typed. Mistakes are marked in place while typing; Enter keeps, Escape clears."""

from __future__ import annotations

from typing import ClassVar

from rich.highlighter import Highlighter
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from lbtop.faces.tui.draw import style
from lbtop.faces.tui.filtering import FIELDS, parse_filter


class Validity(Highlighter):
    """Colours what is typed: the field and its value where they are understood, the whole term where they are not."""

    def highlight(self, text: Text) -> None:
        for term in parse_filter(text.plain).terms:
            text.stylize(style("critical" if term.error else "good"), term.start, term.end)
            if term.error:
                text.stylize("underline", term.start, term.end)


class FilterLine(Horizontal):
    DEFAULT_CSS = """
    FilterLine { height: 1; display: none; background: $panel; }
    FilterLine.open { display: block; }
    FilterLine Input, FilterLine Input:focus { width: 2fr; height: 1; border: none; padding: 0 1; background: $surface; }
    FilterLine Static { width: 3fr; height: 1; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "clear", "Clear", show=False)]

    class Changed(Message):
        """Another filter holds from now on."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def compose(self) -> ComposeResult:
        yield Input(placeholder="target:10.0.0.0/8 mode:offload -state:gone", id="filter", compact=True, highlighter=Validity())
        yield Static(markup=False, id="filter-state")

    def open(self) -> None:
        self.add_class("open")
        self.query_one(Input).focus()
        self._explain(self.query_one(Input).value)

    def action_clear(self) -> None:
        self.query_one(Input).value = ""
        self.remove_class("open")
        self._apply("")
        self.screen.focus_next("LineTable")

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._explain(event.value)
        self._apply(event.value)

    @on(Input.Submitted)
    def _kept(self, event: Input.Submitted) -> None:
        event.stop()
        if not event.value:
            self.remove_class("open")
        self.screen.focus_next("LineTable")

    def _apply(self, text: str) -> None:
        self.post_message(self.Changed(text))

    def _explain(self, text: str) -> None:
        state = Text(no_wrap=True, overflow="ellipsis")
        parsed = parse_filter(text)
        if not text:
            state.append("fields: " + " ".join(FIELDS), style("dim"))
        for term in parsed.terms:
            good = term.error is None
            state.append(("✓" if good else "✗") + text[term.start : term.end] + " ", style("green" if good else "bold red"))
        if parsed.error:
            state.append(parsed.error, style("red"))
        self.query_one(Static).update(state, layout=False)
