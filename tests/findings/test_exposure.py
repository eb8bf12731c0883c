"""What can be read on the way: each finding fires where it should and nowhere near it."""

from __future__ import annotations

import pytest

from lbtop.model.judgement import Severity
from lbtop.model.observation import CookieFlag, SecretKind, Side
from lbtop.testing import Traffic
from tests.findings.scenes import found_in, http_service, snapshot_of, tls_service


def test_an_offloaded_service_has_a_readable_hop_behind_the_balancer() -> None:
    found = found_in(http_service("https"))
    finding = found["plaintext-backend-hop"]
    assert finding.severity is Severity.WARNING
    assert "6 connections to 3 targets" in finding.title
    assert any("target group" in line for line in finding.advice), "the advice names the product's own setting"
    assert "plaintext-end-to-end" not in found


def test_a_plain_service_has_no_encrypted_hop() -> None:
    found = found_in(http_service("http"))
    assert "plaintext-end-to-end" in found
    assert "plaintext-backend-hop" not in found


@pytest.mark.parametrize(("status", "secret", "fires"), [(301, "", False), (200, "", True), (301, "a cookie", True)])
def test_a_port_that_only_redirects_leaves_nothing_unencrypted(status: int, secret: str, fires: bool) -> None:
    """Unless clients bring it something to read."""
    traffic = Traffic()
    for number in range(12):
        conn = traffic.connect(f"198.51.100.{number}", "192.0.2.10:80", at=float(number), ttl=50 + number % 5)
        conn.request(path="/").respond(status)
        if secret:
            conn.secret(SecretKind.SESSION_COOKIE, secret, name="JSESSIONID")
        conn.close()
    assert ("plaintext-end-to-end" in found_in(traffic)) is fires


def test_an_encrypted_service_fires_nothing_about_reading() -> None:
    found = found_in(tls_service([0x0304]))
    assert not {"plaintext-backend-hop", "plaintext-end-to-end", "session-cookie-in-plaintext", "weak-tls"} & set(found)


@pytest.mark.parametrize(
    "kind",
    [
        SecretKind.PASSWORD,
        SecretKind.BASIC_AUTH,
        SecretKind.DIGEST_AUTH,
        SecretKind.BEARER_TOKEN,
        SecretKind.API_KEY,
        SecretKind.JWT,
    ],
)
def test_credentials_on_a_readable_hop_are_critical(kind: SecretKind) -> None:
    finding = found_in(http_service("https", secret=kind))["credentials-in-plaintext"]
    assert finding.severity is Severity.CRITICAL
    assert "6 times between the load balancer and the targets" in finding.title
    assert "secret 1" not in repr(finding)


def test_without_credentials_there_is_no_such_finding() -> None:
    assert "credentials-in-plaintext" not in found_in(http_service("https"))


def test_card_numbers_are_critical() -> None:
    finding = found_in(http_service("https", secret=SecretKind.CARD_NUMBER))["card-data-in-plaintext"]
    assert finding.severity is Severity.CRITICAL
    assert "6 different" in finding.title


def test_session_cookies_behind_the_balancer_are_said_once() -> None:
    """`plaintext-backend-hop` names that hop already."""
    assert "session-cookie-in-plaintext" not in found_in(http_service("https"))


def test_session_cookies_on_the_clients_own_hop_are_critical() -> None:
    finding = found_in(http_service("http"))["session-cookie-in-plaintext"]
    assert finding.severity is Severity.CRITICAL
    assert "JSESSIONID" in finding.detail
    assert "session-cookie-in-plaintext" not in found_in(http_service("http", session=False))


def test_session_cookies_count_set_and_returned_alike() -> None:
    (service,) = snapshot_of(http_service("http")).services
    (entry,) = service.exposure.sensitive
    assert (entry.kind, entry.count, entry.distinct) == ("session_cookie", 48, 6)
    assert entry.hop == "load_balancer->target"


def beside_a_balancer(bring: bool) -> Traffic:
    """A backup with a password, and a monitor that is given a session each time, both past the balancer."""
    traffic = http_service("https", requests=20)
    for number in range(6):
        conn = traffic.connect("10.0.1.61", f"10.0.0.{11 + number % 3}:8080", at=1.0 + number * number)
        conn.request(path=f"/part/{number}", cookies={"JSESSIONID": f"b{number}"} if bring else {})
        if bring:
            conn.secret(SecretKind.SESSION_COOKIE, f"b{number}", name="JSESSIONID")
        conn.secret(SecretKind.BASIC_AUTH, "backup", name="Authorization").respond(size=500_000)
        conn.secret(SecretKind.SET_COOKIE_SESSION, f"n{number}", name="JSESSIONID", sender=Side.SERVER).close()
    return traffic


def test_what_comes_past_the_balancer_crosses_a_hop_of_its_own() -> None:
    found = found_in(beside_a_balancer(bring=False))
    assert "between clients and the targets" in found["credentials-in-plaintext"].title
    assert "6 connections to 3 targets" in found["plaintext-backend-hop"].title  # the balancer's, not the backup's
    assert "basic auth" not in found["plaintext-backend-hop"].detail
    assert "session-cookie-in-plaintext" not in found  # given to a program that never brings it back


def test_sessions_brought_past_the_balancer_are_in_clear_on_the_clients_own_hop() -> None:
    finding = found_in(beside_a_balancer(bring=True))["session-cookie-in-plaintext"]
    assert finding.severity is Severity.CRITICAL
    assert "12 different, 12 times between clients and the targets" in finding.title


def test_a_session_cookie_without_secure_where_clients_use_tls() -> None:
    finding = found_in(http_service("https", set_flags=0))["insecure-session-cookie"]
    assert "JSESSIONID" in finding.title
    assert "6 times" in finding.title
    assert "insecure-session-cookie" not in found_in(http_service("https", set_flags=CookieFlag.SECURE))
    assert "insecure-session-cookie" not in found_in(http_service("http", set_flags=0)), "nobody could send it over TLS"


def naming_targets(right: bool) -> Traffic:
    traffic = http_service("https")
    for number in range(6):
        target = 11 + number % 3 if right else 99
        conn = traffic.connect("10.0.9.1", f"10.0.0.{11 + number % 3}:8080", at=20 + number)
        conn.request(at=20.1 + number, forwarded=["203.0.113.9"], proto="https", headers=ALB_LIKE)
        conn.respond(200)
        traffic.add(
            "cookies",
            traffic.time(20.1 + number),
            **conn.ends,
            conn=conn.number,
            request=1000 + number,
            value=77 + number,
            name=traffic.string("BIGipServerweb"),
            names=traffic.address(f"10.0.0.{target}"),
            names_port=8080,
            decoder=1,
            flags=int(CookieFlag.BALANCER | CookieFlag.DISCLOSES),
        )
        if not right:
            break
    return traffic


ALB_LIKE = ("Host", "User-Agent", "X-Forwarded-For", "X-Forwarded-Proto")


def test_a_cookie_that_names_the_target_is_told() -> None:
    finding = found_in(naming_targets(right=True))["cookie-discloses-target"]
    assert finding.severity is Severity.INFO
    assert "BIGipServerweb" in finding.title
    assert "6 of 6" in finding.title
    assert "10.0.0" not in finding.title, "the finding does not repeat what the cookie gives away"


def test_one_value_that_looks_like_an_address_is_chance() -> None:
    assert "cookie-discloses-target" not in found_in(naming_targets(right=False))
