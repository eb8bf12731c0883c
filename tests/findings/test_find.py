"""The list of findings as a whole: complete, explained, in order, one per fact, with commands that work."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from lbtop.findings import RULES, accept, find
from lbtop.findings.precedence import PRECEDENCE, most_specific
from lbtop.model.judgement import CAPTURE_NAME, Finding, Severity
from lbtop.model.observation import ConnFlag, SourceStats
from lbtop.testing import Traffic
from tests.findings.scenes import http_service, snapshot_of, tls_service

IDS = [
    "plaintext-backend-hop",
    "plaintext-end-to-end",
    "credentials-in-plaintext",
    "session-cookie-in-plaintext",
    "card-data-in-plaintext",
    "insecure-session-cookie",
    "cookie-discloses-target",
    "weak-tls",
    "certificate-problem",
    "mixed-termination",
    "partial-capture",
]
SECTIONS = ("What it means.", "How it is inferred.", "How to confirm.", "How to mend.")


@pytest.mark.parametrize("name", IDS)
def test_a_rule_is_registered_and_explained(name: str) -> None:
    rule = RULES[name]
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.id)
    assert rule.summary
    for section in SECTIONS:
        assert section in rule.explanation, f"{name}: no {section}"


def test_every_precedence_names_findings_of_the_contract() -> None:
    for entry in PRECEDENCE:
        for name in (*entry.specific, entry.general):
            assert re.fullmatch(r"[a-z]+(-[a-z]+)*|resets|refused", name)


def made(name: str, subject: str = "", at_s: float | None = None) -> Finding:
    return Finding(name, Severity.WARNING, "t", "d", "s", subject=subject, at_ns=None if at_s is None else int(at_s * 1e9))


def ids(findings: list[Finding]) -> list[str]:
    return [finding.id for finding in findings]


def test_the_more_specific_finding_stays() -> None:
    assert ids(most_specific([made("hot-target"), made("nat-concentration")])) == ["nat-concentration"]
    assert ids(most_specific([made("target-closes-first"), made("keepalive-race")])) == ["keepalive-race"]
    assert ids(most_specific([made("hot-target"), made("weak-tls")])) == ["hot-target", "weak-tls"]


def test_precedence_asks_for_the_same_subject_and_time() -> None:
    assert ids(most_specific([made("target-gone", "a"), made("target-flapping", "b")])) == ["target-gone", "target-flapping"]
    assert ids(most_specific([made("target-gone", "a"), made("target-flapping", "a")])) == ["target-flapping"]
    far = [made("affinity-remap", at_s=1000), made("target-gone", at_s=10)]
    near = [made("affinity-remap", at_s=12), made("target-gone", at_s=10)]
    assert ids(most_specific(far)) == ["affinity-remap", "target-gone"]
    assert ids(most_specific(near)) == ["target-gone"]


def test_the_worst_comes_first() -> None:
    findings = snapshot_of(http_service("http")).findings
    ranks = [finding.severity.rank for finding in findings]
    assert ranks == sorted(ranks)
    assert findings[0].severity is Severity.CRITICAL


def test_an_accepted_finding_is_still_there() -> None:
    findings = snapshot_of(http_service("https")).findings
    service = findings[0].service
    assert [f.accepted for f in accept(findings, ["plaintext-backend-hop"])] == [
        f.id == "plaintext-backend-hop" for f in findings
    ]
    assert any(f.accepted for f in accept(findings, [f"plaintext-backend-hop@{service}"]))
    assert not any(f.accepted for f in accept(findings, ["plaintext-backend-hop@other"]))


def test_an_input_without_a_service_can_still_be_partial() -> None:
    snapshot = snapshot_of(http_service("https"))
    source = replace(snapshot.source, packets=3, connections=0, connections_seen_from_start=0)
    found = find([], source, SourceStats("capture", cut_at_byte=77))
    assert ids(list(found)) == ["partial-capture"]
    assert "byte 77" in found[0].title
    assert find([], source, SourceStats("capture")) == ()


@pytest.mark.parametrize(("silent", "told"), [(1, False), (3, True)])
def test_answers_that_take_another_way_are_told(silent: int, told: bool) -> None:
    traffic = http_service("https", connections=24)
    for conn in traffic.connections[:silent]:
        conn.row["flags"] |= ConnFlag.ONE_DIRECTION
    found = [finding for finding in snapshot_of(traffic).findings if finding.id == "partial-capture"]
    assert [f"{silent} of 24 connections show one direction only" in finding.title for finding in found] == [True] * told


@pytest.mark.parametrize(
    ("stats", "word"),
    [
        ({"cut_at_byte": 1234}, "byte 1,234"),
        ({"dropped_packets": 5, "packets": 1000}, "5 packets were dropped"),
        ({"truncated_packets": 400, "packets": 1000}, "cut by the snap length"),
    ],
)
def test_a_partial_capture_says_what_is_missing(stats: dict[str, int], word: str) -> None:
    findings = [f for f in snapshot_of(tls_service([0x0304]), **stats).findings if f.id == "partial-capture"]
    assert len(findings) == 1
    assert findings[0].severity is Severity.INFO
    assert findings[0].service is None
    assert word in findings[0].detail


def test_a_whole_capture_is_not_partial() -> None:
    assert "partial-capture" not in {f.id for f in snapshot_of(tls_service([0x0304])).findings}


CAPTURES = sorted((Path(__file__).parents[2] / "captures").glob("*.pcap*"))


@pytest.mark.parametrize("capture", CAPTURES[::12], ids=lambda path: path.name)
def test_confirming_commands_work_on_the_capture(capture: Path) -> None:
    """Every tshark and tcpdump line runs and prints something; none of them fails."""
    from lbtop.engine import diagnose
    from tests.reference import open_capture

    findings = diagnose(open_capture(str(capture))).findings
    for finding in findings:
        for line in finding.confirm:
            words = [str(capture) if word == CAPTURE_NAME else word for word in shlex.split(line)]
            if finding.id not in IDS or words[0] not in ("tshark", "tcpdump") or shutil.which(words[0]) is None:
                continue
            assert "-r" in words
            done = subprocess.run(words, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            assert done.stdout.strip(), f"{finding.id}: {line} shows nothing"


def test_a_service_whose_connections_mostly_began_before_is_partly_in_view() -> None:
    """Also where health checks, which begin all the time, are more than the data connections."""
    traffic = Traffic()
    for number in range(4):
        conn = traffic.connect("10.0.9.1", f"10.0.0.{11 + number % 2}:8080", at=number * 0.1, syn=False)
        for turn in range(6):
            conn.request(at=1 + turn + number * 0.1, forwarded=["203.0.113.9"], proto="https")
            conn.respond(200)
    for number in range(12):
        check = traffic.connect("10.0.9.1", f"10.0.0.{11 + number % 2}:8080", at=number * 1.0)
        check.request(path="/health", user_agent="ELB-HealthChecker/2.0", at=number + 0.01)
        check.respond(200)
        check.close()
    (finding,) = (f for f in snapshot_of(traffic).findings if f.id == "partial-capture")
    assert "4 of 4 connections began before the capture" in finding.detail
