"""Attached within a second, and nothing of it left however it ends: programs, maps, sockets, promiscuous mode."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lbtop.probes.ebpf.program import MAPS

from tests.lab.net_base import Namespace, stop
from tests.live import kernel
from tests.live.beside import Listening, packet_sockets


@pytest.fixture
def namespace(root: None) -> Iterator[Namespace]:
    import subprocess

    ns = Namespace(f"lbtoplive{os.getpid()}")
    subprocess.run(("ip", "netns", "add", ns.name), check=True)
    try:
        ns.run("ip", "link", "set", "lo", "up")
        yield ns
    finally:
        subprocess.run(("ip", "netns", "delete", ns.name), check=True)


def held(pid: int) -> tuple[set[int], set[int]]:
    """Identifiers of the bpf programs and maps that a process holds."""
    programs: set[int] = set()
    maps: set[int] = set()
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            text = entry.read_text()
        except FileNotFoundError:  # closed since they were listed: the process reads files under /proc as well
            continue
        programs.update(int(number) for number in re.findall(r"^prog_id:\s+(\d+)", text, re.M))
        maps.update(int(number) for number in re.findall(r"^map_id:\s+(\d+)", text, re.M))
    return programs, maps


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
@pytest.mark.parametrize("probe", ["ebpf", "packet"])
def test_nothing_is_left(namespace: Namespace, probe: str, end: signal.Signals, tmp_path: Path) -> None:
    listening = Listening(namespace, ("lo",), probe, tmp_path / "lbtop.log")
    programs, maps = held(listening.process.pid)
    if probe == "ebpf":
        assert programs and len(maps) >= len(MAPS)  # and the tracepoints' where the kernel has them
        assert programs <= kernel.loaded_programs() and maps <= kernel.loaded_maps()
    else:
        assert not programs and not maps
    assert "promiscuity 0" in namespace.run("ip", "-d", "link", "show", "lo")
    stop(listening.process, end)
    assert packet_sockets(namespace) == 0
    deadline = time.monotonic() + 5  # the kernel frees maps after a grace period
    while (programs & kernel.loaded_programs() or maps & kernel.loaded_maps()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not programs & kernel.loaded_programs() and not maps & kernel.loaded_maps()
    assert "promiscuity 0" in namespace.run("ip", "-d", "link", "show", "lo")


def test_attached_within_a_second(namespace: Namespace, tmp_path: Path) -> None:
    """Printed, and bounded loosely: what else this machine does is not our doing."""
    listening = Listening(namespace, ("lo",), "ebpf", tmp_path / "lbtop.log")
    stop(listening.process)
    print(f"attached after {listening.attached_s:.2f} s, the whole start of the process included")
    assert listening.attached_s < 15
