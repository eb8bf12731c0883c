"""The diagnosis for a person at three in the morning: the verdict first, the worst thing first, and why."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from enum import Enum
from typing import TypeVar

from lbtop.faces import paths, words
from lbtop.faces.targets import target_lines
from lbtop.faces.terminal import Terminal, cut, visible
from lbtop.model.judgement import CAPTURE_NAME, UNKNOWN, Evidence, Finding, Severity, Verdict
from lbtop.model.snapshot import Service, Skew, Snapshot, SourceFrame, Stickiness
from lbtop.model.text import safe_text
from lbtop.model.times import clock_utc, date_utc

Candidate = TypeVar("Candidate", bound=Enum)

_LABEL = 13  # columns before a paragraph of a service
_SHOWN_EVIDENCE = 3
_SHOWN_SENSITIVE = 6
_NAT_USERS, _NAT_SHARE = 5, 0.2
"""An address with fewer users and a smaller share of the load is not worth a line."""
_MARKS = {Severity.CRITICAL: "CRITICAL", Severity.WARNING: "WARNING", Severity.INFO: "info"}


def render(snapshot: Snapshot, terminal: Terminal, *, all_evidence: bool = False) -> str:
    """The whole diagnosis, ending in a newline. ``all_evidence`` shows the ledger of every verdict in full."""
    lines = [*_headline(snapshot, terminal), "", *_source(snapshot.source, terminal)]
    for service in snapshot.services:
        lines += ["", *_service(service, terminal, all_evidence)]
    open_ = [finding for finding in snapshot.findings if not finding.accepted]
    accepted = [finding for finding in snapshot.findings if finding.accepted]
    if open_:
        lines += ["", _title("Findings, worst first", "", terminal)]
        for finding in open_:
            lines += ["", *_finding(finding, snapshot, terminal, all_evidence)]
        hint = terminal.paragraph(f"What a finding means and how to be sure: lbtop explain {open_[0].id}")
        lines += ["", *(terminal.paint(line, "dim") for line in hint)]
    if accepted:
        lines += ["", *terminal.paragraph("Accepted, not counted: " + ", ".join(_where(f) for f in accepted), "  ", "")]
    return terminal.plain("\n".join(line.rstrip() for line in lines)) + "\n"


def headline(snapshot: Snapshot) -> tuple[str, Severity | None]:
    """The verdict in one sentence, and how bad it is (None: nothing above info)."""
    counted = [finding for finding in snapshot.findings if not finding.accepted]
    worst = min(counted, key=lambda finding: finding.severity.rank, default=None)
    if not snapshot.services:
        return _nothing(snapshot.source), None
    if worst is None or worst.severity is Severity.INFO:
        return f"Nothing above info. {_modes(snapshot.services)}", None
    numbers = [
        words.plural(count, severity.value, "critical" if severity is Severity.CRITICAL else None)
        for severity in (Severity.CRITICAL, Severity.WARNING)
        if (count := sum(finding.severity is severity for finding in counted))
    ]
    return f"{', '.join(numbers)}. {worst.title.rstrip('.')}.", worst.severity


def _modes(services: Sequence[Service]) -> str:
    if len(services) == 1:
        sentence = mode_sentence(services[0])
        return f"Where TLS ends is {sentence}" if services[0].termination.verdict.value is None else sentence
    counts: dict[str, int] = {}
    for service in services:
        token = service.termination.verdict.token
        counts[token] = counts.get(token, 0) + 1
    return (
        f"{len(services)} services: "
        + ", ".join(f"{count} {token}" for token, count in sorted(counts.items(), key=lambda c: (-c[1], c[0])))
        + "."
    )


def mode_sentence(service: Service) -> str:
    """Where TLS ends, as a sentence; `unknown, because …` where the traffic cannot tell."""
    termination = service.termination
    mode = termination.verdict.value
    if mode is None:
        return _unknown(termination.verdict, {candidate.value: name for candidate, name in words.MODE_NAMES.items()})
    direct = words.MODE_SENTENCES_DIRECT.get(mode) if service.load_balancer.product == "none" else None
    if termination.hops and termination.hops[0].from_ == "caller":
        direct = words.MODE_SENTENCES_CALLER.get(mode)
    sentence = direct or words.MODE_SENTENCES[mode].format(lb=_the_balancer(service))
    if mode.value == "none" and termination.hops and termination.hops[0].encryption == "tls":
        first = words.PLACES.get(termination.hops[0].to, termination.hops[0].to)
        sentence = words.SENTENCE_TLS_FURTHER_OUT.format(first=first, lb=_the_balancer(service))
    mixed = termination.by_mode or {}
    tail = ""
    if len(mixed) > 1:
        counts = sorted(mixed.items(), key=lambda item: (-item[1], str(item[0])))
        tail = " Mixed: " + ", ".join(f"{count:,} connections {getattr(name, 'value', name)!s}" for name, count in counts) + "."
    return f"{sentence} ({mode.value}, {words.confidence(termination.verdict.confidence)}).{tail}"


def _headline(snapshot: Snapshot, terminal: Terminal) -> list[str]:
    sentence, severity = headline(snapshot)
    style = "good" if severity is None and snapshot.services else severity.value if severity else "bold"
    return [terminal.paint(line, style) for line in terminal.paragraph(sentence)]


def _nothing(source: SourceFrame) -> str:
    if not source.packets:
        return "Nothing to judge: there is no packet in it."
    if not source.connections:
        return f"Nothing to judge: {words.plural(source.packets, 'packet')}, and no connection that carries data in them."
    if source.vantage_evidence and source.vantage_evidence[0].signal == "targets-not-in-view":
        return f"Nothing to judge: {source.vantage_evidence[0].detail}."
    return f"Nothing to judge: {words.plural(source.connections, 'connection')}, and none that tells which end serves."


def _source(source: SourceFrame, terminal: Terminal) -> list[str]:
    inputs = ", ".join(safe_text(name) for name in source.inputs[:3]) or source.kind
    if len(source.inputs) > 3:
        inputs += f" and {len(source.inputs) - 3} more"
    text = inputs
    if source.packets:
        span = words.length((source.ended_ns - source.started_ns) / 1e9)
        text += (
            f": {date_utc(source.started_ns)} {clock_utc(source.started_ns)} to {clock_utc(source.ended_ns)} UTC ({span}), "
            f"{words.VANTAGES.get(source.vantage, source.vantage)}. {words.plural(source.packets, 'packet')}, "
            f"{words.size(source.bytes)}, {words.plural(source.connections, 'connection')}"
        )
        missed = source.connections - source.connections_seen_from_start
        text += f", {missed:,} of them not from their start." if missed else ", all from their start."
    lines = terminal.paragraph(text)
    weak = [
        (source.truncated_packets, "cut by the snap length"),
        (source.dropped_packets or 0, "dropped before they were recorded"),
        (source.undecoded_packets, "not decoded"),
        (source.duplicate_packets, "seen twice and counted once"),
    ]
    told = [f"{count:,} {what}" for count, what in weak if count]
    if told:
        told[0] = told[0].replace(" ", " packets ", 1) if not told[0].startswith("1 ") else told[0].replace(" ", " packet ", 1)
    notes = [
        ", ".join(told) + "." if told else "",
        *(f"{note[0].upper()}{note[1:].rstrip('.')}." for note in source.notes if note),
    ]
    if source.caps_reached:
        notes.append(f"Limits reached: {', '.join(source.caps_reached)}.")
    return lines + [terminal.paint(line, "dim") for note in notes if note for line in terminal.paragraph(note)]


def _title(left: str, right: str, terminal: Terminal) -> str:
    room = terminal.width - len(right) - 8
    left = cut(left, room)
    rule = terminal.glyph("━")
    fill = rule * max(2, terminal.width - visible(left) - len(right) - (5 if right else 4))
    return terminal.paint(f"{rule * 2} {left} {fill}" + (f" {right}" if right else ""), "head")


def _service(service: Service, terminal: Terminal, all_evidence: bool) -> list[str]:
    verdict = service.termination.verdict
    badge = verdict.token if verdict.value is None else f"{verdict.token} {words.confidence(verdict.confidence)}"
    lines = [_title(service.service, badge, terminal), ""]
    if path := paths.draw(service, terminal):
        lines += [*path, ""]
    lines += _entry("Encryption", mode_sentence(service), terminal)
    lines += _ledger(verdict, terminal, all_evidence)
    lines += _entry("Balancer", _balancer(service), terminal)
    if service.stickiness is not None:
        lines += _entry("Stickiness", stickiness_sentence(service.stickiness), terminal)
        lines += _ledger(service.stickiness.verdict, terminal, all_evidence)
        lines += _keys(service.stickiness, terminal) if all_evidence else []
    if service.skew is not None:
        lines += _entry("Balance", skew_sentence(service.skew, service), terminal)
    if service.targets:
        lines += ["", *target_lines(service, terminal), ""]
    lines += _entry("In clear", _exposure(service), terminal)
    for nat in [nat for nat in service.nat if nat.users_low >= _NAT_USERS or nat.share >= _NAT_SHARE][:3]:
        users = f"{nat.users_low:,} users or more" if nat.users_high is None else f"{nat.users_low:,} to {nat.users_high:,} users"
        users = f"{nat.users_low:,} users" if nat.users_high == nat.users_low else users
        lines += _entry("NAT", f"{nat.address} holds {users} and {words.percent(nat.share)} of the load ({nat.basis}).", terminal)
    lines += _entry("Idle", _idle(service), terminal)
    if service.dependencies:
        shown = ", ".join(f"{d.address} ({d.encryption})" for d in service.dependencies[:6])
        more = len(service.dependencies) - 6
        lines += _entry("Uses", shown + (f" and {more} more" if more > 0 else ""), terminal)
    return lines


def _entry(label: str, text: str, terminal: Terminal) -> list[str]:
    if not text:
        return []
    lines = terminal.paragraph(text, " " * _LABEL, label.ljust(_LABEL))
    lines[0] = terminal.paint(label, "bold") + lines[0][len(label) :]
    return lines


def _ledger(verdict: Verdict[Candidate], terminal: Terminal, everything: bool) -> list[str]:
    """What speaks for the verdict (+), against it (-), and what only gives context (·), heaviest first."""
    best = max(verdict.candidates, key=lambda c: verdict.candidates[c]).value if verdict.candidates else None
    ranked = sorted(verdict.evidence, key=lambda e: -_weight(e))
    shown = ranked if everything else ranked[:_SHOWN_EVIDENCE]
    if not everything:
        shown += [e for e in ranked[_SHOWN_EVIDENCE:] if _speaks(e, best) == "-"][:1]
    lines = []
    for item in shown:
        mark = _speaks(item, best)
        tail = f" (for {item.favours.replace('/', ' or ')})" if item.favours and mark == "-" and (item.weight or 0) >= 0 else ""
        if everything and item.favours:
            tail += f" [{item.group}, proof]" if item.weight is None else f" [{item.group} {item.weight:+.1f}]"
        for line in terminal.paragraph(item.detail + tail, " " * (_LABEL + 2), " " * _LABEL + terminal.glyph(mark) + " "):
            lines.append(terminal.paint(line, "dim"))
    if verdict.settled_by and (verdict.value is None or everything):
        lines += terminal.paragraph(f"To settle it: {verdict.settled_by}.".replace("..", "."), " " * _LABEL)
    return lines


def _speaks(item: Evidence, best: str | None) -> str:
    """``favours`` may name several candidates that a signal cannot tell apart: ``lb_cookie/source_ip``."""
    if item.favours is None or best is None:
        return "·"
    return "+" if (best in item.favours.split("/")) == ((item.weight or 0) >= 0) else "-"


def _weight(item: Evidence) -> float:
    if item.favours is None:
        return 0.0
    return 1e9 if item.weight is None else abs(item.weight)


def _unknown(verdict: Verdict[Candidate], names: dict[str, str]) -> str:
    ranked = sorted(verdict.candidates.items(), key=lambda item: -item[1])
    likely = [(c, p) for c, p in ranked if p >= 0.05][:3] or ranked[:2]
    told = [f"{names.get(c.value, c.value)} ({words.confidence(p)})" for c, p in likely]
    if not told or (not verdict.evidence and max(verdict.candidates.values()) <= 1.01 / len(verdict.candidates)):
        return "unknown, because nothing in view speaks to it."
    return f"unknown, because what is in view fits {words.article_or(told)}."


def _the_balancer(service: Service) -> str:
    product = service.load_balancer.product
    name = words.product_name(product)
    return name if name.startswith("the ") or name[:1].islower() else f"the {name}" if name.isupper() else name


def _balancer(service: Service) -> str:
    balancer = service.load_balancer
    if not balancer.addresses and balancer.product == "none":
        return "none in view: clients come directly."
    name = {"unknown": "not recognised", "none": "none"}.get(balancer.product) or (
        f"{words.product_name(balancer.product)} ({words.confidence(balancer.confidence)})"
    )
    addresses = ", ".join(balancer.addresses[:4]) + (
        f" and {len(balancer.addresses) - 4} more" if len(balancer.addresses) > 4 else ""
    )
    return f"{name}, at {addresses}." if addresses else f"{name}."


def stickiness_sentence(stickiness: Stickiness) -> str:
    """What pins a client, how strongly, and what broke it."""
    verdict = stickiness.verdict
    mechanism = verdict.value
    if mechanism is None:
        sentence = _unknown(verdict, {candidate.value: name for candidate, name in words.MECHANISM_NAMES.items()})
    elif mechanism.value == "none":
        sentence = f"nothing pins clients to targets ({words.confidence(verdict.confidence)})."
    else:
        name = words.MECHANISM_NAMES[mechanism]
        cookie = f" ({cut(stickiness.cookie, 40)})" if stickiness.cookie and mechanism.value.endswith("cookie") else ""
        sentence = f"{name}{cookie} pins clients to targets ({mechanism.value}, {words.confidence(verdict.confidence)})."
    sentence = sentence[0].upper() + sentence[1:] if mechanism is not None else sentence
    if stickiness.affinity is not None:
        interval = (
            f" (95 %: {stickiness.affinity_interval[0]:.2f} to {stickiness.affinity_interval[1]:.2f})"
            if stickiness.affinity_interval
            else ""
        )
        by = f" by {cut(stickiness.key, 48)}" if stickiness.key else ""
        seen = f"{words.plural(stickiness.keys, 'key')}, {words.plural(stickiness.returns, 'return')}"
        sentence += f" Affinity{by} {stickiness.affinity:.2f}{interval}, {seen}."
    if stickiness.balancing != "unknown":
        sentence += f" New clients: {stickiness.balancing.replace('_', ' ')}."
    if lifetime := stickiness.cookie_lifetime:
        since = "issue" if lifetime.model == "since_issue" else "the last response"
        sentence += f" The cookie lives {words.length(lifetime.seconds)} since {since}."
    if stickiness.breaks:
        keys = sum(b.keys for b in stickiness.breaks)
        causes: dict[str, int] = {}
        for b in stickiness.breaks:
            causes[b.cause] = causes.get(b.cause, 0) + b.keys
        named = ", ".join(
            f"{cause.replace('_', ' ')} {count:,}" for cause, count in sorted(causes.items(), key=lambda c: (-c[1], c[0]))[:3]
        )
        first = clock_utc(min(b.time_ns for b in stickiness.breaks))
        sentence += f" {words.plural(keys, 'key')} changed target ({named}), first at {first}."
    if stickiness.sessions_lost:
        of = f" ({words.plural(stickiness.sessions, 'session')} in view)" if stickiness.sessions is not None else ""
        sentence += f" {words.plural(stickiness.sessions_lost, 'request')} lost their session{of}."
    return sentence


def _keys(stickiness: Stickiness, terminal: Terminal) -> list[str]:
    lines = []
    for key in stickiness.by_key:
        affinity = "no measure" if key.affinity is None else f"{key.affinity:+.2f}"
        if key.interval:
            affinity += f" ({key.interval[0]:+.2f} to {key.interval[1]:+.2f})"
        text = f"by {key.key}: {affinity}, {words.plural(key.keys, 'key')}, {words.plural(key.returns, 'return')}"
        lines += terminal.paragraph(text, " " * (_LABEL + 2), " " * _LABEL + terminal.glyph("·") + " ")
    return [terminal.paint(line, "dim") for line in lines]


def skew_sentence(skew: Skew, service: Service) -> str:
    """How far from even, against what chance would give."""
    hottest = max(service.targets, key=lambda target: target.share, default=None)
    chance = (
        f"chance gives {skew.expected_peak_to_mean:.2f} ({'p < 0.001' if skew.p_value < 0.001 else f'p = {skew.p_value:.2g}'})"
    )
    peak = f"{skew.peak_to_mean:.2f} times the mean of {skew.metric}"
    name = hottest.target if hottest else "The hottest target"
    cause = words.CAUSE_NAMES.get(skew.cause or "", skew.cause) if skew.cause and skew.cause != UNKNOWN else None
    if skew.significant:
        return f"{name} has {peak}; {chance}. {f'Cause: {cause}.' if cause else 'Cause not known.'}"
    if cause:
        return f"{name} has {peak}, because of {cause}: dealing the same units anew, {chance}."
    return f"No more uneven than chance makes it: the peak is {peak}, {chance}."


def _exposure(service: Service) -> str:
    exposure = service.exposure
    if not exposure.plaintext_connections:
        return f"nothing: {words.plural(exposure.tls_connections, 'connection')} in TLS." if exposure.tls_connections else ""
    text = f"{words.size(exposure.plaintext_bytes)} over {words.plural(exposure.plaintext_connections, 'connection')}"
    if exposure.tls_connections:
        text += f" ({exposure.tls_connections:,} more are in TLS)"
    if not exposure.sensitive:
        return text + "; no kind of secret that lbtop knows."
    by_hop: dict[str, list[str]] = {}
    for item in exposure.sensitive[:_SHOWN_SENSITIVE]:
        name = words.sensitive_name(item.kind, item.distinct)
        by_hop.setdefault(item.hop, []).append(
            f"{item.distinct:,} {name} ({item.count:,} times)" if item.count != 1 else f"{item.distinct:,} {name}"
        )
    if more := len(exposure.sensitive) - _SHOWN_SENSITIVE:
        by_hop[next(iter(by_hop))] += [f"{more} kinds more"] if more > 0 else []
    return text + "; " + "; ".join(f"{words.hop_name(hop)}: {', '.join(items)}" for hop, items in by_hop.items()) + "."


def _idle(service: Service) -> str:
    idle = service.idle
    if idle is None:
        return ""
    parts = []
    if idle.cliff_s is not None or idle.interval is not None:
        between = (
            f"{words.length(idle.interval[0])} to {words.length(idle.interval[1])}"
            if idle.interval
            else f"about {words.length(idle.cliff_s or 0)}"
        )
        how = {"rst": ", by a reset", "fin": ", by an orderly close", "silence": ", without a word"}.get(idle.ended_by or "", "")
        matches = f" ({idle.matches})" if idle.matches else ""
        parts.append(f"connections end after {between} of silence{how}{matches}")
    if idle.target_closes_after_s is not None:
        parts.append(f"targets close idle connections after {words.length(idle.target_closes_after_s)}")
    if idle.keepalive_races:
        parts.append(f"{words.plural(idle.keepalive_races, 'request')} crossed the target's close")
    if idle.races_per_hour is not None and idle.races_interval is not None:
        low, high = idle.races_interval
        parts.append(f"{idle.races_per_hour:.2g} an hour are expected to cross it ({low:.2g} to {high:.2g})")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def with_inputs(command: str, source: SourceFrame) -> str:
    """A confirming command about the capture at hand, where it is one file: ready to be pasted."""
    if len(source.inputs) != 1 or source.inputs[0] == "-":
        return command
    return command.replace(f" -r {CAPTURE_NAME}", f" -r {shlex.quote(safe_text(source.inputs[0]))}")


def _where(finding: Finding) -> str:
    return f"{finding.id}@{finding.service}" if finding.service else finding.id


def _finding(finding: Finding, snapshot: Snapshot, terminal: Terminal, all_evidence: bool) -> list[str]:
    head = f"{_MARKS[finding.severity]:<9}"
    lines = terminal.paragraph(finding.title, "  " + " " * 9, "  " + head)
    lines[0] = "  " + terminal.paint(head, finding.severity.value) + terminal.paint(lines[0][2 + len(head) :], "bold")
    lines[1:] = [terminal.paint(line, "bold") for line in lines[1:]]
    indent = " " * 11
    if finding.detail:
        lines += terminal.paragraph(finding.detail, indent)
    details = list(dict.fromkeys(item.detail for item in finding.evidence))
    lines += [
        terminal.paint(line, "dim")
        for detail in (details if all_evidence else details[:2])
        for line in terminal.paragraph(detail, indent + "  ", indent + terminal.glyph("·") + " ")
    ]
    for number, advice in enumerate(finding.advice):
        lines += terminal.paragraph(advice, indent + " " * 6, indent + ("      " if number else "Mend: "))
    # Never wrapped: they are there to be copied.
    lines += [f"{indent}$ {with_inputs(command, snapshot.source)}" for command in finding.confirm]
    where = finding.id + (f" at {finding.service}" if len(snapshot.services) > 1 and finding.service else "")
    lines += [terminal.paint(line, "dim") for line in terminal.paragraph(f"({where})", indent)]
    return lines
