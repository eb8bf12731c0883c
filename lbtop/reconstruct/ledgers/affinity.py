"""Who came back to which target: every candidate key in one table each, and the chance to compare it with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lbtop.catalog import balancer_cookie
from lbtop.model.observation import CookieFlag, Rows
from lbtop.model.text import safe_text
from lbtop.reconstruct.chance import same_target_chance
from lbtop.reconstruct.keytable import ARRIVAL, LANES, STRATA, KeyTable, next_cut
from lbtop.reconstruct.window import NO_TARGET, ServiceWindow

COOKIE_NAMES = 24
"""Cookie names that are measured as keys; further ones are only counted."""
BALANCER_NAMES = 32
EPOCH_ARRIVALS = 4096
SEQUENCE_KEPT = 4096
ROTATING_AFTER = 64
"""A cookie whose values hardly ever come back over this many arrivals is no key: it changes with every response."""
ADDRESS_KEYS = ("source_ip", "forwarded_for", "proxy_source")
V4_MAPPED = bytes(10) + b"\xff\xff"
_ADDRESS_KEYS = 1 << 14
_COOKIE_KEYS = 1 << 13

U64 = npt.NDArray[np.uint64]
ByName = list[tuple[str, Rows, U64]]
"""Cookies: key, arrivals, their sequence numbers."""


@dataclass(slots=True, eq=False)
class Measure:
    """What one key did, in arrays over its values; rows are keys with two arrivals or more."""

    key: str
    slots: Rows  # keytable.SLOT
    returns: npt.NDArray[np.float64]  # [keys, lanes, strata]
    same: npt.NDArray[np.float64]
    chance: npt.NDArray[np.float64]  # sums over returns
    firsts: npt.NDArray[np.uint16]  # targets of the latest first assignments, in order
    moves: Rows  # keytable.MOVE, in order
    kept: npt.NDArray[np.uint32]  # returns to the same target by duration, see keytable.KeyTable.kept_rows
    moves_seen: int
    keys_seen: int
    arrivals: int


@dataclass(slots=True, eq=False)
class Unit:
    """One kind of arrival (connection or request): its epochs, and the tables that are folded with it."""

    tables: dict[str, KeyTable] = field(default_factory=dict)
    seen: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((3, 8), np.int64))
    clock: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(3, np.int64))
    shares: dict[tuple[str, int], npt.NDArray[np.float64]] = field(default_factory=dict)
    sequence: npt.NDArray[np.uint16] = field(default_factory=lambda: np.zeros(0, np.uint16))
    sources: npt.NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    times: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    epochs: list[tuple[int, int]] = field(default_factory=list)  # (time, set of targets as bits) of the latest epochs

    def table(self, key: str, cap: int = _ADDRESS_KEYS) -> KeyTable:
        found = self.tables.get(key)
        if found is None:
            found = self.tables[key] = KeyTable(cap, key.startswith("cookie:") or key in ADDRESS_KEYS)
        return found

    def widen(self, targets: int) -> None:
        """Room for target numbers below ``targets``."""
        have = self.seen.shape[1]
        if targets > have:
            wider = np.zeros((3, 2 * targets), np.int64)
            wider[:, :have] = self.seen
            self.seen = wider

    def remember(self, targets: npt.NDArray[np.uint16], sources: npt.NDArray[np.uint32], times: npt.NDArray[np.int64]) -> None:
        """Keeps the latest arrivals in order: target, who connected, when."""
        self.sequence = np.concatenate((self.sequence, targets))[-SEQUENCE_KEPT:]
        self.sources = np.concatenate((self.sources, sources))[-SEQUENCE_KEPT:]
        self.times = np.concatenate((self.times, times))[-SEQUENCE_KEPT:]

    def chances(self, key: str, table: KeyTable) -> list[tuple[float, npt.NDArray[np.float64]]]:
        """Chance and shares of the open epoch, per lane."""
        assigned = table.share_rows
        width = max(assigned.shape[1], self.seen.shape[1])
        pad = np.zeros((5, width), np.int64)
        pad[:, : assigned.shape[1]] = assigned
        serving = np.zeros(width, np.bool_)
        serving[: self.seen.shape[1]] = self.seen[0] > 0
        result = []
        for lane in range(LANES):
            before = np.zeros(width)
            known = self.shares.get((key, lane))
            if known is not None:
                before[: len(known)] = known
            result.append(same_target_chance(pad[0], pad[1 + 2 * lane], pad[2 + 2 * lane], serving, before))
        return result

    def end_epoch(self, at_ns: int) -> None:
        bits = int(sum(1 << int(target) for target in np.flatnonzero(self.seen[0])[:64]))
        if not self.epochs or self.epochs[-1][1] != bits:
            self.epochs = [*self.epochs[-255:], (at_ns, bits)]
        for key, table in self.tables.items():
            chances = self.chances(key, table)
            table.settle(chances[0][0], chances[1][0])
            for lane, (_, shares) in enumerate(chances):
                self.shares[key, lane] = shares
        self.seen[0] = 0
        self.clock[0] = 0
        self.clock[2] = 0


def _arrivals(rows: Rows, target: npt.NDArray[np.uint16], value: npt.NDArray[np.generic]) -> Rows:
    made = np.zeros(len(rows), ARRIVAL)
    made["value"] = value
    made["conn"] = rows["conn"]
    made["at_ns"] = rows["at_ns"]
    made["target"] = target
    return made


class AffinityLedger:
    """Folds ``opened``, ``proxies``, ``handshakes``, ``requests`` and ``cookies`` of the back leg.

    Of the front leg, where it is in view, only the names of cookies.
    """

    def __init__(self) -> None:
        self.connections = Unit()
        self.requests = Unit()
        self.cookie_keys: dict[int, str] = {}  # name number -> key, of measured names
        self.rotating: set[str] = set()  # cookies that are present and no keys
        self.other_names = 0  # names beyond the cap
        self.balancer_names: dict[int, int] = {}  # name number -> bit in the marks
        self.balancer_labels: list[str] = []  # by bit
        self.session_names: set[int] = set()
        self.presented = np.zeros(BALANCER_NAMES, np.int64)  # requests that bring each balancer cookie
        self.request_count = 0
        self.marked_requests = 0  # requests that bring any stickiness cookie
        self.session_requests = 0
        self.set_at_front: dict[int, int] = {}  # Set-Cookie by name, where the front leg is in view
        self.set_at_back: dict[int, int] = {}
        self.brought_to_front: dict[int, int] = {}
        self.several_clients = 0  # consecutive requests of one connection that name different clients
        self.consecutive = 0
        self.several_users = 0  # the same by session
        self.consecutive_users = 0
        self._nets: U64 = np.zeros(1, np.uint64)

    # -- folding ----------------------------------------------------------------------------------------------------

    def fold(self, window: ServiceWindow) -> None:
        self._fold_connections(window)
        self._fold_requests(window)
        self._fold_front(window)

    def _fold_connections(self, window: ServiceWindow) -> None:
        opened, target = _counted(window, "opened")
        unit = self.connections
        feeds: list[tuple[str, Rows, U64]] = []
        if len(opened):
            unit.widen(int(target.max()) + 1)
            unit.remember(target, opened["client"].astype(np.uint32), opened["at_ns"])
            feeds.append(("source_ip", _arrivals(opened, target, opened["client"]), opened["seq"]))
            nets = _arrivals(opened, target, self._networks(opened["client"], window))
            nets["aux"] = opened["client"]
            feeds.append(("source_net", nets, opened["seq"]))
        for table, key, column, other in (
            ("proxies", "proxy_source", "source", ""),
            ("handshakes", "ja4", "family", "client"),
            ("handshakes", "tls_session", "session", "client"),
        ):
            rows, where = _counted(window, table)
            if len(rows) and (rows[column] != 0).any():
                made = _arrivals(rows, where, rows[column])
                if other:
                    made["aux"] = rows[other]
                feeds.append((key, made, rows["seq"]))
                unit.widen(int(where.max()) + 1)
        for first, last, at_ns in self._epochs(unit, target, opened):
            for key, rows, seq in feeds:
                begin, end = np.searchsorted(seq, [first, last]).tolist()
                if end > begin:
                    unit.table(key).fold(rows, begin, end)
            if at_ns is not None:
                unit.end_epoch(at_ns)

    def _fold_requests(self, window: ServiceWindow) -> None:
        requests, target = _counted(window, "requests")
        cookies, cookie_target = _counted(window, "cookies")
        unit = self.requests
        if len(requests):
            unit.widen(int(target.max()) + 1)
            unit.remember(target, requests["client"].astype(np.uint32), requests["at_ns"])
        if len(cookies):
            unit.widen(int(cookie_target.max()) + 1)
        marks = self._marks(requests, cookies, window)
        client = client_address(requests, window.proxies)
        self._count_multiplexing(requests, client)
        by_name = self._cookie_arrivals(requests, cookies, cookie_target, client, marks, window)
        sources = _arrivals(requests, target, requests["client"])
        sources["request"] = requests["request"]
        sources["marks"] = marks
        forwarded = sources.copy()
        forwarded["value"] = np.where(client == requests["client"], 0, client)
        feeds = [("source_ip", sources), ("forwarded_for", forwarded)]
        if (forwarded["value"] != 0).any():
            nets = forwarded.copy()
            nets["value"] = self._networks(forwarded["value"], window)
            nets["aux"] = forwarded["value"]
            feeds.append(("forwarded_net", nets))
        for name, column in (("header:User-Agent", "user_agent"), ("header:Host", "host"), ("path", "path")):
            if len(requests) and (requests[column] != requests[column][0]).any():
                made = sources.copy()
                made["value"] = requests[column]
                feeds.append((name, made))
        for first, last, at_ns in self._epochs(unit, target, requests):
            begin, end = np.searchsorted(requests["seq"], [first, last]).tolist()
            for key, rows, seq in by_name:
                from_, to = np.searchsorted(seq, [first, last]).tolist()
                if to > from_ and key not in self.rotating:
                    unit.table(key, _COOKIE_KEYS).fold(rows, from_, to)
            if end > begin:
                self._fold_request_keys(unit, feeds, by_name, requests, begin, end)
            if at_ns is not None:
                unit.end_epoch(at_ns)
        self._drop_rotating()

    def _fold_request_keys(
        self, unit: Unit, feeds: list[tuple[str, Rows]], by_name: ByName, requests: Rows, begin: int, end: int
    ) -> None:
        users = self._users(requests, by_name, begin, end)
        if self.session_names:
            together, changed = _changes(requests["conn"][begin:end], users)
            self.consecutive_users += together
            self.several_users += changed
        for key, rows in feeds:
            if key != "forwarded_net":
                rows["aux"][begin:end] = users
            unit.table(key).fold(rows, begin, end)

    def _epochs(self, unit: Unit, target: npt.NDArray[np.uint16], rows: Rows) -> Iterator[tuple[int, int, int | None]]:
        """Ranges of sequence numbers, each within one epoch; with the time of its end where the epoch ends in this window."""
        start, stop = 0, len(rows)
        first = 0
        while start < stop:
            cut = next_cut(target, start, stop, unit.seen, unit.clock, EPOCH_ARRIVALS)
            if cut < stop:
                yield first, int(rows["seq"][cut]), int(rows["at_ns"][cut])
                first = int(rows["seq"][cut])
            start = cut
        yield first, 1 << 62, None

    # -- what requests bring -------------------------------------------------------------------------------------------

    def _marks(self, requests: Rows, cookies: Rows, window: ServiceWindow) -> npt.NDArray[np.uint32]:
        """Per request, which balancers' cookies it brings, as bits."""
        marks = np.zeros(len(requests), np.uint32)
        self.request_count += len(requests)
        brought = cookies[(cookies["flags"] & (CookieFlag.BALANCER | CookieFlag.SET)) == CookieFlag.BALANCER]
        if len(brought) and len(requests):
            for name in _distinct(brought["name"]):
                bit = self._balancer_bit(name, window)
                if bit is None:
                    continue
                rows = _rows_of(requests, brought["request"][brought["name"] == name])
                marks[rows] |= np.uint32(1 << bit)
                self.presented[bit] += len(_distinct_sorted(rows))
            self.marked_requests += int((marks != 0).sum())
        return marks

    def _balancer_bit(self, name: int, window: ServiceWindow) -> int | None:
        """The bit of a cookie that pins; None for a balancer's cookie that does something else, or beyond the cap."""
        bit = self.balancer_names.get(name)
        if bit is None:
            label = safe_text(window.strings[name])
            row = balancer_cookie(label)
            bit = len(self.balancer_labels)
            if (row is not None and row.kind == "other") or bit >= BALANCER_NAMES:
                bit = -1
            else:
                self.balancer_labels.append(label)
                if row is not None and row.rotates == "yes":
                    self.rotating.add(f"cookie:{label}")
            self.balancer_names[name] = bit
        return None if bit < 0 else bit

    def _cookie_arrivals(
        self,
        requests: Rows,
        cookies: Rows,
        target: npt.NDArray[np.uint16],
        client: U64,
        marks: npt.NDArray[np.uint32],
        window: ServiceWindow,
    ) -> ByName:
        usable = (cookies["flags"] & (CookieFlag.CUT | CookieFlag.DELETE)) == 0
        made: ByName = []
        for name in _distinct(cookies["name"]):
            key = self._cookie_key(name, window)
            if key is None or key in self.rotating:
                continue
            chosen = np.flatnonzero(usable & (cookies["name"] == name))
            rows = cookies[chosen]
            if (rows["flags"] & CookieFlag.SESSION).any():
                self.session_names.add(name)
            arrivals = _arrivals(rows, target[chosen], rows["value"])
            arrivals["presented"] = rows["presented"]
            arrivals["request"] = rows["request"]
            arrivals["issued"] = (rows["flags"] & CookieFlag.SET) != 0
            if len(requests):
                of = np.minimum(np.searchsorted(requests["request"], rows["request"]), len(requests) - 1)
                known = requests["request"][of] == rows["request"]
                arrivals["aux"] = np.where(known, client[of], 0)
                arrivals["marks"] = np.where(known, marks[of], 0)
            made.append((key, arrivals, rows["seq"]))
        return made

    def _cookie_key(self, name: int, window: ServiceWindow) -> str | None:
        key = self.cookie_keys.get(name)
        if key is None and name > 1:
            if len(self.cookie_keys) >= COOKIE_NAMES:
                self.other_names += 1
                return None
            key = self.cookie_keys[name] = f"cookie:{safe_text(window.strings[name], 64)}"
        return key

    def _users(self, requests: Rows, by_name: ByName, begin: int, end: int) -> U64:
        """Who made each request, as far as a session cookie (followed through re-issues) or else the User-Agent tells."""
        users = np.zeros(end - begin, np.uint64)
        sessions = [self.cookie_keys[name] for name in sorted(self.session_names) if name in self.cookie_keys]
        if not sessions:
            return requests["user_agent"][begin:end].astype(np.uint64)
        lowest, highest = int(requests["request"][begin]), int(requests["request"][end - 1])
        for place, (key, rows, _) in enumerate(by_name):
            if key not in sessions:
                continue
            arrived = rows[(rows["issued"] == 0) & (rows["request"] >= lowest) & (rows["request"] <= highest)]
            of = _rows_of(requests, arrived["request"]) - begin
            if len(of) == len(arrived):
                fresh = users[of] == 0
                users[of[fresh]] = (np.uint64(place + 1) << np.uint64(40)) + arrived["presented"][fresh] + np.uint64(1)
        return users

    def _drop_rotating(self) -> None:
        for key, table in self.requests.tables.items():
            if key.startswith("cookie:") and key not in self.rotating and table.arrivals >= ROTATING_AFTER:
                returned = table.arrivals - table.keys_seen
                if returned < 0.1 * table.arrivals and not self._is_session(key):
                    self.rotating.add(key)
        for key in self.rotating:
            self.requests.tables.pop(key, None)

    def _is_session(self, key: str) -> bool:
        return any(self.cookie_keys.get(name) == key for name in self.session_names)

    def _count_multiplexing(self, requests: Rows, client: U64) -> None:
        """Several clients on one connection prove that the balancer decides per request."""
        together, changed = _changes(requests["conn"], client)
        self.consecutive += together
        self.several_clients += changed

    def _networks(self, numbers: npt.NDArray[np.generic], window: ServiceWindow) -> U64:
        """The /24 or /64 of each address number, as one 64-bit value."""
        known = len(self._nets)
        top = int(numbers.max(initial=0)) + 1
        if top > known:
            grown = np.zeros(top, np.uint64)
            grown[:known] = self._nets
            for number in range(max(known, 1), top):
                packed = window.addresses[number]
                grown[number] = int.from_bytes(packed[7:15] if packed[:12] == V4_MAPPED else packed[:8], "big")
            self._nets = grown
        nets: U64 = self._nets[numbers.astype(np.intp)]
        return nets

    def _fold_front(self, window: ServiceWindow) -> None:
        for rows, is_back in ((window.front.get("cookies"), False), (window.back["cookies"], True)):
            if rows is None or not len(rows):
                continue
            issued = (rows["flags"] & CookieFlag.SET) != 0
            _count_names(self.set_at_back if is_back else self.set_at_front, rows["name"][issued])
            if not is_back:
                _count_names(self.brought_to_front, rows["name"][~issued])

    # -- reading ----------------------------------------------------------------------------------------------------

    def measures(self) -> dict[tuple[str, str], Measure]:
        """What every key did, by (``connection`` or ``request``, key); the open epoch counted with its chance so far."""
        found = {}
        for label, unit in (("connection", self.connections), ("request", self.requests)):
            for key, table in unit.tables.items():
                found[label, key] = _measure(key, table, [chance for chance, _ in unit.chances(key, table)])
        return found

    def session_rows(self) -> list[Rows]:
        """Every key (SLOT) of each session cookie, those that came only once included."""
        keys = [self.cookie_keys[name] for name in sorted(self.session_names) if name in self.cookie_keys]
        tables = [self.requests.tables[key] for key in keys if key in self.requests.tables]
        return [table.slot_rows[: len(table)] for table in tables]

    def caps_reached(self) -> list[str]:
        caps = [
            f"affinity keys of {key}"
            for unit in (self.connections, self.requests)
            for key, table in unit.tables.items()
            if table.expired
        ]
        return [*caps, "cookie names measured for affinity"] if self.other_names else caps


def _measure(key: str, table: KeyTable, chances: list[float]) -> Measure:
    used = len(table)
    slots = table.slot_rows[:used]
    repeated = slots["arrivals"] >= 2
    counts = table.count_rows[:used][repeated].reshape(-1, LANES, STRATA, 3).astype(np.float64)
    expected = table.expected_rows[:used][repeated].reshape(-1, LANES, STRATA)
    expected = expected + counts[..., 2] * np.array(chances)[None, :, None]
    return Measure(
        key, slots[repeated], counts[..., 0], counts[..., 1], expected,
        table.recent_firsts(), table.recent_moves(), table.kept_rows, table.moves_seen, table.keys_seen, table.arrivals,
    )  # fmt: skip


def client_address(requests: Rows, proxies: frozenset[int]) -> U64:
    """Per request the client's address number: the rightmost forwarded one that is no recognised proxy, else the one a
    proxy's own header names, else the PROXY header's, else the connection's."""
    client = np.zeros(len(requests), np.uint64)
    known = np.array(sorted(proxies), np.uint64)
    for column in ("forwarded0", "forwarded1", "forwarded2", "forwarded3", "real_ip", "proxy_source", "client"):
        value = requests[column].astype(np.uint64)
        usable = (client == 0) & (value != 0)
        if len(known) and column.startswith("forwarded"):
            usable &= ~np.isin(value, known)
        client[usable] = value[usable]
    return client


def _counted(window: ServiceWindow, table: str) -> tuple[Rows, npt.NDArray[np.uint16]]:
    """The rows of a table at a target and not of a health check, with their targets."""
    rows, target, health = window.back[table], window.target[table], window.health[table]
    if not len(rows):
        return rows, target
    keep = ~health & (target != NO_TARGET)
    if keep.all():
        return rows, target
    return rows[keep], np.ascontiguousarray(target[keep])


def _changes(conns: npt.NDArray[np.generic], who: U64) -> tuple[int, int]:
    """Consecutive rows of one connection that both name somebody, and those that name somebody else than the one before."""
    order = np.argsort(conns, kind="stable")
    conns, who = conns[order], who[order]
    together = (conns[1:] == conns[:-1]) & (who[1:] != 0) & (who[:-1] != 0)
    return int(together.sum()), int((together & (who[1:] != who[:-1])).sum())


def _distinct(numbers: npt.NDArray[np.generic]) -> list[int]:
    """Different numbers in order of first appearance; cheap for many rows with few values."""
    found: list[int] = []
    left = numbers
    while len(left) and len(found) < 256:
        found.append(int(left[0]))
        left = left[left != left[0]]
    return found


def _distinct_sorted(numbers: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    return numbers[np.concatenate(([True], numbers[1:] != numbers[:-1]))] if len(numbers) else numbers


def _rows_of(requests: Rows, wanted: npt.NDArray[np.generic]) -> npt.NDArray[np.intp]:
    """Row numbers of requests by their number; those that are not in this window are left out."""
    places = np.searchsorted(requests["request"], wanted)
    inside = places < len(requests)
    places = places[inside]
    return places[requests["request"][places] == wanted[inside]]


def _count_names(counts: dict[int, int], names: npt.NDArray[np.generic]) -> None:
    for name in _distinct(names):
        if name in counts or len(counts) < 4 * COOKIE_NAMES:
            counts[name] = counts.get(name, 0) + int((names == name).sum())
