"""What clients do with cookies and addresses: who never returns a cookie, whose address changes, which targets they name."""

from __future__ import annotations

from collections.abc import Iterator

from lbtop.model.observation import Rows
from lbtop.model.record import dataclass
from lbtop.model.text import safe_text
from lbtop.reconstruct.facts import ServiceFacts

ARRIVALS = 4
"""A client that never brought a cookie in so many requests does not return it."""
TRANSLATED = 8
"""Requests that name one other address for a target before it is taken for the target's own."""


@dataclass(frozen=True, slots=True)
class Ignoring:
    """Clients (addresses, or sessions where those are more) with enough requests to tell."""

    clients: int
    of: int
    requests: int
    of_requests: int
    unit: str


def ignoring_cookies(facts: ServiceFacts) -> Ignoring | None:
    """Who never returns the balancer's cookie although others do; None where nobody returns one."""
    ledger = facts.ledgers.affinity
    if not ledger.marked_requests:
        return None
    best: Ignoring | None = None
    for unit, slots in _identities(facts):
        often = slots[slots["arrivals"] >= ARRIVALS]
        never = often[often["marks_any"] == 0]
        found = Ignoring(len(never), len(often), int(never["arrivals"].sum()), ledger.request_count, unit)
        if best is None or found.requests > best.requests:
            best = found
    return best


def _identities(facts: ServiceFacts) -> list[tuple[str, Rows]]:
    tables = facts.ledgers.affinity.requests.tables
    found = [("sessions", rows) for rows in facts.ledgers.affinity.session_rows()]
    table = tables.get("forwarded_for")
    if table is None or not len(table):
        table = tables.get("source_ip")
        if facts.balancers:
            return found
    if table is not None:
        found.insert(0, ("client addresses", table.slot_rows[: len(table)]))
    return found


@dataclass(frozen=True, slots=True)
class Roaming:
    """Sessions that were seen from several client addresses."""

    sessions: int
    of: int
    moved: int
    """Returns from another address that met another target."""
    returns: int


def roaming_sessions(facts: ServiceFacts) -> Roaming | None:
    """Sessions whose client address changes; None where sessions or addresses are not in view."""
    tables = facts.ledgers.affinity.requests.tables
    names = [key for name, key in facts.ledgers.affinity.cookie_keys.items() if name in facts.ledgers.affinity.session_names]
    best: Roaming | None = None
    for key in names:
        table = tables.get(key)
        if table is None or not len(table):
            continue
        slots = table.slot_rows[: len(table)]
        often = slots["arrivals"] >= 2
        counts = table.count_rows[: len(table)].reshape(len(table), 2, 5, 3)
        crossed = int(counts[:, 0, (1, 3), 0].sum())
        same = int(counts[:, 0, (1, 3), 1].sum())
        found = Roaming(int((slots["aux_changes"] > 0).sum()), int(often.sum()), crossed - same, crossed)
        if best is None or found.sessions > best.sessions:
            best = found
    return best


def named_targets(facts: ServiceFacts) -> Iterator[tuple[str, int, int]]:
    """(cookie, requests that reached the target it names, requests that bring it) of cookies that name targets legibly.

    A digest is legible for targets in view only: what names another one counts as brought and not as reached. Where each
    target is constantly named by one other address, the address is translated on the way: the target it names is reached.
    """
    heads = facts.ledgers.heads
    brought = {name: numbers[0] for name, numbers in heads.cookies.items()}
    reached: dict[int, int] = {}
    for key, (_, here) in heads.named_targets.items():
        reached[key >> 32] = reached.get(key >> 32, 0) + here
    for name, here in reached.items():
        bring = max(brought.get(name, 0), here)
        yield safe_text(facts.strings[name]), bring if _is_translated(facts, name) else here, bring


def _is_translated(facts: ServiceFacts, name: int) -> bool:
    """Whether a cookie has one name for each target, each its own and none an address in view. Whose cookie decides nothing
    brings several to every target."""
    named = [there for (cookie, _), there in facts.ledgers.affinity.named.items() if cookie == name]
    if not named or any(len(there) != 1 for there in named):
        return False
    names = {endpoint for there in named for endpoint in there}
    seen = sum(count for there in named for count in there.values())
    return len(names) == len(named) and not names & set(facts.targets) and seen >= TRANSLATED
