"""Which requests and connections are health checks.

By User-Agent (catalogue), by the LOCAL PROXY header, or by habit: the same bare request without cookies, on a connection
of its own, at a fixed interval. A habit counts only with several marks that hold together: a patient client with a loop
and a sleep has some of them too. Where hardly anybody else is there, at night or in front of a spare, checks are most of
the traffic, and so may be that client's requests: then it takes more marks.

A proxy on the way (a sidecar) writes the checker's address into the request and sends it on over a connection that it shares
with others: the asker is then who is named, and only the request is a check, not its connection.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import numpy as np
import numpy.typing as npt

from lbtop import catalog
from lbtop.model.arrays import distinct, median
from lbtop.model.observation import Interner, ProxyFlag, ReqFlag, Rows
from lbtop.reconstruct.columns import groups, repeated

Mask = npt.NDArray[np.bool_]
Habit = tuple[int, ...]
"""Client address, the address named as the asker, path, method, user agent, as numbers."""

MAX_HABITS = 1024
ENOUGH = 3
SHORTEST_NS = 400_000_000
REGULAR = 0.15  # an interval this close to the usual one is regular
MOSTLY = 0.8
DECIDES = 3.5
DECIDES_WITHOUT_RHYTHM = 5.0
MAY_BE_ALL = 2.0
MAX_GROUPS = 256
BARE_HEADERS = 4
MAX_PASSED_ON = 4096
OF_PROXIES = ("x-forwarded-", "x-real-ip", "x-request-id", "x-envoy-", "forwarded", "via", "connection")
"""Headers, or their beginnings, that say nothing about who asked: any proxy on the way adds them."""
PEOPLE = ReqFlag.BROWSER_UA | ReqFlag.AUTHORIZATION | ReqFlag.WEBSOCKET | ReqFlag.SEC_FETCH | ReqFlag.CONNECT
CHECK_WORDS = (b"health", b"ping", b"alive", b"live", b"ready", b"status", b"heartbeat", b"healthcheck", b"probe", b"lbcheck")


class HealthChecks:
    """Remembers user agents, habits, and the connections of checks that are still open."""

    def __init__(self) -> None:
        self.agents: npt.NDArray[np.uint8] = np.zeros(0, np.uint8)  # by string: 0 new, 1 no checker, 2 a checker
        self.paths: npt.NDArray[np.uint8] = np.zeros(0, np.uint8)  # likewise: 2 for a path that sounds like a check
        self.connections: set[int] = set()
        self.passed_on: dict[int, None] = {}  # requests on connections that a proxy shares with others, the newest of them
        self.habits: dict[Habit, None] = {}

    def requests(self, requests: Rows, proxies: Rows, strings: Interner) -> Mask:
        """The mask of health checks among ``requests``; remembers their connections."""
        local = proxies["conn"][(proxies["flags"] & ProxyFlag.LOCAL) != 0]
        self.connections.update(local.tolist())
        if not len(requests):
            return np.zeros(0, np.bool_)
        checks = self._by_agent(requests["user_agent"], strings)
        if self.connections:
            checks |= np.isin(requests["conn"], np.fromiter(self.connections, np.uint64))
        checks |= self._by_habit(requests, checks, strings)
        shared = checks & (requests["forwarded_count"] > 0) & ((requests["flags"] & ReqFlag.KEEPALIVE) != 0)
        self.connections.update(requests["conn"][checks & ~shared].tolist())
        self.passed_on.update(dict.fromkeys(requests["request"][shared].tolist()))
        for request in list(islice(self.passed_on, max(len(self.passed_on) - MAX_PASSED_ON, 0))):
            del self.passed_on[request]
        return checks

    def among(self, rows: Rows) -> Mask:
        """Which rows of any table belong to a health check."""
        found = np.zeros(len(rows), np.bool_)
        if self.connections:
            found |= np.isin(rows["conn"], np.fromiter(self.connections, np.uint64))
        if self.passed_on and "request" in (rows.dtype.names or ()):
            found |= np.isin(rows["request"], np.fromiter(self.passed_on, np.uint64))
        return found

    def forget(self, ended: npt.NDArray[np.uint64]) -> None:
        if self.connections:
            self.connections.difference_update(ended.tolist())

    def _by_agent(self, agents: npt.NDArray[np.uint32], strings: Interner) -> Mask:
        self.agents = _learn(
            self.agents, agents, strings, lambda text: catalog.health_checker(text.decode("latin-1")) is not None
        )
        return np.equal(self.agents[agents], 2)

    def _by_word(self, paths: npt.NDArray[np.uint32], strings: Interner) -> Mask:
        self.paths = _learn(self.paths, paths, strings, sounds_like_check)
        return np.equal(self.paths[paths], 2)

    def _by_habit(self, requests: Rows, known: Mask, strings: Interner) -> Mask:
        """Requests of habits found before, and of those that show now."""
        count = requests["forwarded_count"]
        asker = requests["client"]
        bare = (requests["cookies"] == 0) & ~known & ((requests["flags"] & PEOPLE) == 0)
        alone = (count == 0) & (requests["index"] == 0)  # who comes by himself opens a connection for every check
        further = np.unique(requests["forwarded0"][count > 1])
        if len(further):  # proxies behind another one, whose connections they share
            asker = np.where(count == 1, requests["forwarded0"], asker)
            alone |= (count == 1) & np.isin(asker, further) & np.isin(requests["real_ip"], (0, *further.tolist()))
        bare &= alone
        found = np.zeros(len(requests), np.bool_)
        candidates = np.flatnonzero(bare)
        if not len(candidates):
            return found
        rows = requests[candidates]
        columns = rows["client"], asker[candidates], rows["path"], rows["method"], rows["user_agent"]
        often = repeated(*columns, at_least=ENOUGH + 1)
        among = often | (rows["header_shape"] == 0) | self._by_word(rows["path"], strings)
        for habit, members in islice(groups(*columns, among=among), MAX_GROUPS):
            mine = candidates[members]
            if habit in self.habits:
                found[mine] = True
                continue
            parts = [mine[part] for _, part in groups(rows["server"][members], rows["server_port"][members])]
            every_ns = [_interval(requests["at_ns"][part]) for part in parts]
            if _score(requests, habit, mine, every_ns, strings) >= (DECIDES if any(every_ns) else DECIDES_WITHOUT_RHYTHM):
                found[mine] = True
                if len(self.habits) < MAX_HABITS:
                    self.habits[habit] = None
        return found


Flags = npt.NDArray[np.uint8]


def _learn(known: Flags, numbers: npt.NDArray[np.uint32], strings: Interner, asked: Callable[[bytes], bool]) -> Flags:
    """``known`` with an answer, 1 no or 2 yes, for every one of these strings."""
    if len(known) < len(strings):
        known = np.concatenate([known, np.zeros(len(strings) - len(known), np.uint8)])
    fresh = numbers[known[numbers] == 0]
    if len(fresh):
        for number in distinct(fresh).tolist():
            known[number] = 2 if asked(strings[number]) else 1
    return known


def sounds_like_check(path: bytes) -> bool:
    """Whether a word of the path is one that health checks ask for: ``/healthz``, ``/api/ping``, ``/-/ready``."""
    words = path.lower().replace(b"-", b"/").replace(b"_", b"/").split(b"/")
    return any(word.startswith(CHECK_WORDS) for word in words) or b"health" in path.lower()


def _interval(times: npt.NDArray[np.int64]) -> int:
    """The usual time between requests in nanoseconds; 0 where it is not fixed, or too short for a check."""
    if len(times) < ENOUGH + 1:
        return 0
    steps = np.diff(times)
    usual = median(steps)
    if usual < SHORTEST_NS or np.mean(np.abs(steps - usual) <= REGULAR * usual) < MOSTLY:
        return 0
    return int(usual)


def _score(requests: Rows, habit: Habit, members: npt.NDArray[np.intp], every_ns: list[int], strings: Interner) -> float:
    """How many marks of a health check hold together. ``every_ns``: the interval at each target, 0 where there is none."""
    client, asker, path, method, user_agent = habit
    passed_on = int(requests["forwarded_count"][members[0]])
    at_targets = np.zeros(len(requests), np.bool_)
    for (server, port), _ in groups(requests["server"][members], requests["server_port"][members]):
        at_targets |= (requests["server"] == server) & (requests["server_port"] == port)
    his = at_targets & (requests["client"] == client)
    if passed_on:
        his &= requests["forwarded0"] == asker
    others = np.count_nonzero(his) - len(members)
    names_clients = 2 * np.count_nonzero(requests["forwarded_count"][his] > passed_on) > others > 0
    if passed_on and not names_clients:
        return 0.0  # somebody behind a proxy, who may well poll
    headers = _headers(strings[int(requests["header_shape"][members[0]])])
    sounds = strings[method] in (b"OPTIONS", b"HEAD") or sounds_like_check(strings[path])
    if not (names_clients or sounds or headers <= BARE_HEADERS):
        return 0.0  # by the clock and nothing else: a monitor that collects figures, a program that polls
    score = 0.0
    if names_clients:
        score += 3.0  # the same address names the clients of its other requests
    elif not others:
        score += 1.0  # it sends nothing else
    if 2 * len(members) > np.count_nonzero(at_targets):
        # what is most of the traffic may be the traffic: a program's, which mostly says its name, or anybody's without clients
        score -= MAY_BE_ALL * (int(user_agent > 0) + int(not names_clients))
    if len(every_ns) > 1 and min(every_ns) > 0 and max(every_ns) - min(every_ns) <= REGULAR * max(every_ns):
        score += 2.0
    if sounds:
        score += 1.5
    score += 2.0 if not headers else 1.0 if headers <= BARE_HEADERS else 0.0
    if len(distinct(requests["conn"][members])) == len(members):
        score += 0.5
    return score + (0.5 if len(members) >= 8 else 0.0)


def _headers(shape: bytes) -> int:
    """How many headers the asker wrote himself, by the names of all of them."""
    return sum(not name.lower().startswith(OF_PROXIES) for name in shape.decode("latin-1").split(",") if name)
