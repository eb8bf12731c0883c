"""What every screen that shows a frame shares: header with breadcrumbs, the timeline, going back."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import ClassVar, cast

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widgets import Static

from lbtop.faces.terminal import cut
from lbtop.faces.tui.palette import style
from lbtop.faces.tui.stage import Stage
from lbtop.faces.tui.widgets.timeline import Timeline, rate_now
from lbtop.faces.words import VANTAGES, percent, plural
from lbtop.model.snapshot import Snapshot, SourceFrame

_MODES = {"now": "good", "end": "good", "reading": "good", "playing": "accent", "paused": "hot", "at": "hot"}


class Header(Static):
    """Two lines: where one is and at what time; what is read, how well it is seen, and what lbtop itself costs."""

    DEFAULT_CSS = "Header { height: 2; background: $panel; }"

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._measured = (0.0, "")
        self._last_cpu: tuple[float, float] | None = None
        self._parts: list[tuple[int, int, FrameScreen, int]] = []  # from, to (columns), screen, its own part

    def show(self, frame: Snapshot | None) -> None:
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(" lbtop ", style("bold reverse"))
        state, clock = _state(self.screen.lbtop, frame)  # type: ignore[attr-defined]
        room = self.size.width - 9 - len(state) - len(clock) - 7
        self._crumbs(text, room)
        text.pad_right(max(1, self.size.width - text.cell_len - len(state) - len(clock) - 6))
        text.append(f"{state} ", style(_MODES.get(state.split()[0], "good")))
        text.append(f"{clock} UTC"[: max(0, self.size.width - text.cell_len)], style("bold"))
        text.append("\n")
        text.append_text(self._source(frame))
        self.update(text, layout=False)

    def _crumbs(self, text: Text, room: int) -> None:
        parts = [
            (part, screen, number)
            for screen in self.app.screen_stack
            if isinstance(screen, FrameScreen)
            for number, part in enumerate(screen.trail)
        ]
        widest = max(8, (room - 3 * len(parts)) // max(1, len(parts)))
        self._parts = []
        for i, (part, screen, number) in enumerate(parts):
            text.append(" › " if i else " ", style("dim"))
            label = Text(
                part if sum(len(p) + 3 for p, _, _ in parts) <= room else part[: widest - 1] + "…" * (len(part) >= widest)
            )
            start = text.cell_len
            text.append(label.plain, style("bold" if i == len(parts) - 1 else "underline"))
            self._parts.append((start, text.cell_len, screen, number))

    def on_click(self, event: events.Click) -> None:
        if event.y == 0:
            for start, end, screen, number in self._parts:
                if start <= event.x < end:
                    while self.app.screen_stack[-1] is not screen and len(self.app.screen_stack) > 2:
                        self.app.pop_screen()
                    screen.cut_trail(number)
                    return

    def _source(self, frame: Snapshot | None) -> Text:
        app: Stage = self.screen.lbtop  # type: ignore[attr-defined]
        text = Text(f" {cut(app.feed.title, max(16, self.size.width // 4))}", no_wrap=True)
        if frame is not None:
            for part, look in (*_impaired(frame.source), *_seen(frame.source, self._rate())):
                text.append(part, style(look))
        cost = f" lbtop {self._own_cost()}"
        text.truncate(max(10, self.size.width - len(cost) - 1), overflow="ellipsis")
        text.pad_right(max(0, self.size.width - text.cell_len - len(cost) - 1))
        text.append(cost, style("dim"))
        return text

    def _rate(self) -> float | None:
        app: Stage = self.screen.lbtop  # type: ignore[attr-defined]
        here = app.machine.index
        return rate_now([packed.moment for packed in app.machine.history.frames[max(0, here - 40) : here + 1]], -1)

    def _own_cost(self) -> str:
        """CPU and memory of this process and of the engine's, measured once a second at most."""
        now = time.monotonic()
        if now - self._measured[0] > 1.0:
            import psutil

            feed = self.screen.lbtop.feed  # type: ignore[attr-defined]
            cpu, memory = 0.0, 0
            for pid in (os.getpid(), *([feed.pid] if feed.pid else [])):
                try:
                    process = psutil.Process(pid)
                    spent = process.cpu_times()
                    cpu += spent.user + spent.system
                    memory += process.memory_info().rss
                except psutil.Error:
                    continue
            before, self._last_cpu = self._last_cpu, (now, cpu)
            share = max(0.0, (cpu - before[1]) / (now - before[0])) if before else None
            told = "" if share is None else f"{share:.0%} cpu ".replace("%", " %")
            self._measured = (now, f"{told}{memory / 1e6:.0f} MB")
        return self._measured[1]


def _impaired(source: SourceFrame) -> Iterator[tuple[str, str]]:
    """What makes the sight worse. It comes first: on a narrow screen the rest gives way."""
    if source.dropped_packets:
        yield f" · {source.dropped_packets:,} packets dropped", "critical"
    if source.truncated_packets:
        yield f" · {source.truncated_packets:,} cut", "hot"
    if source.caps_reached:
        yield f" · at cap: {', '.join(source.caps_reached)}", "hot"
    if source.connections and source.connections_seen_from_start < 0.9 * source.connections:
        yield f" · only {percent(source.connections_seen_from_start / source.connections)} seen from their start", "hot"


def _seen(source: SourceFrame, rate: float | None) -> Iterator[tuple[str, str]]:
    """What is seen, and from where."""
    place = VANTAGES.get(source.vantage, source.vantage)
    yield f" · {place} · {plural(source.connections, 'connection')}", "none"
    share = source.connections_seen_from_start / source.connections if source.connections else 0.0
    if share >= 0.9:
        yield ", all from their start" if share == 1 else f", {percent(share)} from their start", "dim"
    for note in source.notes[:2]:
        yield f" · {note}", "hot"
    if rate is not None:
        yield f" · {rate:.3g}/s" if rate < 1000 else f" · {rate:,.0f}/s", "none"
    if source.dropped_packets == 0:
        yield " · none dropped", "dim"
    if source.undecoded_packets:
        yield f" · {source.undecoded_packets:,} not decoded", "dim"


def _state(app: Stage, frame: Snapshot | None) -> tuple[str, str]:
    """What the clock does, and what it says."""
    if frame is None:
        return ("waiting" if app.feed.live or not app.ended else "nothing was read"), "--:--:--"
    clock = time.strftime("%H:%M:%S", time.gmtime(frame.at_ns / 1e9))
    if app.machine.playing:
        return f"playing {app.machine.speed or 1:g}×", clock
    if app.machine.paused:
        return "paused", clock
    if app.machine.position is not None:
        back = (app.machine.history.frames[-1].at_ns - frame.at_ns) / 1e9
        return f"at -{back:.1f} s" if back < 100 else f"at -{back / 60:.0f} min", clock
    if app.feed.live:
        return ("ended" if app.ended else "now"), clock
    return ("end" if app.ended else "reading"), clock


class Words(Static):
    """Text that changes rarely: drawn again only when it did, laid out again only where its height is not ``fixed``."""

    def __init__(self, *, id: str, fixed: bool = False) -> None:
        super().__init__(id=id, markup=False)
        self._fixed = fixed
        self._shown: Text | None = None

    def say(self, text: Text) -> None:
        if self._shown is None or text != self._shown or text.style != self._shown.style:
            self._shown = text
            self.update(text, layout=not self._fixed)


class FrameScreen(Screen[None]):
    """A screen that draws one snapshot. Subclasses say their :attr:`trail` and draw in :meth:`draw`."""

    about: ClassVar[str] = ""
    """What one sees here, for the help."""
    _composed = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "back", "Back"),
        Binding("question_mark", "help", "Help"),
    ]

    def compose(self) -> ComposeResult:
        yield Header()

    @property
    def lbtop(self) -> Stage:
        return cast(Stage, self.app)

    @property
    def trail(self) -> list[str]:
        """Where one is, as breadcrumbs; the first is the screen itself."""
        return ["overview"]

    def cut_trail(self, number: int) -> None:
        """Goes back to one of the screen's own breadcrumbs."""

    def draw(self, frame: Snapshot) -> None:
        """Puts a frame on the screen."""

    def refresh_frame(self, frame: Snapshot | None) -> None:
        if not self._composed:
            return
        self.query_one(Header).show(frame)
        if frame is None:
            return
        self.draw(frame)
        app = self.lbtop
        try:
            timeline = self.query_one(Timeline)
        except NoMatches:
            return
        timeline.show(
            [packed.moment for packed in app.machine.history.frames],
            list(app.machine.history.first_seen().values()),
            app.machine.position,
            live=app.feed.live,
        )

    def on_mount(self) -> None:
        self._composed = True
        self.call_after_refresh(self._draw_again)

    def on_screen_resume(self) -> None:
        self._draw_again()

    def on_resize(self) -> None:
        self.set_class(self.size.height < 30, "low")
        self.set_class(self.size.height >= 38, "tall")
        self.call_after_refresh(self._draw_again)

    def _draw_again(self) -> None:
        if self.is_mounted and self.is_current:
            self.refresh_frame(self.lbtop.frame)

    @on(Timeline.Entered)
    def _enter(self, event: Timeline.Entered) -> None:
        self.lbtop.enter(event.index)

    def action_help(self) -> None:
        from lbtop.faces.tui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(self))

    def action_back(self) -> None:
        if len(self.app.screen_stack) > 2:
            self.app.pop_screen()
