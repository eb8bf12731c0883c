"""Folds observations into services. No I/O, no clock: the same rows give the same facts, however they are batched.

    reconstructor.ingest(batch)        any number of times
    reconstructor.facts(stats)         at any time; asking changes nothing

Rows are cut into windows by sequence number. In every window the roles are decided first, from everything seen so far, then
the rows are handed to the ledgers of the service they belong to.
"""

from __future__ import annotations

import copy

import numpy as np

from lbtop.model.observation import TABLES, Batch, Interner, Orientation, Rows, SourceStats, empty
from lbtop.reconstruct.census import Census
from lbtop.reconstruct.clock import Watches
from lbtop.reconstruct.facts import DependencyFacts, Facts, Ledgers, ServiceFacts
from lbtop.reconstruct.health import HealthChecks
from lbtop.reconstruct.inside import is_loopback
from lbtop.reconstruct.pairing import Links
from lbtop.reconstruct.proxies import Forwarders
from lbtop.reconstruct.roles import Leg, Overrides, Roles, decide
from lbtop.reconstruct.split import Router
from lbtop.reconstruct.tallies import Endpoint
from lbtop.reconstruct.vantage import CERTAIN, vantage_of

WINDOW_ROWS = 32_768
MORE = 1.5
UDP = 17

Window = dict[str, Rows]


class _State:
    """All that is remembered; a deep copy of it answers a question without changing the answer to the next."""

    def __init__(self, detail: bool) -> None:
        self.census = Census()
        self.links = Links()
        self.roles = Roles()
        self.router = Router(self.roles, self.census.numbering.keys)
        self.health = HealthChecks()
        self.watches = Watches()
        self.forwarders = Forwarders()
        self.proxies: frozenset[int] = frozenset()
        self.ledgers: list[Ledgers] = []
        self.detail = detail
        self.decided = (0, 0, 0)
        self.connections = 0
        self.from_start = 0
        self.first_ns = 0
        self.last_ns = 0

    def fold(self, window: Window, strings: Interner, addresses: Interner, overrides: Overrides) -> None:
        opened = window["opened"]
        self.connections += len(opened)
        self.from_start += int(np.count_nonzero((opened["orientation"] == Orientation.SYN) | (opened["proto"] == UDP)))
        for rows in window.values():
            if len(rows):
                first_ns = int(rows["at_ns"][0])
                self.first_ns = min(self.first_ns or first_ns, first_ns)
                self.last_ns = max(self.last_ns, int(rows["at_ns"][-1]))
        checks = self.health.requests(window["requests"], window["proxies"], strings)
        places = self.census.fold(window, checks)
        self.links.fold(window, self.census)
        self.forwarders.fold(window["requests"], checks)
        self._decide(opened, overrides, addresses)
        self.proxies = self.roles.proxies | self.forwarders.proxies
        self.watches.fold(window, [service.targets for service in self.roles.services if not service.retired])
        for number, part in self.router.split(window, places, self.health, self.watches, self.proxies, strings, addresses):
            for name in Ledgers.__slots__:
                getattr(self.ledgers[number], name).fold(part)
        self.health.forget(window["connections"]["conn"])
        self.watches.forget(window["connections"]["conn"])

    def _decide(self, opened: Rows, overrides: Overrides, addresses: Interner) -> None:
        """Decides the roles anew when something has happened that can change them, or there is half as much again to go by."""
        changes, version, total = self.decided
        if (self.census.changes, self.links.version) == (changes, version) and self.census.total < MORE * total:
            return
        self.decided = self.census.changes, self.links.version, self.census.total
        numbers = {address for address, _ in self.census.endpoints}
        loopback = frozenset(number for number in numbers if is_loopback(addresses[number]))
        decide(self.census, self.links, self.roles, overrides, opened, loopback)
        self.router = Router(self.roles, self.census.numbering.keys)
        while len(self.ledgers) < len(self.roles.services):
            self.ledgers.append(Ledgers())
            self.ledgers[-1].history.enabled = self.detail


class Reconstructor:
    """``detail``: keep sessions and connections one by one as well."""

    def __init__(self, overrides: Overrides | None = None, detail: bool = False) -> None:
        self.overrides = overrides or Overrides()
        self._state = _State(detail)
        self._pending: dict[str, list[Rows]] = {table: [] for table in TABLES}
        self._next_cut = WINDOW_ROWS
        self._strings: Interner | None = None
        self._addresses: Interner | None = None

    def ingest(self, batch: Batch) -> None:
        """Takes the next rows. A batch holds every row up to its last sequence number."""
        self._strings, self._addresses = batch.strings, batch.addresses
        last = -1
        for table, rows in batch.tables.items():
            if len(rows):
                self._pending[table].append(rows)
                last = max(last, int(rows["seq"][-1]))
        while last >= self._next_cut - 1:
            self._fold_until(self._next_cut)
            # To the window of the next row at once: a forged recording may leave any number of windows empty between two rows.
            first = min((int(parts[0]["seq"][0]) for parts in self._pending.values() if parts), default=last)
            self._next_cut = max(self._next_cut, first // WINDOW_ROWS * WINDOW_ROWS) + WINDOW_ROWS
        if batch.final:
            self._fold_until(None)

    def _fold_until(self, seq: int | None) -> None:
        window: Window = {}
        for table, parts in self._pending.items():
            rows = parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else empty(table)
            cut = len(rows) if seq is None else int(np.searchsorted(rows["seq"], seq))
            window[table] = rows[:cut]
            self._pending[table] = [rows[cut:]] if cut < len(rows) else []
        if any(len(rows) for rows in window.values()):
            assert self._strings is not None and self._addresses is not None
            self._state.fold(window, self._strings, self._addresses, self.overrides)

    def _pending_window(self, live: Rows | None) -> Window:
        window = {table: np.concatenate(parts) if parts else empty(table) for table, parts in self._pending.items()}
        if live is not None and len(live):
            window["connections"] = np.concatenate([window["connections"], live])
        return window

    def facts(self, stats: SourceStats, live: Rows | None = None, now_ns: int | None = None) -> Facts:
        """Everything known so far. ``live``: CONNECTION rows of the connections open now, counted in this answer only."""
        state = self._state
        window = self._pending_window(live)
        if any(len(rows) for rows in window.values()):
            assert self._strings is not None and self._addresses is not None
            state = copy.deepcopy(state)
            state.fold(window, self._strings, self._addresses, self.overrides)
        return self._assemble(state, stats, now_ns or stats.ended_ns or state.last_ns)

    def _assemble(self, state: _State, stats: SourceStats, now_ns: int) -> Facts:
        roles, strings, addresses = state.roles, self._strings, self._addresses
        vantage, evidence = vantage_of(state.census, roles, self.overrides)
        services = []
        for number, service in enumerate(roles.services):
            if service.retired or strings is None or addresses is None:
                continue
            services.append(
                ServiceFacts(
                    port=service.port,
                    targets=list(service.targets),
                    balancers=list(service.feeders.balancers),
                    vips=list(service.vips),
                    clients_preserved=service.feeders.preserved,
                    strings=strings,
                    addresses=addresses,
                    source=stats,
                    vantage=vantage,
                    vantage_certain=evidence[0].signal in CERTAIN,
                    may_be_front_of=roles.doubtful.get(service.targets[0], ()) if len(service.targets) == 1 else (),
                    chosen_by_name=service.feeders.choosing,
                    roles_evidence=list(service.evidence),
                    pairs=roles.chains.pairs(service.targets, state.census.endpoints),
                    ledgers=state.ledgers[number],
                    proxies=state.proxies,
                    former=frozenset(n for n, end in enumerate(service.targets) if roles.legs.get(end) is not Leg.TARGET),
                    checkers=list(service.feeders.checkers),
                    dependencies=_dependencies(state, service.targets),
                    started_ns=stats.started_ns or state.first_ns,
                    ended_ns=stats.ended_ns or state.last_ns,
                    now_ns=now_ns,
                )
            )
        services.sort(key=lambda facts: -int(facts.ledgers.targets.connections.sum()))
        caps = {*stats.caps_reached, *roles.caps} | ({"endpoints"} if state.census.full else set())
        for found in services:
            caps.update(found.ledgers.affinity.caps_reached(), found.ledgers.targets.caps_reached())
        return Facts(
            services,
            stats,
            vantage,
            evidence,
            state.connections - roles.chains.halves,
            state.from_start,
            tuple(sorted(caps)),
            now_ns,
        )


def _dependencies(state: _State, targets: list[Endpoint]) -> list[DependencyFacts]:
    hosts = {address for address, _ in targets}
    found = []
    for endpoint, tally in state.census.endpoints.items():
        if state.roles.legs.get(endpoint) is Leg.DEPENDENCY:
            mine = sum(part.connections for client, part in tally.clients.items() if client in hosts)
            if mine:
                found.append(DependencyFacts(*endpoint, mine, tally.protocol))
    return found
