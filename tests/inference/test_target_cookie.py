"""A cookie of any name whose values stand for targets: known by what it does, with few targets, too."""

from __future__ import annotations

import random
from collections.abc import Callable

from lbtop.engine import diagnose
from lbtop.model.snapshot import Service
from lbtop.testing import Traffic


def service_of(names_the_target: bool) -> Service:
    """25 users, each pinned to one of two targets by what their balancer knows; all but first requests bring `choice`."""
    rng = random.Random(11)
    traffic = Traffic()
    homes = [rng.randrange(2) for _ in range(25)]
    for turn in range(400):
        user = turn % 25
        at = turn * 0.1
        value = homes[user] if names_the_target else user % 2
        cookies = {"sid": f"s{user}", "choice": f"v{value}"} if turn >= 25 else {}
        conn = traffic.connect("10.0.9.1", f"10.0.0.{11 + homes[user]}:8080", at=at)
        conn.request(at=at + 0.01, user_agent="a", forwarded=[f"203.0.113.{user + 1}"], cookies=cookies, proto="https")
        conn.respond(200, set_cookies={} if turn >= 25 else {"sid": f"s{user}"})
        conn.close()
    (service,) = diagnose(traffic.source()).services
    return service


def test_two_values_that_part_all_users_by_target_are_the_balancers() -> None:
    stickiness = service_of(names_the_target=True).stickiness
    assert stickiness is not None
    assert stickiness.verdict.token == "lb_cookie"
    assert stickiness.cookie == "choice"


def test_two_values_that_have_nothing_to_do_with_the_target_are_not() -> None:
    stickiness = service_of(names_the_target=False).stickiness
    assert stickiness is not None
    assert stickiness.verdict.token != "lb_cookie"
    assert stickiness.cookie is None


def cookies_of_the_balancer(users: int, target_of: Callable[[int], int]) -> Traffic:
    """Users come one after the other, one is dealt every 0.3 s and stays with 12 requests; all but first requests bring SRV."""
    traffic = Traffic()
    steps = sorted((user * 0.3 + turn * 1.5, user, turn) for user in range(users) for turn in range(12))
    for at, user, turn in steps:
        home = target_of(user)
        conn = traffic.connect("10.0.9.1", f"10.0.0.{11 + home}:8080", at=at)
        cookies = {"sid": f"s{user}", "SRV": f"v{home}"} if turn else {}
        conn.request(at=at + 0.01, user_agent="a", forwarded=[f"203.0.113.{user + 1}"], cookies=cookies, proto="https")
        conn.respond(200, set_cookies={} if turn else {"sid": f"s{user}"})
        conn.close()
    return traffic


def test_users_are_what_is_dealt_and_not_the_values_of_a_cookie_that_names_targets() -> None:
    (service,) = diagnose(cookies_of_the_balancer(90, lambda user: user % 3).source()).services
    assert service.stickiness is not None and service.skew is not None
    assert service.stickiness.verdict.token == "lb_cookie"
    assert (service.stickiness.cookie, service.stickiness.key, service.stickiness.keys) == ("SRV", "cookie:sid", 90)
    assert service.skew.expected_peak_to_mean < 1.4  # of three values dealt to three targets it would be far higher


def test_unequal_weights_behind_a_cookie_that_names_targets_are_told() -> None:
    rng = random.Random(3)
    homes = [rng.choices(range(3), (1, 1, 6))[0] for _ in range(90)]
    (service,) = diagnose(cookies_of_the_balancer(90, lambda user: homes[user]).source()).services
    assert service.skew is not None and service.skew.cause == "weights"


def test_a_target_whose_cookie_still_comes_and_that_gets_no_new_users_is_draining() -> None:
    snapshot = diagnose(cookies_of_the_balancer(90, lambda user: user % 3 if user < 45 else user % 2).source())
    finding = next(finding for finding in snapshot.findings if finding.id == "draining-target")
    assert "10.0.0.13" in finding.title
