"""The JSON object: the keys that docs/json.md promises, in order; the same snapshot gives the same bytes."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from lbtop.faces import json as face
from lbtop.model.judgement import Evidence, Mode, Verdict
from tests.cli import frames

KEYS = {
    "": "schema lbtop source services findings",
    "source": "kind inputs started ended packets bytes undecoded_packets truncated_packets dropped_packets connections "
    "connections_seen_from_start caps_reached vantage vantage_evidence",
    "services.0": "service load_balancer termination stickiness targets dependencies skew exposure nat idle",
    "services.0.load_balancer": "addresses product confidence evidence",
    "services.0.termination": "mode confidence candidates settled_by hops evidence",
    "services.0.termination.hops.0": "from to encryption seen tls_versions",
    "services.0.stickiness": "mechanism confidence candidates settled_by cookie balancing key affinity "
    "affinity_interval keys returns "
    "by_key breaks cookie_lifetime sessions sessions_lost orphan_requests evidence",
    "services.0.stickiness.by_key.0": "key affinity interval keys returns",
    "services.0.stickiness.breaks.0": "time keys from to cause",
    "services.0.stickiness.cookie_lifetime": "model seconds interval",
    "services.0.targets.1": "target connections requests health_checks probes refused bytes_in bytes_out clients "
    "share state first_seen last_seen connect_ms response_ms resets retransmits status",
    "services.0.dependencies.0": "address connections encryption",
    "services.0.skew": "metric peak_to_mean expected_peak_to_mean gini p_value significant cause",
    "services.0.exposure": "plaintext_bytes tls_bytes plaintext_connections tls_connections sensitive tls",
    "services.0.exposure.sensitive.0": "kind count distinct hop first last",
    "services.0.exposure.tls": "versions ja4 sni alpn resumption_offered resumption_accepted",
    "services.0.nat.0": "address users_low users_high share basis",
    "services.0.idle": "cliff_s interval ended_by resets_after_idle matches target_closes_after_s keepalive_races "
    "keepalive_races_per_hour keepalive_races_interval",
    "findings.0": "id severity accepted service title detail evidence advice confirm",
    "findings.0.evidence.0": "signal group detail favours weight",
}


def at(value: object, path: str) -> object:
    for step in path.split(".") if path else ():
        value = value[int(step)] if isinstance(value, list) else value[step]  # type: ignore[index]
    return value


@pytest.mark.parametrize("path", KEYS)
def test_keys_and_their_order(path: str) -> None:
    found = at(json.loads(face.render(frames.busy())), path)
    assert isinstance(found, dict)
    assert list(found) == KEYS[path].split()


def test_a_name_appears_only_where_one_was_given() -> None:
    targets = json.loads(face.render(frames.busy()))["services"][0]["targets"]
    assert ["name" in target for target in targets] == [True, False, False]


@pytest.mark.parametrize("name", frames.ALL)
def test_same_snapshot_same_bytes(name: str) -> None:
    assert face.render(frames.ALL[name]()) == face.render(frames.ALL[name]())


def test_times_are_utc_with_microseconds() -> None:
    source = json.loads(face.render(frames.busy()))["source"]
    assert source["started"] == "2026-03-01T12:00:00.000000Z"
    assert json.loads(face.render(frames.empty()))["source"]["started"] is None


def test_maps_are_ordered_by_count_then_name() -> None:
    assert list(face._counts({"b": 1, "a": 1, "c": 5})) == ["c", "a", "b"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_what_is_no_number_is_null(value: float | None) -> None:
    assert face.number(value) is None


def test_no_negative_zero() -> None:
    assert json.dumps(face.number(-1e-12)) == "0.0"


def test_numbers_of_numpy_are_numbers() -> None:
    snapshot = frames.snapshot(frames.service(), packets=np.int64(3))
    assert json.loads(face.render(snapshot))["source"]["packets"] == 3


@pytest.mark.parametrize(
    ("best", "mode"),
    [(0.7999999999, "unknown"), (0.8, "offload"), (0.80000000001, "offload"), (0.79, "unknown"), (1.0, "offload")],
)
def test_rounding_never_crosses_the_threshold(best: float, mode: str) -> None:
    service = frames.service()
    verdict = Verdict({Mode.OFFLOAD: best, Mode.NONE: 1 - best})
    termination = json.loads(
        face.render(frames.snapshot(replace(service, termination=replace(service.termination, verdict=verdict))))
    )["services"][0]["termination"]
    assert termination["mode"] == mode
    assert (termination["confidence"] >= 0.8) == (mode != "unknown")
    assert termination["confidence"] == max(termination["candidates"].values())


def test_hostile_text_leaves_as_ascii() -> None:
    text = face.render(frames.hostile())
    assert text.isascii() and "\x1b" not in text
    json.loads(text)


def test_evidence_without_a_weight_is_a_proof_and_says_null() -> None:
    assert face._evidence([Evidence("s", "g", "d", "offload")])[0]["weight"] is None
