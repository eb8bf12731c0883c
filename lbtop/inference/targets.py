"""The rows of the target table, from the counts of the ledger."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from lbtop.inference.presence import absences, checked_until
from lbtop.model.address import endpoint_text
from lbtop.model.snapshot import Percentiles, Process, Skew, Stickiness, Target
from lbtop.model.text import SafeText, safe_text
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.ledgers.targets import TargetLedger

GRACE_NS = 1_000_000_000
PINNED = 0.5
LONG = 0.1
LEFT = frozenset({"target_gone", "targets_replaced"})
CAME = frozenset({"target_added", "targets_replaced"})
MOST_PROCESSES = 16
"""Of one target: workers of a server are processes of their own."""
CLASSES = ("2xx", "3xx", "4xx", "5xx")


def target_rows(
    facts: ServiceFacts, skew: Skew | None, stickiness: Stickiness | None, names: Mapping[str, str]
) -> tuple[Target, ...]:
    """Every target of the service in order of appearance. ``names``: what addresses are called, by text."""
    ledger = facts.ledgers.targets
    shares = _shares(ledger, skew.metric if skew else "requests" if ledger.is_http else "connections")
    states = _states(facts, stickiness)
    rows = []
    for number, (address, port) in enumerate(facts.targets):
        if number >= len(ledger.connections):
            break
        if number in facts.former:
            continue
        text = endpoint_text(facts.addresses[address], port)
        rows.append(_row(facts, ledger, number, text, float(shares[number]), states[number], names))
    return tuple(rows)


def _row(
    facts: ServiceFacts, ledger: TargetLedger, number: int, text: str, share: float, state: str, names: Mapping[str, str]
) -> Target:
    http = ledger.is_http
    status = ledger.status[number]
    checks = int(ledger.health_checks[number] + ledger.bare_checks[number])
    clients = None
    if ledger.clients_named or facts.clients_preserved:
        clients = int(np.count_nonzero(ledger.clients[number]))
    return Target(
        target=text,
        connections=int(ledger.connections[number]),
        requests=int(ledger.requests[number]) if http else None,
        health_checks=checks if http or ledger.bare_checks.any() else None,
        probes=int(ledger.probes[number]),
        refused=int(ledger.refused[number]),
        bytes_in=int(ledger.bytes_in[number]),
        bytes_out=int(ledger.bytes_out[number]),
        clients=clients,
        share=share,
        state=state,
        first_seen_ns=int(ledger.first_ns[number]),
        last_seen_ns=int(ledger.last_ns[number]),
        connect_ms=_percentiles(ledger, ledger.connect, number),
        response_ms=_percentiles(ledger, ledger.response, number),
        resets=int(ledger.resets[number]),
        retransmits=int(ledger.retransmits[number]),
        status={name: int(status[index]) for index, name in enumerate(CLASSES, start=2)} if http else None,
        name=names.get(text) or names.get(text.rpartition(":")[0].strip("[]")),
        live=int(ledger.live[number]),
        processes=_processes(facts, number),
    )


def _processes(facts: ServiceFacts, number: int) -> tuple[Process, ...]:
    def text(of: int) -> SafeText | None:
        return safe_text(facts.strings[of]) if of else None

    found = facts.ledgers.processes.at(number)[:MOST_PROCESSES]
    return tuple(Process(pid or None, text(name), text(container), text(pod)) for pid, name, container, pod in found)


def _shares(ledger: TargetLedger, metric: str) -> npt.NDArray[np.float64]:
    cost = {
        "requests": ledger.requests,
        "bytes": ledger.bytes_in + ledger.bytes_out,
        "active": ledger.live,
    }.get(metric, ledger.connections - ledger.health_connections)
    total = cost.sum()
    return np.asarray(cost / total if total else np.zeros(len(cost)), np.float64)


def _percentiles(ledger: TargetLedger, times: npt.NDArray[np.uint32], number: int) -> Percentiles | None:
    p50, p99 = ledger.percentile_ms(times, number, 0.5), ledger.percentile_ms(times, number, 0.99)
    return None if p50 is None or p99 is None else Percentiles(p50, p99)


def _states(facts: ServiceFacts, stickiness: Stickiness | None) -> list[str]:
    """What became of every target: ``silent`` when it never got payload, else by when it was in service.

    Where clients are pinned, the silence of a target may only be that of its clients: then it takes more than silence.
    """
    ledger = facts.ledgers.targets
    states = ["serving" if first else "silent" for first in ledger.first_data_ns.tolist()]
    pinned = stickiness is None or stickiness.affinity is None or stickiness.affinity >= PINNED
    moved_from = {entry.from_ for entry in stickiness.breaks if entry.cause in LEFT} if stickiness else set()
    moved_to = {entry.to for entry in stickiness.breaks if entry.cause in CAME} if stickiness else set()
    for absence in absences(facts):
        number = absence.target
        if number >= len(states) or states[number] == "silent":
            continue
        text = endpoint_text(facts.addresses[facts.targets[number][0]], facts.targets[number][1])
        long = absence.end_ns - absence.start_ns >= LONG * (facts.ended_ns - facts.started_ns)
        if absence.trailing:
            if ledger.live[number] and ledger.last_ns[number] > absence.start_ns + GRACE_NS:
                continue  # connections go on there
            if checked_until(facts, number) >= min(absence.end_ns, facts.ended_ns):
                continue  # who still answers checks is there, whether or not anybody is sent to it
            turned_away = ledger.refused[number] > 0 or ledger.unanswered[number] > 0
            if turned_away or text in moved_from or (long and not pinned):
                states[number] = "gone"
        elif absence.leading and states[number] == "serving":
            known_before = 0 < ledger.first_ns[number] < absence.end_ns - GRACE_NS
            if not known_before and (text in moved_to or (long and not pinned)):
                states[number] = "added"
    return states
