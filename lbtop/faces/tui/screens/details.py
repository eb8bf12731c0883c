"""Boxes over a screen: the ledger of a verdict, one finding with its advice, the help."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from lbtop.faces.tui import draw
from lbtop.faces.tui.filtering import FIELDS
from lbtop.faces.words import length, size
from lbtop.model.judgement import Evidence, Finding
from lbtop.model.snapshot import ConnectionRow, Service


class Box(ModalScreen[None]):
    """A scrolling text in a frame; Escape, q or Enter closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,backspace", "dismiss", "Close"),
        Binding("c", "copy", "Copy"),
    ]

    def text(self) -> Text:
        raise NotImplementedError

    def copied(self) -> str:
        return self.text().plain

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="box"):
            yield Static(self.text(), markup=False)

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self.copied())
        self.notify("copied", timeout=2)


class EvidenceScreen(Box):
    """Everything a service's verdicts rest on: for, against, and what would settle them."""

    def __init__(self, service: Service) -> None:
        super().__init__()
        self.service = service

    def text(self) -> Text:
        service = self.service
        text = Text()
        self._part(
            text,
            "where TLS ends",
            service.termination.verdict.token,
            {mode.value: p for mode, p in service.termination.verdict.candidates.items()},
            service.termination.verdict.evidence,
            service.termination.verdict.settled_by,
        )
        if service.stickiness is not None:
            verdict = service.stickiness.verdict
            self._part(
                text,
                "what pins clients",
                verdict.token,
                {m.value: p for m, p in verdict.candidates.items()},
                verdict.evidence,
                verdict.settled_by,
            )
            if service.stickiness.by_key:
                text.append("affinity by key\n", draw.style("bold"))
                for row in service.stickiness.by_key:
                    value = "–" if row.affinity is None else f"{row.affinity:5.2f}"
                    span = f"[{row.interval[0]:.2f}, {row.interval[1]:.2f}]" if row.interval else ""
                    text.append(f"  {row.key:<28} {value} {span:<14} {row.keys:,} keys, {row.returns:,} returns\n")
                text.append("\n")
        self._part(text, "which load balancer", service.load_balancer.product, {}, service.load_balancer.evidence, None)
        self._part(text, "who is who", "", {}, service.roles_evidence, None)
        return text

    @staticmethod
    def _part(
        text: Text,
        title: str,
        value: str,
        candidates: dict[str, float],
        evidence: tuple[Evidence, ...],
        settled: str | None,
    ) -> None:
        text.append(title, draw.style("bold"))
        if value:
            text.append(": ")
            text.append(value, draw.style("bold cyan"))
        text.append("\n")
        if candidates:
            text.append("  ")
            text.append_text(draw.candidates_line(candidates))
            text.append("\n")
        for heading, rows in (
            ("for", [item for item in evidence if item.favours == value]),
            ("against", [item for item in evidence if item.favours and item.favours != value]),
            ("context", [item for item in evidence if not item.favours]),
        ):
            if rows and value:
                text.append(f"  {heading}\n", draw.style("dim"))
            for item in rows:
                text.append("  ")
                text.append_text(draw.evidence_line(item))
                text.append("\n")
        if settled:
            text.append(f"  would be settled by: {settled}\n", draw.style("italic"))
        text.append("\n")


class FindingScreen(Box):
    def __init__(self, finding: Finding) -> None:
        super().__init__()
        self.finding = finding

    def text(self) -> Text:
        finding = self.finding
        text = Text()
        text.append_text(draw.finding_line(finding))
        text.append(f"\n{finding.id} · {finding.severity.value}", draw.style("dim"))
        if finding.service:
            text.append(f" · {finding.service}", draw.style("dim"))
        text.append(f"\n\n{finding.detail}\n")
        if finding.evidence:
            text.append("\nevidence\n", draw.style("bold"))
            for item in finding.evidence:
                text.append(f"  · {item.detail}\n")
        if finding.advice:
            text.append("\nwhat to do\n", draw.style("bold"))
            for line in finding.advice:
                text.append(f"  · {line}\n")
        if finding.confirm:
            text.append("\nconfirm it (c copies)\n", draw.style("bold"))
            for line in finding.confirm:
                text.append(f"  {line}\n", draw.style("green"))
        return text

    def copied(self) -> str:
        return "\n".join(self.finding.confirm) or self.finding.title


class ConnectionScreen(Box):
    """The life of one connection, with the time between its events."""

    def __init__(self, row: ConnectionRow) -> None:
        super().__init__()
        self.row = row

    def text(self) -> Text:
        row = self.row
        text = Text()
        text.append(f"{row.client} → {row.target}", draw.style("bold"))
        text.append(f"  {row.protocol.replace('_', ' ')}\n")
        text.append(
            f"{row.requests:,} requests, {size(row.bytes_in)} in, {size(row.bytes_out)} out, "
            f"{row.retransmits:,} retransmits, longest silence {length(row.idle_s)}\n\n",
            draw.style("dim"),
        )
        if not row.seen_from_start:
            text.append("joined in the middle: what came before is not known\n\n", draw.style("yellow"))
        before = row.opened_ns
        for event in row.events:
            clock = datetime.fromtimestamp(event.at_ns / 1e9, UTC).strftime("%H:%M:%S.%f")[:-3]
            text.append(f"  {clock} ", draw.style("dim"))
            text.append(f"{'+' + length((event.at_ns - before) / 1e9):>10}  ", draw.style("dim"))
            text.append(f"{event.what:<9}", draw.style("bold cyan"))
            text.append(f"{event.detail}\n")
            before = event.at_ns
        return text


KEYS = (
    ("↑ ↓, mouse", "choose a row"),
    ("Enter, double click", "open what is under the cursor"),
    ("Esc", "back"),
    ("Tab", "next table"),
    ("e", "evidence of the verdicts"),
    ("1 … 7", "parts of a service"),
    ("/", "filter rows"),
    ("s S", "sort by the next column, reverse"),
    ("F", "follow one row: it stays in view"),
    ("space", "pause, go on"),
    ("← →", "one frame back, forward (shift: ten)"),
    ("click on the timeline", "go to that time"),
    ("t", "go to a time"),
    ("< >", "replay slower, faster"),
    ("n N", "next, previous finding"),
    ("End", "back to now"),
    ("c", "copy"),
    ("E", "export what is on screen"),
    ("ctrl+p", "all commands, themes"),
    ("q", "quit"),
)


class HelpScreen(Box):
    def __init__(self, here: str) -> None:
        super().__init__()
        self.here = here

    def text(self) -> Text:
        text = Text(f"{self.here}\n\n")
        for key, does in KEYS:
            text.append(f"  {key:<22}", draw.style("bold cyan"))
            text.append(f"{does}\n")
        text.append("\n  ══ encrypted   ── readable   ·· not known   (…) inferred, not in view\n\n")
        text.append("filter fields\n", draw.style("bold"))
        for name, takes in FIELDS.items():
            text.append(f"  {name + ':':<13}", draw.style("cyan"))
            text.append(f"{takes}\n")
        text.append("\n  -field:value excludes, commas mean or, a bare word may stand anywhere\n")
        return text
