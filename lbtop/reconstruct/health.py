"""Which requests and connections are health checks.

By User-Agent (catalogue), by the LOCAL PROXY header, or by habit: the same bare request without cookies or forwarded
addresses, on a connection of its own, at a fixed interval, beside other traffic. A habit counts only with several marks
that hold together: a patient client with a loop and a sleep has some of them too.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lbtop import catalog
from lbtop.model.observation import Interner, ProxyFlag, ReqFlag, Rows
from lbtop.reconstruct.columns import groups

Mask = npt.NDArray[np.bool_]
Habit = tuple[int, int, int, int]
"""Client address, path, method, user agent, as numbers."""

MAX_HABITS = 1024
ENOUGH = 3
SHORTEST_NS = 400_000_000
REGULAR = 0.15  # an interval this close to the usual one is regular
MOSTLY = 0.8
DECIDES = 3.5
BARE_HEADERS = 4
PEOPLE = ReqFlag.BROWSER_UA | ReqFlag.AUTHORIZATION | ReqFlag.WEBSOCKET | ReqFlag.SEC_FETCH | ReqFlag.CONNECT
CHECK_WORDS = (b"health", b"ping", b"alive", b"ready", b"status", b"heartbeat", b"check", b"probe", b"up")


class HealthChecks:
    """Remembers user agents, habits, and the connections of checks that are still open."""

    def __init__(self) -> None:
        self.agents: npt.NDArray[np.uint8] = np.zeros(0, np.uint8)  # by string: 0 new, 1 no checker, 2 a checker
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
        if len(self.agents) < len(strings):
            self.agents = np.concatenate([self.agents, np.zeros(len(strings) - len(self.agents), np.uint8)])
        verdicts = self.agents[agents]
        if not verdicts.all():
            for number in np.unique(agents[verdicts == 0]).tolist():
                checker = catalog.health_checker(strings[number].decode("latin-1"))
                self.agents[number] = 1 if checker is None else 2
            verdicts = self.agents[agents]
        return np.equal(verdicts, 2)

    def _by_habit(self, requests: Rows, known: Mask, strings: Interner) -> Mask:
        """Requests of habits found before, and of those that show now."""
        bare = (requests["cookies"] == 0) & (requests["forwarded_count"] == 0) & (requests["index"] == 0) & ~known
        bare &= (requests["flags"] & PEOPLE) == 0
        found = np.zeros(len(requests), np.bool_)
        if not bare.any():
            return found
        candidates = np.flatnonzero(bare)
        rows = requests[candidates]
        regular: dict[Habit, list[tuple[npt.NDArray[np.intp], int]]] = {}
        for (client, path, method, agent), members in groups(rows["client"], rows["path"], rows["method"], rows["user_agent"]):
            habit = (client, path, method, agent)
            if habit in self.habits:
                found[candidates[members]] = True
                continue
            for _, mine in groups(rows["server"][members], rows["server_port"][members]):
                every_ns = _interval(rows["at_ns"][members[mine]])
                if every_ns:
                    regular.setdefault(habit, []).append((candidates[members[mine]], every_ns))
        for habit, parts in regular.items():
            if _score(requests, habit, parts, strings) >= DECIDES:
                if len(self.habits) < MAX_HABITS:
                    self.habits[habit] = None
                for members, _ in parts:
                    found[members] = True
        return found


def _interval(times: npt.NDArray[np.int64]) -> int:
    """The usual time between requests in nanoseconds; 0 where it is not fixed, or too short for a check."""
    if len(times) < ENOUGH + 1:
        return 0
    steps = np.diff(times)
    usual = float(np.median(steps))
    if usual < SHORTEST_NS or np.mean(np.abs(steps - usual) <= REGULAR * usual) < MOSTLY:
        return 0
    return int(usual)


def _score(requests: Rows, habit: Habit, parts: list[tuple[npt.NDArray[np.intp], int]], strings: Interner) -> float:
    """How many marks of a health check hold together."""
    client, path, method, _ = habit
    members = np.concatenate([part for part, _ in parts])
    first = requests[members[0]]
    ends = [(int(requests["server"][part[0]]), int(requests["server_port"][part[0]])) for part, _ in parts]
    at_targets = np.zeros(len(requests), np.bool_)
    for server, port in ends:
        at_targets |= (requests["server"] == server) & (requests["server_port"] == port)
    if 2 * len(members) > np.count_nonzero(at_targets):
        return 0.0  # what is most of the traffic is the traffic
    others = requests[(requests["client"] == client) & at_targets]
    score = 0.0
    if 2 * np.count_nonzero(others["forwarded_count"]) > len(others) - len(members) > 0:
        score += 3.0  # the same address names the clients of its other requests
    elif len(others) == len(members):
        score += 1.0  # it sends nothing else
    usual = [every_ns for _, every_ns in parts]
    if len(parts) > 1 and max(usual) - min(usual) <= REGULAR * max(usual):
        score += 2.0
    word = strings[path].lower()
    if strings[method] in (b"OPTIONS", b"HEAD") or any(check in word for check in CHECK_WORDS):
        score += 1.5
    shape = strings[int(first["header_shape"])]
    if not shape or shape.count(b",") < BARE_HEADERS:
        score += 1.0
    if len(np.unique(requests["conn"][members])) == len(members):
        score += 0.5
    return score + (0.5 if len(members) >= 8 else 0.0)
