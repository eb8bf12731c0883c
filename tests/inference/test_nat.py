"""Users behind one address."""

from __future__ import annotations

import numpy as np

from lbtop.inference.nat import infer_nat
from tests.inference.simulated import Requests, http_facts, pinned, sessions_of


def test_sessions_in_use_at_once_are_the_lower_bound_and_all_of_them_the_upper() -> None:
    covered = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        at, user = sessions_of(rng, 80, 10)
        address = np.where(user < 50, 0, user)  # fifty users behind one address, thirty of their own
        found = infer_nat(http_facts(Requests(at, user, address, pinned(rng, user), np.zeros(len(at), bool))))
        assert len(found) == 1
        nat = found[0]
        assert "session cookies" in nat.basis
        assert nat.users_high is not None
        covered += nat.users_low <= 50 <= nat.users_high
        assert 0.55 < nat.share < 0.7
    assert covered == 10


def test_one_user_per_address_is_no_nat() -> None:
    rng = np.random.default_rng(1)
    at, user = sessions_of(rng, 40, 10)
    assert infer_nat(http_facts(Requests(at, user, user, pinned(rng, user), np.zeros(len(at), bool)))) == ()


def test_clients_that_keep_no_cookies_are_not_counted_as_users() -> None:
    """Each of their requests is given a new session, which never comes back."""
    at = np.linspace(0, 60, 300)
    every = np.arange(300)
    facts = http_facts(Requests(at, every, np.zeros(300, int), every % 3, np.zeros(300, bool)))
    assert infer_nat(facts) == ()


def test_a_balancer_is_no_nat() -> None:
    rng = np.random.default_rng(2)
    at, user = sessions_of(rng, 40, 10)
    facts = http_facts(Requests(at, user, user, pinned(rng, user), np.zeros(len(at), bool)))
    assert all(nat.address != "10.0.0.2" for nat in infer_nat(facts))


def test_timestamp_clocks_tell_hosts_apart_until_each_connection_has_its_own() -> None:
    from lbtop.inference.nat import _clocks_by_address

    rng = np.random.default_rng(3)
    when = np.sort(rng.uniform(0, 100, 60))
    host = rng.integers(0, 4, 60)
    offsets = rng.integers(0, 1 << 31, 4)
    stamps = (offsets[host] + when * 1000).astype(np.int64) % (1 << 32)
    rows = np.stack((np.full(60, 7), (when * 1e9).astype(np.int64), stamps), 1)
    assert _clocks_by_address(rows) == {7: 4}
    rows[:, 2] = rng.integers(0, 1 << 32, 60)  # newest kernels: an offset per connection
    assert _clocks_by_address(rows) == {}
