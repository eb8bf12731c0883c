"""One service: its targets, what pins clients, what is readable, the handshakes, its findings."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Footer, Static

from lbtop.faces.tui import draw
from lbtop.faces.tui.screens.base import FrameScreen, Header
from lbtop.faces.tui.screens.details import ConnectionScreen, EvidenceScreen, FindingScreen
from lbtop.faces.tui.screens.history_rows import connection_rows, session_rows
from lbtop.faces.tui.widgets.filter_line import FilterLine
from lbtop.faces.tui.widgets.table import Column, LineTable, Row
from lbtop.faces.words import hop_name, percent, sensitive_name, size
from lbtop.model.snapshot import Service, Snapshot, Target

TARGET_COLUMNS = (
    Column("target", "target", minimum=18),
    Column("bar", "share │ fair", width=18),
    Column("share", "share", width=7, right=True),
    Column("state", "state", width=9),
    Column("connections", "conn", width=7, right=True),
    Column("requests", "requests", width=9, right=True),
    Column("p50", "p50 ms", width=7, right=True),
    Column("p99", "p99 ms", width=7, right=True),
    Column("errors", "5xx", width=5, right=True),
    Column("resets", "RST", width=5, right=True),
    Column("retransmits", "retr", width=5, right=True),
    Column("clients", "clients", width=8, right=True),
    Column("in", "in", width=8, right=True),
    Column("out", "out", width=8, right=True),
    Column("live", "live", width=6, right=True),
)
KEY_COLUMNS = (
    Column("key", "key", minimum=20),
    Column("affinity", "affinity", width=9, right=True),
    Column("interval", "95 % interval", width=16),
    Column("keys", "keys", width=8, right=True),
    Column("returns", "returns", width=9, right=True),
)
EXPOSURE_COLUMNS = (
    Column("kind", "what is readable", minimum=20),
    Column("hop", "on", width=26),
    Column("count", "times", width=9, right=True),
    Column("distinct", "distinct", width=9, right=True),
)
TLS_COLUMNS = (
    Column("what", "", width=12),
    Column("value", "value", minimum=30),
    Column("count", "handshakes", width=11, right=True),
)
FINDING_COLUMNS = (Column("mark", "", width=2), Column("title", "finding"))

SESSION_COLUMNS = (
    Column("key", "session or client", width=20),
    Column("strip", "targets of its last arrivals, newest right", minimum=16),
    Column("moves", "moves", width=6, right=True),
    Column("arrivals", "arrivals", width=9, right=True),
    Column("client", "client", width=17),
    Column("last", "last seen", width=9),
)
CONNECTION_COLUMNS = (
    Column("client", "client", minimum=16),
    Column("target", "target", minimum=16),
    Column("opened", "opened", width=9),
    Column("lasted", "lasted", width=9, right=True),
    Column("protocol", "protocol", width=9),
    Column("requests", "req", width=5, right=True),
    Column("out", "bytes out", width=9, right=True),
    Column("idle", "idle", width=8, right=True),
    Column("retransmits", "retr", width=5, right=True),
    Column("end", "end", width=14),
)

TABS = (
    ("targets", "Targets"),
    ("affinity", "Affinity"),
    ("exposure", "Exposure"),
    ("tls", "Handshakes"),
    ("findings", "Findings"),
    ("sessions", "Sessions"),
    ("connections", "Connections"),
)


class ServiceScreen(FrameScreen):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "evidence", "Evidence"),
        Binding("slash", "filter", "Filter"),
        *(Binding(str(i + 1), f"tab({i})", title, show=False) for i, (_, title) in enumerate(TABS)),
    ]

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service
        self.tab = 0

    @property
    def crumbs(self) -> str:
        return f"overview › {self.service}"

    def compose(self) -> ComposeResult:
        yield Header()
        yield Static(id="facts", markup=False)
        yield Static(id="tabs", markup=False)
        yield FilterLine()
        yield LineTable(TARGET_COLUMNS, empty="no target", id="targets")
        yield LineTable(KEY_COLUMNS, empty="no key was seen twice", id="affinity")
        yield LineTable(EXPOSURE_COLUMNS, empty="no secret seen on a readable hop", id="exposure")
        yield LineTable(TLS_COLUMNS, empty="no TLS handshake in view", id="tls")
        yield LineTable(FINDING_COLUMNS, empty="nothing found", id="findings-of-service")
        yield LineTable(SESSION_COLUMNS, empty="no session or client came more than once yet", id="sessions")
        yield LineTable(CONNECTION_COLUMNS, empty="no connection has ended yet", id="connections")
        yield Footer()

    def on_mount(self) -> None:
        super().on_mount()
        self.action_tab(0)

    def action_tab(self, index: int) -> None:
        self.tab = index
        tables = list(self.query(LineTable))
        for i, table in enumerate(tables):
            table.display = i == index
        tables[index].focus()
        text = Text(no_wrap=True)
        for i, (_, title) in enumerate(TABS):
            text.append(f" {i + 1} {title} ", draw.style("bold reverse" if i == index else "dim"))
            text.append(" ")
        self.query_one("#tabs", Static).update(text)

    def _service(self, frame: Snapshot) -> Service | None:
        return next((service for service in frame.services if service.service == self.service), None)

    def draw(self, frame: Snapshot) -> None:
        service = self._service(frame)
        if service is None:
            self.query_one("#facts", Static).update(Text("this service had not been seen at this time", draw.style("dim")))
            for table in self.query(LineTable):
                table.show([])
            return
        self.query_one("#facts", Static).update(_facts(service))
        top = max([target.share for target in service.targets], default=1.0)
        fair = 1 / len(service.targets) if service.targets else 1.0
        targets = self.query_one("#targets", LineTable)
        targets.accepts = self.lbtop.filter
        targets.show([_target_row(target, fair, max(top, fair) * 1.1) for target in service.targets])
        self.query_one("#affinity", LineTable).show(_key_rows(service))
        self.query_one("#exposure", LineTable).show(_exposure_rows(service))
        self.query_one("#tls", LineTable).show(_tls_rows(service))
        self.query_one("#findings-of-service", LineTable).show(
            [
                Row(
                    f"{finding.id}@{finding.subject}",
                    {"finding": finding.id, "severity": finding.severity.value},
                    {"mark": draw.severity_mark(finding.severity), "title": Text(finding.title)},
                )
                for finding in frame.findings
                if finding.service == service.service
            ]
        )

        detail = service.detail
        for name, rows in (
            ("#sessions", session_rows(service, detail.sessions) if detail else []),
            ("#connections", connection_rows(detail.connections) if detail else []),
        ):
            table = self.query_one(name, LineTable)
            table.accepts = self.lbtop.filter
            table.show(rows)

    @on(LineTable.Selected, "#connections")
    def _open_connection(self, event: LineTable.Selected) -> None:
        service = self._service(self.lbtop.frame) if self.lbtop.frame else None
        for row in service.detail.connections if service and service.detail else ():
            if str(row.number) == event.row.key:
                self.app.push_screen(ConnectionScreen(row))

    @on(LineTable.Selected, "#targets")
    def _open_target(self, event: LineTable.Selected) -> None:
        """The connections of one target."""
        self.lbtop.set_filter(f"target:{event.row.key}")
        self.action_tab(6)

    @on(LineTable.Selected, "#sessions")
    def _open_session(self, event: LineTable.Selected) -> None:
        """The connections of one session's client."""
        self.lbtop.set_filter(f"client:{event.row.values['client']}")
        self.action_tab(6)

    @on(LineTable.Selected, "#findings-of-service")
    def _open_finding(self, event: LineTable.Selected) -> None:
        frame = self.lbtop.frame
        for finding in frame.findings if frame else ():
            if finding.service == self.service and f"{finding.id}@{finding.subject}" == event.row.key:
                self.app.push_screen(FindingScreen(finding))

    def action_evidence(self) -> None:
        frame = self.lbtop.frame
        service = self._service(frame) if frame else None
        if service is not None:
            self.app.push_screen(EvidenceScreen(service))

    def action_filter(self) -> None:
        self.query_one(FilterLine).open()


def _facts(service: Service) -> Text:
    text = Text()
    text.append_text(draw.path(service))
    text.append("\nTLS ends   ", draw.style("dim"))
    text.append_text(draw.mode_badge(service))
    text.append("\npinned by  ", draw.style("dim"))
    text.append_text(draw.mechanism_badge(service.stickiness))
    text.append("   affinity ", draw.style("dim"))
    text.append_text(draw.affinity_text(service.stickiness))
    if service.stickiness is not None and service.stickiness.balancing != "unknown":
        text.append("   new clients go ", draw.style("dim"))
        text.append(service.stickiness.balancing.replace("_", " "))
    text.append("\nload       ", draw.style("dim"))
    text.append_text(draw.skew_text(service))
    text.append("\nreadable   ", draw.style("dim"))
    text.append_text(draw.exposure_text(service))
    for nat in service.nat[:2]:
        high = f"–{nat.users_high}" if nat.users_high is not None else " or more"
        text.append(
            f"\nNAT        {nat.address}: {nat.users_low}{high} users, {percent(nat.share)} of the load",
            draw.style("dim"),
        )
    return text


def _target_row(target: Target, fair: float, top: float) -> Row:
    response = target.response_ms
    status = target.status or {}
    values: dict[str, object] = {
        "target": target.target,
        "share": target.share * 100,
        "state": target.state,
        "connections": target.connections,
        "requests": target.requests or 0,
        "p50": response.p50 if response else None,
        "p99": response.p99 if response else None,
        "errors": status.get("5xx", 0),
        "resets": target.resets,
        "retransmits": target.retransmits,
        "clients": target.clients or 0,
        "in": target.bytes_in,
        "out": target.bytes_out,
        "live": target.live,
        "status": status,
    }
    name = f"{target.name} {target.target}" if target.name else target.target
    cells: dict[str, str | Text] = {
        "target": name,
        "bar": draw.bar(target.share, fair, top, 18),
        "share": f"{target.share:.1%}",
        "state": target.state,
        "connections": f"{target.connections:,}",
        "requests": "–" if target.requests is None else f"{target.requests:,}",
        "p50": f"{response.p50:.1f}" if response else "–",
        "p99": f"{response.p99:.1f}" if response else "–",
        "errors": f"{status.get('5xx', 0):,}",
        "resets": f"{target.resets:,}",
        "retransmits": f"{target.retransmits:,}",
        "clients": "–" if target.clients is None else f"{target.clients:,}",
        "in": size(target.bytes_in),
        "out": size(target.bytes_out),
        "live": f"{target.live:,}",
    }
    return Row(target.target, values, cells)


def _key_rows(service: Service) -> list[Row]:
    if service.stickiness is None:
        return []
    return [
        Row(
            row.key,
            {"key": row.key, "affinity": row.affinity, "keys": row.keys, "returns": row.returns},
            {
                "key": row.key,
                "affinity": "–" if row.affinity is None else f"{row.affinity:.2f}",
                "interval": f"{row.interval[0]:.2f} … {row.interval[1]:.2f}" if row.interval else "",
                "keys": f"{row.keys:,}",
                "returns": f"{row.returns:,}",
            },
        )
        for row in service.stickiness.by_key
    ]


def _exposure_rows(service: Service) -> list[Row]:
    return [
        Row(
            f"{row.kind}@{row.hop}",
            {"kind": row.kind, "count": row.count, "distinct": row.distinct, "hop": row.hop},
            {
                "kind": sensitive_name(row.kind, 2),
                "hop": hop_name(row.hop),
                "count": f"{row.count:,}",
                "distinct": f"{row.distinct:,}",
            },
        )
        for row in service.exposure.sensitive
    ]


def _tls_rows(service: Service) -> list[Row]:
    tls = service.exposure.tls
    rows: list[Row] = []
    for what, counts in (
        ("version", tls.versions),
        ("SNI", tls.sni),
        ("ALPN", tls.alpn),
        ("JA4", tls.ja4),
        ("cipher", tls.ciphers),
    ):
        for value, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
            rows.append(
                Row(
                    f"{what} {value}",
                    {what.lower(): value, "count": count, "value": value},
                    {"what": what, "value": str(value), "count": f"{count:,}"},
                )
            )
    if tls.resumption_offered:
        rows.append(
            Row(
                "resumption",
                {"count": tls.resumption_accepted},
                {
                    "what": "resumption",
                    "value": f"offered {tls.resumption_offered:,} times, accepted {tls.resumption_accepted:,}",
                    "count": f"{tls.resumption_accepted:,}",
                },
            )
        )
    return rows
