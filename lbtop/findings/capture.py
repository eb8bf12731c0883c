"""What the input could not show: the verdicts are weaker for it."""

from __future__ import annotations

from collections.abc import Iterator

from lbtop.findings.rule import Context, rule
from lbtop.model.judgement import Evidence, Finding, Severity
from lbtop.model.observation import SourceStats
from lbtop.model.snapshot import SourceFrame

MOSTLY = 0.5
NOTICEABLE = 0.01
SOME, FEWEST = 0.05, 3
"""Shares of packets or connections from which a defect is worth a word, and how many connections there have to be."""


@rule(
    "partial-capture",
    Severity.INFO,
    "one direction only, cut packets, dropped packets, or most connections without their start",
)
def partial_capture(context: Context) -> Iterator[Finding]:
    """The input shows only a part of what happened.

    What it means. Verdicts are weaker and counts may be too low; confidence is lowered where a signal is missing. Nothing
    is wrong with the service.

    How it is inferred. From the capture itself: packets of one direction only, packets cut by a snap length, a file that ends
    in the middle of a packet, drops that the kernel counted, bytes missing from streams, connections whose start is not in view.

    How to confirm. `capinfos FILE` names the snap length and whether the file was cut short.

    How to mend. Capture on the host itself, both directions, without `-s`, and start before the connections open;
    `lbtop doctor` prints the command.
    """
    exposure, stacks = context.facts.ledgers.exposure, context.facts.ledgers.stacks
    joined = (stacks.connections, stacks.connections - stacks.with_syn)
    yield from whole_input(
        context.source, context.facts.source, exposure.one_direction, exposure.with_gaps, exposure.judged, joined
    )


def whole_input(
    source: SourceFrame,
    stats: SourceStats,
    one_direction: int = 0,
    with_gaps: int = 0,
    judged: int = 0,
    joined: tuple[int, int] = (0, 0),
) -> Iterator[Finding]:
    """The finding about an input, also where no service was found in it.

    ``judged``: connections of a service, and of those how many show one direction or miss bytes; ``joined``: its
    connections without health checks, and how many of them began before the capture.
    """
    reasons = list(_defects(source, stats, one_direction, with_gaps, judged, joined))
    if not reasons:
        return
    yield Finding(
        id="partial-capture",
        severity=Severity.INFO,
        title="The capture shows only a part: " + "; ".join(detail for _, detail in reasons[:2]),
        detail="Verdicts are weaker for it, and counts may be too low: " + "; ".join(detail for _, detail in reasons) + ".",
        service=None,
        evidence=tuple(Evidence(signal, "capture", detail) for signal, detail in reasons),
        advice=("capture both directions on the host itself, whole packets, started before the connections: see `lbtop doctor`",),
        confirm=("lbtop doctor",),
    )


def _defects(
    source: SourceFrame, stats: SourceStats, one_direction: int, with_gaps: int, judged: int, joined: tuple[int, int]
) -> Iterator[tuple[str, str]]:
    if stats.cut_at_byte is not None:
        yield "cut-file", f"the file ends in the middle of a packet, at byte {stats.cut_at_byte:,}"
    if judged and (one_direction > MOSTLY * judged or (one_direction > SOME * judged and one_direction >= FEWEST)):
        yield "one-direction", f"{one_direction:,} of {judged:,} connections show one direction only"
    if source.truncated_packets > NOTICEABLE * max(source.packets, 1):
        yield "cut-packets", f"{source.truncated_packets:,} of {source.packets:,} packets are cut by the snap length"
    if source.dropped_packets:
        yield "dropped-packets", f"{source.dropped_packets:,} packets were dropped before they were recorded"
    if judged and with_gaps > SOME * judged and with_gaps >= FEWEST:
        yield "missing-bytes", f"{with_gaps:,} of {judged:,} connections miss bytes"
    late = source.connections - source.connections_seen_from_start
    for every, began_before in ((source.connections, late), joined):
        if began_before > MOSTLY * every:
            yield "joined-late", f"{began_before:,} of {every:,} connections began before the capture"
            break
