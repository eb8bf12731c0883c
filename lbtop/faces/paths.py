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
_STYLES = {"node": "bold", "boundary": "critical", "tls": "good", "plain": "warning", "unknown": "dim"}
_SEEN = frozenset({"in view", "readable", "not known"})
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


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the drawing: its text, what it is (``node``, ``boundary``, or a hop's encryption) and what stands under it."""

    text: str
    role: str
    note: str = ""


def layout(service: Service, width: int, *, longest: int = _LONGEST_RULE, in_line: bool = False) -> list[Piece]:
    """The drawing in ``width`` columns, piece by piece; empty where no hop is known.

    Rules are as long as fits, ``longest`` at most; where not even the shortest fit, names of nodes are cut. ``in_line``: what is
    only inferred is told by brackets around its label, for a drawing that has no line for notes.
    """
    path = segments(service)
    if not path:
        return []
    end = last_node(service)
    nodes = [segment.node for segment in path]
    labels = [f"({s.label})" if in_line and s.note not in _SEEN else s.label for s in path]
    fixed = len(end) + sum(len(node) + 1 for node in nodes) + sum(len(label) + 3 for label in labels)
    fixed += sum(segment.boundary for segment in path)
    rule = (width - fixed) // (2 * len(path))
    if rule < 1:
        room = max(4, (width - fixed + sum(map(len, nodes)) - 2 * len(path)) // len(path))
        nodes = [cut(node, room) for node in nodes]
    line = max(1, min(rule, longest))
    pieces: list[Piece] = []
    for node, label, segment in zip(nodes, labels, path, strict=True):
        pieces += [Piece(node, "node"), Piece(" ", "")]
        if segment.boundary:
            pieces.append(Piece(_BOUNDARY, "boundary", _BOUNDARY))
        rules = _LINES.get(segment.encryption, _LINES["unknown"]) * line
        pieces += [Piece(f"{rules} {label} {rules}", segment.encryption, segment.note), Piece(" ", "")]
    return [*pieces, Piece(end, "node")]


def draw(service: Service, terminal: Terminal) -> list[str]:
    """Two lines: the path, and what is known of each hop. No hops, no lines."""
    pieces = layout(service, terminal.width - 2)
    if not pieces:
        return []
    top = "".join(terminal.paint(_in_glyphs(piece.text, terminal), _STYLES.get(piece.role, "dim")) for piece in pieces)
    under = "".join((cut(piece.note, len(piece.text)) if piece.note else "").center(len(piece.text)) for piece in pieces)
    return ["  " + top, terminal.paint(_in_glyphs(("  " + under).rstrip(), terminal), "dim")]


def _in_glyphs(text: str, terminal: Terminal) -> str:
    for glyph in (*_LINES.values(), _BOUNDARY):
        text = text.replace(glyph, terminal.glyph(glyph))
    return text


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
