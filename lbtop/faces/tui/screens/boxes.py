"""Boxes over a screen: the ledger of a verdict, one finding with its advice."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from lbtop.faces.text import with_inputs
from lbtop.faces.tui import draw
from lbtop.model.judgement import Evidence, Finding
from lbtop.model.snapshot import Service, SourceFrame


class Box(ModalScreen[None]):
    """A scrolling text in a frame; Escape, q or Enter closes it."""

    title_text: ClassVar[str] = ""
    foot: ClassVar[str] = "esc closes · ↑ ↓ scroll · c copies"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,backspace", "dismiss", "Close"),
        Binding("c", "copy", "Copy"),
    ]

    def text(self) -> Text:
        raise NotImplementedError

    def copied(self) -> str:
        return self.text().plain

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="box") as box:
            box.border_title = self.title_text
            box.border_subtitle = self.foot
            yield Static(self.text(), markup=False)

    @property
    def width(self) -> int:
        """Columns inside the frame."""
        return min(120, self.app.size.width * 96 // 100) - 6

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def on_resize(self) -> None:
        self.query_one(Static).update(self.text())

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self.copied())
        self.notify("copied", timeout=2)


class EvidenceScreen(Box):
    """Everything a service's verdicts rest on: for, against, and what would settle them."""

    title_text = "evidence"

    def __init__(self, service: Service, source: SourceFrame) -> None:
        super().__init__()
        self.service = service
        self.source = source

    def text(self) -> Text:
        service = self.service
        text = Text()
        text.append(f"{service.service}\n\n", draw.style("bold"))
        verdict = service.termination.verdict
        candidates = {mode.value: p for mode, p in verdict.candidates.items()}
        _part(text, self.width, "where TLS ends", verdict.token, candidates, verdict.evidence, verdict.settled_by)
        if service.stickiness is not None:
            pinned = service.stickiness.verdict
            mechanisms = {mechanism.value: p for mechanism, p in pinned.candidates.items()}
            _part(text, self.width, "what pins clients", pinned.token, mechanisms, pinned.evidence, pinned.settled_by)
        _part(text, self.width, "which load balancer", service.load_balancer.product, {}, service.load_balancer.evidence, None)
        _part(text, self.width, "who is who", "", {}, service.roles_evidence, None)
        _part(text, self.width, "seen from", self.source.vantage.replace("_", " "), {}, self.source.vantage_evidence, None)
        for note in self.source.notes:
            text.append_text(draw.hanging(Text("  ! ", draw.style("hot")), Text(note), self.width))
        text.append(
            "figures are log-odds: what a signal adds for (+) or takes from (-) the candidate beside it;\n", draw.style("dim")
        )
        text.append("signals of one group share one capped weight, a proof decides by itself", draw.style("dim"))
        return text


def _part(
    text: Text,
    width: int,
    title: str,
    value: str,
    candidates: dict[str, float],
    evidence: tuple[Evidence, ...],
    settled: str | None,
) -> None:
    """One verdict: its value, candidates, and the evidence for, against and beside it."""
    text.append(title, draw.style("bold"))
    if value:
        text.append(": ")
        text.append(value, draw.style("accent"))
    if candidates:
        text.append("   ")
        text.append_text(draw.candidates_line(candidates))
    text.append("\n")
    best = max(candidates, key=lambda name: candidates[name]) if candidates and value == "unknown" else value
    if best != value:
        text.append(f"  no candidate reaches 80 %; for and against {best}, the likeliest:\n", draw.style("dim"))
    sides: dict[str, list[Evidence]] = {"for": [], "against": [], "context": []}
    for item in evidence:
        sides[_side(item, best)].append(item)
    for heading, rows in sides.items():
        if rows and value:
            text.append(f"  {heading}\n", draw.style("dim"))
        for item in rows:
            text.append_text(draw.evidence_line(item, width, best))
    if not evidence:
        text.append("  nothing in view speaks to it\n", draw.style("dim"))
    if settled:
        text.append_text(draw.hanging(Text("  "), Text(f"it would be settled by {settled}", draw.style("italic")), width))
    text.append("\n")


def _side(item: Evidence, best: str) -> str:
    """A signal may favour several candidates that it cannot tell apart: ``lb_cookie/source_ip``."""
    if item.favours is None:
        return "context"
    return "for" if (best in item.favours.split("/")) == ((item.weight or 0.0) >= 0) else "against"


class FindingScreen(Box):
    """One finding: what it rests on, what to do, and the command that confirms it."""

    title_text = "finding"
    foot = "esc closes · ↑ ↓ scroll · c copies the command"

    def __init__(self, finding: Finding, source: SourceFrame) -> None:
        super().__init__()
        self.finding = finding
        self.commands = [with_inputs(command, source) for command in finding.confirm]

    def text(self) -> Text:
        finding = self.finding
        text = Text()
        text.append_text(draw.finding_line(finding))
        text.append(f"\n{finding.id} · {finding.severity.value}", draw.style("dim"))
        if finding.service:
            text.append(f" · {finding.service}", draw.style("dim"))
        if finding.detail:
            text.append(f"\n\n{finding.detail}")
        text.append("\n")
        for title, lines in (
            ("evidence", list(dict.fromkeys(item.detail for item in finding.evidence))),
            ("what to do", finding.advice),
        ):
            if lines:
                text.append(f"\n{title}\n", draw.style("bold"))
                for line in lines:
                    text.append_text(draw.hanging(Text("  · "), Text(line), self.width))
        if self.commands:
            text.append("\nconfirm it\n", draw.style("bold"))
            for line in self.commands:
                text.append(f"  $ {line}\n", draw.style("command"))
        text.append(f"\nlbtop explain {finding.id}", draw.style("dim"))
        text.append(" says more about this finding", draw.style("dim"))
        return text

    def copied(self) -> str:
        return "\n".join(self.commands) or self.finding.title
