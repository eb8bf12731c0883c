"""A table drawn line by line.

Textual's DataTable repaints every visible row when one cell changes (22 ms for a screen of 8 columns), which is too much
at two frames a second on a production host. This one formats a row only when it becomes visible or its value changed. The
cursor is the row's *key*, so that it stays on the same target when rows are sorted or come and go.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

Cell = str | Text


@dataclass(frozen=True, slots=True)
class Column:
    """``width`` in cells; 0 shares what is left. On a narrow screen the columns of least ``weight`` give way, the last first."""

    key: str
    title: str
    width: int = 0
    right: bool = False
    hidden: bool = False
    minimum: int = 6
    weight: int = 1


Cells = dict[str, Cell]


class Row:
    """``key`` identifies the row across updates; ``values`` are what filters and sorting read; ``cells`` what is shown: a
    function is asked for them when the row comes into view. ``under`` are lines over the whole width below the cells; every row
    of a table has the same number of them.
    """

    __slots__ = ("_cells", "key", "under", "values")

    def __init__(
        self, key: str, values: dict[str, object], cells: Cells | Callable[[], Cells], under: tuple[Text, ...] = ()
    ) -> None:
        self.key, self.values, self.under = key, values, under
        self._cells = cells

    @property
    def cells(self) -> Cells:
        if not isinstance(self._cells, dict):
            self._cells = self._cells()
        return self._cells


class LineTable(ScrollView, can_focus=True):
    """Rows and columns with a cursor, a sort order and a filter. Replace all rows with :meth:`show`."""

    DEFAULT_CSS = """
    LineTable { height: 1fr; background: $surface; overflow-x: hidden; scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "edge(0)", "First", show=False),
        Binding("enter", "select", "Open", show=False),
        Binding("s", "sort(1)", "Sort"),
        Binding("S", "reverse", "Reverse", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"line-table--header", "line-table--cursor", "line-table--even"}

    cursor: reactive[str | None] = reactive(None)

    class Selected(Message):
        def __init__(self, table: LineTable, row: Row) -> None:
            super().__init__()
            self.table, self.row = table, row

        @property
        def control(self) -> LineTable:
            return self.table

    class Moved(Message):
        def __init__(self, table: LineTable, row: Row) -> None:
            super().__init__()
            self.table, self.row = table, row

        @property
        def control(self) -> LineTable:
            return self.table

    def __init__(self, columns: Sequence[Column], *, empty: str = "nothing here yet", id: str | None = None) -> None:
        super().__init__(id=id)
        self.columns = list(columns)
        self.empty = empty
        self.rows: list[Row] = []
        self.sort_key: str | None = None
        self.descending = True
        self.followed: str | None = None  # the row that stays under the cursor, also when it was away for a while
        self.row_height = 1
        self._moved = False  # nobody has chosen a row yet: the cursor stays on the first
        self.accepts: Callable[[dict[str, object]], bool] = lambda values: True
        self._all: list[Row] = []
        self._base = Style()
        self._drawn: list[tuple[Column, int]] = []

    # -- content ------------------------------------------------------------------------------------------------------

    def show(self, rows: Sequence[Row]) -> None:
        """Replaces all rows. Cursor and scroll stay with their key; equal content costs nothing but the comparison."""
        self._all = list(rows)
        self._arrange()

    def _arrange(self) -> None:
        rows = [row for row in self._all if self.accepts(row.values)]
        if self.sort_key is not None:
            key = self.sort_key
            rows.sort(key=lambda row: _order(row.values.get(key)), reverse=self.descending)
        self.rows = rows
        keys = {row.key for row in rows}
        if self.followed in keys:
            self.cursor = self.followed
        elif self.cursor not in keys or not self._moved:
            self.cursor = rows[0].key if rows else None
        self.row_height = 1 + (len(rows[0].under) if rows else 0)
        self._measure()
        if self.followed is not None:
            self._reveal()
        self.refresh()

    def _measure(self) -> None:
        """Tells the scroll bar. Setting ``virtual_size`` as such would lay out the whole screen whenever a row comes."""
        size = Size(self.width, len(self.rows) * self.row_height + 1)
        if size != self.virtual_size:
            self.set_reactive(LineTable.virtual_size, size)
            self._scroll_update(size)

    def hide(self, keys: Sequence[str]) -> None:
        """Hides these columns and shows all others."""
        self.columns = [replace(column, hidden=column.key in keys) for column in self.columns]
        self.refresh()

    def follow(self) -> str | None:
        """Follows the row under the cursor, or stops following. Returns what is followed now."""
        row = self.current
        self._moved = True
        self.followed = row.key if row is not None and self.followed != row.key else None
        self.refresh()
        return self.followed

    def _reveal(self) -> None:
        index = self.index
        if index is not None:
            region = Region(0, index * self.row_height, 1, self.row_height + 1)  # with the line that the header covers
            self.scroll_to_region(region, animate=False, force=True)

    @property
    def current(self) -> Row | None:
        """The row under the cursor."""
        index = self.index
        return None if index is None else self.rows[index]

    @property
    def index(self) -> int | None:
        return next((i for i, row in enumerate(self.rows) if row.key == self.cursor), None)

    # -- drawing ------------------------------------------------------------------------------------------------------

    def _layout(self) -> list[tuple[Column, int]]:
        """Visible columns and their widths, for the current width of the widget."""
        shown = [column for column in self.columns if not column.hidden]
        space = self.width - len(shown)
        fixed = sum(column.width for column in shown if column.width)
        flexible = [column for column in shown if not column.width]
        while shown and fixed + sum(column.minimum for column in flexible) > space and len(shown) > 2:
            last = min(reversed(shown[1:]), key=lambda column: column.weight)
            shown.remove(last)
            space += 1
            if last.width:
                fixed -= last.width
            else:
                flexible.remove(last)
        share = max(6, (space - fixed) // len(flexible)) if flexible else 0
        return [(column, column.width or share) for column in shown]

    @property
    def width(self) -> int:
        """Columns to draw in, beside the scroll bar."""
        return self.scrollable_content_region.width

    def render_lines(self, crop: Region) -> list[Strip]:
        self._base = self.rich_style  # costly to ask for, the same for all lines of one drawing
        self._drawn = self._layout()
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        width = self.width
        layout = self._drawn
        if y == 0:
            return self._header(layout, width)
        index, line = divmod(y - 1 + int(self.scroll_offset.y), self.row_height)
        if index >= len(self.rows):
            text = f" {self._nothing()}" if not self.rows and y == 1 else ""
            return Strip([Segment(text, self._base + Style(dim=True))]).adjust_cell_length(width, self._base)
        row = self.rows[index]
        base = self._base
        if row.key == self.cursor:
            if self.app.theme.startswith("ansi"):  # no shade of 16 colours leaves bars and letters on it readable
                base = base + Style(underline=self.has_focus, bold=True)
            else:
                base = base + self.get_component_rich_style("line-table--cursor")
        if line:
            under = row.under[line - 1] if line <= len(row.under) else Text()
            base = base if under else self._base  # an empty line only sets rows apart
            return Strip([Segment("   ", base), *_fit(under, max(1, width - 4), False, base)]).adjust_cell_length(width, base)
        segments: list[Segment] = []
        for position, (column, columns) in enumerate(layout):
            here = position == 0 and row.key == self.cursor
            marker = ("◆" if self.followed == row.key else "▸") if here else " "
            segments.append(Segment(marker, base))
            segments.extend(_fit(row.cells.get(column.key, ""), columns, column.right, base))
        return Strip(segments).adjust_cell_length(width, base)

    def _header(self, layout: list[tuple[Column, int]], width: int) -> Strip:
        style = self._base + self.get_component_rich_style("line-table--header")
        segments: list[Segment] = []
        for column, columns in layout:
            mark = ("▾" if self.descending else "▴") if column.key == self.sort_key else ""
            segments.append(Segment(" ", style))
            segments.extend(_fit(Text(column.title + mark), columns, column.right, style))
        return Strip(segments).adjust_cell_length(width, style)

    def on_mount(self) -> None:
        hidden = getattr(self.app, "settings", None)
        if hidden is not None and self.id in hidden.hidden:
            self.hide(hidden.hidden[self.id])

    def on_resize(self, event: events.Resize) -> None:
        self._measure()
        self._reveal()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def _nothing(self) -> str:
        hidden = len(self._all)
        return f"none of {hidden:,} rows passes the filter" if hidden else self.empty

    # -- moving -------------------------------------------------------------------------------------------------------

    def watch_cursor(self, before: str | None) -> None:
        index = self.index
        old = next((i for i, row in enumerate(self.rows) if row.key == before), None)
        if index is not None:
            self._reveal()
            self.post_message(self.Moved(self, self.rows[index]))
        scrolled = int(self.scroll_offset.y)
        for place in (old, index):
            if place is not None:
                top = 1 + place * self.row_height - scrolled
                self.refresh(Region(0, top, self.size.width, self.row_height))

    def action_move(self, by: int) -> None:
        if self.rows:
            index = self.index
            target = 0 if index is None else min(len(self.rows) - 1, max(0, index + by))
            self._moved = True
            self.cursor = self.rows[target].key

    def action_page(self, direction: int) -> None:
        self.action_move(direction * max(1, (self.size.height - 2) // self.row_height))

    def action_edge(self, index: int) -> None:
        if self.rows:
            self._moved = True
            self.cursor = self.rows[index].key

    def action_select(self) -> None:
        row = self.current
        if row is not None:
            self._moved = True
            self.post_message(self.Selected(self, row))

    def action_sort(self, by: int) -> None:
        """Sorts by the next column."""
        keys: list[str | None] = [None, *(column.key for column, _ in self._layout())]
        self.sort_key = keys[(keys.index(self.sort_key) + by) % len(keys)] if self.sort_key in keys else keys[1]
        self._arrange()

    def action_reverse(self) -> None:
        self.descending = not self.descending
        self._arrange()

    def on_click(self, event: events.Click) -> None:
        self.focus()
        if event.y == 0:
            x = 0
            for column, width in self._layout():
                x += width + 1
                if event.x < x:
                    if self.sort_key == column.key:
                        self.descending = not self.descending
                    self.sort_key = column.key
                    self._arrange()
                    return
            return
        index = (event.y - 1 + int(self.scroll_offset.y)) // self.row_height
        if index < len(self.rows):
            self._moved = True
            again = self.rows[index].key == self.cursor
            self.cursor = self.rows[index].key
            if again or event.chain > 1:
                self.action_select()


def _fit(cell: Cell, width: int, right: bool, base: Style) -> list[Segment]:
    """Segments exactly ``width`` cells wide. Text is never parsed as markup."""
    text = cell.copy() if isinstance(cell, Text) else Text(cell)
    text.no_wrap = True
    text.truncate(width, overflow="ellipsis")
    if right:
        text.pad_left(max(0, width - text.cell_len))
    else:
        text.pad_right(max(0, width - text.cell_len))
    plain = text.plain
    if text.style:
        base = base + (Style.parse(text.style) if isinstance(text.style, str) else text.style)
    if not text.spans:
        return [Segment(plain, base)]
    segments: list[Segment] = []
    edges = sorted({0, len(plain), *(s.start for s in text.spans), *(s.end for s in text.spans)})
    for start, end in itertools.pairwise(edges):
        style = base
        for span in text.spans:
            if span.start <= start < span.end:
                style = style + (Style.parse(span.style) if isinstance(span.style, str) else span.style)
        if start < end <= len(plain):
            segments.append(Segment(plain[start:end], style))
    return segments


def _order(value: object) -> tuple[int, float, str]:
    if isinstance(value, int | float):
        return (1, float(value), "")
    return (0, 0.0, str(value or ""))
