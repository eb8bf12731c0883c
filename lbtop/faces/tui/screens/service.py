"""One service: its targets, sessions, connections, what pins clients, what is readable, the handshakes, its findings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.worker import get_current_worker

from lbtop.faces.tui import draw
from lbtop.faces.tui.foretelling import Foretelling
from lbtop.faces.tui.screens import judged, rows
from lbtop.faces.tui.screens.base import FrameScreen, Header, Words
from lbtop.faces.tui.screens.boxes import EvidenceScreen, FindingScreen
from lbtop.faces.tui.screens.connection import ConnectionScreen
from lbtop.faces.tui.widgets.filter_line import FilterLine
from lbtop.faces.tui.widgets.keys import Keys
from lbtop.faces.tui.widgets.table import LineTable, Row
from lbtop.faces.tui.widgets.tabs import Tabs
from lbtop.faces.tui.widgets.timeline import Timeline
from lbtop.faces.words import percent, plural
from lbtop.model.snapshot import ConnectionRow, Service, SessionRow, Snapshot

TABS = (
    ("targets", "Targets", "Targets"),
    ("sessions", "Sessions", "Sessions"),
    ("connections", "Connections", "Conns"),
    ("affinity", "Affinity", "Affinity"),
    ("exposure", "Exposure", "Exposure"),
    ("tls", "Handshakes", "TLS"),
    ("service-findings", "Findings", "Findings"),
    ("whatif", "What-if", "What-if"),
)
NUMBER = {name: number for number, (name, _, _) in enumerate(TABS)}
ABOUT = {
    "targets": "Each target's share on one scale; │ marks the fair share. Enter: the sessions of a target.",
    "sessions": "One letter per arrival, the target it went to; a reversed letter is a move. Enter: its connections.",
    "connections": "Connections, newest first. Enter: the life of one, then its observations.",
    "affinity": "How much more often than by chance a returning key meets its target again: 0 chance, 1 always.",
    "exposure": "Kinds of secrets on readable hops, counted. Values are never kept, shown or written.",
    "tls": "What client and server hellos in view say.",
    "service-findings": "What is wrong, worst first. Enter: evidence, advice and the command that confirms it.",
    "whatif": "The captured arrivals through other algorithms. + and - change the number of targets.",
}


@dataclass(frozen=True, slots=True)
class Scope:
    """A breadcrumb within a service: rows are narrowed to one target or one session."""

    label: str
    came_from: int  # tab
    session: Callable[[SessionRow], bool]
    connection: Callable[[ConnectionRow], bool]


class ServiceScreen(FrameScreen):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "evidence", "Evidence"),
        Binding("slash", "filter", "Filter"),
        Binding("plus,equals_sign", "more(1)", "More targets", show=False),
        Binding("minus", "more(-1)", "Fewer targets", show=False),
        *(Binding(str(i + 1), f"tab({i})", title, show=False) for i, (_, title, _) in enumerate(TABS)),
    ]

    def __init__(self, service: str, target: str | None = None) -> None:
        super().__init__()
        self._first_target = target
        self.service = service
        self.tab = 0
        self.scopes: list[Scope] = []
        self._foretelling: Foretelling | None = None

    @property
    def about(self) -> str:  # type: ignore[override]
        return ABOUT[TABS[self.tab][0]]

    @property
    def trail(self) -> list[str]:
        return [self.service, *(scope.label for scope in self.scopes)]

    def compose(self) -> ComposeResult:
        yield Header()
        yield Words(id="facts")
        yield Tabs([(title, short) for _, title, short in TABS])
        yield FilterLine()
        yield LineTable(rows.TARGET_COLUMNS, empty="no target", id="targets")
        yield LineTable(rows.SESSION_COLUMNS, empty="no session or client came more than once yet", id="sessions")
        yield LineTable(rows.CONNECTION_COLUMNS, empty="no connection yet", id="connections")
        yield LineTable(judged.KEY_COLUMNS, empty="no key was seen twice", id="affinity")
        yield LineTable(judged.EXPOSURE_COLUMNS, empty="no secret seen on a readable hop", id="exposure")
        yield LineTable(judged.TLS_COLUMNS, empty="no TLS handshake in view", id="tls")
        yield LineTable(judged.FINDING_COLUMNS, empty="nothing found", id="service-findings")
        yield LineTable(judged.WHATIF_COLUMNS, empty="", id="whatif")
        yield Words(id="info", fixed=True)
        yield Timeline(id="timeline")
        yield Keys()

    def on_mount(self) -> None:
        super().on_mount()
        self.action_tab(0)
        if self._first_target is not None:
            self._narrow_to_target(self._first_target)

    @on(Tabs.Chosen)
    def _chosen(self, event: Tabs.Chosen) -> None:
        self.action_tab(event.number)

    def action_tab(self, index: int) -> None:
        if TABS[index][0] == "whatif" and self.tab != index and not self.lbtop.ended:
            self.foretelling.forget()  # traffic went on since
        self.tab = index
        for name, _, _ in TABS:
            self._table(name).display = name == TABS[index][0]
        self._table(TABS[index][0]).focus()
        self.query_one(Tabs).show(index)
        self._draw_again()

    def _table(self, name: str) -> LineTable:
        return self.query_one(f"#{name}", LineTable)

    def _service(self, frame: Snapshot | None) -> Service | None:
        return next((service for service in frame.services if service.service == self.service), None) if frame else None

    # -- drawing ------------------------------------------------------------------------------------------------------

    def draw(self, frame: Snapshot) -> None:
        service = self._service(frame)
        name = TABS[self.tab][0]
        table = self._table(name)
        self.query_one(Tabs).show(self.tab)
        if service is None:
            self.query_one("#facts", Words).say(Text("this service had not been seen at this time", draw.style("dim")))
            table.show([])
            return
        self.query_one("#facts", Words).say(self._facts(service))
        table.accepts = self.lbtop.filter
        table.show(self._rows(name, service, frame))
        self._inform(service)

    def _rows(self, name: str, service: Service, frame: Snapshot) -> list[Row]:
        """The rows of one tab. Sessions and connections are unpacked only where somebody looks at them."""
        if name == "targets":
            return rows.target_rows(service)
        if name == "sessions":
            return rows.session_rows(service, self._sessions())
        if name == "connections":
            return rows.connection_rows(self._connections())
        if name == "affinity":
            return judged.key_rows(service)
        if name == "exposure":
            return judged.exposure_rows(service, frame.source.started_ns, frame.at_ns)
        if name == "tls":
            return judged.tls_rows(service)
        if name == "whatif":
            return self._whatif_rows()
        return judged.finding_rows(frame, service)

    def _sessions(self) -> list[SessionRow]:
        detail = self.lbtop.detail(self.service)
        sessions = detail.sessions if detail else ()
        return [row for row in sessions if all(scope.session(row) for scope in self.scopes)]

    def _connections(self) -> list[ConnectionRow]:
        detail = self.lbtop.detail(self.service)
        connections = detail.connections if detail else ()
        return [row for row in connections if all(scope.connection(row) for scope in self.scopes)]

    def _facts(self, service: Service) -> Text:
        width = self.size.width - 2
        lines = [draw.path(service, width)]
        verdict = service.termination.verdict
        ends = Text.assemble(("TLS ends ", draw.style("dim")), draw.mode_badge(service))
        if verdict.value is None:
            ends.append(" · candidates ", draw.style("dim"))
            ends.append_text(draw.candidates_line({mode.value: p for mode, p in verdict.candidates.items()}))
        else:
            why = next((item.detail for item in verdict.evidence if verdict.token in (item.favours or "").split("/")), "")
            ends.append(f" · {why}" if why else "", draw.style("dim"))
        pinned = Text.assemble(("pinned by ", draw.style("dim")), draw.mechanism_badge(service.stickiness), " · ")
        pinned.append_text(draw.affinity_line(service))
        lines += [ends, pinned, draw.load_line(service)]
        for nat in [nat for nat in service.nat if nat.share >= 0.1][:1]:
            high = "" if nat.users_high == nat.users_low else f" to {nat.users_high}" if nat.users_high else " or more"
            told = f"{nat.address}: {nat.users_low}{high} users behind it, {percent(nat.share)} of the load"
            lines.append(Text.assemble(("NAT ", draw.style("dim")), told))
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        return Text("\n").join(lines)

    @on(LineTable.Moved)
    def _moved(self) -> None:
        service = self._service(self.lbtop.frame)
        if service is not None:
            self._inform(service)

    def _inform(self, service: Service) -> None:
        """Below the table: what its columns have no room for."""
        name = TABS[self.tab][0]
        room = self.query_one("#info", Words).size.height
        row = self._table(name).current
        text = Text()
        if name == "targets" and row is not None:
            number = next((i for i, target in enumerate(service.targets) if target.target == row.key), None)
            if number is not None:
                text = rows.target_story(number, service.targets[number])
        elif name == "sessions" and row is not None:
            session = next((session for session in self._sessions() if rows.session_key(session) == row.key), None)
            text = rows.session_history(service, session) if session else text
        elif name == "affinity":
            text = judged.breaks_text(service, max(1, room - 1))
        elif name == "tls":
            tls = service.exposure.tls
            if tls.resumption_offered:
                text = Text(f"sessions offered for resumption {tls.resumption_offered:,}, accepted {tls.resumption_accepted:,}")
        elif name == "whatif":
            text = self._whatif_note(service)
        lines = text.split("\n")[: max(1, room)]
        for line in lines:
            line.truncate(self.size.width - 2, overflow="ellipsis")
        shown = Text("\n").join(lines)
        panel = self.query_one("#info", Words)
        panel.say(shown if shown.plain else Text(self.about, draw.style("dim")))

    # -- going deeper -------------------------------------------------------------------------------------------------

    def _narrow(self, scope: Scope, tab: str) -> None:
        self.scopes.append(scope)
        self.action_tab(NUMBER[tab])

    @on(LineTable.Selected, "#targets")
    def _open_target(self, event: LineTable.Selected) -> None:
        self._narrow_to_target(event.row.key)

    def _narrow_to_target(self, target: str) -> None:
        """The sessions of one target; its connections where no session is known."""
        service = self._service(self.lbtop.frame)
        number = next((i for i, row in enumerate(service.targets) if row.target == target), -1) if service else -1
        scope = Scope(
            f"target {target}",
            self.tab,
            lambda session: any(index == number for _, index in session.strip),
            lambda connection: connection.target == target,
        )
        self.scopes.clear()
        self._narrow(scope, "sessions")
        if not self._sessions():
            self.action_tab(NUMBER["connections"])

    @on(LineTable.Selected, "#sessions")
    def _open_session(self, event: LineTable.Selected) -> None:
        """The connections that one session used."""
        same = event.row.key
        session = next((session for session in self._sessions() if rows.session_key(session) == same), None)
        if session is None:
            return
        used = frozenset(session.connections)
        scope = Scope(
            session.key,
            self.tab,
            lambda other: rows.session_key(other) == same,
            lambda connection: connection.number in used,
        )
        self._narrow(scope, "connections")

    @on(LineTable.Selected, "#connections")
    def _open_connection(self, event: LineTable.Selected) -> None:
        for row in self._connections():
            if str(row.number) == event.row.key:
                self.app.push_screen(ConnectionScreen(row))
                return

    @on(LineTable.Selected, "#service-findings")
    def _open_finding(self, event: LineTable.Selected) -> None:
        frame = self.lbtop.frame
        for finding in frame.findings if frame else ():
            if frame and finding.service == self.service and judged.finding_key(finding) == event.row.key:
                self.app.push_screen(FindingScreen(finding, frame.source))
                return

    def cut_trail(self, number: int) -> None:
        if number < len(self.scopes):
            tab = self.scopes[number].came_from
            del self.scopes[number:]
            self.action_tab(tab)

    def action_back(self) -> None:
        if self.scopes:
            self.cut_trail(len(self.scopes) - 1)
        else:
            super().action_back()

    def action_evidence(self) -> None:
        frame = self.lbtop.frame
        service = self._service(frame)
        if TABS[self.tab][0] == "service-findings":
            self._table("service-findings").action_select()
        elif frame is not None and service is not None:
            self.app.push_screen(EvidenceScreen(service, frame.source))

    def action_filter(self) -> None:
        self.query_one(FilterLine).open()

    # -- what-if ------------------------------------------------------------------------------------------------------

    @property
    def foretelling(self) -> Foretelling:
        if self._foretelling is None:
            self._foretelling = Foretelling(self.service, self.lbtop.tools)
        return self._foretelling

    def action_more(self, by: int) -> None:
        """More or fewer targets than there are."""
        service = self._service(self.lbtop.frame)
        if TABS[self.tab][0] == "whatif" and service is not None and len(service.targets) + self.foretelling.extra + by >= 1:
            self.foretelling.extra += by
            self._draw_again()

    def _whatif_rows(self) -> list[Row]:
        tools = self.lbtop.tools
        if tools.whatif is None or not (self.lbtop.ended or tools.while_reading):
            self._table("whatif").empty = (
                f"what-if: {tools.without}" if tools.whatif is None else "what-if is there when all of it has been read"
            )
            return []
        if self.foretelling.want():
            self._foretell()
        return [judged.whatif_row(name, answer) for name, answer in self.foretelling.rows()]

    @work(thread=True)
    def _foretell(self) -> None:
        worker = get_current_worker()
        self.foretelling.work(lambda: self.app.call_from_thread(self._foretold), lambda: worker.is_cancelled)

    def _foretold(self) -> None:
        if TABS[self.tab][0] == "whatif" and self.is_current:
            self._table("whatif").show(self._whatif_rows())
            self._moved()

    def _whatif_note(self, service: Service) -> Text:
        count = len(service.targets) + self.foretelling.extra
        text = Text.assemble("onto ", (plural(count, "target"), draw.style("bold")), " (+ - changes it)")
        answer = self.foretelling.any()
        if answer is not None:
            text.append(f", {answer.get('units'):,} {answer.get('unit')}s; as captured: ", draw.style("dim"))
            text.append(f"{answer.get('observed_peak_to_mean'):.2f}× on {plural(len(service.targets), 'target')}")
            since = answer.get("kept_since_ns")
            if isinstance(since, int):
                text.append(f"\nof what is kept in memory, since {rows.clock(since)}", draw.style("hot"))
        return text
