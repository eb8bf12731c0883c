"""A cookie of any name whose values stand for targets: known by what it does, with few targets, too."""

from __future__ import annotations

import random

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
