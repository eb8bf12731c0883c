"""Where TLS ends, on made-up traffic: proofs, hard cases, and how far the probabilities can be trusted."""

from __future__ import annotations

import math
import random

import pytest

from lbtop.engine import Options, diagnose
from lbtop.inference.weighing import CAP, Question, groups, weights
from lbtop.model.judgement import DECISION_THRESHOLD, Mode
from lbtop.model.observation import End, Protocol7, ReqFlag
from lbtop.model.snapshot import Service
from lbtop.testing import Traffic
from tests.inference.deployments import Deployment, clients_of, random_deployment, traffic_of


def service_of(traffic: Traffic) -> Service:
    (service,) = diagnose(traffic.source()).services
    return service


def judged(deployment: Deployment, seed: int = 1) -> Service:
    return service_of(traffic_of(random.Random(seed), deployment))


def population(number: int = 30, browsers: float = 0.7, uniform: bool = False):
    return clients_of(random.Random(7), number, browsers, uniform)


CLEAR = {
    "a balancer's own hellos": Deployment("bridging", population(), sni=False),
    "a balancer's own hellos, its sessions kept per target": Deployment("bridging", population(), sni=False, resumes=True),
    "a balancer that pretends clients' addresses and resumes": Deployment(
        "bridging", population(), preserved=True, resumes=True, connections=120
    ),
    "many clients' hellos through a TCP proxy": Deployment("passthrough", population()),
    "clients' own TCP and TLS": Deployment("passthrough", population(), own_tcp=True, preserved=True),
    "clients' own TLS behind PROXY headers": Deployment("passthrough", population(), proxy="plain"),
    "a proxy that says https everywhere": Deployment("offload", population(), headers="full"),
    "a proxy that says http everywhere": Deployment("none", population(), headers="full"),
    "plaintext on clients' own TCP": Deployment("none", population(), own_tcp=True, preserved=True),
    "PROXY headers that say TLS": Deployment("l4_tls", population(), proxy="tls"),
    "a fleet of one program, far behind a TCP proxy": Deployment("passthrough", population(uniform=True), far=True),
    "a fleet of one program, far behind a TCP proxy, no SNI": Deployment(
        "passthrough", population(uniform=True), far=True, sni=False
    ),
    "browsers that speak as over HTTPS, nothing added": Deployment("l4_tls", population(browsers=1.0)),
}


@pytest.mark.parametrize("vantage", ["client", "load_balancer"])
def test_from_the_clients_side_nobody_knows_what_is_behind_the_first_hop(vantage: str) -> None:
    """However many clients' own stacks arrive there: they arrive at a balancer's front, too."""
    traffic = traffic_of(random.Random(1), Deployment("passthrough", population(), own_tcp=True, preserved=True))
    (service,) = diagnose(traffic.source(), Options(vantage=vantage)).services
    verdict = service.termination.verdict
    assert verdict.token == "unknown" and verdict.settled_by
    assert [item.signal for item in verdict.evidence] == ["first-hop-only"]


def test_the_only_server_of_clients_beside_another_ones_caller_may_be_a_balancers_front() -> None:
    """A cache passes little on: neither times nor volumes tell whether the caller is the same balancer."""
    traffic = Traffic()
    for number in range(40):
        stack = f"1{3 + number % 2}60,64240,{6 + number % 3},MSTNW"
        conn = traffic.connect(
            f"198.51.100.{number % 25 + 1}", "192.0.2.10:443", at=0.2 * number, stack=stack, ttl=50 + number % 7
        )
        conn.hello(sni="shop.example", family=f"family {number % 5}").data(client=700, server=30_000).close(at=0.2 * number + 3)
        if number < 3:
            traffic.connect("10.9.9.5", f"10.9.8.{number}:8443").hello(family="one").data(client=900, server=9_000)
    front, back = sorted(diagnose(traffic.source()).services, key=lambda service: service.port)
    assert front.termination.verdict.token == "unknown"
    assert "10.9.9.5" in front.termination.verdict.evidence[0].detail
    assert (front.port, back.port) == (443, 8443)
    (alone,) = diagnose(traffic.source(), Options(targets=("192.0.2.10:443",))).services
    assert alone.termination.verdict.token == "passthrough"


@pytest.mark.parametrize("name", CLEAR)
def test_a_clear_case_is_called_what_it_is(name: str) -> None:
    deployment = CLEAR[name]
    termination = judged(deployment).termination
    assert termination.verdict.token == deployment.mode
    assert termination.verdict.settled_by is None
    assert termination.by_mode is None


OPEN = {
    "scripts in clear through a TCP proxy": (Deployment("none", population(browsers=0.0)), {"none", "l4_tls"}),
    "a fleet of one program through a TCP proxy": (
        Deployment("passthrough", population(uniform=True), connections=40),
        {"bridging", "passthrough"},
    ),
}


@pytest.mark.parametrize("name", OPEN)
def test_an_open_case_stays_open_and_says_what_would_settle_it(name: str) -> None:
    deployment, candidates = OPEN[name]
    verdict = judged(deployment).termination.verdict
    assert verdict.value is None
    assert verdict.settled_by
    assert {mode.value for mode, probability in verdict.candidates.items() if probability > 0.15} == candidates


def test_probabilities_sum_to_one_and_unknown_is_exactly_below_the_threshold() -> None:
    for deployment in [*CLEAR.values(), *(deployment for deployment, _ in OPEN.values())]:
        verdict = judged(deployment).termination.verdict
        assert math.isclose(sum(verdict.candidates.values()), 1.0, abs_tol=1e-9)
        assert (verdict.value is None) == (verdict.confidence < DECISION_THRESHOLD)


def test_verdicts_are_as_often_right_as_they_say() -> None:
    """Random deployments: of the verdicts given, nine in ten and more are right, and not at the price of silence."""
    rng = random.Random(20260101)
    given = right = 0
    claimed = surprise = 0.0
    wrong = []
    count = 150
    for _ in range(count):
        deployment = random_deployment(rng)
        verdict = service_of(traffic_of(rng, deployment)).termination.verdict
        truth = verdict.candidates.get(Mode(deployment.mode), 0.0)
        surprise -= math.log(max(truth, 1e-4))
        if verdict.value is not None:
            given += 1
            claimed += verdict.confidence
            if verdict.token == deployment.mode:
                right += 1
            else:
                wrong.append((verdict.token, round(verdict.confidence, 2), deployment.mode, deployment))
    print(f"given {given} of {count}, right {right}, claimed {claimed / given:.3f}, mean surprise {surprise / count:.3f} nats")
    assert right >= 0.95 * given, wrong
    assert given >= 0.7 * count


def test_with_both_sides_in_view_the_hello_decides() -> None:
    for same in (True, False):
        traffic = Traffic()
        for turn in range(12):
            at = turn + 0.13 * (turn * 5 % 7)
            front = traffic.connect(f"203.0.113.{turn + 1}", "192.0.2.80:443", at=at, ttl=50)
            front.hello(random=f"r{turn}", sni="shop.example", family="fleet", at=at + 0.01)
            back = traffic.connect("10.0.9.1", f"10.0.0.{11 + turn % 3}:8443", at=at + 0.02)
            back.hello(random=f"r{turn}" if same else f"b{turn}", sni="shop.example", family="fleet", at=at + 0.03)
            for conn in (back, front):
                conn.data(500, 5000, at=at + 0.1)
                conn.close(at=at + 0.3)
        verdict = service_of(traffic).termination.verdict
        assert verdict.token == ("passthrough" if same else "bridging")
        assert verdict.confidence > 0.99
        assert verdict.evidence[0].weight is None, "a proof has no weight"


def shaken(traffic: Traffic, client: str, target: str, at: float, size: int = 5000, **hello: object) -> None:
    """A TLS connection of one request."""
    conn = traffic.connect(client, target, at=at)
    conn.hello(at=at + 0.001, **hello).data(600, size, at=at + 0.02).close(at=at + 0.05)


def unsteady(rng: random.Random, number: int, length: float = 60.0) -> list[float]:
    return sorted(rng.uniform(0.0, length) for _ in range(number))


@pytest.mark.parametrize("resumes", [False, True])
@pytest.mark.parametrize("callers", [1, 3])
def test_programs_that_call_a_tls_server_are_not_called_a_balancer(resumes: bool, callers: int) -> None:
    """By name, with one TLS stack, with sessions of their own, on connections that are kept: a balancer may look the same."""
    traffic = Traffic()
    for turn, at in enumerate(unsteady(random.Random(5), 60)):
        conn = traffic.connect(f"10.0.2.{11 + turn % callers}", "10.0.1.33:443", at=at)
        conn.hello(
            at=at + 0.001, family="python", sni="api.internal", session=f"ticket {turn}" if resumes and turn >= callers else "",
            resumed=resumes,
        )  # fmt: skip
        conn.data(20_000, 90_000, at=at + 0.5).close(at=at + 4.0)
    verdict = service_of(traffic).termination.verdict
    assert verdict.token == "unknown"
    assert verdict.settled_by and "whether there is a load balancer at all" in verdict.settled_by


def test_scripts_that_a_tcp_proxy_deals_out_are_not_called_bridging() -> None:
    traffic = Traffic()
    for turn, at in enumerate(unsteady(random.Random(6), 90)):
        shaken(traffic, "10.0.1.5", f"10.0.1.{11 + turn % 3}:8443", at, sni="api.internal", family="python")
    assert service_of(traffic).termination.verdict.token == "unknown"


@pytest.mark.parametrize("known", [True, False])
def test_sessions_that_their_own_target_takes_are_kept_by_who_knows_the_targets(known: bool) -> None:
    """A client behind a TCP proxy offers what the last server gave it, and every other server refuses that."""
    traffic = Traffic()
    for turn, at in enumerate(unsteady(random.Random(7), 60)):
        session = f"ticket {turn}" if turn >= 3 else ""
        shaken(
            traffic, "10.0.1.5", f"10.0.1.{11 + turn % 3}:8443", at, family="one", session=session,
            resumed=bool(session) and (known or turn % 3 == 0),
        )  # fmt: skip
    verdict = service_of(traffic).termination.verdict
    assert verdict.token == ("bridging" if known else "unknown")
    assert any(item.signal == "sessions-kept-per-target" for item in verdict.evidence) is known


def test_one_connection_per_target_with_many_requests_is_a_pool() -> None:
    for each, expected in ((400, "unknown"), (30_000, "bridging")):
        traffic = Traffic()
        for turn, at in enumerate(unsteady(random.Random(8), 6)):
            conn = traffic.connect("10.0.1.5", f"10.0.1.{11 + turn % 3}:8443", at=at)
            conn.hello(at=at + 0.001, sni="pool.internal", family="go").data(each, 9 * each, at=at + 0.5)
        assert service_of(traffic).termination.verdict.token == expected


def test_several_products_in_front_of_one_pool_are_no_clients() -> None:
    """Three addresses with one TLS stack each: what tells clients apart is several stacks behind one address."""
    rng = random.Random(9)
    for number, expected in ((1, "unknown"), (4, "passthrough")):
        traffic = Traffic()
        for turn, at in enumerate(unsteady(rng, 90)):
            node = turn % 3
            family = f"stack {node} {rng.randrange(number)}"
            shaken(traffic, f"10.0.1.{3 + node}", f"10.0.1.{11 + turn // 3 % 3}:8443", at, sni="shop.example", family=family)
        assert service_of(traffic).termination.verdict.token == expected


def checked(traffic: Traffic, targets: int = 3, family: str = "haproxy", length: int = 30) -> None:
    """A balancer's health checks inside TLS, one a second at every target."""
    for second in range(length):
        for number in range(targets):
            at, target = second + 0.3 * number, f"10.0.1.{11 + number}:8443"
            shaken(traffic, "10.0.1.5", target, at, 300, family=family, session=f"{second}")


def test_health_checks_inside_tls_alone_say_nothing_about_clients() -> None:
    traffic = Traffic()
    checked(traffic)
    verdict = service_of(traffic).termination.verdict
    assert verdict.token == "unknown"
    assert [item.signal for item in verdict.evidence] == ["only-by-the-clock"]


def test_clients_at_a_steady_rate_are_no_health_checks() -> None:
    """A script with a fixed pause, through a balancer that opens a connection for every request: the clock is the script's."""
    traffic = Traffic()
    rng = random.Random(2)
    for turn in range(90):
        size = rng.choice((900, 14_000, 60_000))
        shaken(traffic, "10.0.1.5", f"10.0.1.{11 + turn % 3}:8443", 0.5 * turn, size, family="haproxy")
    assert service_of(traffic).termination.verdict.token == "bridging"


def test_health_checks_inside_tls_do_not_vote() -> None:
    """Clients' connections from before the capture, and a check a second: of the clients nothing is known."""
    traffic = Traffic()
    checked(traffic)
    for number in range(6):
        traffic.connect("10.0.1.5", f"10.0.1.{11 + number % 3}:8443", at=0.1 * number, protocol7=Protocol7.TLS).data(900, 9000)
    verdict = service_of(traffic).termination.verdict
    assert verdict.token == "unknown"
    assert verdict.evidence[0].signal == "no-hello"


@pytest.mark.parametrize(("family", "expected"), [("haproxy", "bridging"), ("python", "unknown")])
def test_the_stack_of_the_health_checks_is_the_balancers(family: str, expected: str) -> None:
    traffic = Traffic()
    checked(traffic)
    for turn, at in enumerate(unsteady(random.Random(3), 16, 30.0)):
        shaken(traffic, "10.0.1.5", f"10.0.1.{11 + turn % 3}:8443", at, sni="shop.example", family=family)
    assert service_of(traffic).termination.verdict.token == expected


def test_no_common_hello_proves_nothing_where_none_was_due() -> None:
    """Passed through by name: the new clients go to another pool, this one's are kept, and what shakes hands here are checks."""
    traffic = Traffic()
    checked(traffic, targets=2)
    for number, at in enumerate(unsteady(random.Random(4), 8, 30.0)):
        front = traffic.connect(f"198.18.10.{number + 1}", "10.0.1.5:443", at=at, ttl=60)
        front.hello(sni="shop.example", family=f"browser {number % 3}", at=at + 0.001)
        back = traffic.connect("10.0.1.5", "10.0.1.13:8080", at=at + 0.01)
        for page in range(5):
            asked = at + 0.02 + 0.1 * page
            back.request(at=asked, path=f"/{page}", host="shop.example", forwarded=(f"198.18.10.{number + 1}",))
            back.respond(200, delay=0.01)
        front.data(2000, 9000, at=at + 0.6).close(at=at + 1.0)
        back.close(at=at + 1.0)
    for number in range(4):
        kept = f"198.18.20.{number + 1}"
        front = traffic.connect(kept, "10.0.1.5:443", at=0.1 * number, ttl=60, protocol7=Protocol7.TLS)
        back = traffic.connect("10.0.1.5", f"10.0.1.{11 + number % 2}:8443", at=0.1 * number + 0.01, protocol7=Protocol7.TLS)
        for conn in (front, back):
            conn.data(3000, 20_000, at=20.0)
    pool = next(service for service in diagnose(traffic.source()).services if service.port == 8443)
    assert pool.termination.verdict.token != "bridging"
    assert all(item.signal != "different-random" for item in pool.termination.verdict.evidence)


def test_a_forged_header_on_some_requests_does_not_make_an_offload() -> None:
    traffic = Traffic()
    for turn in range(60):
        conn = traffic.connect("10.0.9.1", f"10.0.0.{11 + turn % 3}:8080", at=turn * 0.2)
        forged = turn % 4 == 0
        conn.request(
            at=turn * 0.2 + 0.01,
            proto="https" if forged else "",
            headers=["Host", "User-Agent"] + ["X-Forwarded-Proto"] * forged,
            user_agent="curl/8.5.0",
        )
        conn.respond(200)
        conn.close()
    verdict = service_of(traffic).termination.verdict
    assert verdict.token != "offload"
    assert verdict.token in ("unknown", "l4_tls")


def test_tls_and_plaintext_on_one_port_are_two_modes() -> None:
    traffic = traffic_of(random.Random(3), Deployment("none", population(), own_tcp=True, preserved=True, connections=60))
    for turn, client in enumerate(population()[:20]):
        stack, ttl = client.stack
        conn = traffic.connect(client.address, f"10.0.0.{11 + turn % 3}:8080", at=3 + turn * 0.3, stack=stack, ttl=ttl)
        conn.hello(family=client.family, sni="shop.example", at=3.01 + turn * 0.3)
        conn.data(300, 4000)
        conn.close()
    termination = service_of(traffic).termination
    assert termination.verdict.token == "none"
    assert termination.by_mode == {"none": 60, "passthrough": 20}


def test_two_stray_connections_do_not_make_a_service_mixed() -> None:
    traffic = traffic_of(random.Random(3), Deployment("none", population(), own_tcp=True, preserved=True, connections=200))
    for turn, client in enumerate(population()[:2]):
        conn = traffic.connect(
            client.address, f"10.0.0.{11 + turn}:8080", at=3 + turn, stack=client.stack[0], ttl=client.stack[1]
        )
        conn.hello(family=client.family, at=3.01 + turn)
        conn.close()
    assert service_of(traffic).termination.by_mode is None


def test_a_cdn_in_front_is_a_hop_of_its_own() -> None:
    """The balancer's peer is the CDN, which came in clear; the browsers' own hop was TLS all the same."""
    rng = random.Random(5)
    traffic = Traffic()
    clients = [client for client in population(browsers=1.0) if client.browser]
    names = ["Host", "User-Agent", "Accept", "CF-Ray", "CF-Visitor", "X-Forwarded-For", "X-Forwarded-Proto", "X-Amzn-Trace-Id"]
    conn = traffic.connect("10.0.9.1", "10.0.0.11:8080", at=0)
    for turn in range(80):
        client = rng.choice(clients)
        flags = ReqFlag.BROWSER_UA | ReqFlag.SEC_FETCH | ReqFlag.SEC_CH_UA | ReqFlag.BR_ZSTD | ReqFlag.TRACE_ID
        conn.request(
            at=turn * 0.2, user_agent=client.agent, headers=names, flags=flags, proto="http",
            forwarded=(client.address, f"198.51.100.{turn % 5}"),
        )  # fmt: skip
        conn.respond(200)
    termination = service_of(traffic).termination
    assert termination.verdict.token == "none"
    assert [(hop.from_, hop.to, hop.encryption) for hop in termination.hops] == [
        ("client", "cdn", "tls"), ("cdn", "load_balancer", "plain"), ("load_balancer", "target", "plain"),
    ]  # fmt: skip


def test_tls_that_ended_further_out_is_a_hop_of_its_own() -> None:
    """Two tiers: the balancer in view gets readable requests from a proxy that says its clients came over TLS."""
    traffic = Traffic()
    for turn in range(40):
        at = turn * 0.2
        asked = (f"203.0.113.{turn % 9 + 1}",)
        front = traffic.connect("10.0.0.5", "10.0.0.6:8080", at=at)
        front.request(at=at + 0.01, path=f"/{turn}", forwarded=asked, proto="https", headers=["Host", "X-Forwarded-For"])
        back = traffic.connect("10.0.0.6", f"10.0.0.{11 + turn % 3}:8000", at=at + 0.02)
        back.request(at=at + 0.03, path=f"/{turn}", forwarded=(*asked, "10.0.0.5"), proto="https", headers=["host"])
        back.respond(200, delay=0.01)
        front.respond(200, delay=0.04)
        back.close()
        front.close()
    snapshot = diagnose(traffic.source())
    (service,) = snapshot.services
    assert service.termination.verdict.token == "none"
    assert [(hop.from_, hop.to, hop.encryption) for hop in service.termination.hops] == [
        ("client", "proxy", "tls"), ("proxy", "load_balancer", "plain"), ("load_balancer", "target", "plain"),
    ]  # fmt: skip
    found = {finding.id for finding in snapshot.findings}
    assert "plaintext-backend-hop" in found
    assert "plaintext-end-to-end" not in found


def test_more_connections_to_the_targets_than_in_front_are_no_layer_4_balancers() -> None:
    """Nothing is added to the requests, and yet somebody must have read them."""
    for each in (1, 4):
        traffic = Traffic()
        for turn in range(12):
            at = turn * 1.0
            front = traffic.connect(f"203.0.113.{turn % 4 + 1}", "10.0.0.4:443", at=at, ttl=50)
            front.hello(random=f"r{turn}", family="load", sni="shop.example", at=at + 0.01)
            for number in range(each):
                back = traffic.connect("10.0.0.4", f"10.0.0.{11 + number % 2}:3000", at=at + 0.02 + number * 0.05)
                for query in range(5):
                    asked = at + 0.03 + number * 0.05 + query * 0.01
                    back.request(at=asked, path="/", host="shop.example", user_agent="load", headers=["Host"])
                    back.respond(200, delay=0.001)
                back.data(500, 12_000 // each)
                back.close(at=at + 0.09 + number * 0.05)
            front.data(700, 13_000, at=at + 0.3)
            front.close(at=at + 0.5)
        assert service_of(traffic).termination.verdict.token == ("l4_tls" if each == 1 else "offload")


def test_a_fleet_of_one_kind_without_a_balancer_is_not_called_bridging() -> None:
    traffic = Traffic()
    for turn in range(40):
        conn = traffic.connect(f"203.0.113.{turn % 12 + 1}", "10.0.0.11:8443", at=turn * 1.0, ttl=52)
        conn.hello(random=f"r{turn}", family="fleet", at=turn + 0.01)
        conn.data(500, 5000, at=turn + 0.1)
        conn.close(at=turn + 0.3)
    assert service_of(traffic).termination.verdict.token != "bridging"


def both_ways(said: str, readable_feeds: bool) -> Traffic:
    """Eight clients on :80, eight on :443 of one balancer, one pool behind, connections to it used for both."""
    traffic = Traffic()
    pool = [traffic.connect("10.0.1.5", f"10.0.1.{11 + number % 3}:8080", at=0.01 * number) for number in range(9)]
    for turn in range(64):
        at = 0.5 + turn * 0.37
        client, over_tls = f"198.18.10.{turn % 8 + 1}", turn % 2 == 0
        front = traffic.connect(client, f"10.0.1.5:{443 if over_tls else 80}", at=at, ttl=60)
        if over_tls:
            front.hello(sni="shop.example", family="browser", at=at + 0.001)
        else:
            front.request(at=at + 0.001, path=f"/{turn}", headers=["Host", "User-Agent"])
        if over_tls or readable_feeds:
            proto = {"both": "https" if over_tls else "http", "https": "https" if over_tls else "", "": ""}[said]
            back = pool[turn % 9]
            back.request(at=at + 0.01, path=f"/{turn}", forwarded=(client,), proto=proto, headers=["host", "x-forwarded-for"])
            back.respond(200, delay=0.01)
        if over_tls:
            front.data(900, 4000, at=at + 0.03)
        else:
            front.respond(200 if readable_feeds else 301)
        front.close(at=at + 0.05)
    for conn in pool:
        conn.close(at=30.0)
    return traffic


@pytest.mark.parametrize("said", ["both", "https", ""])
def test_clients_that_come_in_clear_and_over_tls_make_a_service_mixed(said: str) -> None:
    """Whether X-Forwarded-Proto says both, is set on the TLS listener only, or not at all: then the fronts tell."""
    snapshot = diagnose(both_ways(said, readable_feeds=True).source())
    service = next(service for service in snapshot.services if service.port == 8080)
    assert set(service.termination.by_mode or {}) == {"offload", "none"}
    assert service.termination.verdict.token == "offload", "as many over TLS: what is readable behind it was not in front"
    assert "mixed-termination" in {finding.id for finding in snapshot.findings}


def test_a_readable_front_that_only_redirects_does_not_make_a_service_mixed() -> None:
    service = next(s for s in diagnose(both_ways("", readable_feeds=False).source()).services if s.port == 8080)
    assert service.termination.verdict.token == "offload"
    assert service.termination.by_mode is None


def test_targets_see_that_one_proxy_says_https_of_a_part_only() -> None:
    traffic = Traffic()
    for turn in range(60):
        conn = traffic.connect("10.0.1.5", f"10.0.1.{11 + turn % 3}:8080", at=turn * 0.37)
        conn.request(at=turn * 0.37 + 0.01, forwarded=(f"198.18.10.{turn % 9 + 1}",), proto="https" if turn % 3 else "")
        conn.respond(200)
        conn.close()
    assert service_of(traffic).termination.by_mode == {"offload": 40, "none": 20}


def test_x_real_ip_alone_is_something_a_proxy_adds() -> None:
    for real_ip, expected in (("203.0.113.9", "offload"), ("", "l4_tls")):
        traffic = Traffic()
        for turn in range(30):
            conn = traffic.connect("10.0.9.1", f"10.0.0.{11 + turn % 3}:8080", at=turn * 0.7)
            flags = ReqFlag.BROWSER_UA | ReqFlag.SEC_FETCH | ReqFlag.BR_ZSTD
            conn.request(at=turn * 0.7 + 0.01, user_agent=f"Mozilla/5.0 Firefox/{118 + turn % 9}.0", real_ip=real_ip, flags=flags)
            conn.respond(200)
            conn.close()
        verdict = service_of(traffic).termination.verdict
        assert verdict.token == expected
        assert any(item.signal == "nothing-added" for item in verdict.evidence) is not bool(real_ip)


def test_health_checks_alone_say_nothing_about_clients() -> None:
    traffic = Traffic()
    for turn in range(30):
        conn = traffic.connect("10.0.9.1", f"10.0.0.{11 + turn % 3}:8080", at=turn * 5.0)
        conn.request(path="/health", user_agent="ELB-HealthChecker/2.0", at=turn * 5.0 + 0.01)
        conn.respond(200)
        conn.close(end=End.FIN)
    for service in diagnose(traffic.source()).services:
        assert service.termination.verdict.value is None


def test_a_group_says_no_more_than_its_cap() -> None:
    question = Question("tls_front", "yes", "no")
    for (name, signal), group in groups().items():
        if name == "tls_front" and group == "http-headers" and weights()[name, signal] > 0:
            question.signal(signal, 1.0, "made up")
    assert sum(question.contributions().values()) == pytest.approx(CAP)


def test_a_signal_without_a_weight_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="no weight"):
        Question("bridging", "a", "b").signal("made-up", 1.0, "")


def test_nothing_seen_is_an_even_choice() -> None:
    assert Question("bridging", "a", "b").probability == 0.5


def test_tls_without_a_hello_in_view_stays_open() -> None:
    """Many addresses alone do not say whose TLS it is: who ends it can keep them."""
    traffic = Traffic()
    for turn, client in enumerate(population()):
        conn = traffic.connect(client.address, f"10.0.0.{11 + turn % 3}:8443", at=turn * 0.1, ttl=63, protocol7=Protocol7.TLS)
        conn.data(400, 4000)
        conn.close()
    assert service_of(traffic).termination.verdict.value is None


def test_what_a_cut_head_lacks_says_nothing() -> None:
    traffic = Traffic()
    for turn in range(40):
        conn = traffic.connect("10.0.9.1", f"10.0.0.{11 + turn % 3}:8080", at=turn * 0.2)
        conn.request(at=turn * 0.2 + 0.01, flags=ReqFlag.TRUNCATED)
        conn.close()
    verdict = service_of(traffic).termination.verdict
    assert verdict.value is None
    assert "nothing-added" not in {item.signal for item in verdict.evidence}


def test_proofs_that_contradict_each_other_settle_nothing() -> None:
    question = Question("bridging", "a", "b")
    question.prove("one", "tcp-stack", True, "")
    assert question.proven is True
    question.prove("other", "client-hello", False, "")
    assert question.proven is None
    assert question.probability == 0.5
    assert len(question.evidence()) == 2
