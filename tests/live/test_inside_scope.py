"""Inside TLS only what was chosen is read, also of what starts later, and nothing of it is left."""

from __future__ import annotations

import platform
import re
import signal
import time
from pathlib import Path

import pytest
from lbtop.probes.ebpf import elf, libraries
from lbtop.probes.ebpf.places import cheapest

from tests.lab.net_base import stop
from tests.live import kernel
from tests.live.inside import Servers, attached, requests, servers  # noqa: F401  a fixture
from tests.live.test_leftovers import held


def test_only_the_chosen_port_is_read(servers: Servers, tmp_path: Path) -> None:  # noqa: F811
    listening = servers.listen("port:9443", tmp_path / "lbtop.log")
    attached(listening)
    for number in range(3):
        servers.curl(f"https://127.0.0.1:9443/through{number}")
        servers.curl(f"https://127.0.0.1:8443/direct{number}")
    verdict = servers.verdict(listening)
    assert requests(verdict, 9443) == 3 and requests(verdict, 8443) == 0
    assert verdict["source"]["inside_tls"]["connections"] == 3


def test_workers_started_later_are_read_as_well(servers: Servers, tmp_path: Path) -> None:  # noqa: F811
    listening = servers.listen(f"pid:{(servers.folder / 'nginx.pid').read_text().strip()}", tmp_path / "lbtop.log")
    attached(listening)
    servers.ns.run("nginx", "-p", str(servers.folder), "-c", str(servers.folder / "nginx.conf"), "-s", "reload")
    time.sleep(1.0)
    for number in range(5):
        servers.curl(f"https://127.0.0.1:8443/{number}")
    verdict = servers.verdict(listening)
    assert requests(verdict, 8443) == 5


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL], ids=lambda s: s.name)
def test_nothing_is_left(servers: Servers, tmp_path: Path, end: signal.Signals) -> None:  # noqa: F811
    listening = servers.listen("port:8443", tmp_path / "lbtop.log")
    attached(listening)
    programs, maps = held(listening.process.pid)
    assert len(programs) >= 10 and programs <= kernel.loaded_programs()
    stop(listening.process, end)
    deadline = time.monotonic() + 5
    while (programs & kernel.loaded_programs() or maps & kernel.loaded_maps()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not programs & kernel.loaded_programs() and not maps & kernel.loaded_maps()
    for place in (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing")):
        if (place / "uprobe_events").exists():
            assert (place / "uprobe_events").read_text() == ""
    # The library's own code is as it was: no breakpoint is left at the probed functions.
    text = Path(f"/proc/{servers.running[0].pid}/maps").read_text()
    library = re.search(r"(\S+libssl\S+)$", text, re.M)
    assert library
    assert servers.curl("https://127.0.0.1:8443/after") == "hello\n"
    assert breakpoints(servers.running[0].pid, Path(library[1])) == 0


def breakpoints(pid: int, library: Path) -> int:
    """Of the probed functions of a process's libssl, those that begin with a breakpoint (int3)."""
    found = 0
    exported = elf.function_offsets(library, libraries.FUNCTIONS)
    offsets = {*exported.values(), *cheapest(library, exported, platform.machine()).values()}
    with open(f"/proc/{pid}/mem", "rb") as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            if not line.endswith(library.name):
                continue
            begin, end = (int(word, 16) for word in line.split()[0].split("-"))
            at = int(line.split()[2], 16)
            for offset in offsets:
                if at <= offset < at + end - begin:
                    memory.seek(begin + offset - at)
                    found += memory.read(1) == b"\xcc"
    return found
