"""The live verdict is the verdict on a simultaneous tcpdump capture, whatever the probe, against real balancers."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.corpus import committed
from tests.lab.net_base import Namespace
from tests.live.beside import PROBES, Beside, essence
from tests.live.played import played

SCENARIOS = {
    "alb-offload": ("offload", "lb_cookie"),
    "alb-app-cookie": ("offload", "app_cookie"),
    "alb-bridging": (None, None),
    "nlb-tls-source-ip": ("passthrough", None),
    "l4-tls-browsers": ("l4_tls", None),
    "direct-plain": ("none", None),
    "ipv6": ("offload", None),
    "h2c-targets": (None, None),
}
"""By the lab's name: mode and mechanism, where one target of several always shows them."""


@pytest.fixture(autouse=True)
def programs() -> None:
    """What the lab runs; where one is missing these tests are reported as not run."""
    missing = [name for name in ("ip", "tcpdump", "haproxy", "nginx") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@pytest.mark.parametrize("name", SCENARIOS)
def test_live_is_what_the_capture_says(name: str, root: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = beside(name, "t0", tmp_path, monkeypatch)
    expected = essence(verdicts["file"])
    for probe in PROBES:
        assert verdicts[probe]["source"]["kind"] == probe
        assert essence(verdicts[probe]) == expected
    mode, mechanism = SCENARIOS[name]
    judged = [(row["mode"], row["mechanism"]) for row in expected["services"].values()]
    assert expected["connections"] > 0 and judged
    if mode is not None:
        assert mode in {row[0] for row in judged}
    if mechanism is not None:
        assert mechanism in {row[1] for row in judged}


def test_a_host_of_many_interfaces_counts_every_packet_once(root: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No interface named, on a balancer whose bridges and their ports show every packet several times."""
    name = "alb-offload"
    verdicts = beside(name, "any", tmp_path, monkeypatch)
    expected = essence(verdicts["file"])
    assert {row["mode"] for row in expected["services"].values()} == {"offload"}
    for probe in PROBES:
        assert essence(verdicts[probe]) == expected


def beside(name: str, watch: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """A scenario of the lab with both probes beside the recorder ``watch`` (``any``: of the balancer's host)."""
    vantage = "load_balancer_any" if watch == "any" else None
    seen = played(
        name, watch, lambda ns, interface, path, **_: Beside(ns, interface, path), folder, monkeypatch, vantage=vantage
    )
    return seen.verdicts


@pytest.mark.parametrize("name", ["defect-vlan-offload", "defect-vxlan-offload", "offload-ipv6-targets"])
def test_replayed_onto_a_wire(name: str, root: None, tmp_path: Path) -> None:
    """VLAN tags, which the kernel takes off, and tunnels: what tcpdump and the ring see arriving is the same."""
    if shutil.which("tcpreplay") is None:
        pytest.skip("tcpreplay is not installed")
    (capture,) = (found for found in committed() if found.name == name)
    plain = tmp_path / "sent.pcap"
    plain.write_bytes(gzip.decompress(capture.path.read_bytes()))
    here, there = (Namespace(f"lbtopwire{os.getpid()}{side}") for side in "ab")
    for ns in (here, there):
        subprocess.run(("ip", "netns", "add", ns.name), check=True)
    try:
        here.run("ip", "link", "add", "eth0", "mtu", "9000", "type", "veth", "peer", "name", "eth0", "netns", there.name)
        there.run("ip", "link", "set", "eth0", "mtu", "9000")
        for ns in (here, there):
            ns.run("ip", "link", "set", "eth0", "up")
        watched = Beside(here, "eth0", tmp_path / "arrived.pcap", expression="")
        try:
            there.run("tcpreplay", "-q", "-i", "eth0", "--pps", "3000", str(plain))
        finally:
            watched.finish()
    finally:
        for ns in (here, there):
            subprocess.run(("ip", "netns", "delete", ns.name), check=True)
    expected = essence(watched.verdicts["file"])
    assert expected["connections"] > 10
    for probe in PROBES:
        assert essence(watched.verdicts[probe]) == expected
