"""Who came back to which target: every candidate key in one table each, and the chance to compare it with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lbtop.catalog import balancer_cookie
from lbtop.model.observation import CookieFlag, Rows
from lbtop.model.record import dataclass
from lbtop.model.text import safe_text
from lbtop.reconstruct.arrivals import (
    U64,
    Feed,
    Neighbours,
    Networks,
    Part,
    Targets,
    arrivals,
    clients_of,
    counted,
    distinct,
    numbers,
    places_of,
    rows_by_number,
)
from lbtop.reconstruct.epochs import Unit
from lbtop.reconstruct.keytable import ARRIVAL, LANES, STRATA, KeyTable
from lbtop.reconstruct.window import ServiceWindow

COOKIE_NAMES = 24
"""Cookie names that are measured as keys; further ones are only counted."""
BALANCER_NAMES = 32
ROTATING_AFTER = 64
"""A cookie whose values hardly ever come back over this many arrivals is no key: it changes with every response."""
RETURNING = 0.1
_NO_REISSUES = np.zeros((0, 2), np.int64)
ADDRESS_CAP = 1 << 14
COOKIE_CAP = 1 << 13
REISSUES_KEPT = 4096
NAMED_KEPT = 16
"""Targets that a cookie names at one target: beyond these it is clear that it names many."""


@dataclass(slots=True, eq=False)
class Measure:
    """What one key did, in arrays over its values; rows are keys with two arrivals or more."""

    key: str
    slots: Rows  # keytable.SLOT
    returns: npt.NDArray[np.float64]  # [keys, lanes, strata]
    same: npt.NDArray[np.float64]
    chance: npt.NDArray[np.float64]  # sums over returns
    firsts: Targets  # targets of the latest first assignments, in order
    moves: Rows  # keytable.MOVE, in order
    kept: npt.NDArray[np.uint32]  # returns to the same target by duration, see keytable.KeyTable.kept_rows
    moves_seen: int
    keys_seen: int
    arrivals: int
    reissued: npt.NDArray[np.int64]  # [n, 2]: serial of the key and when its value was replaced, the latest ones


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
        self.balancer_names: dict[int, int] = {}  # name number -> bit in the marks, -1 none
        self.balancer_labels: list[str] = []  # by bit
        self.session_names: set[int] = set()
        self.presented = np.zeros(BALANCER_NAMES, np.int64)  # requests that bring each balancer's cookie
        self.request_count = 0
        self.marked_requests = 0  # requests that bring any stickiness cookie
        self.set_at_front: dict[int, int] = {}  # Set-Cookie by name, where the front leg is in view
        self.set_at_back: dict[int, int] = {}
        self.several_clients = 0  # consecutive requests of one connection that name different clients
        self.consecutive = 0
        self.several_users = 0  # the same by session
        self.consecutive_users = 0
        self.named: dict[tuple[int, int], dict[tuple[int, int], int]] = {}
        """Cookies that name a target legibly: (name number, target) -> (address, port) that they name there -> requests."""
        self._reissued: dict[str, npt.NDArray[np.int64]] = {}  # session cookie's key -> see Measure
        self._networks = Networks()

    # -- folding ----------------------------------------------------------------------------------------------------

    def fold(self, window: ServiceWindow) -> None:
        self._fold_connections(window)
        self._fold_requests(window)
        front = window.front.get("cookies")
        if front is not None and len(front):
            _count_names(self.set_at_front, front["name"][(front["flags"] & np.uint32(CookieFlag.SET)) != 0])

    def _fold_connections(self, window: ServiceWindow) -> None:
        opened, target = counted(window, "opened")
        unit = self.connections
        feeds: list[Feed] = []
        if len(opened):
            unit.widen(target)
            unit.remember(target, opened["client"])
            rows, client, seq = arrivals(opened, target), numbers(opened, "client"), numbers(opened, "seq")
            feeds.append(Feed("source_ip", rows, client, np.zeros(len(rows), np.uint64), seq))
            feeds.append(Feed("source_net", rows, self._networks.of(client, window.addresses), client, seq))
        for table, keys in (("proxies", {"proxy_source": "source"}), ("handshakes", {"ja4": "family", "tls_session": "session"})):
            source, where = counted(window, table)
            for key, name in keys.items():
                values = numbers(source, name)
                if values.any():
                    unit.widen(where)
                    rows = arrivals(source, where)
                    feeds.append(Feed(key, rows, values, numbers(source, "client"), numbers(source, "seq")))
        for first, last, ends in unit.cut(target, numbers(opened, "seq")):
            for feed in feeds:
                begin, end = np.searchsorted(feed.seq, np.array([first, last], np.uint64)).tolist()
                if end > begin:
                    unit.table(feed.key, ADDRESS_CAP).fold(feed.rows, feed.values, feed.aux, begin, end)
            if ends:
                unit.end_epoch()

    def _fold_requests(self, window: ServiceWindow) -> None:
        requests, target = counted(window, "requests")
        cookies, cookie_target = counted(window, "cookies")
        if not len(requests) and not len(cookies):
            return
        unit = self.requests
        unit.widen(target)
        unit.widen(cookie_target)
        unit.remember(target, requests["client"])
        client = clients_of(window)
        neighbours = Neighbours(requests["conn"])
        together, changed = neighbours.changes(client)
        self.consecutive += together
        self.several_clients += changed
        request_of = rows_by_number(requests, numbers(cookies, "request"))
        names, flags = cookies["name"], cookies["flags"]
        self._fold_named(cookies, cookie_target)
        marks = self._marks(len(requests), names, flags, request_of, window)
        sessions = self._cookie_feeds(cookies, cookie_target, names, flags, request_of, client, marks, window)
        keys = self._request_feeds(requests, target, client, marks, window)
        seq = numbers(requests, "seq")
        users = np.zeros(len(requests), np.uint64)
        for first, last, ends in unit.cut(target, seq):
            bounds = np.array([first, last], np.uint64)
            for feed in sessions:
                begin, end = np.searchsorted(feed.seq, bounds).tolist()
                if end > begin:
                    unit.table(feed.key, COOKIE_CAP).fold(feed.rows, feed.values, feed.aux, begin, end)
                    self._name_users(users, feed, begin, end)
            begin, end = np.searchsorted(seq, bounds).tolist()
            if not self.session_names:
                users[begin:end] = requests["user_agent"][begin:end]
            for feed in keys if end > begin else ():
                aux = feed.aux if len(feed.aux) else users
                unit.table(feed.key, ADDRESS_CAP).fold(feed.rows, feed.values, aux, begin, end)
            if ends:
                unit.end_epoch()
        for feed in sessions:
            self._note_reissues(feed)
        if self.session_names:
            together, changed = neighbours.changes(users)
            self.consecutive_users += together
            self.several_users += changed
        self._drop_rotating()

    # -- what requests bring -------------------------------------------------------------------------------------------

    def _request_feeds(
        self, requests: Part, target: Targets, client: U64, marks: npt.NDArray[np.uint32], window: ServiceWindow
    ) -> list[Feed]:
        """Keys of whole requests. Their other identity is the user, who is only known when the cookies were folded."""
        if not len(requests):
            return []
        rows, seq, later = arrivals(requests, target), np.zeros(0, np.uint64), np.zeros(0, np.uint64)
        rows["request"] = requests["request"]
        rows["marks"] = marks
        source = numbers(requests, "client")
        feeds = [Feed("source_ip", rows, source, later, seq)]
        forwarded = np.where(client == source, np.uint64(0), client)
        if forwarded.any():
            feeds.append(Feed("forwarded_for", rows, forwarded, later, seq))
            feeds.append(Feed("forwarded_net", rows, self._networks.of(forwarded, window.addresses), forwarded, seq))
        for key, name in (("header:User-Agent", "user_agent"), ("header:Host", "host"), ("path", "path")):
            values = numbers(requests, name)
            if (values != values[0]).any() or key in self.requests.tables:
                feeds.append(Feed(key, rows, values, later, seq))
        return feeds

    def _marks(
        self,
        requests: int,
        names: npt.NDArray[np.uint32],
        flags: npt.NDArray[np.uint32],
        request_of: npt.NDArray[np.intp],
        window: ServiceWindow,
    ) -> npt.NDArray[np.uint32]:
        """Per request, which balancers' cookies it brings, as bits."""
        marks = np.zeros(requests, np.uint32)
        self.request_count += requests
        brought = ((flags & np.uint32(CookieFlag.BALANCER | CookieFlag.SET)) == CookieFlag.BALANCER) & (request_of >= 0)
        if brought.any():
            of, named = request_of[brought], names[brought]
            for name in distinct(named):
                bit = self._balancer_bit(name, window)
                if bit is not None:
                    rows = of[named == name]
                    marks[rows] |= np.uint32(1 << bit)
                    self.presented[bit] += 1 + int((np.diff(rows) != 0).sum())
            self.marked_requests += int(np.count_nonzero(marks))
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

    def _cookie_feeds(
        self,
        cookies: Part,
        target: Targets,
        names: npt.NDArray[np.uint32],
        flags: npt.NDArray[np.uint32],
        request_of: npt.NDArray[np.intp],
        client: U64,
        marks: npt.NDArray[np.uint32],
        window: ServiceWindow,
    ) -> list[Feed]:
        """One feed per cookie name that may be a key; also notes which names carry sessions and which ones targets set."""
        usable = (flags & np.uint32(CookieFlag.CUT | CookieFlag.DELETE)) == 0
        issued = (flags & np.uint32(CookieFlag.SET)) != 0
        _count_names(self.set_at_back, names[issued])
        feeds: list[Feed] = []
        for name in distinct(names):
            key = self._cookie_key(name, window)
            if key is None or key in self.rotating:
                continue
            chosen = np.flatnonzero(usable & (names == name))
            if not len(chosen):
                continue
            if (flags[chosen] & np.uint32(CookieFlag.SESSION)).any():
                self.session_names.add(name)
            of = request_of[chosen]
            rows = np.zeros(len(chosen), ARRIVAL)
            for field in ("conn", "at_ns", "presented", "request"):
                rows[field] = cookies[field][chosen]
            rows["target"] = target[chosen]
            rows["issued"] = issued[chosen]
            aux = np.zeros(len(chosen), np.uint64)
            known = of >= 0
            aux[known] = client[of[known]]
            rows["marks"][known] = marks[of[known]]
            feeds.append(Feed(key, rows, cookies["value"][chosen], aux, cookies["seq"][chosen], of))
        return feeds

    def _cookie_key(self, name: int, window: ServiceWindow) -> str | None:
        key = self.cookie_keys.get(name)
        if key is None and name > 1:
            if len(self.cookie_keys) >= COOKIE_NAMES:
                self.other_names += 1
                return None
            key = self.cookie_keys[name] = f"cookie:{safe_text(window.strings[name], 64)}"
        return key

    def _name_users(self, users: U64, feed: Feed, begin: int, end: int) -> None:
        """Says of requests whose they are, by the key (followed through re-issues) of the session cookie that they bring."""
        place = next((n for n, name in enumerate(sorted(self.session_names)) if self.cookie_keys.get(name) == feed.key), None)
        if place is None or feed.request is None:
            return
        of, rows = feed.request[begin:end], feed.rows[begin:end]
        mine = (of >= 0) & (rows["issued"] == 0)
        of = of[mine]
        fresh = users[of] == 0
        users[of[fresh]] = rows["presented"][mine][fresh] + np.uint64(((place + 1) << 40) + 1)

    def _fold_named(self, cookies: Part, target: Targets) -> None:
        disclosing = (cookies["flags"] & np.uint32(CookieFlag.DISCLOSES | CookieFlag.SET)) == CookieFlag.DISCLOSES
        if not disclosing.any():
            return
        parts = [cookies[name][disclosing].astype(np.int64) for name in ("name", "names", "names_port")]
        rows, counts = np.unique(np.stack((parts[0], target[disclosing], parts[1], parts[2]), axis=1), axis=0, return_counts=True)
        for (name, where, address, port), count in zip(rows.tolist(), counts.tolist(), strict=True):
            there = self.named.setdefault((name, where), {})
            if (address, port) in there or len(there) < NAMED_KEPT:
                there[address, port] = there.get((address, port), 0) + count

    def _note_reissues(self, feed: Feed) -> None:
        """Notes whose value a response replaced: the key goes on, and what is decided by its value is decided anew."""
        rows = feed.rows
        issued = (rows["issued"] != 0) & (rows["presented"] != 0) & (rows["presented"] != feed.values)
        if not issued.any() or not self._is_session(feed.key):
            return
        arrived = rows[rows["issued"] == 0]
        places = places_of(arrived["request"], rows["request"][issued])
        found = np.stack((arrived["presented"][places].astype(np.int64), rows["at_ns"][issued]), axis=1)[places >= 0]
        before = self._reissued.get(feed.key, _NO_REISSUES)
        self._reissued[feed.key] = np.concatenate((before, found))[-REISSUES_KEPT:]

    def _drop_rotating(self) -> None:
        for key, table in self.requests.tables.items():
            seldom = table.arrivals - table.keys_seen < RETURNING * table.arrivals
            if key.startswith("cookie:") and table.arrivals >= ROTATING_AFTER and seldom and not self._is_session(key):
                self.rotating.add(key)
        for key in self.rotating:
            self.requests.tables.pop(key, None)

    def _is_session(self, key: str) -> bool:
        return any(self.cookie_keys.get(name) == key for name in self.session_names)

    # -- reading ----------------------------------------------------------------------------------------------------

    def measures(self) -> dict[tuple[str, str], Measure]:
        """What every key did, by (``connection`` or ``request``, key); the open epoch counted with its chance so far."""
        found = {}
        for label, unit in (("connection", self.connections), ("request", self.requests)):
            for key, table in unit.tables.items():
                chances = [chance for chance, _ in unit.chances(key, table)]
                found[label, key] = _measure(key, table, chances, self._reissued.get(key, _NO_REISSUES))
        return found

    def session_rows(self) -> list[Rows]:
        """Every key (SLOT) of each session cookie, those that came only once included."""
        keys = [self.cookie_keys[name] for name in sorted(self.session_names) if name in self.cookie_keys]
        tables = [self.requests.tables[key] for key in keys if key in self.requests.tables]
        return [table.slot_rows[: len(table)] for table in tables]

    def caps_reached(self) -> list[str]:
        """What was forgotten or left out because a table was full, for the source's list of caps."""
        units = (self.connections, self.requests)
        caps = [f"affinity keys of {key}" for unit in units for key, table in unit.tables.items() if table.expired]
        return [*caps, "cookie names measured for affinity"] if self.other_names else caps


def _measure(key: str, table: KeyTable, chances: list[float], reissued: npt.NDArray[np.int64]) -> Measure:
    used = len(table)
    slots = table.slot_rows[:used]
    repeated = np.flatnonzero(slots["arrivals"] >= 2)
    counts = table.count_rows[repeated].reshape(-1, LANES, STRATA, 3).astype(np.float64)
    expected = table.expected_rows[repeated].reshape(-1, LANES, STRATA) + counts[..., 2] * np.array(chances)[None, :, None]
    return Measure(
        key, slots[repeated], counts[..., 0], counts[..., 1], expected, table.recent_firsts(), table.recent_moves(),
        table.kept_rows, table.moves_seen, table.keys_seen, table.arrivals, reissued,
    )  # fmt: skip


def _count_names(counts: dict[int, int], names: npt.NDArray[np.uint32]) -> None:
    for name in distinct(names):
        if name in counts or len(counts) < 4 * COOKIE_NAMES:
            counts[name] = counts.get(name, 0) + int((names == name).sum())
