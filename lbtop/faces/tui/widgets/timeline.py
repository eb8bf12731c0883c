"""The timeline: columns of equal stretches of time, all series on scales that start at zero.

Textual's Sparkline scales each series to its own minimum and maximum, so that 1000, 1001 looks like 0, 1000: misleading
for rates and worse for skew. Here a bar is as high as its value against the highest on screen, and the scale stands beside
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from lbtop.faces.tui.frames import Moment
from lbtop.faces.tui.palette import style as role

BARS = " ▁▂▃▄▅▆▇█"
MARKS = {"critical": "!", "warning": "▲", "info": "i"}
TITLES = {"rate": "arrivals/s", "skew": "peak/mean", "affinity": "affinity"}
RANKS = ("critical", "warning", "info")
SHORTEST_LIVE_NS = 60_000_000_000


@dataclass(frozen=True, slots=True)
class Slice:
    """One column: the frame one sees there, and what happened in it."""

    index: int
    rate: float | None
    skew: float | None
    affinity: float | None
    breaks: int
    mark: str


class Timeline(Widget, can_focus=True):
    """Rates, skew and affinity over time, with breaks and findings below; a column can be entered."""

    DEFAULT_CSS = "Timeline { height: 5; background: $surface; }"
    COMPONENT_CLASSES: ClassVar[set[str]] = {"timeline--label", "timeline--cursor"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "go", "Go to this second", show=False),
        Binding("left", "move(-1)", "Earlier column", show=False),
        Binding("right", "move(1)", "Later column", show=False),
        Binding("shift+left", "move(-10)", "10 columns earlier", show=False),
        Binding("shift+right", "move(10)", "10 columns later", show=False),
        Binding("home", "edge(0)", "First column", show=False),
    ]
    LABEL: ClassVar[int] = 17

    class Entered(Message):
        """Somebody wants the whole screen at this frame."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.moments: Sequence[Moment] = ()
        self.marks: Sequence[tuple[int, str]] = ()
        self.selected: int | None = None  # frame on screen; None is the newest
        self.live = False
        self._slices: list[Slice] = []

    def show(self, moments: Sequence[Moment], marks: Sequence[tuple[int, str]], selected: int | None, *, live: bool) -> None:
        """``marks``: time and severity of every finding; ``selected``: the frame on screen, None for the newest."""
        self.moments, self.marks, self.selected, self.live = moments, marks, selected, live
        self._slices = self.slices()
        self.refresh()

    def on_resize(self) -> None:
        self._slices = self.slices()

    @property
    def columns(self) -> int:
        return max(1, self.size.width - self.LABEL)

    @property
    def extent(self) -> tuple[int, int]:
        """Times of the left and the right edge."""
        if not self.moments:
            return 0, 1
        first, last = self.moments[0], self.moments[-1].at_ns
        start = min(first.started_ns or first.at_ns, first.at_ns) if not self.live else first.at_ns
        return start, max(last, start + (SHORTEST_LIVE_NS if self.live else 1))

    def slices(self) -> list[Slice]:
        """One per column up to the newest frame."""
        if not self.moments:
            return []
        start, end = self.extent
        width = (end - start) / self.columns
        rates = _rates(self.moments)
        result: list[Slice] = []
        index = 0
        for column in range(self.columns):
            left, right = start + column * width, start + (column + 1) * width
            if left > self.moments[-1].at_ns:
                break
            last = column == self.columns - 1
            first = index
            while index + 1 < len(self.moments) and (self.moments[index + 1].at_ns < right or last):
                index += 1
            inside = rates[first + 1 : index + 1] or rates[min(index + 1, len(rates) - 1) :][:1]
            moment = self.moments[index]
            shown = moment if moment.at_ns < right or last else None
            newest = self.moments[-1]
            broken = sum(keys for at_ns, keys in newest.breaks if left <= at_ns < right or (last and at_ns >= right))
            marks = {severity for at_ns, severity in self.marks if left <= at_ns < right or (last and at_ns >= right)}
            result.append(Slice(
                index,
                sum(inside) / len(inside) if inside else None,
                shown.skew if shown else None,
                shown.affinity if shown else None,
                broken,
                next((name for name in RANKS if name in marks), ""),
            ))  # fmt: skip
        return result

    def render_line(self, y: int) -> Strip:
        label = self.rich_style + self.get_component_rich_style("timeline--label")
        base = self.rich_style
        rows = self._rows()
        name = rows[y] if y < len(rows) else ""
        if name in TITLES:
            values: list[float | None] = [getattr(piece, name) for piece in self._slices]
            segments = self._bars(name, values, label, base, rows.count(name), y - rows.index(name))
        elif name == "events":
            cells = [
                (MARKS.get(piece.mark, "x" if piece.breaks else "·"), piece.mark or ("unknown" if piece.breaks else "dim"))
                for piece in self._slices
            ]
            segments = [Segment(f"{'events':>10}       ", label), *self._runs(cells, base)]
        elif name == "clock":
            segments = [Segment(self._clock(), label)]
        else:
            segments = []
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def _rows(self) -> list[str]:
        """What stands on each line: on a low screen the rates alone, on a tall one the rates higher."""
        height = self.size.height
        if height < 5:
            return ["rate"] * max(1, height - 2) + ["events", "clock"]
        return ["rate"] * (height - 4) + ["skew", "affinity", "events", "clock"]

    def _bars(self, name: str, values: list[float | None], label: Style, base: Style, lines: int, line: int) -> list[Segment]:
        """One line of a series that is ``lines`` high, ``line`` counted from the top."""
        known = [value for value in values if value is not None]
        top = max([*known, 0.0 if name == "rate" else 1.0]) if known else 0.0
        head = f"{TITLES[name]:>10} {_short(top) if known else '–':>5} "
        segments = [Segment(head if line == 0 else " " * self.LABEL, label)]
        below = 8 * (lines - 1 - line)
        colour = {"rate": "bar", "skew": "hot", "affinity": "good"}[name]
        cells = []
        for value in values:
            full = 0 if value is None or top <= 0 else max(0, round(8 * lines * value / top))
            if value is not None and value > 0 and full == 0:
                full = 1
            step = max(0, min(8, full - below))
            cells.append((BARS[step] if value is not None else " ", colour))
        return [*segments, *self._runs(cells, base)]

    def _runs(self, cells: list[tuple[str, str]], base: Style) -> list[Segment]:
        """Characters and their roles as few segments: each costs Textual as much as a long one would."""
        cursor = self.column_of(self.selected) if self.selected is not None else -1
        segments: list[Segment] = []
        keyed = ((column == cursor, name, char) for column, (char, name) in enumerate(cells))
        for (here, name), run in groupby(keyed, key=lambda cell: cell[:2]):
            style = base + role(name)
            if here:
                style = style + self.get_component_rich_style("timeline--cursor")
            segments.append(Segment("".join(char for _, _, char in run), style))
        return segments

    def _clock(self) -> str:
        """Times under the columns: both edges, and the one on screen."""
        if not self.moments:
            return ""
        start, end = self.extent
        form = "%H:%M:%S" if end - start > 20_000_000_000 else "%H:%M:%S.%f"
        cells = [" "] * (self.LABEL + self.columns)

        def write(at: int, at_ns: int, mark: str = "") -> None:
            text = datetime.fromtimestamp(at_ns / 1e9, UTC).strftime(form)
            text = mark + (text[:-5] if form.endswith("f") else text)
            at = max(self.LABEL, min(len(cells) - len(text), at))
            if all(cell == " " for cell in cells[max(0, at - 1) : at + len(text) + 1]):
                cells[at : at + len(text)] = text

        if self.selected is not None and self.selected < len(self.moments):
            write(self.LABEL + self.column_of(self.selected), self.moments[self.selected].at_ns, "▲")
        write(self.LABEL, start)
        write(len(cells), end)
        write(self.LABEL + self.columns // 2 - 4, (start + end) // 2)
        return "".join(cells)

    def column_of(self, index: int) -> int:
        """The column in which a frame stands."""
        return next((column for column, piece in enumerate(self._slices) if piece.index >= index), max(0, len(self._slices) - 1))

    def on_click(self, event: events.Click) -> None:
        self._enter(event.x - self.LABEL)

    def _enter(self, column: int) -> None:
        if 0 <= column < len(self._slices):
            self.post_message(self.Entered(self._slices[column].index))

    @property
    def _here(self) -> int:
        return self.column_of(len(self.moments) - 1 if self.selected is None else self.selected)

    def action_go(self) -> None:
        self._enter(self._here)

    def action_move(self, by: int) -> None:
        """To the next column that shows another frame."""
        now = self._slices[self._here].index if self._slices else 0
        column = self._here
        for _ in range(abs(by)):
            step = 1 if by > 0 else -1
            while 0 <= column + step < len(self._slices):
                column += step
                if self._slices[column].index != now:
                    break
            now = self._slices[column].index if self._slices else 0
        self._enter(column)

    def action_edge(self, column: int) -> None:
        self._enter(column)


def _rates(moments: Sequence[Moment]) -> list[float]:
    """Arrivals per second in the time before each frame."""
    rates: list[float] = []
    before_ns, before = moments[0].started_ns or moments[0].at_ns, 0
    for number, moment in enumerate(moments):
        span = (moment.at_ns - before_ns) / 1e9
        if number == 0 and moment.started_ns == moment.at_ns:
            span = 0.0
        rates.append(max(0.0, (moment.arrivals - before) / span) if span > 0 else 0.0)
        before_ns, before = moment.at_ns, moment.arrivals
    return rates


def rate_now(moments: Sequence[Moment], index: int) -> float | None:
    """Arrivals per second over the last seconds before a frame: what a header shows."""
    if not moments:
        return None
    here = moments[index]
    then = next((m for m in reversed(moments[:index]) if here.at_ns - m.at_ns >= 2_000_000_000), moments[0])
    span = (here.at_ns - then.at_ns) / 1e9
    return max(0.0, (here.arrivals - then.arrivals) / span) if span > 0 else None


def _short(value: float) -> str:
    """Five characters at most: 0.42, 12.5, 873, 1.2k, 34k, 1.2M."""
    if value >= 1e6:
        return f"{value / 1e6:.1f}M"
    if value >= 10_000:
        return f"{value / 1e3:.0f}k"
    if value >= 1000:
        return f"{value / 1e3:.1f}k"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"
