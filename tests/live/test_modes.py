"""Every termination mode with every mechanism: live, at a balancer that shows both of its legs, is what tcpdump's file says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.lab import scenario
from tests.live.beside import PROBES, essence
from tests.live.test_verdicts import beside, programs  # noqa: F401  a fixture

MATRIX = (
    # bridging: lb cookie, source address
    "haproxy-bridging",
    "nginx-bridging-keepalive",
    "alb-bridging",
    # passthrough: source address, none, with and without a PROXY header
    "nlb-tls-source-ip",
    "nlb-tls-five-tuple",
    "proxy-v2-passthrough",
    "tcp-passthrough",
    # offload: lb cookie, application's cookie, source address, none
    "haproxy-cookie",
    "alb-app-cookie",
    "nginx-ip-hash",
    "alb-no-stickiness",
    # TLS ended at layer 4
    "l4-tls-scripts",
    "stunnel",
    # plain all the way: source address, none, lb cookie
    "nlb-plain-source-ip",
    "nlb-plain-five-tuple",
    "alb-plain",
)
SAMPLE = ("nginx-bridging-keepalive",)
THOROUGH = bool(os.environ.get("LBTOP_THOROUGH"))


@pytest.mark.parametrize("name", MATRIX if THOROUGH else SAMPLE)
def test_live_beside_tcpdump_at_the_balancer(name: str, root: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = beside(name, "any", tmp_path, monkeypatch)
    expected = essence(verdicts["file"])
    outputs = scenario.load_all()[name].outputs
    truth = {mode for output in outputs for mode in (output.mode, output.really)}  # also where the targets' side cannot tell
    judged = {row["mode"] for row in expected["services"].values()}
    assert expected["connections"] > 10 and judged <= truth | {"unknown"}
    for probe in PROBES:
        assert essence(verdicts[probe]) == expected
    for row in expected["services"].values():
        print(f"{name}: {row['mode']} {row['mechanism']}, {expected['connections']} connections, {expected['decoded']} packets")
