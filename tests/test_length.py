"""A capture ten times as long has ten times of everything, says the same, and takes no more memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.corpus import committed
from tests.diagnosing import diagnosis_of
from tests.tools import writing
from tests.tools.longer import lengthen

TIMES = 10
CAPTURES = {
    capture.name: capture.path
    for capture in committed()
    if capture.name in ("bridging-balancer", "offload-flapping-targets", "passthrough-nlb-five-tuple-targets")
}
COUNTS = ("connections", "requests", "handshakes", "refused", "resets", "bytes")


def counts(found: dict[str, Any]) -> dict[str, int]:
    """Everything that grows with the length of a capture, by name."""
    source = found["source"]
    told = {name: source[name] for name in ("packets", "bytes", "connections", "connections_seen_from_start")}
    for service in found["services"]:
        for target in service["targets"]:
            for name in COUNTS:
                if target.get(name) is not None:
                    told[f"{service['service']} {target['target']} {name}"] = target[name]
    return told


@pytest.mark.parametrize("name", CAPTURES)
def test_ten_times_the_capture_is_ten_times_the_counts(name: str, tmp_path: Path) -> None:
    once, often = tmp_path / "once.pcap", tmp_path / "often.pcap"
    once.write_bytes(writing.pcap(writing.read(CAPTURES[name])))
    lengthen(once, TIMES, often)
    short, long = diagnosis_of(once), diagnosis_of(often)
    assert short["source"]["connections"] == short["source"]["connections_seen_from_start"]
    assert len(counts(short)) > 6
    assert counts(long) == {what: TIMES * count for what, count in counts(short).items()}
    assert not long["source"]["caps_reached"]
    for one, many in zip(short["services"], long["services"], strict=True):
        assert many["termination"]["mode"] == one["termination"]["mode"]


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    once = tmp_path / "once.pcap"
    once.write_bytes(writing.pcap(writing.read(CAPTURES["offload-flapping-targets"])))
    peaks = []
    for times in (20, 200):
        path = tmp_path / f"{times}.pcap"
        lengthen(once, times, path)
        process = subprocess.Popen([sys.executable, "-m", "lbtop", "diagnose", "--json", str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert b'"packets"' in process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode in (0, 1)
        peaks.append(usage.ru_maxrss)
        path.unlink()
    assert peaks[1] < 1.2 * peaks[0], peaks
