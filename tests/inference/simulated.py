"""Services simulated in arrays: who asked when, from where, and which target the balancer chose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lbtop.inference.affinity import infer_stickiness
from lbtop.model.judgement import Mode, Verdict
from lbtop.model.observation import TABLES, ConnFlag, CookieFlag, RespFlag, SourceStats, empty
from lbtop.model.snapshot import Stickiness, Termination
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.window import ServiceWindow
from lbtop.testing import START_NS, TextInterner

BALANCER, SESSION_NAME, LB_NAME = 1, 2, 3
FIRST_CLIENT = 100
Ints = npt.NDArray[np.int64]


@dataclass
class Requests:
    """Parallel arrays, in order of time (seconds)."""

    at: npt.NDArray[np.float64]
    user: Ints
    address: Ints
    target: Ints
    cookie: npt.NDArray[np.bool_]  # brings the balancer's cookie


def interners(addresses: int = 4000) -> tuple[TextInterner, TextInterner]:
    strings, numbers = TextInterner(), TextInterner()
    for name in (b"JSESSIONID", b"AWSALB"):
        strings.number(name)
    for number in range(2, addresses):
        numbers.number(bytes(10) + b"\xff\xff" + bytes((10, number >> 16 & 255, number >> 8 & 255, number & 255)))
    return strings, numbers


def http_facts(requests: Requests, targets: int = 3, session_cookies: bool = True) -> ServiceFacts:
    """A layer-7 service: forwarded addresses, a session cookie that targets issue, perhaps a balancer's cookie."""
    n = len(requests.at)
    at_ns = START_NS + (requests.at * 1e9).astype(np.int64)
    tables = {name: empty(name) for name in TABLES}
    rows = np.zeros(n, TABLES["requests"])
    rows["seq"] = np.arange(n) * 10
    rows["at_ns"], rows["request"] = at_ns, np.arange(1, n + 1)
    rows["client"], rows["conn"] = BALANCER, requests.target + 1
    rows["forwarded0"], rows["forwarded_count"] = requests.address + FIRST_CLIENT, 1
    tables["requests"] = rows
    target = {name: np.zeros(0, np.uint16) for name in TABLES}
    target["requests"] = requests.target.astype(np.uint16)
    first = np.zeros(n, bool)
    first[np.unique(requests.user, return_index=True)[1]] = True
    cookies, where = [], []
    if session_cookies:
        sessions = np.zeros(n, TABLES["cookies"])
        sessions["seq"] = rows["seq"] + np.where(first, 5, 1)  # the first is set by the response
        sessions["at_ns"], sessions["request"], sessions["conn"] = at_ns, rows["request"], rows["conn"]
        sessions["value"], sessions["name"] = requests.user + 1, SESSION_NAME
        sessions["flags"] = CookieFlag.SESSION | np.where(first, CookieFlag.SET, 0)
        cookies.append(sessions)
        where.append(requests.target)
    brought = np.flatnonzero(requests.cookie)
    marks = np.zeros(len(brought), TABLES["cookies"])
    marks["seq"], marks["at_ns"] = rows["seq"][brought] + 2, at_ns[brought]
    marks["request"], marks["conn"] = rows["request"][brought], rows["conn"][brought]
    marks["value"], marks["name"], marks["flags"] = brought + 1_000_000, LB_NAME, CookieFlag.BALANCER
    cookies.append(marks)
    where.append(requests.target[brought])
    order = np.argsort(np.concatenate([c["seq"] for c in cookies]), kind="stable")
    tables["cookies"] = np.concatenate(cookies)[order]
    target["cookies"] = np.concatenate(where)[order].astype(np.uint16)
    responses = np.zeros(n, TABLES["responses"])
    responses["seq"], responses["at_ns"] = rows["seq"] + 4, at_ns
    responses["request"], responses["status"] = rows["request"], 200
    responses["flags"] = np.where(first, RespFlag.SESSION_ISSUED, RespFlag.SESSION_PRESENTED)
    tables["responses"] = responses
    target["responses"] = requests.target.astype(np.uint16)
    return _facts(tables, target, targets, [BALANCER], False)


def tcp_facts(
    at: npt.NDArray[np.float64], address: Ints, target: Ints, targets: int = 3, cost: Ints | None = None
) -> ServiceFacts:
    """A layer-4 service that keeps client addresses: one connection per arrival."""
    n = len(at)
    at_ns = START_NS + (at * 1e9).astype(np.int64)
    tables = {name: empty(name) for name in TABLES}
    opened = np.zeros(n, TABLES["opened"])
    opened["seq"], opened["at_ns"], opened["conn"] = np.arange(n) * 2, at_ns, np.arange(1, n + 1)
    opened["client"] = address + FIRST_CLIENT
    tables["opened"] = opened
    ended = np.zeros(n, TABLES["connections"])
    ended["seq"], ended["at_ns"], ended["conn"] = opened["seq"] + 1, at_ns, opened["conn"]
    ended["opened_ns"], ended["first_data_ns"] = at_ns, at_ns
    ended["last_ns"] = at_ns + (1_000_000_000 if cost is None else cost * 1_000_000)
    ended["bytes_c"], ended["client"], ended["flags"] = 1000, opened["client"], ConnFlag.SYN | ConnFlag.SYNACK
    tables["connections"] = ended
    numbers = {name: np.zeros(0, np.uint16) for name in TABLES}
    numbers["opened"] = numbers["connections"] = target.astype(np.uint16)
    return _facts(tables, numbers, targets, [], True)


def _facts(
    tables: dict[str, np.ndarray], target: dict[str, np.ndarray], targets: int, balancers: list[int], preserved: bool
) -> ServiceFacts:
    strings, addresses = interners()
    window = ServiceWindow(
        back=tables, front={name: empty(name) for name in TABLES}, target=target,
        health={name: np.zeros(len(rows), bool) for name, rows in tables.items()},
        strings=strings, addresses=addresses, proxies=frozenset(balancers), first=True,
    )  # fmt: skip
    facts = ServiceFacts(
        port=80, targets=[(2 + n, 80) for n in range(targets)], balancers=balancers, vips=[], clients_preserved=preserved,
        strings=strings, addresses=addresses, source=SourceStats("capture"), vantage="mirror",
    )  # fmt: skip
    for ledger in (facts.ledgers.affinity, facts.ledgers.sessions, facts.ledgers.load, facts.ledgers.nat, facts.ledgers.idle):
        ledger.fold(window)
    if len(tables["requests"]):
        facts.ledgers.heads.requests = facts.ledgers.heads.forwarded = len(tables["requests"])
    return facts


def stickiness(facts: ServiceFacts, mode: Mode = Mode.OFFLOAD) -> Stickiness:
    found = infer_stickiness(facts, Termination(Verdict({mode: 1.0}), ()))
    assert found is not None
    return found


def sessions_of(rng: np.random.Generator, users: int, each: int, length_s: float = 60.0) -> tuple[npt.NDArray[np.float64], Ints]:
    """Times and users of sessions that begin at random and ask at random intervals."""
    starts = rng.uniform(0, length_s * 0.6, users)
    at = (starts[:, None] + np.cumsum(rng.exponential(length_s * 0.4 / each, (users, each)), 1)).ravel()
    user = np.repeat(np.arange(users), each)
    order = np.argsort(at, kind="stable")
    return at[order], user[order]


def pinned(rng: np.random.Generator, key: Ints, targets: int = 3) -> Ints:
    """A target for each arrival that its key keeps."""
    home = rng.integers(0, targets, int(key.max()) + 1)
    return home[key]
