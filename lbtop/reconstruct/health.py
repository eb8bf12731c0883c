"""Which requests and connections are health checks.

By User-Agent (catalogue), by the LOCAL PROXY header, or by habit: the same bare request without cookies or forwarded
addresses, on a connection of its own, at a fixed interval, beside other traffic. A habit counts only with several marks
that hold together: a patient client with a loop and a sleep has some of them too.
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
"""Client address, path, method, user agent, as numbers."""

MAX_HABITS = 1024
ENOUGH = 3
SHORTEST_NS = 400_000_000
REGULAR = 0.15  # an interval this close to the usual one is regular
MOSTLY = 0.8
DECIDES = 3.5
DECIDES_WITHOUT_RHYTHM = 5.0
MAX_GROUPS = 256
BARE_HEADERS = 4
PEOPLE = ReqFlag.BROWSER_UA | ReqFlag.AUTHORIZATION | ReqFlag.WEBSOCKET | ReqFlag.SEC_FETCH | ReqFlag.CONNECT
CHECK_WORDS = (b"health", b"ping", b"alive", b"live", b"ready", b"status", b"heartbeat", b"healthcheck", b"probe", b"lbcheck")


class HealthChecks:
    """Remembers user agents, habits, and the connections of checks that are still open."""

    def __init__(self) -> None:
        self.agents: npt.NDArray[np.uint8] = np.zeros(0, np.uint8)  # by string: 0 new, 1 no checker, 2 a checker
        self.paths: npt.NDArray[np.uint8] = np.zeros(0, np.uint8)  # likewise: 2 for a path that sounds like a check
        self.connections: set[int] = set()
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
        self.connections.update(requests["conn"][checks].tolist())
        return checks

    def of_connections(self, conn: npt.NDArray[np.uint64]) -> Mask:
        if not self.connections:
            return np.zeros(len(conn), np.bool_)
        return np.isin(conn, np.fromiter(self.connections, np.uint64))

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
        bare = (requests["cookies"] == 0) & (requests["forwarded_count"] == 0) & (requests["index"] == 0) & ~known
        bare &= (requests["flags"] & PEOPLE) == 0
        found = np.zeros(len(requests), np.bool_)
        candidates = np.flatnonzero(bare)
        if not len(candidates):
            return found
        rows = requests[candidates]
        columns = rows["client"], rows["path"], rows["method"], rows["user_agent"]
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


def _score(
    requests: Rows, habit: tuple[int, ...], members: npt.NDArray[np.intp], every_ns: list[int], strings: Interner
) -> float:
    """How many marks of a health check hold together. ``every_ns``: the interval at each target, 0 where there is none."""
    client, path, method, _ = habit
    at_targets = np.zeros(len(requests), np.bool_)
    for (server, port), _ in groups(requests["server"][members], requests["server_port"][members]):
        at_targets |= (requests["server"] == server) & (requests["server_port"] == port)
    if 2 * len(members) > np.count_nonzero(at_targets):
        return 0.0  # what is most of the traffic is the traffic
    others = requests[(requests["client"] == client) & at_targets]
    score = 0.0
    if 2 * np.count_nonzero(others["forwarded_count"]) > len(others) - len(members) > 0:
        score += 3.0  # the same address names the clients of its other requests
    elif len(others) == len(members):
        score += 1.0  # it sends nothing else
    if len(every_ns) > 1 and min(every_ns) > 0 and max(every_ns) - min(every_ns) <= REGULAR * max(every_ns):
        score += 2.0
    if strings[method] in (b"OPTIONS", b"HEAD") or sounds_like_check(strings[path]):
        score += 1.5
    shape = strings[int(requests["header_shape"][members[0]])]
    score += 2.0 if not shape else 1.0 if shape.count(b",") < BARE_HEADERS else 0.0
    if len(distinct(requests["conn"][members])) == len(members):
        score += 0.5
    return score + (0.5 if len(members) >= 8 else 0.0)
