"""From the snapshot to lines of text: what several screens show the same way. It formats and never computes.

Everything is :class:`rich.text.Text`: wire text is appended as it is and never parsed as markup. Colour repeats what a word or
sign already says.
"""

from __future__ import annotations

from rich.style import Style
from rich.text import Text

from lbtop.faces.words import MECHANISM_NAMES, MODE_NAMES, hop_name, percent, plural, product_name, sensitive_name, size
from lbtop.model.judgement import Evidence, Finding, Mechanism, Mode, Severity
from lbtop.model.snapshot import Service, Snapshot, Stickiness

SIGNS = {Severity.CRITICAL: "!!", Severity.WARNING: "! ", Severity.INFO: "i "}
_SEVERITY_STYLES = {Severity.CRITICAL: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
_ENCRYPTED, _READABLE, _UNKNOWN = "green", "bold yellow", "dim"
EIGHTHS = " ▏▎▍▌▋▊▉█"


def style(name: str) -> Style:
    return Style.parse(name)


def severity_mark(severity: Severity) -> Text:
    return Text(SIGNS[severity], style(_SEVERITY_STYLES[severity]))


def finding_line(finding: Finding) -> Text:
    text = severity_mark(finding.severity)
    text.append(" ")
    text.append(finding.title)
    if finding.accepted:
        text.append("  (accepted)", style("dim"))
    return text


def path(service: Service) -> Text:
    """``client ══ TLS 1.3 ══ ALB ── plain ── 3 targets``: double lines are encrypted, single ones readable, dots unknown.

    A hop that is not in view but inferred stands in brackets.
    """
    text = Text()
    hops = service.termination.hops
    for index, hop in enumerate(hops):
        if index == 0:
            text.append(_place(hop.from_, service), style("bold"))
        line, word, colour = {
            "tls": ("══", " ".join(hop.tls_versions[:2]) or "TLS", _ENCRYPTED),
            "plain": ("──", "plain", _READABLE),
        }.get(hop.encryption, ("··", "?", _UNKNOWN))
        label = word if hop.seen else f"({word})"
        text.append(f" {line} {label} {line} ", style(colour))
        text.append(_place(hop.to, service), style("bold"))
    if not hops:
        text.append("client ·· ? ·· targets", style("dim"))
    return text


def _place(end: str, service: Service) -> str:
    if end == "load_balancer":
        return product_name(service.load_balancer.product) if service.load_balancer.product != "unknown" else "load balancer"
    if end == "target":
        return plural(len(service.targets), "target")
    return {"client": "clients", "cdn": "CDN"}.get(end, end)


def mode_badge(service: Service) -> Text:
    verdict = service.termination.verdict
    if verdict.value is None:
        return Text("unknown", style("magenta"))
    colour = _READABLE if verdict.value in (Mode.OFFLOAD, Mode.L4_TLS, Mode.NONE) else _ENCRYPTED
    text = Text(MODE_NAMES[verdict.value], style(colour))
    text.append(f" {verdict.confidence:.0%}".replace("100%", ">99%"), style("dim"))
    return text


def mechanism_badge(stickiness: Stickiness | None) -> Text:
    if stickiness is None:
        return Text("–", style("dim"))
    value = stickiness.verdict.value
    if value is None:
        return Text("unknown", style("magenta"))
    if value in (Mechanism.LB_COOKIE, Mechanism.APP_COOKIE) and stickiness.cookie:
        return Text(f"cookie {stickiness.cookie}")
    return Text(MECHANISM_NAMES[value])


def affinity_text(stickiness: Stickiness | None) -> Text:
    """``0.98 [0.95, 1.00]``; a dash where it cannot be measured."""
    if stickiness is None or stickiness.affinity is None:
        return Text("–", style("dim"))
    text = Text(f"{stickiness.affinity:.2f}")
    if stickiness.affinity_interval is not None:
        low, high = stickiness.affinity_interval
        text.append(f" [{low:.2f}, {high:.2f}]", style("dim"))
    return text


def skew_text(service: Service) -> Text:
    """Peak to mean against what chance alone gives."""
    skew = service.skew
    if skew is None:
        return Text("–", style("dim"))
    text = Text(f"{skew.peak_to_mean:.2f}×", style("bold yellow") if skew.significant else Style())
    text.append(f" (chance {skew.expected_peak_to_mean:.2f}×)", style("dim"))
    if skew.significant:
        text.append(" skewed", style("yellow"))
    return text


def exposure_text(service: Service) -> Text:
    sensitive = service.exposure.sensitive
    if not sensitive:
        readable = service.exposure.plaintext_bytes
        return Text(f"{size(readable)} readable, no secret seen" if readable else "nothing readable", style("dim"))
    text = Text()
    for index, row in enumerate(sensitive[:3]):
        text.append(", " if index else "")
        text.append(f"{row.distinct:,} {sensitive_name(row.kind, row.distinct)}", style("bold yellow"))
    if len(sensitive) > 3:
        text.append(f" and {len(sensitive) - 3} more kinds")
    text.append(f" on {hop_name(sensitive[0].hop)}", style("dim"))
    return text


def bar(share: float, fair: float, top: float, width: int) -> Text:
    """A share as a bar on a scale from 0 to ``top``, with ``│`` where the fair share is."""
    filled = max(0.0, min(1.0, share / top if top > 0 else 0.0)) * width
    whole, part = int(filled), round((filled - int(filled)) * 8)
    cells = list("█" * whole + (EIGHTHS[part] if whole < width and part else ""))
    cells += [" "] * (width - len(cells))
    text = Text("".join(cells), style("blue"))
    mark = min(width - 1, int(fair / top * width)) if top > 0 else 0
    text = text[:mark] + Text("│" if cells[mark] == " " else "┃", style("bold")) + text[mark + 1 :]
    return text


def verdict_sentence(frame: Snapshot) -> Text:
    """The worst finding first; otherwise what the largest service does."""
    open_findings = [finding for finding in frame.findings if not finding.accepted]
    worst = next((finding for finding in open_findings if finding.severity is not Severity.INFO), None)
    if worst is not None:
        rest = sum(1 for finding in open_findings if finding.severity is not Severity.INFO) - 1
        text = finding_line(worst)
        if worst.service and len(frame.services) > 1:
            text.append(f"  [{worst.service}]", style("dim"))
        if rest:
            text.append(f"  +{rest} more", style("dim"))
        return text
    if not frame.services:
        return Text("no load-balanced service seen yet", style("dim"))
    return Text("✓ nothing above info in what was seen", style("green"))


def evidence_line(item: Evidence) -> Text:
    """One row of a ledger: weight, what it speaks for, the sentence."""
    text = Text()
    text.append(
        " proof " if item.weight is None and item.favours else f"{item.weight:+6.1f} " if item.weight is not None else "       ",
        style("bold"),
    )
    text.append(f"{item.favours or '–':<12} ", style("cyan"))
    text.append(item.detail)
    text.append(f"  ({item.group}: {item.signal})", style("dim"))
    return text


def candidates_line(candidates: dict[str, float]) -> Text:
    ranked = sorted(candidates.items(), key=lambda pair: (-pair[1], pair[0]))
    return Text(", ".join(f"{name} {percent(probability)}" for name, probability in ranked if probability >= 0.005))
