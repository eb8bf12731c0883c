"""The way of a request as one drawing: ``clients ══ TLS 1.3 ══ ALB ┊── plain ── 3 targets :8080``.

A double line is encrypted, a single one readable, a dotted one not known; ``┊`` is where protection ends.
"""

from __future__ import annotations

from lbtop.faces.terminal import Terminal, cut
from lbtop.faces.words import PLACES, PRODUCT_NAMES, plural
from lbtop.model.judgement import Mode
from lbtop.model.record import dataclass
from lbtop.model.snapshot import Hop, Service

_LINES = {"tls": "═", "plain": "─", "unknown": "┄"}
_STYLES = {"tls": "good", "plain": "warning", "unknown": "dim"}
_LONGEST_RULE = 8
_BOUNDARY = "┊"


@dataclass(frozen=True, slots=True)
class Segment:
    """One hop as drawn: the node it leaves from, its label, what stands under it, whether protection ends where it begins."""

    node: str
    label: str
    note: str
    encryption: str
    boundary: bool


def segments(service: Service) -> list[Segment]:
    """The hops of a service, in order; the last node is :func:`last_node`."""
    hops = service.termination.hops
    mode = service.termination.verdict.value
    drawn: list[Segment] = []
    for i, hop in enumerate(hops):
        protected_before = i > 0 and hops[i - 1].encryption == "tls"
        drawn.append(Segment(
            node=_node(service, hop.from_),
            label=_label(hop, i, mode),
            note=_note(hop),
            encryption=hop.encryption,
            boundary=hop.encryption == "plain" and protected_before,
        ))  # fmt: skip
    return drawn


def last_node(service: Service) -> str:
    """``3 targets :8080``."""
    ports = {target.target.rpartition(":")[2] for target in service.targets}
    return plural(len(service.targets), "target") + (f" :{service.port}" if ports <= {str(service.port)} else "")


def draw(service: Service, terminal: Terminal) -> list[str]:
    """Two lines: the path, and what is known of each hop. No hops, no lines."""
    path = segments(service)
    if not path:
        return []
    end = last_node(service)
    nodes = [segment.node for segment in path]
    fixed = 2 + sum(len(node) + 1 for node in nodes) + len(end) + sum(len(s.label) + 3 + s.boundary for s in path)
    rule = (terminal.width - fixed) // (2 * len(path))
    if rule < 1:
        room = max(4, (terminal.width - fixed + sum(map(len, nodes)) - 2 * len(path)) // len(path))
        nodes = [cut(node, room) for node in nodes]
        rule = 1
    rule = min(rule, _LONGEST_RULE)
    top, under = "  ", "  "
    for node, segment in zip(nodes, path, strict=True):
        line = terminal.glyph(_LINES.get(segment.encryption, "┄")) * rule
        boundary = terminal.glyph(_BOUNDARY) if segment.boundary else ""
        hop = f"{line} {segment.label} {line}"
        top += terminal.paint(node, "bold") + " " + terminal.paint(boundary, "critical")
        top += terminal.paint(hop, _STYLES.get(segment.encryption, "dim")) + " "
        note = segment.note if len(segment.note) <= len(hop) else cut(segment.note, len(hop))
        under += " " * (len(node) + 1) + boundary + note.center(len(hop)) + " "
    return [top + terminal.paint(end, "bold"), terminal.paint(under.rstrip(), "dim")]


def _node(service: Service, place: str) -> str:
    if place == "client":
        return "clients"
    if place == "load_balancer":
        product = service.load_balancer.product
        return PRODUCT_NAMES.get(product, "load balancer" if product in ("unknown", "none") else product)
    return PLACES.get(place, place)


def _label(hop: Hop, index: int, mode: Mode | None) -> str:
    if hop.encryption == "plain":
        return "plain"
    if hop.encryption != "tls":
        return "?"
    versions = " TLS"
    if hop.tls_versions:
        versions += " " + "/".join(version.removeprefix("TLS ") for version in hop.tls_versions[:3])
    if index and mode is Mode.PASSTHROUGH:
        return "the same TLS"
    return ("new" if index and mode is Mode.BRIDGING else "") + (versions if index and mode is Mode.BRIDGING else versions[1:])


def _note(hop: Hop) -> str:
    if hop.encryption == "plain":
        return "readable" + ("" if hop.seen else ", inferred")
    if hop.encryption == "tls":
        return "in view" if hop.seen else "inferred"
    return "not known"
