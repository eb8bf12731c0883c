"""The timeline: one column per stretch of time, all series on scales that start at zero.

Textual's Sparkline scales each series to its own minimum and maximum, so that 1000, 1001 looks like 0, 1000: misleading
for rates and worse for skew. Here a bar is as high as its value against the highest on screen, and the scale stands beside
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

BARS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Moment:
    """One frame as the timeline shows it. ``mark`` is the worst thing that happened then: "critical", "warning", "info" or ""."""

    at_ns: int
    rate: float  # requests (or connections) a second
    skew: float | None  # peak to mean, 1 = even
    affinity: float | None
    breaks: int = 0
    mark: str = ""


SERIES: tuple[tuple[str, str], ...] = (("rate", "rate/s"), ("skew", "peak/mean"), ("affinity", "affinity"))
MARKS = {"critical": "!", "warning": "▲", "info": "·", "": " "}


class Timeline(Widget, can_focus=True):
    """Rates, skew and affinity over time, with findings below; a column can be entered."""

    DEFAULT_CSS = "Timeline { height: 4; background: $surface; }"
    COMPONENT_CLASSES: ClassVar[set[str]] = {"timeline--label", "timeline--cursor", "timeline--mark"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "go", "Go to this second", show=False),
    ]
    LABEL: ClassVar[int] = 16

    selected: reactive[int | None] = reactive(None)

    class Entered(Message):
        """Somebody wants the whole screen at this moment."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.moments: Sequence[Moment] = ()

    def show(self, moments: Sequence[Moment], selected: int | None) -> None:
        self.moments = moments
        self.set_reactive(Timeline.selected, selected)
        self.refresh()

    @property
    def columns(self) -> int:
        return max(1, self.size.width - self.LABEL)

    def spans(self) -> list[tuple[int, int]]:
        """Which moments stand in which column: [first, last) per column, at most one column per moment."""
        count = len(self.moments)
        columns = min(self.columns, count)
        return [(i * count // columns, (i + 1) * count // columns) for i in range(columns)] if count else []

    def render_line(self, y: int) -> Strip:
        label = self.rich_style + self.get_component_rich_style("timeline--label")
        base = self.rich_style
        if y < len(SERIES):
            name, title = SERIES[y]
            values = [self._value(name, span) for span in self.spans()]
            known = [value for value in values if value is not None]
            top = max([*known, 1.0 if name != "rate" else 0.0], default=0.0)
            text = f"{title:>9} {_short(top) if known else '–':>5} "
            segments = [Segment(text, label)]
            for column, value in enumerate(values):
                step = 0 if value is None or top <= 0 else max(0, min(8, round(8 * value / top)))
                if value is not None and value > 0 and step == 0:
                    step = 1
                segments.append(Segment(BARS[step] if value is not None else "·", self._style(column, base)))
            return Strip(segments).adjust_cell_length(self.size.width, base)
        segments = [Segment(f"{'events':>9}       ", label)]
        mark_style = base + self.get_component_rich_style("timeline--mark")
        for column, (start, end) in enumerate(self.spans()):
            marks = {moment.mark for moment in self.moments[start:end]}
            worst = next((name for name in ("critical", "warning", "info") if name in marks), "")
            breaks = sum(moment.breaks for moment in self.moments[start:end])
            char = MARKS[worst] if worst else ("x" if breaks else " ")
            segments.append(Segment(char, self._style(column, mark_style)))
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def _style(self, column: int, style: Style) -> Style:
        if self.selected is not None and self.column_of(self.selected) == column:
            return style + self.get_component_rich_style("timeline--cursor")
        return style

    def column_of(self, index: int) -> int:
        """The column in which a moment stands."""
        for column, (start, end) in enumerate(self.spans()):
            if start <= index < end:
                return column
        return max(0, len(self.spans()) - 1)

    def _value(self, name: str, span: tuple[int, int]) -> float | None:
        values: list[float] = [value for m in self.moments[span[0] : span[1]] if (value := getattr(m, name)) is not None]
        if not values:
            return None
        return max(0.0, sum(values) / len(values) if name == "rate" else values[-1])

    def on_click(self, event: events.Click) -> None:
        column = event.x - self.LABEL
        spans = self.spans()
        if 0 <= column < len(spans):
            self.post_message(self.Entered(spans[column][1] - 1))

    def action_go(self) -> None:
        if self.moments:
            self.post_message(self.Entered(len(self.moments) - 1 if self.selected is None else self.selected))


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
