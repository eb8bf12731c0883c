"""Old versions, broken ciphers, certificates, and services of two minds."""

from __future__ import annotations

import numpy as np
import pytest

from lbtop.testing import Traffic
from tests.findings.scenes import found_in, tls_service


@pytest.mark.parametrize("version", [0x0300, 0x0301, 0x0302])
def test_a_version_older_than_1_2_is_weak(version: int) -> None:
    finding = found_in(tls_service([version, 0x0304]))["weak-tls"]
    assert "(18)" in finding.title
    assert "18 of 36 handshakes" in finding.detail


@pytest.mark.parametrize("cipher", [0x000A, 0x0005, 0xC011, 0x0001])
def test_a_broken_cipher_is_weak(cipher: int) -> None:
    assert "weak-tls" in found_in(tls_service([0x0303], [cipher]))


@pytest.mark.parametrize(("version", "cipher"), [(0x0303, 0xC02F), (0x0303, 0x002F), (0x0304, 0x1303)])
def test_current_tls_is_not_weak(version: int, cipher: int) -> None:
    assert "weak-tls" not in found_in(tls_service([version], [cipher]))


def dated(traffic: Traffic, not_before_days: int, not_after_days: int) -> Traffic:
    """Every certificate valid from and to so many days after the capture."""
    day_ns = 86_400 * 10**9
    for _, _, table, columns in traffic._rows:
        if table == "handshakes":
            columns["not_before_ns"] = traffic.start_ns + not_before_days * day_ns
            columns["not_after_ns"] = traffic.start_ns + not_after_days * day_ns
    return traffic


def test_an_expired_certificate() -> None:
    traffic = dated(tls_service([0x0303], certificates=["a", "a", "a"]), -400, -10)
    assert "expired on" in found_in(traffic)["certificate-problem"].title


def test_a_certificate_of_tomorrow() -> None:
    traffic = dated(tls_service([0x0303], certificates=["a", "a", "a"]), 1, 90)
    assert "not valid before" in found_in(traffic)["certificate-problem"].title


def test_one_target_with_another_certificate() -> None:
    traffic = dated(tls_service([0x0303], certificates=["a", "b", "a"]), -10, 90)
    finding = found_in(traffic)["certificate-problem"]
    assert "10.0.0.12:8443" in finding.title


@pytest.mark.parametrize("certificates", [["a", "a", "a"], ["a", "b", "c"]])
def test_valid_certificates_are_no_problem(certificates: list[str]) -> None:
    """One for all, or one for each: both are habits."""
    assert "certificate-problem" not in found_in(dated(tls_service([0x0303], certificates=certificates), -10, 90))


def test_two_modes_on_one_port_fire_mixed_termination() -> None:
    traffic = tls_service([0x0304])
    for turn in range(12):
        conn = traffic.connect(f"203.0.113.{turn + 1}", f"10.0.0.{11 + turn % 3}:8443", at=1 + turn * 0.4, ttl=50 + turn)
        conn.request(at=1.01 + turn * 0.4, user_agent="curl/8.5.0")
        conn.respond(200)
        conn.close()
    finding = found_in(traffic)["mixed-termination"]
    assert "passthrough 75 %" in finding.title
    assert "none 25 %" in finding.title
    assert "mixed-termination" not in found_in(tls_service([0x0304]))


def test_a_hostile_date_does_no_harm() -> None:
    traffic = tls_service([0x0303], certificates=["a", "a", "a"])
    for _, _, table, columns in traffic._rows:
        if table == "handshakes":
            columns["not_before_ns"] = int(np.iinfo(np.int64).max)
            columns["not_after_ns"] = int(np.iinfo(np.int64).max)
    found_in(traffic)
