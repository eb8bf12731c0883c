"""What every screen that shows a frame shares: header, breadcrumbs, the filter line, going back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Static

from lbtop.faces.tui.draw import style
from lbtop.faces.words import percent
from lbtop.model.snapshot import Snapshot

if TYPE_CHECKING:
    from lbtop.faces.tui.app import LbtopApp


class Header(Static):
    """Two lines: what is read and how well it is seen; what lbtop itself costs."""

    DEFAULT_CSS = "Header { height: 1; background: $panel; }"

    def __init__(self) -> None:
        super().__init__(markup=False)
        import psutil

        self._process = psutil.Process()
        self._measured = (0.0, "")

    def show(self, frame: Snapshot, crumbs: str, state: str) -> None:
        source = frame.source
        coverage = source.connections_seen_from_start / source.connections if source.connections else None
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(" lbtop ", style("bold reverse"))
        text.append(f" {crumbs} ", style("bold"))
        text.append(state, style("bold yellow" if state.startswith(("paused", "at ")) else "green"))
        text.append(f" · seen from {source.vantage.replace('_', ' ')}")
        text.append(f" · {source.connections:,} conn")
        if coverage is not None and coverage < 0.995:
            text.append(f" ({percent(coverage)} from their start)", style("yellow"))
        if source.dropped_packets:
            text.append(f" · {source.dropped_packets:,} dropped", style("bold red"))
        if source.undecoded_packets:
            text.append(f" · {source.undecoded_packets:,} not decoded", style("dim"))
        if source.caps_reached:
            text.append(f" · at cap: {', '.join(source.caps_reached)}", style("yellow"))
        text.append(f" · {self._own_cost()}", style("dim"))
        self.update(text, layout=False)

    def _own_cost(self) -> str:
        now = time.monotonic()
        if now - self._measured[0] > 1.0:
            cpu = self._process.cpu_percent(None)
            memory = self._process.memory_info().rss / 1e6
            self._measured = (now, f"cpu {cpu:.0f} % {memory:.0f} MB")
        return self._measured[1]


class FrameScreen(Screen[None]):
    """A screen that draws one snapshot. Subclasses say their crumbs and draw in :meth:`draw`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "back", "Back"),
        Binding("question_mark", "help", "Help"),
    ]

    def compose(self) -> ComposeResult:
        yield Header()

    @property
    def lbtop(self) -> LbtopApp:
        return cast("LbtopApp", self.app)

    @property
    def crumbs(self) -> str:
        return "overview"

    def draw(self, frame: Snapshot) -> None:
        """Puts a frame on the screen."""

    def show(self, frame: Snapshot) -> None:
        self.query_one(Header).show(frame, self.crumbs, self._state(frame))
        self.draw(frame)

    def on_mount(self) -> None:
        if self.lbtop.frame is not None:
            self.show(self.lbtop.frame)

    def on_screen_resume(self) -> None:
        if self.lbtop.frame is not None and self.is_mounted:
            self.show(self.lbtop.frame)

    def _state(self, frame: Snapshot) -> str:
        clock = time.strftime("%H:%M:%S", time.gmtime(frame.at_ns / 1e9))
        if self.lbtop.playing:
            return f"playing {clock}"
        if self.lbtop.paused:
            return f"paused {clock}"
        if self.lbtop.position is not None:
            return f"at {clock}"
        return f"end {clock}" if self.lbtop.ended else f"now {clock}"

    def action_help(self) -> None:
        from lbtop.faces.tui.screens.details import HelpScreen

        self.app.push_screen(HelpScreen(self.crumbs))

    def action_back(self) -> None:
        if len(self.app.screen_stack) > 2:
            self.app.pop_screen()
