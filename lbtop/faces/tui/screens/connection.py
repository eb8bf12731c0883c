"""One connection: its life with the time between its events; and the observations behind it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static
from textual.worker import get_current_worker

from lbtop.faces.tui import draw
from lbtop.faces.tui.screens.base import FrameScreen, Header, Words
from lbtop.faces.tui.screens.boxes import Box
from lbtop.faces.tui.tools import Fields, Observed
from lbtop.faces.tui.widgets.filter_line import FilterLine
from lbtop.faces.tui.widgets.keys import Keys
from lbtop.faces.tui.widgets.table import Column, LineTable, Row
from lbtop.faces.words import length, plural, size
from lbtop.model.snapshot import ConnectionRow, Snapshot
from lbtop.model.text import safe_text

EVENT_COLUMNS = (
    Column("clock", "time (UTC)", width=12, weight=9),
    Column("gap", "after", width=9, right=True, weight=8),
    Column("wait", "", width=10, weight=2),
    Column("what", "event", width=9, weight=9),
    Column("detail", "", minimum=20, weight=9),
)
OBSERVATION_COLUMNS = (
    Column("at", "time (UTC)", width=15, weight=9),
    Column("kind", "observation", width=12, weight=9),
    Column("fields", "what was observed", minimum=20, weight=9),
)
MOST_OBSERVATIONS = 5_000


class ConnectionScreen(FrameScreen):
    about = "The life of one connection. Enter shows the observations behind it, as lbtop observe prints them."
    BINDINGS: ClassVar[list[BindingType]] = [Binding("o", "observations", "Observations")]

    def __init__(self, row: ConnectionRow) -> None:
        super().__init__()
        self.row = row

    @property
    def trail(self) -> list[str]:
        return [f"connection {self.row.number}"]

    def compose(self) -> ComposeResult:
        yield Header()
        yield Static(self._facts(), id="facts", markup=False)
        yield FilterLine()
        yield LineTable(EVENT_COLUMNS, empty="nothing was seen on it", id="events")
        yield Keys()

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#events").focus()

    def draw(self, frame: Snapshot) -> None:
        table = self.query_one("#events", LineTable)
        table.accepts = self.lbtop.filter
        table.show(_event_rows(self.row))

    def _facts(self) -> Text:
        row = self.row
        text = Text.assemble((f"{row.client} → {row.target}", draw.style("bold")), f"   {row.protocol.replace('_', ' ')}")
        text.append(
            f"\n{plural(row.requests, 'request')}, {size(row.bytes_in)} in, {size(row.bytes_out)} out, "
            f"{plural(row.retransmits, 'retransmit')}, longest silence {length(row.idle_s)}",
            draw.style("dim"),
        )
        if row.health_check:
            text.append("\na health check", draw.style("dim"))
        if not row.seen_from_start:
            text.append("\njoined in the middle: what came before is not known", draw.style("hot"))
        return text

    @on(LineTable.Selected, "#events")
    def action_observations(self) -> None:
        if self.lbtop.tools.observations is None:
            self.notify(f"single observations: {self.lbtop.tools.without}", markup=False)
        else:
            self.app.push_screen(ObservationsScreen(self.row))

    def action_filter(self) -> None:
        self.query_one(FilterLine).open()


def _event_rows(row: ConnectionRow) -> list[Row]:
    rows: list[Row] = []
    before = row.opened_ns
    longest = max(1, row.last_ns - row.opened_ns)
    for number, event in enumerate(row.events):
        gap = max(0, event.at_ns - before)
        waited = draw.bar(gap, 0.0, longest, 10, marked=False, hot=gap > 1_000_000_000)
        rows.append(
            Row(
                str(number),
                {"clock": event.at_ns, "gap": gap, "what": event.what, "detail": event.detail, "wait": gap},
                {
                    "clock": clock(event.at_ns),
                    "gap": f"+{length(gap / 1e9)}" if number else "",
                    "wait": waited,
                    "what": Text(event.what, draw.style("critical" if event.detail.startswith("RST") else "accent")),
                    "detail": event.detail,
                },
            )
        )
        before = event.at_ns
    return rows


def clock(at_ns: int) -> str:
    """``14:05:30.123``, UTC."""
    return datetime.fromtimestamp(at_ns / 1e9, UTC).strftime("%H:%M:%S.%f")[:-3]


class ObservationsScreen(FrameScreen):
    about = "Every observation of one connection, as the decoder made it. Enter shows all fields of one."

    def __init__(self, row: ConnectionRow) -> None:
        super().__init__()
        self.row = row
        self._rows: list[Row] = []
        self._fields: dict[str, Fields] = {}

    @property
    def trail(self) -> list[str]:
        return ["observations"]

    def compose(self) -> ComposeResult:
        yield Header()
        yield Words(id="note")
        yield FilterLine()
        yield LineTable(OBSERVATION_COLUMNS, empty="looking for the observations of this connection …", id="observations")
        yield Keys()

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#note").display = False
        self.query_one("#observations").focus()
        self._read()

    def draw(self, frame: Snapshot) -> None:
        table = self.query_one("#observations", LineTable)
        table.accepts = self.lbtop.filter
        table.show(self._rows)

    @work(thread=True, exclusive=True)
    def _read(self) -> None:
        """Reads the capture once more, for this connection alone."""
        worker = get_current_worker()
        observe = self.lbtop.tools.observations
        rows: list[Row] = []
        fields: dict[str, Fields] = {}
        problem = note = ""
        try:
            answer = observe(self.row) if observe else Observed(())
            note = answer.note
            for observed in answer.rows:
                if worker.is_cancelled:
                    return
                row = _observation_row(len(rows), observed)
                rows.append(row)
                fields[row.key] = observed
                if len(rows) == MOST_OBSERVATIONS:
                    break
        except RuntimeError as error:
            problem = str(error)
        if len(rows) == MOST_OBSERVATIONS:
            note = f"the first {MOST_OBSERVATIONS:,}; lbtop observe has them all"
        if not worker.is_cancelled:
            self.app.call_from_thread(self._done, rows, fields, problem, note)

    def _done(self, rows: list[Row], fields: dict[str, Fields], problem: str, note: str) -> None:
        table = self.query_one("#observations", LineTable)
        table.empty = problem or "no observation of this connection is there"
        self.query_one("#note", Words).say(Text(note, draw.style("hot")))
        self.query_one("#note").display = bool(note)
        self._rows, self._fields = rows, fields
        table.show(rows)

    @on(LineTable.Selected, "#observations")
    def _open(self, event: LineTable.Selected) -> None:
        self.app.push_screen(FieldsScreen(self._fields[event.row.key]))

    def action_filter(self) -> None:
        self.query_one(FilterLine).open()


_NOT_TOLD = frozenset({"kind", "seq", "at", "client", "server", "connection"})


def _observation_row(number: int, fields: Fields) -> Row:
    text = Text(no_wrap=True)
    for name, value in fields.items():
        if name not in _NOT_TOLD and value not in (None, "", [], 0, False):
            text.append(f"{name} ", draw.style("dim"))
            text.append(safe_text(_told(value)) + "  ")
    kind = str(fields.get("kind", ""))
    return Row(
        str(number),
        {"at": str(fields.get("at", "")), "kind": kind, "fields": text.plain, "status": fields.get("status")},
        {"at": str(fields.get("at", ""))[11:26], "kind": Text(kind, draw.style("accent")), "fields": text},
    )


def _told(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


class FieldsScreen(Box):
    """All fields of one observation."""

    title_text = "observation"

    def __init__(self, fields: Fields) -> None:
        super().__init__()
        self.fields = fields

    def text(self) -> Text:
        text = Text()
        for name, value in self.fields.items():
            told = "–" if value is None else safe_text(_told(value))
            text.append_text(draw.hanging(Text(f"{name:<18} ", draw.style("accent")), Text(told), self.width))
        return text
