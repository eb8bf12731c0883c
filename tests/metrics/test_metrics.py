"""Metrics are valid OpenMetrics, follow the naming conventions, have bounded labels and say what the diagnosis says."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from lbtop.cli import serve
from lbtop.cli.command import load, parser
from lbtop.cli.serve import listen_address
from lbtop.engine import diagnose
from lbtop.faces.metrics import SnapshotCollector
from lbtop.model.errors import LbtopError
from lbtop.model.observation import Rows, SourceStats, empty
from lbtop.model.snapshot import Snapshot
from tests import attacks
from tests.cli import frames
from tests.corpus import CAPTURES
from tests.readers import open_decoded

CAPTURE = CAPTURES / "offload-lb-cookie-targets.pcap.gz"


def exposed(snapshot: Snapshot) -> dict[str, list[tuple[dict[str, str], float]]]:
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(lambda: snapshot))
    text = generate_latest(registry).decode()
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_the_counts_are_the_diagnosis() -> None:
    snapshot = diagnose(open_decoded(CAPTURE))
    found = exposed(snapshot)
    service = snapshot.services[0]
    requests = {labels["target"]: value for labels, value in found["lbtop_target_requests_total"]}
    assert requests == {target.target: target.requests for target in service.targets}
    decided = {labels["mode"]: value for labels, value in found["lbtop_termination"]}
    assert decided[service.termination.verdict.token] == 1 and sum(decided.values()) == 1
    assert {labels["id"] for labels, _ in found["lbtop_findings"] if labels["id"]} == {f.id for f in snapshot.findings}


@pytest.mark.parametrize("name", ["busy", "unknown", "hostile", "empty"])
def test_made_up_frames_parse(name: str) -> None:
    assert exposed(getattr(frames, name)())["lbtop_packets_total"]


def test_names_follow_the_conventions() -> None:
    for name in exposed(frames.busy()):
        assert re.fullmatch(r"lbtop_[a-z_]+", name)
        assert not re.search(r"_(ms|kb|percent|count)(_|$)", name), "base units, and counters end in _total"


@pytest.mark.parametrize("text", ["9469", "localhost:x", ":", "1.2.3.4:70000"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(LbtopError):
        listen_address(text)


@pytest.fixture
def server() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "lbtop", "serve", "--metrics", "127.0.0.1:0", str(CAPTURE)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    found = None
    for line in process.stderr:
        if found := re.search(r"http://\S+", line):
            break
    assert found
    yield found[0], process
    process.kill()
    process.wait(5)


def test_scraped_and_ended_in_order(server: tuple[str, subprocess.Popen[str]]) -> None:
    url, process = server
    deadline = time.monotonic() + 10
    text = ""
    while "lbtop_target_requests" not in text and time.monotonic() < deadline:
        text = urllib.request.urlopen(url, timeout=5).read().decode()
    assert "lbtop_target_requests" in text
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_a_capture_of_several_batches_is_scraped_while_it_is_read(tmp_path: Path) -> None:
    """Between two of them it is asked which connections are open; whoever decodes ahead could not say."""
    path = tmp_path / "x.pcap"
    traffic = attacks.Attack()
    for number in range(14_000):  # three rows each, and one more when all is read
        ends = attacks.address(10 + number % 200), 1024 + number, attacks.address(2), 8080
        traffic.connect(*ends)
        traffic.say(*ends, b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        traffic.say(*ends[2:], *ends[:2], b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        traffic.close(*ends)
    path.write_bytes(traffic.taken())
    command = [sys.executable, "-m", "lbtop", "serve", "--metrics", "127.0.0.1:0", str(path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        found = re.search(r"http://\S+", process.stderr.readline())
        assert found
        deadline, packets = time.monotonic() + 60, 0.0
        while packets < 98_000 and process.poll() is None and time.monotonic() < deadline:
            text = urllib.request.urlopen(found[0], timeout=30).read().decode()
            packets = float((re.search(r"^lbtop_packets_total\S* (\S+)", text, re.M) or ("", "0"))[1])
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0 and packets >= 98_000, process.stderr.read()
    finally:
        process.kill()
        process.wait(5)


class Silent:
    """A live source on which nothing ever arrives."""

    def poll(self, timeout_s: float = 0.0) -> None:
        time.sleep(min(timeout_s, 0.05))

    def live(self) -> Rows:
        return empty("connections")

    def stats(self) -> SourceStats:
        return SourceStats(kind="packet", dropped_packets=0)

    def close(self) -> None:
        """Nothing was opened."""


def test_live_there_are_metrics_before_anything_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    stop = threading.Event()
    monkeypatch.setattr(serve, "open_source", lambda options: Silent())
    monkeypatch.setattr(serve, "Stop", lambda: stop)
    monkeypatch.setattr(serve, "warn", told.append)
    monkeypatch.setattr(serve, "EVERY_NS", 50_000_000)
    options = parser("serve", load("serve")).parse_args(["--metrics", "127.0.0.1:0"])
    thread = threading.Thread(target=serve.run, args=(options,))
    thread.start()
    try:
        text, deadline = "", time.monotonic() + 10
        while "lbtop_packets_total" not in text and time.monotonic() < deadline:
            time.sleep(0.05)
            if told:
                text = urllib.request.urlopen(told[0].split()[-1], timeout=5).read().decode()
        assert "lbtop_packets_total 0.0" in text and 'lbtop_source_info{kind="packet"' in text
    finally:
        stop.set()
        thread.join(10)
