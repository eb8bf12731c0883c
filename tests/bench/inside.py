"""What reading inside TLS costs the server it is done to: ``python -m tests.bench.inside`` (root, nginx, wrk).

nginx's own processor time per request, with and without the probes, in alternating runs: it stands other load on the machine,
which requests per second do not. Beside it each program's time by the kernel's accounting.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from tests.lab.net_base import Namespace, stop
from tests.live.beside import Listening
from tests.live.inside import Servers, attached

_STATS = Path("/proc/sys/kernel/bpf_stats_enabled")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=3)
    options = parser.parse_args()
    ns = Namespace(f"lbtoptlsbench{os.getpid()}")
    subprocess.run(("ip", "netns", "add", ns.name), check=True)
    before = _STATS.read_text()
    servers = None
    try:
        ns.run("ip", "link", "set", "lo", "up")
        with tempfile.TemporaryDirectory() as name:
            Path(name).chmod(0o755)
            servers = Servers(ns, Path(name))
            _measure(servers, options.pairs, options.seconds)
    finally:
        _STATS.write_text(before)
        for process in servers.running if servers else ():
            stop(process)
        subprocess.run(("ip", "netns", "delete", ns.name), check=True)


def _measure(servers: Servers, pairs: int, seconds: int) -> None:
    without, with_probes = [], []
    for number in range(pairs):
        without.append(_per_request(servers, seconds))
        listening = servers.listen("port:8443", servers.folder / f"lbtop{number}.log")
        attached(listening)
        with_probes.append(_per_request(servers, seconds))
        if number == pairs - 1:
            _programs(servers, listening, seconds)
        stop(listening.process)
    more = [b - a for a, b in zip(without, with_probes, strict=True)]
    for what, values in (("without", without), ("with", with_probes), ("more", more)):
        print(f"nginx, us of processor per request, {what:8} median {statistics.median(values):6.1f}   " + _row(values))


def _row(values: list[float]) -> str:
    return " ".join(f"{value:6.1f}" for value in values)


def _programs(servers: Servers, listening: Listening, seconds: int) -> None:
    """Nanoseconds per run of every program that runs while requests come; the accounting itself is in it."""
    _STATS.write_text("1")
    _per_request(servers, seconds)
    for entry in sorted(Path(f"/proc/{listening.process.pid}/fdinfo").iterdir(), key=lambda path: int(path.name)):
        text = entry.read_text()
        found = dict(re.findall(r"^(prog_type|prog_tag|run_time_ns|run_cnt):\s+(\S+)", text, re.M))
        if int(found.get("run_cnt", 0)) > 100:
            kind = {"1": "filter", "2": "uprobe", "5": "tracepoint"}.get(found["prog_type"], found["prog_type"])
            each = int(found["run_time_ns"]) / int(found["run_cnt"])
            print(f"{kind:10} {found['prog_tag']}: {int(found['run_cnt']):9,} runs of {each:5.0f} ns")
    _STATS.write_text("0")


def _per_request(servers: Servers, seconds: int) -> float:
    began = _spent(servers)
    said = servers.ns.run("wrk", "-t1", "-c8", f"-d{seconds}s", "https://127.0.0.1:8443/bench")
    found = re.search(r"(\d+) requests in", said)
    assert found, said
    time.sleep(0.1)
    return (_spent(servers) - began) * 1e6 / int(found[1])


def _spent(servers: Servers) -> float:
    """Processor seconds of nginx's workers."""
    master = servers.running[0].pid
    total = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if master in (parent, int(entry.name)):
                    total += int((entry / "schedstat").read_text().split()[0])  # nanoseconds on a processor
            except OSError:
                continue
    return total / 1e9


if __name__ == "__main__":
    main()
