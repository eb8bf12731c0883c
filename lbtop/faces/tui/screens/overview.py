"""The first screen: the verdict, every service with its path, what is wrong, and the timeline."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Footer, Static

from lbtop.faces.tui import draw
from lbtop.faces.tui.moments import moments
from lbtop.faces.tui.screens.base import FrameScreen, Header
from lbtop.faces.tui.screens.details import EvidenceScreen, FindingScreen
from lbtop.faces.tui.screens.service import ServiceScreen
from lbtop.faces.tui.widgets.filter_line import FilterLine
from lbtop.faces.tui.widgets.table import Column, LineTable, Row
from lbtop.faces.tui.widgets.timeline import Timeline
from lbtop.model.judgement import Severity
from lbtop.model.snapshot import Service, Snapshot

SERVICE_COLUMNS = (
    Column("service", "service", minimum=14),
    Column("mode", "TLS ends", width=22),
    Column("mechanism", "pinned by", minimum=12),
    Column("affinity", "affinity", width=19),
    Column("skew", "peak/mean", width=20),
    Column("findings", "findings", width=9),
)
FINDING_COLUMNS = (
    Column("mark", "", width=2),
    Column("title", "findings, worst first"),
    Column("service", "service", width=18),
)


class OverviewScreen(FrameScreen):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "evidence", "Evidence"),
        Binding("slash", "filter", "Filter"),
    ]

    def compose(self) -> ComposeResult:
        yield Header()
        yield Static(id="verdict", markup=False)
        yield FilterLine()
        yield LineTable(SERVICE_COLUMNS, empty="no load-balanced service yet: waiting for connections", id="services")
        yield Static(id="path", markup=False)
        with Vertical(id="below"):
            yield LineTable(FINDING_COLUMNS, empty="nothing found", id="findings")
        yield Timeline(id="timeline")
        yield Footer()

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#services").focus()

    def draw(self, frame: Snapshot) -> None:
        self.query_one("#verdict", Static).update(draw.verdict_sentence(frame), layout=False)
        services = self.query_one("#services", LineTable)
        services.accepts = self.lbtop.filter
        services.show([_service_row(service, frame) for service in frame.services])
        services.styles.height = max(2, min(len(frame.services) + 1, self.size.height // 3))
        self.query_one("#findings", LineTable).show(
            [
                Row(
                    f"{finding.id}@{finding.service}@{finding.subject}",
                    {"finding": finding.id, "severity": finding.severity.value, "service": finding.service or ""},
                    {
                        "mark": draw.severity_mark(finding.severity),
                        "title": _title(finding),
                        "service": finding.service or "",
                    },
                )
                for finding in frame.findings
            ]
        )
        self._draw_path(frame)
        app = self.lbtop
        self.query_one(Timeline).show(moments(app.history.frames), app.position)

    def _draw_path(self, frame: Snapshot) -> None:
        service = self._selected(frame)
        panel = self.query_one("#path", Static)
        if service is None:
            panel.update("")
            return
        text = Text()
        text.append("  ")
        text.append_text(draw.path(service))
        text.append("\n  readable: ")
        text.append_text(draw.exposure_text(service))
        text.append("\n  ")
        verdict = service.termination.verdict
        if verdict.value is None:
            text.append("where TLS ends is unknown: ")
            text.append_text(draw.candidates_line({mode.value: p for mode, p in verdict.candidates.items()}))
            if verdict.settled_by:
                text.append(f". It would be settled by {verdict.settled_by}")
        elif verdict.evidence:
            text.append("because ")
            text.append(
                next(
                    (item.detail for item in verdict.evidence if item.favours == verdict.token),
                    verdict.evidence[0].detail,
                )
            )
        panel.update(text)

    def _selected(self, frame: Snapshot) -> Service | None:
        cursor = self.query_one("#services", LineTable).cursor
        return next((service for service in frame.services if service.service == cursor), None)

    @on(LineTable.Moved, "#services")
    def _moved(self) -> None:
        if self.lbtop.frame is not None:
            self._draw_path(self.lbtop.frame)

    @on(LineTable.Selected, "#services")
    def _open_service(self, event: LineTable.Selected) -> None:
        self.app.push_screen(ServiceScreen(event.row.key))

    @on(LineTable.Selected, "#findings")
    def _open_finding(self, event: LineTable.Selected) -> None:
        frame = self.lbtop.frame
        for finding in frame.findings if frame else ():
            if f"{finding.id}@{finding.service}@{finding.subject}" == event.row.key:
                self.app.push_screen(FindingScreen(finding))

    @on(Timeline.Entered)
    def _enter(self, event: Timeline.Entered) -> None:
        self.lbtop.enter(event.index)

    def action_evidence(self) -> None:
        frame = self.lbtop.frame
        service = self._selected(frame) if frame else None
        if service is not None:
            self.app.push_screen(EvidenceScreen(service))

    def action_filter(self) -> None:
        self.query_one(FilterLine).open()


def _title(finding: object) -> Text:
    from lbtop.model.judgement import Finding

    assert isinstance(finding, Finding)
    text = Text(finding.title)
    if finding.accepted:
        text.append("  (accepted)", draw.style("dim"))
    return text


def _service_row(service: Service, frame: Snapshot) -> Row:
    stickiness = service.stickiness
    own = [finding for finding in frame.findings if finding.service == service.service]
    worst = [sum(1 for finding in own if finding.severity is severity) for severity in Severity]
    marks = Text()
    for severity, count in zip(Severity, worst, strict=True):
        if count:
            marks.append_text(draw.severity_mark(severity))
            marks.append(f"{count} ")
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
            "findings": worst[0] * 10_000 + worst[1] * 100 + worst[2],
            "connections": sum(target.connections for target in service.targets),
            "requests": sum(target.requests or 0 for target in service.targets),
        },
        {
            "service": service.service,
            "mode": draw.mode_badge(service),
            "mechanism": draw.mechanism_badge(stickiness),
            "affinity": draw.affinity_text(stickiness),
            "skew": draw.skew_text(service),
            "findings": marks,
        },
    )
