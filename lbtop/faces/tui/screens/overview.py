"""The first screen: the verdict, every service with its path, what is wrong, and the timeline."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.css.scalar import Scalar

from lbtop.faces.tui import draw
from lbtop.faces.tui.screens.base import FrameScreen, Header, Words
from lbtop.faces.tui.screens.boxes import EvidenceScreen, FindingScreen
from lbtop.faces.tui.screens.rows import TARGET_COLUMNS, target_rows
from lbtop.faces.tui.screens.service import ServiceScreen
from lbtop.faces.tui.widgets.filter_line import FilterLine
from lbtop.faces.tui.widgets.keys import Keys
from lbtop.faces.tui.widgets.table import Column, LineTable, Row
from lbtop.faces.tui.widgets.timeline import Timeline
from lbtop.model.judgement import Finding, Severity
from lbtop.model.snapshot import Service, Snapshot

SERVICE_COLUMNS = (
    Column("service", "service", minimum=14, weight=9),
    Column("mode", "TLS ends", width=17, weight=9),
    Column("mechanism", "pinned by", minimum=14, weight=5),
    Column("affinity", "affinity", width=8, right=True, weight=4),
    Column("skew", "peak/mean", width=9, right=True, weight=3),
    Column("findings", "findings", width=9, weight=8),
)
FINDING_COLUMNS = (
    Column("mark", "", width=2, weight=9),
    Column("title", "findings, worst first", weight=9),
    Column("service", "service", width=18),
)


_MOST_TOLD = 2
"""Lines of a finding's detail, where there is room."""


class OverviewScreen(FrameScreen):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "evidence", "Evidence"),
        Binding("slash", "filter", "Filter"),
    ]

    def compose(self) -> ComposeResult:
        yield Header()
        yield Words(id="verdict")
        yield FilterLine()
        yield LineTable(SERVICE_COLUMNS, empty="no load-balanced service yet: waiting for connections", id="services")
        yield LineTable(FINDING_COLUMNS, empty="nothing found", id="findings")
        yield LineTable(TARGET_COLUMNS, empty="no target", id="overview-targets")
        yield Timeline(id="timeline")
        yield Keys()

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#services").focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There is nothing behind the first screen to go back to."""
        return action != "back"

    def draw(self, frame: Snapshot) -> None:
        self.query_one("#verdict", Words).say(draw.verdict_sentence(frame))
        width, height = self.size
        services, findings = self.query_one("#services", LineTable), self.query_one("#findings", LineTable)
        services.accepts = findings.accepts = self.lbtop.filter
        room = max(4, height - 12)  # header, verdict, timeline, footer and the titles of both tables
        lines = self._lines_beneath(len(frame.services), len(frame.findings), room)
        if self.lbtop.ended:
            services.empty = "no load-balanced service in what was read"
        services.show([_service_row(service, frame, lines, width - 6) for service in frame.services])
        wanted = len(services.rows) * services.row_height + 1
        _resize(services, max(2, min(wanted, room - min(len(frame.findings), room // 2) + 1)))
        told = max(0, min(_MOST_TOLD, (room - wanted) // max(1, len(frame.findings)) - 1))
        findings.show([_finding_row(finding, told, width - 6) for finding in frame.findings])
        left = room - wanted - len(frame.findings) * (1 + told)
        targets = self.query_one("#overview-targets", LineTable)
        targets.display = left >= 5 and bool(frame.services)
        _resize(findings, max(2, len(frame.findings) * (1 + told) + 1) if targets.display else None)
        if targets.display:
            self._show_targets(frame)
        several = len(frame.services) > 1
        if findings.columns[2].hidden == several:
            findings.hide([] if several else ["service"])

    @staticmethod
    def _lines_beneath(services: int, findings: int, room: int) -> int:
        """How many lines below every service: all of them where there is room for all services and some findings."""
        rest = room - min(findings, room // 3)
        return next((lines for lines in (4, 3, 1) if services * (lines + 1) <= rest), 1 if services * 2 <= 2 * rest else 0)

    def _show_targets(self, frame: Snapshot) -> None:
        """The targets of the service under the cursor, where the screen has room for them."""
        service = self._selected(frame)
        self.query_one("#overview-targets", LineTable).show(target_rows(service) if service else [])

    @on(LineTable.Moved, "#services")
    def _moved(self) -> None:
        if self.lbtop.frame is not None and self.query_one("#overview-targets").display:
            self._show_targets(self.lbtop.frame)

    @on(LineTable.Selected, "#overview-targets")
    def _open_target(self, event: LineTable.Selected) -> None:
        service = self._selected(self.lbtop.frame) if self.lbtop.frame else None
        if service is not None:
            self.app.push_screen(ServiceScreen(service.service, target=event.row.key))

    def _selected(self, frame: Snapshot) -> Service | None:
        cursor = self.query_one("#services", LineTable).cursor
        return next((service for service in frame.services if service.service == cursor), None)

    @on(LineTable.Selected, "#services")
    def _open_service(self, event: LineTable.Selected) -> None:
        self.app.push_screen(ServiceScreen(event.row.key))

    @on(LineTable.Selected, "#findings")
    def _open_finding(self, event: LineTable.Selected) -> None:
        frame = self.lbtop.frame
        for finding in frame.findings if frame else ():
            if frame is not None and _finding_key(finding) == event.row.key:
                self.app.push_screen(FindingScreen(finding, frame.source))

    def action_evidence(self) -> None:
        """The ledger behind what is under the cursor: a service's verdicts, or a finding."""
        frame = self.lbtop.frame
        findings = self.query_one("#findings", LineTable)
        if findings.has_focus:
            findings.action_select()
        elif frame is not None and (service := self._selected(frame)) is not None:
            self.app.push_screen(EvidenceScreen(service, frame.source))

    def action_filter(self) -> None:
        self.query_one(FilterLine).open()


def _resize(table: LineTable, height: int | None) -> None:
    """To this many lines, or to all that is left. Only when it changes: setting a style lays the whole screen out again."""
    wanted = Scalar.parse("1fr") if height is None else Scalar.from_number(height)
    if table.styles.height != wanted:
        table.styles.height = wanted


def _finding_key(finding: Finding) -> str:
    return f"{finding.id}@{finding.service}@{finding.subject}"


def _finding_row(finding: Finding, lines: int, width: int) -> Row:
    title = Text(finding.title)
    if finding.accepted:
        title.append("  (accepted)", draw.style("dim"))
    return Row(
        _finding_key(finding),
        {
            "finding": finding.id,
            "severity": finding.severity.value,
            "service": finding.service or "",
            "title": finding.title,
            "mark": -finding.severity.rank,
        },
        {"mark": draw.severity_mark(finding.severity), "title": title, "service": finding.service or ""},
        draw.paragraph(Text(finding.detail, draw.style("dim")), lines, width) if lines else (),
    )


def _service_row(service: Service, frame: Snapshot, lines: int, width: int) -> Row:
    stickiness = service.stickiness
    own = [finding for finding in frame.findings if finding.service == service.service and not finding.accepted]
    counts = [sum(1 for finding in own if finding.severity is severity) for severity in Severity]
    marks = Text()
    for severity, count in zip(Severity, counts, strict=True):
        if count:
            marks.append(f"{draw.SIGNS[severity].strip()}{count} ", draw.style(severity.value))
    undecided = service.termination.verdict.value is None and (stickiness is None or stickiness.affinity is None)
    second = draw.candidates_text(service) if undecided else draw.affinity_line(service)
    under = (draw.path(service, width), second, draw.load_line(service), Text())
    return Row(
        str(service.service),
        {
            "service": service.service,
            "mode": service.termination.verdict.token,
            "mechanism": stickiness.verdict.token if stickiness else "unknown",
            "product": service.load_balancer.product,
            "target": " ".join(target.target for target in service.targets),
            "finding": " ".join(finding.id for finding in own),
            "severity": " ".join(finding.severity.value for finding in own),
            "affinity": stickiness.affinity if stickiness else None,
            "skew": service.skew.peak_to_mean if service.skew else None,
            "findings": counts[0] * 10_000 + counts[1] * 100 + counts[2],
            "connections": sum(target.connections for target in service.targets),
            "requests": sum(target.requests or 0 for target in service.targets),
        },
        {
            "service": Text(str(service.service), draw.style("bold")),
            "mode": draw.mode_badge(service),
            "mechanism": draw.mechanism_badge(stickiness),
            "affinity": draw.affinity_figure(stickiness),
            "skew": draw.skew_figure(service),
            "findings": marks,
        },
        under[:lines],
    )
