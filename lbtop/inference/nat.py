"""Users behind one address: an interval, with the method it comes from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lbtop.model.address import ip_text
from lbtop.model.snapshot import Nat
from lbtop.reconstruct.facts import ServiceFacts

REPORTED = 16
CLOCK_RATES = (1000.0, 250.0, 100.0)
"""Ticks per second of TCP timestamps: Linux since 4.13, BSDs and older systems."""
SAME_CLOCK_S = 0.25


def infer_nat(facts: ServiceFacts) -> tuple[Nat, ...]:
    """Addresses with more than one user behind them, those with the most load first.

    Addresses of balancers, CDNs and other proxies are no NATs: whoever is behind them is named by headers, or not at all.
    """
    ledger = facts.ledgers.nat
    by_request = len(ledger.requests) > 0 and not _behind_balancer_only(facts)
    tally = ledger.requests if by_request else ledger.connections
    if by_request and facts.clients_preserved:
        tally = ledger.connections
    total = max(tally.total, 1)
    proxies = set(facts.balancers) | set(facts.proxies) | set(facts.checkers)
    sessions = _sessions_by_address(facts)
    clocks = _clocks_by_address(ledger.clocks)
    found = []
    for address, count in tally.top(4 * REPORTED):
        if address in proxies or address == 0:
            continue
        low, high, basis = _users(facts, address, sessions.get(address), clocks.get(address))
        if low >= 2:
            found.append(Nat(ip_text(facts.addresses[address]), low, high, count / total, basis))
    return tuple(found[:REPORTED])


def _behind_balancer_only(facts: ServiceFacts) -> bool:
    """Whether every request's client is the balancer itself: nothing names the clients."""
    clients = set(facts.ledgers.nat.requests.keys[:64].tolist())
    return bool(facts.balancers) and clients <= set(facts.balancers)


def _users(
    facts: ServiceFacts, address: int, sessions: tuple[int, int] | None, clocks: int | None
) -> tuple[int, int | None, str]:
    """(at least, at most, method). Sessions in use at the same time are the best witness; stacks count kinds of devices."""
    ledger = facts.ledgers.nat
    candidates: list[tuple[int, int | None, str]] = []
    if sessions is not None:
        together, distinct = sessions
        candidates.append((together, distinct, f"{distinct} session cookies, {together} in use at the same time"))
    if clocks is not None:
        candidates.append((clocks, None, f"{clocks} TCP timestamp clocks"))
    for feature, words in (("user_agents", "User-Agents"), ("tls_stacks", "TLS stacks"), ("tcp_stacks", "TCP stacks")):
        distinct = ledger.distinct(feature, address)
        if distinct >= 2:
            candidates.append((distinct, None, f"{distinct} {words}"))
    if not candidates:
        return 1, None, ""
    low, high, basis = max(candidates, key=lambda candidate: candidate[0])
    if sessions is not None:
        high = max(sessions[1], low)
    return low, high, basis


def _sessions_by_address(facts: ServiceFacts) -> dict[int, tuple[int, int]]:
    """Per client address: the most session cookies in use at one time, and how many there were in all.

    Sessions that were issued and never came back are in use at no time (a client that ignores cookies gets a new one with every
    request), but each may have been a user's.
    """
    found: dict[int, tuple[int, int]] = {}
    for rows in facts.ledgers.affinity.session_rows():
        everyone = dict(zip(*(part.tolist() for part in np.unique(rows["aux"], return_counts=True)), strict=True))
        used = rows[((rows["arrivals"] >= 2) | ((rows["flags"] & 1) == 0)) & (rows["aux"] != 0)]
        if not len(used):
            continue
        owners, inverse, counts = np.unique(used["aux"], return_inverse=True, return_counts=True)
        times = np.concatenate((used["first_ns"], used["last_ns"] + 1))
        owner = np.concatenate((inverse, inverse))
        steps = np.repeat(np.array([1, -1]), len(used))
        order = np.lexsort((times, owner))  # every owner's steps add up to 0, so one sum runs through all
        at_once = np.maximum.reduceat(np.cumsum(steps[order]), np.concatenate(([0], 2 * np.cumsum(counts)[:-1])))
        for address, together, distinct in zip(owners.tolist(), at_once.tolist(), counts.tolist(), strict=True):
            if together > found.get(address, (0, 0))[0]:
                found[address] = (together, max(distinct, everyone.get(address, 0)))
    return found


def _clocks_by_address(clocks: npt.NDArray[np.int64]) -> dict[int, int]:
    """Per address, how many TCP timestamp clocks its connections share.

    A Linux host shows one clock per pair of addresses (kernels 4.12 to early 2026; newer ones one per connection, and then
    nothing can be told): connections of one host lie on one line of timestamp over time.
    """
    found: dict[int, int] = {}
    for owner in dict.fromkeys(clocks[:, 0].tolist()):
        mine = clocks[clocks[:, 0] == owner]
        if len(mine) < 8:
            continue
        best = len(mine)
        for rate in CLOCK_RATES:
            wrap = 2.0**32 / rate
            offsets = np.sort((mine[:, 2] / rate - mine[:, 1] / 1e9) % wrap)
            groups = 1 + int((np.diff(offsets) > SAME_CLOCK_S).sum())
            best = min(best, groups)
        if 2 <= best <= len(mine) // 3:
            found[owner] = best
    return found
