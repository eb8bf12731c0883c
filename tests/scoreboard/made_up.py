"""Thousands of made-up services: what is claimed of probabilities and intervals needs more cases than a lab can record.

Not the simulations that the inference was tested with: sizes, shapes and habits are drawn more widely here, and seeds are others.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lbtop.engine import Engine
from lbtop.inference.idle import infer_idle
from lbtop.inference.nat import infer_nat
from lbtop.inference.termination import infer_termination
from lbtop.model.judgement import Mode
from lbtop.model.observation import ConnFlag, End, Side
from lbtop.testing import START_NS, Traffic
from tests.inference.deployments import random_deployment, traffic_of
from tests.inference.simulated import Ints, Requests, http_facts, stickiness, tcp_facts
from tests.inference.test_idle import connections, facts_of
from tests.scoreboard.figures import readings

SEED = 0x5C0EB0A2D
TRUTHS = {
    "balancer's cookie": ("lb_cookie",),
    "source address": ("source_ip",),
    "nothing": ("none",),
    "round robin": ("none",),
    "a cookie that does nothing": ("none",),
    "a cookie out of view": ("lb_cookie", "app_cookie"),
    "source address, layer 4": ("source_ip",),
    "nothing, layer 4": ("none",),
}


def deployments(count: int) -> Iterator[tuple[float, bool]]:
    """Termination: every candidate's probability and whether it was the truth."""
    rng = random.Random(SEED)
    for _ in range(count):
        deployment = random_deployment(rng)
        engine = Engine(traffic_of(rng, deployment).source())
        while not engine.finished:
            engine.step(1.0)
        for facts in engine._reconstructor.facts(engine.source.stats()).services:
            candidates = infer_termination(facts).verdict.candidates
            yield from readings({mode.value: p for mode, p in candidates.items()}, [deployment.mode])


def crowd(rng: np.random.Generator) -> tuple[npt.NDArray[np.float64], Ints, Ints, int]:
    """(times, user, address, targets) of users who differ: some ask twice, some a hundred times, some share an address."""
    users, targets = int(rng.integers(3, 90)), int(rng.integers(2, 8))
    each = 1 + rng.poisson(rng.lognormal(1.2, 0.8, users)).clip(0, 120)
    user = np.repeat(np.arange(users), each)
    begins = rng.uniform(0, 120, users)
    at = begins[user] + rng.exponential(rng.lognormal(1.5, 1.0), len(user)).cumsum() % 90
    house = rng.integers(0, max(1, int(users / rng.choice([1, 1.5, 3, 6]))), users)
    order = np.argsort(at, kind="stable")
    return at[order], user[order], house[user[order]], targets


def services(count: int) -> Iterator[tuple[float, bool]]:
    """Mechanism: every candidate's probability and whether it was the truth."""
    rng = np.random.default_rng(SEED)
    for _ in range(count):
        truth = str(rng.choice(list(TRUTHS)))
        at, user, address, targets = crowd(rng)
        anew = rng.integers(0, targets, len(at))
        key = address if "address" in truth else user
        home = rng.integers(0, targets, int(key.max()) + 1)
        pins = truth not in ("nothing", "round robin", "a cookie that does nothing", "nothing, layer 4")
        slips = rng.random(len(at)) < rng.choice([0.0, 0.0, 0.03, 0.08])
        target = np.where(slips, anew, home[key]) if pins else anew
        if truth == "round robin":
            target = np.arange(len(at)) % targets
        if truth.endswith("layer 4"):
            verdict = stickiness(tcp_facts(at, address, target, targets), Mode.PASSTHROUGH).verdict
        else:
            brought = np.full(len(at), truth in ("balancer's cookie", "a cookie that does nothing"))
            brought[np.unique(user, return_index=True)[1]] = False
            verdict = stickiness(http_facts(Requests(at, user, address, target, brought), targets)).verdict
        yield from readings({mechanism.value: p for mechanism, p in verdict.candidates.items()}, TRUTHS[truth])


def affinities(count: int) -> Iterator[bool]:
    """Whether the affinity's interval holds how faithful sessions were made: each arrival stays with that probability."""
    rng = np.random.default_rng(SEED + 1)
    for _ in range(count):
        at, user, _, targets = crowd(rng)
        faithful = float(rng.uniform(0.0, 1.0))
        target = np.zeros(len(at), np.int64)
        last = rng.integers(0, targets, int(user.max()) + 1)
        for place, who in enumerate(user):
            if rng.random() > faithful:
                last[who] = rng.integers(0, targets)
            target[place] = last[who]
        found = stickiness(http_facts(Requests(at, user, user, target, np.zeros(len(at), bool)), targets))
        if found.affinity_interval is not None:
            low, high = found.affinity_interval
            yield low <= faithful <= high


def crowds_behind_one(count: int) -> Iterator[bool]:
    """Whether the number of users behind an address lies in what is said; addresses that are not named do not count."""
    rng = np.random.default_rng(SEED + 2)
    for _ in range(count):
        at, user, address, targets = crowd(rng)
        home = rng.integers(0, targets, int(user.max()) + 1)
        names = {f"10.0.{(100 + int(house)) >> 8}.{(100 + int(house)) & 255}": int(house) for house in np.unique(address)}
        found = infer_nat(http_facts(Requests(at, user, address, home[user], np.zeros(len(at), bool)), targets))
        for row in found:
            truth = len(np.unique(user[address == names[row.address]])) if row.address in names else 0
            yield row.users_low <= truth and (row.users_high is None or truth <= row.users_high)


def cliffs(count: int) -> Iterator[bool]:
    """Whether the idle limit lies in what is said; some connections are reset by their clients for reasons of their own."""
    rng = np.random.default_rng(SEED + 3)
    for _ in range(count):
        limit = float(rng.choice([60.0, 350.0, 600.0, float(rng.uniform(5, 1200))]))
        number = int(rng.integers(12, 200))
        rows = connections(number)
        rows["at_ns"] = START_NS + (np.sort(rng.uniform(0, 7200, number)) * 1e9).astype(np.int64)
        gaps = rng.lognormal(np.log(limit) - rng.uniform(0, 1.5), 1.0, (number, int(rng.integers(1, 6))))
        dead = gaps > limit
        ended = dead.any(1)
        first = np.where(ended, dead.argmax(1), gaps.shape[1])
        before = np.where(np.arange(gaps.shape[1])[None, :] < first[:, None], gaps, 0.0).max(1)
        rows["idle_survived_ns"] = (before * 1e9).astype(np.int64)
        killer = gaps[np.arange(number), np.minimum(first, gaps.shape[1] - 1)]
        rows["idle_before_end_ns"][ended] = (killer[ended] * 1e9).astype(np.int64)
        rows["flags"][ended] = ConnFlag.RST_AFTER_IDLE | ConnFlag.RST_BARE
        rows["end"][ended] = End.RST
        idle = infer_idle(facts_of(rows))
        if idle is not None and idle.interval is not None:
            low, high = idle.interval
            yield low <= limit <= high


@dataclass(frozen=True, slots=True)
class Pool:
    """Kept-alive connections of one balancer to a target that closes first, and how it comes back to them."""

    closes_s: float
    round_trip_s: float
    idle_s: float  # median silence between two requests on a connection
    spread: float  # of its logarithm
    per_hour: float  # connections opened


def walk(rng: np.random.Generator, pool: Pool) -> tuple[list[float], float]:
    """The silences of one connection that were ended by a request, and the one in which the target closes."""
    survived: list[float] = []
    while (idle := float(rng.lognormal(np.log(pool.idle_s), pool.spread))) < pool.closes_s - pool.round_trip_s / 2:
        survived.append(idle)
    return survived, idle


def races(count: int) -> Iterator[bool]:
    """Whether the races of a whole hour lie in what is forecast from some minutes of the same service."""
    rng = np.random.default_rng(SEED + 4)
    for _ in range(count):
        closes = float(rng.choice([2.0, 5.0, 15.0]))
        pool = Pool(
            closes,
            float(rng.choice([0.002, 0.02, 0.08])),
            closes * float(rng.uniform(0.2, 1.2)),
            float(rng.uniform(0.6, 1.2)),
            float(rng.uniform(300, 1500)),
        )
        minutes = float(rng.uniform(5, 20))
        traffic = Traffic()
        for start in np.sort(rng.uniform(0, minutes * 60, int(pool.per_hour * minutes / 60))).tolist():
            survived, _ = walk(rng, pool)
            conn = traffic.connect("10.0.9.1", "10.0.0.11:8080", at=start, connect_ms=0.1, ack_ms=1000 * pool.round_trip_s)
            at = start
            for idle in [0.0, *survived]:
                at += idle
                conn.request(at=at, user_agent="a", forwarded=["203.0.113.9"], proto="https")
                conn.respond(200)
            conn.row["idle_survived_ns"] = round(max(survived, default=0.0) * 1e9)
            conn.row["idle_before_end_ns"] = round(closes * 1e9)
            conn.close(at=at + closes, end=End.FIN, closer=Side.SERVER)
        engine = Engine(traffic.source())
        while not engine.finished:
            engine.step(1.0)
        (service,) = engine.snapshot().services
        if service.idle is not None and service.idle.races_interval is not None:
            ends = [walk(rng, pool)[1] for _ in range(int(rng.poisson(pool.per_hour)))]
            crossed = sum(idle < closes + pool.round_trip_s / 2 for idle in ends)
            low, high = service.idle.races_interval
            yield low <= crossed <= high
