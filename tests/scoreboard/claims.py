"""What captures say beyond mode and mechanism: causes of breaks, findings, intervals that must hold the truth."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.scoreboard.sights import Sight


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that was said and is right or wrong."""

    capture: str
    scenario: str
    what: str
    right: bool
    detail: str


def by_scenario(claims: Iterable[Claim]) -> dict[str, list[bool]]:
    found: dict[str, list[bool]] = defaultdict(list)
    for claim in claims:
        found[claim.scenario].append(claim.right)
    return dict(found)


def break_causes(sights: Iterable[Sight]) -> Iterator[Claim]:
    """Where the truth names causes: are most of the keys that changed target said to have done so for one of them?"""
    for sight in sights:
        causes = sight.truth.get("breaks", {}).get("causes")
        if not causes:
            continue
        keys: Counter[str] = Counter()
        for service in sight.said["services"]:
            for row in (service["stickiness"] or {"breaks": []})["breaks"]:
                keys[row["cause"]] += row["keys"]
        named = sum(keys[cause] for cause in causes)
        said = ", ".join(f"{cause} {count}" for cause, count in keys.most_common()) or "no break"
        right = named > 0.5 * sum(keys.values())
        yield Claim(sight.name, sight.scenario, "cause of breaks", right, f"{said}; truth {' or '.join(causes)}")


def false_findings(sights: Iterable[Sight]) -> Iterator[Claim]:
    """One claim per capture: nothing above info is said that the truth does not allow."""
    for sight in sights:
        rules = sight.truth["findings"]
        allowed = set() if sight.truth["healthy"] else {*rules["must"], *rules["may"]}
        raised = {row["id"] for row in sight.said["findings"] if row["severity"] != "info"}
        false = sorted(raised - allowed)
        yield Claim(sight.name, sight.scenario, "healthy" if sight.truth["healthy"] else "faulty", not false, ", ".join(false))


def missed_findings(sights: Iterable[Sight]) -> Iterator[Claim]:
    """One claim per finding that must be found."""
    for sight in sights:
        found = {row["id"] for row in sight.said["findings"]}
        for must in sight.truth["findings"]["must"]:
            yield Claim(sight.name, sight.scenario, must, must in found, must)


def skew_causes(sights: Iterable[Sight]) -> Iterator[Claim]:
    """Where the truth names why one target is hot."""
    for sight in sights:
        cause = sight.truth.get("skew", {}).get("cause")
        if cause:
            said = [service["skew"]["cause"] for service in sight.said["services"] if service["skew"]]
            yield Claim(sight.name, sight.scenario, "cause of skew", cause in said, f"{said}; truth {cause}")


def idle_intervals(sights: Iterable[Sight], slack_s: float = 0.25) -> Iterator[Claim]:
    """Idle limits that were configured against the interval said; ``slack_s``: timers and wires take time."""
    for sight in sights:
        truth = sight.truth.get("idle", {})
        idles = [service["idle"] for service in sight.said["services"] if service["idle"]]
        if "limit_s" in truth:
            spans = [idle["interval"] for idle in idles if idle["interval"]]
            right = any(low <= truth["limit_s"] + slack_s and truth["limit_s"] - slack_s <= high for low, high in spans)
            yield Claim(sight.name, sight.scenario, "idle cliff", right, f"{spans or 'none said'}; truth {truth['limit_s']} s")
        if "target_closes_after_s" in truth:
            said = [idle["target_closes_after_s"] for idle in idles]
            limit = truth["target_closes_after_s"]
            right = any(value is not None and abs(value - limit) <= slack_s for value in said)
            yield Claim(sight.name, sight.scenario, "target closes after", right, f"{said}; truth {limit} s")


def users_behind(sights: Iterable[Sight]) -> Iterator[Claim]:
    """Every address that is said to hold many users, against how many the lab put there; all users must be in view."""
    for sight in sights:
        people = sight.truth.get("nat", {}).get("users")
        whole = sight.truth["vantage"] in ("all_targets", "load_balancer")
        if not people or not whole or sight.rewritten or any(not row["requests_readable"] for row in sight.truth["service"]):
            continue
        behind = {address: int(count) for address, _, count in (row.partition(" ") for row in people)}
        for service in sight.said["services"]:
            for row in service["nat"]:
                users = behind.get(row["address"], 1)
                right = row["users_low"] <= users and (row["users_high"] is None or users <= row["users_high"])
                detail = f"{row['address']}: {row['users_low']} to {row['users_high']}, truth {users} ({row['basis']})"
                yield Claim(sight.name, sight.scenario, "users behind an address", right, detail)


def affinity_intervals(sights: Iterable[Sight]) -> Iterator[Claim]:
    """Where a mechanism works and nothing broke it, the affinity's interval must reach 1. A hash of the session is left out: it
    moves every session once, after the answer that issued it.
    """
    for sight in sights:
        for expected in sight.truth["service"]:
            sticky = expected["mechanism"] in ("lb_cookie", "source_ip")
            disturbed = sight.truth.get("breaks") or sight.rewritten or set(sight.truth["findings"]["must"]) & DISTURB
            if not sticky or disturbed or sight.truth["vantage"] != "all_targets" or not expected["requests_readable"]:
                continue
            for service in sight.said["services"]:
                pinned = service["stickiness"]
                if pinned and pinned["affinity_interval"] and pinned["mechanism"] == expected["mechanism"]:
                    low, high = pinned["affinity_interval"]
                    detail = f"{pinned['affinity']:.2f} ({low:.2f} to {high:.2f}) by {pinned['key']}, truth 1"
                    yield Claim(sight.name, sight.scenario, "affinity", high >= 0.999, detail)


DISTURB = {
    "stickiness-not-working",
    "affinity-remap",
    "session-lost",
    "cookie-expired-break",
    "target-gone",
    "target-flapping",
    "cookies-ignored",
    "client-address-changes",
    "first-request-split",
    "health-check-failing",
}
"""Findings of scenarios in which some clients change target although the mechanism works."""
