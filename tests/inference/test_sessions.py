"""Sessions: where they were issued, where they were lost, what one target alone can tell."""

from __future__ import annotations

import numpy as np
import pytest

from lbtop.engine import diagnose
from lbtop.inference.sessions import SessionFacts, session_facts, ticket_likelihoods
from lbtop.model.judgement import Mechanism
from lbtop.model.observation import RespFlag
from lbtop.model.snapshot import Service
from lbtop.testing import Traffic
from tests.inference.simulated import Requests, http_facts, pinned, sessions_of


def service(traffic: Traffic) -> Service:
    return diagnose(traffic.source()).services[0]


def shop(rng: np.random.Generator, stick: bool, lose: bool) -> Traffic:
    """Three targets behind an ALB, 24 sessions; targets that do not know a session issue a new one."""
    traffic = Traffic()
    conns = {n: traffic.connect("10.0.9.1", f"10.0.0.{11 + n}:8080", at=0.0) for n in range(3)}
    known: dict[str, int] = {}
    value = {}
    steps = sorted((float(rng.uniform(0, 60)), user) for user in range(24) for _ in range(12))
    for number, (at, user) in enumerate(steps):
        target = known.get(value.get(user, ""), int(rng.integers(0, 3))) if stick else int(rng.integers(0, 3))
        session = value.get(user)
        fresh = session is None or (lose and known[session] != target)
        cookies = {"AWSALB": f"a{number}"} | ({"JSESSIONID": session} if session else {})
        conns[target].request(at=at, forwarded=[f"203.0.113.{user + 1}"], proto="https", cookies=cookies)
        if fresh:
            value[user] = f"s{user}-{number}"
            known[value[user]] = target
        conns[target].respond(set_cookies={"JSESSIONID": value[user]} if fresh else None, delay=0.001)
    for conn in conns.values():
        conn.close(at=61.0)
    return traffic


def test_sessions_that_stick_are_not_lost() -> None:
    found = service(shop(np.random.default_rng(1), stick=True, lose=True)).stickiness
    assert found is not None
    assert (found.sessions, found.sessions_lost, found.orphan_requests) == (24, 0, 0)


def test_sessions_answered_as_new_elsewhere_are_lost_and_said_so() -> None:
    snapshot = diagnose(shop(np.random.default_rng(2), stick=False, lose=True).source())
    found = snapshot.services[0].stickiness
    assert found is not None and found.sessions_lost is not None and found.sessions_lost > 20
    ids = {finding.id for finding in snapshot.findings}
    assert {"session-lost", "stickiness-not-working"} <= ids


def test_sessions_that_every_target_knows_are_not_lost() -> None:
    snapshot = diagnose(shop(np.random.default_rng(3), stick=False, lose=False).source())
    found = snapshot.services[0].stickiness
    assert found is not None and found.sessions_lost == 0
    assert "session-lost" not in {finding.id for finding in snapshot.findings}


def test_a_cookie_that_carries_state_is_no_new_session() -> None:
    """Signed cookies (Flask, Rails) change with every response, at their own target too."""
    traffic = Traffic()
    conns = [traffic.connect("10.0.9.1", f"10.0.0.{11 + n}:8080") for n in range(3)]
    value: dict[int, str] = {}
    for turn in range(12):
        for user in range(10):
            conn = conns[(turn + user) % 3]
            presented = {"session": value[user]} if user in value else {}
            value[user] = f"{user}.{turn}"
            flags = {"session": 32}
            conn.request(forwarded=[f"203.0.113.{user}"], cookies=presented, cookie_flags=flags)
            conn.respond(set_cookies={"session": value[user]}, cookie_flags=flags)
    found = service(traffic).stickiness
    assert found is not None and found.sessions_lost == 0
    assert found.sessions == 10  # re-issued values continue their session


def visits(shared: bool, users: int = 30, buys: int = 1) -> Traffic:
    """Three targets, each for two requests of a user: a page, a login that gives the session a new name, pages, posts, a logout.
    ``shared``: targets know each other's sessions; else what they do not know is answered as new."""
    traffic = Traffic()
    conns = [traffic.connect("10.0.9.1", f"10.0.0.{11 + n}:8080", at=0.0) for n in range(3)]
    value: dict[int, str] = {}
    known: dict[str, int] = {}
    steps = [("GET", "/"), ("POST", "/login"), *(("GET", f"/item/{n}") for n in range(6))]
    steps += [("POST", "/buy")] * buys + [("GET", "/logout")]
    for turn, (method, path) in enumerate(steps):
        for user in range(users):
            number = turn * users + user
            target = (user + user // 3 + turn // 2) % 3
            conn, had = conns[target], value.get(user)
            conn.request(
                method, path, at=number * 0.05, forwarded=[f"203.0.113.{user + 1}"], cookies={"JSESSIONID": had} if had else {}
            )
            if path == "/logout":
                conn.respond(302, flags=RespFlag.SESSION_DELETED | RespFlag.LOGIN_REDIRECT)
                continue
            login = path == "/login"
            anew = had is None or login or (not shared and known[had] != target)
            if anew:
                value[user] = f"s{number}"
                known[value[user]] = target
            conn.respond(302 if login else 200, set_cookies={"JSESSIONID": value[user]} if anew else None, delay=0.001)
    for conn in conns:
        conn.close(at=999.0)
    return traffic


def test_a_login_and_a_logout_end_no_session_that_all_targets_know() -> None:
    snapshot = diagnose(visits(shared=True).source())
    found = snapshot.services[0].stickiness
    assert found is not None and found.sessions_lost == 0
    assert "session-lost" not in {finding.id for finding in snapshot.findings}


def test_pages_that_other_targets_answer_as_new_are_lost_beside_logins_and_the_sum_is_told_per_target() -> None:
    snapshot = diagnose(visits(shared=False).source())
    found = snapshot.services[0].stickiness
    assert found is not None and found.sessions_lost is not None and found.sessions_lost > 60
    finding = next(finding for finding in snapshot.findings if finding.id == "session-lost")
    most = [int(part.split()[0]) for part in finding.detail.partition("Most: ")[2].split("; ")]
    assert sum(most) == int(finding.title.split()[0])


def test_a_post_is_lost_where_the_issuer_keeps_the_session_of_such_posts() -> None:
    once, twice = (service(visits(shared=False, buys=buys)).stickiness for buys in (1, 2))
    assert once is not None and twice is not None
    assert once.sessions_lost == 90  # three of its pages met another target, and nobody knows what the post is for
    assert twice.sessions_lost == 120  # the second one shows that posting there ends no session


def orphans(order: list[bool]) -> dict[Mechanism, float]:
    facts = SessionFacts(len(order), sum(order), 0, 0, order=np.array(order))
    return facts.likelihoods([Mechanism.LB_COOKIE, Mechanism.NONE], 0.03)


def test_one_target_alone_tells_pinned_from_unpinned_by_where_sessions_were_issued() -> None:
    pinned_here = orphans([False] * 24)
    assert pinned_here[Mechanism.LB_COOKIE] - pinned_here[Mechanism.NONE] > 3
    everywhere = orphans([True, False, True] * 8)
    assert everywhere[Mechanism.NONE] - everywhere[Mechanism.LB_COOKIE] > 3


def test_a_target_that_took_over_anothers_sessions_is_still_pinned() -> None:
    after_a_loss = orphans([False] * 18 + [True] * 6)
    assert after_a_loss[Mechanism.LB_COOKIE] > after_a_loss[Mechanism.NONE]


def one_of_three(pinned: bool, gone_at: float) -> Traffic:
    """What one of three targets sees of 36 users who begin together and keep asking, sessions in memory: ``pinned`` by address,
    or dealt anew with every request. At ``gone_at`` a peer goes, and pinned users of it come here."""
    rng = np.random.default_rng(9)
    traffic = Traffic()
    conn = traffic.connect("10.0.9.1", "10.0.0.11:8080", at=0.0)
    value: dict[int, str] = {}
    known: dict[str, int] = {}
    steps = sorted((turn + float(rng.uniform(0, 0.9)), user) for user in range(36) for turn in range(30))
    for number, (at, user) in enumerate(steps):
        home = user % 3 if user % 3 != 1 or at < gone_at else 0
        target = home if pinned else int(rng.integers(0, 3))
        had = value.get(user)
        fresh = had is None or known[had] != target
        if fresh:
            value[user] = f"s{number}"
            known[value[user]] = target
        if target == 0:
            conn.request(at=at, forwarded=[f"203.0.113.{user + 1}"], proto="https", cookies={"JSESSIONID": had} if had else {})
            conn.respond(set_cookies={"JSESSIONID": value[user]} if fresh else None, delay=0.001)
    conn.close(at=99.0)
    return traffic


def test_one_target_alone_takes_strangers_of_one_moment_for_one_event() -> None:
    failed_over = service(one_of_three(pinned=True, gone_at=12.0)).stickiness
    assert failed_over is not None and failed_over.verdict.candidates[Mechanism.NONE] < 0.2
    dealt = service(one_of_three(pinned=False, gone_at=12.0)).stickiness
    assert dealt is not None and dealt.verdict.candidates[Mechanism.NONE] > 0.2


def test_what_issued_sessions_is_not_judged_without_answers() -> None:
    rng = np.random.default_rng(4)
    at, user = sessions_of(rng, 30, 10)
    facts = http_facts(Requests(at, user, user, pinned(rng, user, 1), np.zeros(len(at), bool)), 1)
    assert session_facts(facts).answered == pytest.approx(1.0)
    facts.ledgers.affinity.set_at_back.clear()
    assert session_facts(facts).answered == 0.0


def test_refused_tickets_speak_against_affinity_and_accepted_ones_hardly_for_it() -> None:
    sticky, none = ticket_likelihoods(60, 20)
    assert none - sticky > 4
    sticky, none = ticket_likelihoods(60, 60)
    assert 0 < sticky - none < 1


def hashed_sessions(rng: np.random.Generator, users: int, seen: int, anew: bool) -> Traffic:
    """What one of three targets sees: sessions without a cookie are dealt anew; with one, a hash of it decides, or chance."""
    traffic = Traffic()
    conn = traffic.connect("10.0.9.1", "10.0.0.11:8080", at=0.0)
    home = rng.integers(0, 3, users)
    starts = rng.uniform(0, 60, users)
    steps = sorted((float(starts[user] + turn + rng.uniform(0, 0.9)), user) for user in range(users) for turn in range(10))
    begun: set[int] = set()
    for at, user in steps:
        first = user not in begun
        begun.add(user)
        if (rng.integers(0, 3) if first or anew else home[user]) != seen:
            continue
        conn.request(
            at=at, forwarded=[f"203.0.113.{user + 1}"], proto="https", cookies={} if first else {"JSESSIONID": f"s{user}"}
        )
        conn.respond(set_cookies={"JSESSIONID": f"s{user}"} if first else None, delay=0.001)
    traffic.probe("10.0.9.1", "10.0.0.11:8080", at=1.0)
    conn.close(at=70.0)
    return traffic


def test_a_hash_over_sessions_seen_from_one_target_is_not_taken_for_nothing() -> None:
    """Those issued here leave for good, strangers stay: by chance both would come and go alike."""
    said = [service(hashed_sessions(np.random.default_rng(seed), 45, 1, anew=False)).stickiness for seed in range(12)]
    tokens = [found.verdict.token for found in said if found is not None]
    assert len(tokens) == 12
    assert "none" not in tokens
    assert tokens.count("app_cookie") >= 6


def test_sessions_dealt_anew_each_time_seen_from_one_target_are_none() -> None:
    said = [service(hashed_sessions(np.random.default_rng(seed), 45, 1, anew=True)).stickiness for seed in range(12)]
    assert sum(found is not None and found.verdict.token == "none" for found in said) >= 11
