"""Breaks and their causes, by simulation: a mechanism that works until something happens."""

from __future__ import annotations

import numpy as np
import pytest

from lbtop.engine import diagnose
from lbtop.model.snapshot import Stickiness
from lbtop.testing import Traffic
from tests.inference.simulated import Requests, http_facts, pinned, sessions_of, stickiness, tcp_facts


def sticky(
    at: np.ndarray, user: np.ndarray, target: np.ndarray, targets: int = 3, address: np.ndarray | None = None
) -> Stickiness:
    brought = np.ones(len(at), bool)
    brought[np.unique(user, return_index=True)[1]] = False
    return stickiness(http_facts(Requests(at, user, user if address is None else address, target, brought), targets))


def causes(found: Stickiness) -> dict[str, int]:
    totals: dict[str, int] = {}
    for entry in found.breaks:
        totals[entry.cause] = totals.get(entry.cause, 0) + entry.keys
    return totals


@pytest.mark.parametrize("seed", range(4))
def test_a_target_that_goes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    at, user = sessions_of(rng, 60, 20)
    home = pinned(rng, user)
    moved = np.where((home == 2) & (at > 30), user % 2, home)
    found = causes(sticky(at, user, moved))
    assert max(found, key=lambda cause: found[cause]) == "target_gone"


@pytest.mark.parametrize("seed", range(4))
def test_targets_that_are_replaced(seed: int) -> None:
    rng = np.random.default_rng(seed)
    at, user = sessions_of(rng, 60, 20)
    home = pinned(rng, user)
    moved = np.where(at > 30, 3 + (user * 7) % 3, home)
    found = causes(sticky(at, user, moved, 6))
    assert max(found, key=lambda cause: found[cause]) == "targets_replaced"


@pytest.mark.parametrize("seed", range(4))
def test_a_target_that_is_added_to_a_hash(seed: int) -> None:
    rng = np.random.default_rng(seed)
    at, address = np.sort(rng.uniform(0, 60, 1500)), rng.integers(0, 60, 1500)
    target = np.where(at < 30, address % 2, address % 3)
    found = causes(stickiness(tcp_facts(at, address, target, 3)))
    assert set(found) <= {"target_added", "remap"} and found["target_added"] >= 10


def test_a_mapping_that_changes_while_targets_stay() -> None:
    rng = np.random.default_rng(3)
    at, address = np.sort(rng.uniform(0, 60, 1500)), rng.integers(0, 60, 1500)
    first, second = rng.integers(0, 3, 60), rng.integers(0, 3, 60)
    found = causes(stickiness(tcp_facts(at, address, np.where(at < 30, first[address], second[address]))))
    assert set(found) == {"remap"}


def expiring(rng: np.random.Generator, slides: bool, limit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """40 users whose cookie lives ``limit`` seconds since the last response, or since it was issued."""
    rows = []
    for user in range(40):
        time, target = float(rng.uniform(0, 20)), int(rng.integers(0, 3))
        since = time
        for _ in range(25):
            rows.append((time, user, target))
            gap = float(rng.choice([rng.uniform(0.2, 1.5), rng.uniform(2.0, 12.0)], p=[0.8, 0.2]))
            time += gap
            if (gap if slides else time - since) > limit:
                target, since = int(rng.integers(0, 3)), time
    rows.sort()
    table = np.array(rows)
    return table[:, 0], table[:, 1].astype(int), table[:, 2].astype(int)


@pytest.mark.parametrize("slides", [True, False])
def test_cookie_lifetimes_under_both_models(slides: bool) -> None:
    right = covered = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        limit = 5.0 if slides else 12.0
        found = sticky(*expiring(rng, slides, limit))
        life = found.cookie_lifetime
        if life is not None and life.model == ("since_last_response" if slides else "since_issue"):
            right += 1
            covered += life.interval[0] <= limit * 1.02 and limit <= life.interval[1]
    assert right >= 7
    assert covered >= 7


def test_a_service_that_pins_nobody_has_no_breaks() -> None:
    rng = np.random.default_rng(4)
    at, user = sessions_of(rng, 60, 20)
    found = stickiness(http_facts(Requests(at, user, user, rng.integers(0, 3, len(at)), np.zeros(len(at), bool))))
    assert found.breaks == () and found.cookie_lifetime is None


@pytest.mark.parametrize("seed", range(4))
def test_users_who_move_all_the_time_are_no_remap(seed: int) -> None:
    """Half the users reach a part of the service that is pinned, half one that is not; nothing happens to either."""
    rng = np.random.default_rng(seed)
    at, user = sessions_of(rng, 30, 25)
    home = pinned(rng, user)
    target = np.where(user % 2, home, rng.integers(0, 3, len(user)))
    found = causes(stickiness(http_facts(Requests(at, user, user, target, np.zeros(len(at), bool)), 3)))
    assert "remap" not in found


def hashed_with_sessions_in_memory() -> Traffic:
    """A hash of the session cookie decides, and a target that does not know a session gives it a new name: until both agree."""
    rng = np.random.default_rng(5)
    traffic = Traffic()
    conns = [traffic.connect("10.0.9.1", f"10.0.0.{11 + n}:8080", at=0.0) for n in range(3)]
    value: dict[int, str] = {}
    known: dict[str, int] = {}
    goes: dict[str, int] = {}
    start = rng.uniform(0, 20, 50)
    steps = sorted((float(start[user]) + turn * 1.4 + float(rng.uniform(0, 1)), user) for user in range(50) for turn in range(14))
    for number, (at, user) in enumerate(steps):
        had = value.get(user)
        target = int(rng.integers(0, 3)) if had is None else goes[had]
        fresh = had is None or known[had] != target
        conns[target].request(
            at=at, forwarded=[f"203.0.113.{user + 1}"], proto="https", cookies={"JSESSIONID": had} if had else {}
        )
        if fresh:
            value[user] = f"s{number}"
            known[value[user]], goes[value[user]] = target, int(rng.integers(0, 3))
        conns[target].respond(set_cookies={"JSESSIONID": value[user]} if fresh else None, delay=0.001)
    for conn in conns:
        conn.close(at=60.0)
    return traffic


def test_a_new_value_of_the_cookie_is_a_new_assignment_and_no_lifetime() -> None:
    (service,) = diagnose(hashed_with_sessions_in_memory().source()).services
    assert service.stickiness is not None
    found = causes(service.stickiness)
    assert found["reissued"] >= 10 and "cookie_expired" not in found
    assert service.stickiness.cookie_lifetime is None


def test_keys_that_go_on_moving_were_not_split_by_their_first_requests() -> None:
    rng = np.random.default_rng(8)
    at, user = sessions_of(rng, 60, 20)
    home = pinned(rng, user)
    target = np.where(rng.random(len(at)) < 0.3, rng.integers(0, 3, len(at)), home)  # a part of the site deals anew
    assert (
        "first_request_split" not in causes(sticky(at, user, target))
        or causes(sticky(at, user, target))["first_request_split"] < 3
    )
