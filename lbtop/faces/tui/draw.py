"""From the snapshot to lines of text: what several screens show the same way. It formats and never computes.

Everything is :class:`rich.text.Text`: wire text is appended as it is and never parsed as markup. Colour repeats what a word or
sign already says.
"""

from __future__ import annotations

import io

from rich.console import Console
from rich.text import Text

from lbtop.faces.paths import layout
from lbtop.faces.tui.palette import style as style
from lbtop.faces.words import CAUSE_NAMES, MECHANISM_NAMES, confidence, hop_name, percent, plural, sensitive_name, size
from lbtop.model.judgement import Evidence, Finding, Mechanism, Mode, Severity
from lbtop.model.snapshot import Service, Snapshot, Stickiness

SIGNS = {Severity.CRITICAL: "!!", Severity.WARNING: "! ", Severity.INFO: "i "}
_CONSOLE = Console(file=io.StringIO(), width=200)  # only wraps
EIGHTHS = " ▏▎▍▌▋▊▉█"
_PATH = {"node": "bold", "boundary": "critical", "tls": "good", "plain": "readable", "unknown": "dim"}
_LONGEST_RULE = 6


def severity_mark(severity: Severity) -> Text:
    return Text(SIGNS[severity], style(severity.value))


def finding_line(finding: Finding) -> Text:
    text = severity_mark(finding.severity)
    text.append(" ")
    text.append(finding.title)
    if finding.accepted:
        text.append("  (accepted)", style("dim"))
    return text


def path(service: Service, width: int = 100) -> Text:
    """``clients ══ TLS 1.3 ══ ALB ┊── plain ── 3 targets``: double lines are encrypted, single ones readable, dots unknown.

    ``┊`` is where protection ends. A hop in brackets is not in view but inferred.
    """
    pieces = layout(service, width, longest=_LONGEST_RULE, in_line=True)
    if not pieces:
        return Text("clients ┄┄ ? ┄┄ targets", style("dim"))
    text = Text(no_wrap=True, overflow="ellipsis")
    for piece in pieces:
        text.append(piece.text, style(_PATH.get(piece.role, "none")))
    return text


def mode_badge(service: Service) -> Text:
    """``offload >99 %``, or ``unknown``."""
    verdict = service.termination.verdict
    if verdict.value is None:
        return Text("unknown", style("unknown"))
    role = "readable" if verdict.value in (Mode.OFFLOAD, Mode.L4_TLS, Mode.NONE) else "good"
    return Text.assemble(({Mode.L4_TLS: "layer-4 TLS", Mode.NONE: "no TLS"}.get(verdict.value, verdict.token), style(role)),
                         (f" {confidence(verdict.confidence)}", style("dim")))  # fmt: skip


def mechanism_badge(stickiness: Stickiness | None) -> Text:
    if stickiness is None:
        return Text("–", style("dim"))
    value = stickiness.verdict.value
    if value is None:
        return Text("unknown", style("unknown"))
    cookie = value in (Mechanism.LB_COOKIE, Mechanism.APP_COOKIE) and stickiness.cookie
    name = f"cookie {stickiness.cookie}" if cookie else MECHANISM_NAMES[value]
    return Text.assemble(name, (f" {confidence(stickiness.verdict.confidence)}", style("dim")))


def affinity_figure(stickiness: Stickiness | None) -> Text:
    if stickiness is None or stickiness.affinity is None:
        return Text("–", style("dim"))
    return Text(f"{stickiness.affinity:.2f}")


def affinity_text(stickiness: Stickiness | None) -> Text:
    """``0.98 [0.95, 1.00]``; a dash where it cannot be measured."""
    text = affinity_figure(stickiness)
    if stickiness is not None and stickiness.affinity_interval is not None:
        low, high = stickiness.affinity_interval
        text.append(f" [{low:.2f}, {high:.2f}]", style("dim"))
    return text


def skew_figure(service: Service) -> Text:
    skew = service.skew
    if skew is None:
        return Text("–", style("dim"))
    return Text(f"{skew.peak_to_mean:.2f}×", style("hot") if skew.significant else style("none"))


def skew_text(service: Service) -> Text:
    """Peak to mean against what chance alone gives, and the cause where one is known."""
    skew = service.skew
    if skew is None:
        return Text("one target in view" if len(service.targets) == 1 else "not measured", style("dim"))
    text = Text.assemble(
        (f"{skew.peak_to_mean:.2f}×", style("hot" if skew.significant else "bold")), " the mean of ", skew.metric
    )
    text.append(f", chance alone gives {skew.expected_peak_to_mean:.2f}×", style("dim"))
    if skew.significant:
        text.append(": skewed", style("hot"))
    if skew.cause and skew.cause != "unknown":
        text.append(f", because of {CAUSE_NAMES.get(skew.cause, skew.cause)}")
    return text


def candidates_text(service: Service) -> Text:
    """Why where TLS ends is unknown, and what would tell."""
    verdict = service.termination.verdict
    text = Text("TLS ends: ", style("dim"))
    text.append_text(candidates_line({mode.value: p for mode, p in verdict.candidates.items()}))
    if verdict.settled_by:
        text.append(f" · would be settled by {verdict.settled_by}", style("dim"))
    return text


def affinity_line(service: Service) -> Text:
    """How strongly clients are pinned, by which key, what broke it, and how new clients are dealt."""
    stickiness = service.stickiness
    text = Text("affinity ", style("dim"))
    if stickiness is None:
        return text.append("not measured: nothing returned")
    text = Text.assemble(("affinity ", style("dim")))
    text.append_text(affinity_text(stickiness))
    if stickiness.affinity is not None and stickiness.key:
        text.append(f" by {stickiness.key}", style("dim"))
    broken = sum(item.keys for item in stickiness.breaks)
    if broken:
        text.append(f" · {plural(broken, 'key')} changed target", style("hot"))
    if stickiness.sessions_lost:
        text.append(f" · {plural(stickiness.sessions_lost, 'request')} lost their session", style("critical"))
    if stickiness.balancing != "unknown":
        text.append(" · new clients ", style("dim"))
        text.append(stickiness.balancing.replace("_", " "))
    return text


def load_line(service: Service) -> Text:
    """How even the load is, and what is readable."""
    text = Text.assemble(("load ", style("dim")), skew_text(service), (" · readable ", style("dim")))
    text.append_text(exposure_text(service))
    return text


def exposure_text(service: Service) -> Text:
    sensitive = service.exposure.sensitive
    if not sensitive:
        readable = service.exposure.plaintext_bytes
        return Text(f"{size(readable)}, no secret seen" if readable else "nothing", style("dim"))
    text = Text()
    for index, row in enumerate(sensitive[:3]):
        text.append(", " if index else "")
        text.append(f"{row.distinct:,} {sensitive_name(row.kind, row.distinct)}", style("readable"))
    if len(sensitive) > 3:
        text.append(f" and {len(sensitive) - 3} more kinds")
    text.append(f" on {hop_name(sensitive[0].hop)}", style("dim"))
    return text


def bar(share: float, fair: float, top: float, width: int, *, hot: bool = False, marked: bool = True) -> Text:
    """A share as a bar on a scale from 0 to ``top``, with ``│`` where the fair share is."""
    filled = max(0.0, min(1.0, share / top if top > 0 else 0.0)) * width
    whole, part = int(filled), round((filled - int(filled)) * 8)
    cells = list("█" * whole + (EIGHTHS[part] if whole < width and part else ""))
    cells += [" "] * (width - len(cells))
    text = Text("".join(cells), style("hot" if hot else "bar"))
    if not marked:
        return text
    mark = min(width - 1, int(fair / top * width)) if top > 0 else 0
    text = text[:mark] + Text("│" if cells[mark] == " " else "┃", style("bold")) + text[mark + 1 :]
    return text


def verdict_sentence(frame: Snapshot) -> Text:
    """The worst finding first; otherwise that nothing is wrong in what was seen."""
    above = [f for f in frame.findings if not f.accepted and f.severity is not Severity.INFO]
    if above:
        worst = above[0]
        text = finding_line(worst)
        text.stylize(style("bold"))
        if worst.service and len(frame.services) > 1:
            text.append(f"  [{worst.service}]", style("dim"))
        if len(above) > 1:
            text.append(f"  +{len(above) - 1} more", style("dim"))
        return text
    if not frame.services:
        if frame.final:
            return Text("no load-balanced service in what was read", style("dim"))
        return Text("no load-balanced service seen yet", style("dim"))
    text = Text("✓ nothing is wrong in what was seen", style("good"))
    unknown = [str(service.service) for service in frame.services if service.termination.verdict.value is None]
    if unknown:
        text.append(f"; where TLS ends is unknown for {', '.join(unknown[:2])}", style("unknown"))
        text.append(f" and {len(unknown) - 2} more" if len(unknown) > 2 else "", style("unknown"))
    return text


def evidence_line(item: Evidence, width: int, best: str | None = None) -> Text:
    """One row of a ledger: weight, the sentence, what it speaks for and where it comes from."""
    proof = item.weight is None and item.favours
    head = Text("  proof  " if proof else f"{item.weight:+7.1f}  " if item.weight is not None else "      ·  ", style("bold"))
    body = Text(item.detail)
    favours = f"{str(item.favours).replace('/', ' or ')}; " if item.favours not in (None, best) else ""
    body.append(f"  ({favours}{item.group}: {item.signal})", style("dim"))
    return hanging(head, body, width)


def hanging(head: Text, body: Text, width: int) -> Text:
    """A paragraph whose lines all start below its first word, ended by a new line."""
    indent = head.cell_len
    text = Text()
    for number, line in enumerate(body.wrap(_CONSOLE, max(10, width - indent)) or [Text()]):
        line.rstrip()
        text.append_text(head if number == 0 else Text(" " * indent))
        text.append_text(line)
        text.append("\n")
    return text


def paragraph(text: Text, lines: int, width: int) -> tuple[Text, ...]:
    """A text on exactly so many lines: wrapped, its last line cut where it is longer."""
    wrapped = list(text.wrap(_CONSOLE, max(10, width)))
    if len(wrapped) > lines:
        rest = text[sum(len(line) for line in wrapped[: lines - 1]) :] if lines > 1 else text
        wrapped = [*wrapped[: lines - 1], Text(rest.plain.strip(), text.style)]
        wrapped[-1].truncate(width, overflow="ellipsis")
    return (*wrapped, *(Text() for _ in range(lines - len(wrapped))))


def candidates_line(candidates: dict[str, float]) -> Text:
    ranked = sorted(candidates.items(), key=lambda pair: (-pair[1], pair[0]))
    return Text(", ".join(f"{name} {percent(probability)}" for name, probability in ranked if probability >= 0.005))
