"""``make bench-live``: what listening costs the host, in paired alternating runs of the same load.

nginx answers small kept-alive responses to wrk over a veth pair; beside it runs nothing, lbtop, tcpdump writing to nowhere, or
tshark. Runs alternate, because machines drift: what counts is the ratio within a pair and its 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.net_base import Namespace, stop
from tests.lab.webserver import nginx_target
from tests.live.beside import LBTOP, packet_sockets

ADDRESS, CALLER, PORT = "10.77.0.1", "10.77.0.2", 8080
TICK = os.sysconf("SC_CLK_TCK")
CONNECTIONS = 32


@dataclass
class Watcher:
    """A program that listens on the server's interface."""

    name: str
    command: tuple[str, ...]
    ratios: list[float] = field(default_factory=list)
    cpu_per_million: list[float] = field(default_factory=list)
    core_at_10k: list[float] = field(default_factory=list)
    attach_s: list[float] = field(default_factory=list)
    dropped: int = 0


@dataclass(frozen=True)
class Load:
    requests_per_s: float
    packets: int
    seconds: float


class Bench:
    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self.seconds = folder, seconds
        mark = f"lbtopbench{os.getpid()}"
        self.server, self.client = Namespace(f"{mark}s"), Namespace(f"{mark}c")

    @contextmanager
    def running(self) -> Iterator[None]:
        for ns in (self.server, self.client):
            subprocess.run(("ip", "netns", "add", ns.name), check=True)
        nginx: subprocess.Popen[bytes] | None = None
        try:
            self.server.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", self.client.name)
            for ns, address in ((self.server, ADDRESS), (self.client, CALLER)):
                ns.run("ip", "link", "set", "lo", "up")
                ns.run("ip", "link", "set", "eth0", "up")
                ns.run("ip", "addr", "add", f"{address}/24", "dev", "eth0")
            nginx = nginx_target(self.server, ADDRESS, PORT, self.folder / "nginx", body=600)
            yield
        finally:
            if nginx is not None:
                stop(nginx)
            for ns in (self.server, self.client):
                subprocess.run(("ip", "netns", "delete", ns.name), check=True)

    def load(self, seconds: float | None = None) -> Load:
        seconds = seconds or self.seconds
        before, began = self._packets(), time.monotonic()
        said = self.client.run(
            *("wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds:g}s", f"http://{ADDRESS}:{PORT}/page")
        )
        found = re.search(r"Requests/sec:\s+([\d.]+)", said)
        if found is None:
            raise RuntimeError(said)
        return Load(float(found[1]), self._packets() - before, time.monotonic() - began)

    def _packets(self) -> int:
        """Packets in both directions, as packet sockets count them: after merging, before splitting."""
        row = next(line for line in self.server.run("cat", "/proc/net/dev").splitlines() if "eth0:" in line)
        columns = row.partition(":")[2].split()
        return int(columns[1]) + int(columns[9])

    def watched(self, watcher: Watcher) -> tuple[Load, dict[str, object] | None]:
        log, out = self.folder / f"{watcher.name}.log", self.folder / f"{watcher.name}.out"
        before = packet_sockets(self.server)
        began = time.monotonic()
        with open(log, "wb") as err, open(out, "wb") as stdout:
            process = subprocess.Popen(
                ("ip", "netns", "exec", self.server.name, *watcher.command), stdout=stdout, stderr=err, stdin=subprocess.DEVNULL
            )
        try:
            while packet_sockets(self.server) == before:
                if process.poll() is not None or time.monotonic() - began > 20:
                    raise RuntimeError(f"{watcher.name}: {log.read_text(errors='replace')}")
                time.sleep(0.01)
            watcher.attach_s.append(time.monotonic() - began)
            time.sleep(0.5)
            cpu = cpu_seconds(process.pid)
            load = self.load()
            time.sleep(0.3)
            cpu = cpu_seconds(process.pid) - cpu
            watcher.cpu_per_million.append(cpu / max(1, load.packets) * 1e6)
            watcher.core_at_10k.append(cpu / (load.requests_per_s * load.seconds) * 10_000)
        finally:
            stop(process, signal.SIGINT, 15)
        verdict = json.loads(out.read_text()) if watcher.name.startswith("lbtop") else None
        return load, verdict


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of the children it waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(fields[i]) for i in (11, 12, 13, 14)) / TICK


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """Geometric mean of ratios and its 95 % interval (Student's t on the logarithms)."""
    logs = [math.log(ratio) for ratio in ratios]
    mean = statistics.fmean(logs)
    if len(logs) < 2:
        return math.exp(mean), 0.0, math.inf
    t = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}.get(len(logs) - 1, 2.1)
    half = t * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def watchers() -> list[Watcher]:
    live = (str(LBTOP), "diagnose", "--json", "--for", "300s", "-i", "eth0", "--probe")
    found = [Watcher("lbtop", (*live, "ebpf")), Watcher("lbtop-packet", (*live, "packet"))]
    if shutil.which("tcpdump"):
        found.append(Watcher("tcpdump", ("tcpdump", "-Z", "root", "-n", "-i", "eth0", "-s", "0", "-w", "/dev/null")))
    if shutil.which("tshark"):
        found.append(
            Watcher("tshark", ("tshark", "-n", "-l", "-i", "eth0", "-T", "fields", "-e", "ip.src", "-Y", "http.request"))
        )
    return found


def compare(bench: Bench, pairs: int) -> None:
    found = watchers()
    bench.load(1.0)
    for number in range(pairs):
        for watcher in found:
            # Without first and with first, in turns.
            alone = bench.load() if number % 2 == 0 else None
            load, verdict = bench.watched(watcher)
            if alone is None:
                alone = bench.load()
            watcher.ratios.append(load.requests_per_s / alone.requests_per_s)
            print(
                f"pair {number + 1} {watcher.name:<13}{alone.requests_per_s:>9,.0f} requests/s alone "
                f"{load.requests_per_s:>9,.0f} beside it ({load.packets / load.seconds:,.0f} packets/s)",
                flush=True,
            )
            if verdict is not None:
                watcher.dropped += verdict["source"]["dropped_packets"] or 0  # type: ignore[index]
    print()
    print(
        f"{'':<14}{'requests/s kept':>16}{'95 % interval':>20}{'s CPU / 1M packets':>20}{'core at 10k req/s':>19}{'attached':>10}"
    )
    for watcher in found:
        mean, low, high = interval(watcher.ratios)
        print(
            f"{watcher.name:<14}{mean:>16.1%}{f'{low:.1%} to {min(high, 9.99):.1%}':>20}"
            f"{statistics.median(watcher.cpu_per_million):>20.2f}{statistics.median(watcher.core_at_10k):>19.1%}"
            f"{statistics.median(watcher.attach_s):>8.2f} s{watcher.dropped if watcher.name.startswith('lbtop') else '':>9}"
        )


def cost(bench: Bench) -> None:
    """Nanoseconds per packet of the filter and of an empty one beside it, by the kernel's own accounting."""
    from lbtop.probes.ebpf.toolchain import load_bcc
    from lbtop.probes.live.ring import Ring

    bcc = load_bcc()
    program = bcc.BPF(text=b"int empty(struct __sk_buff *skb) { return 0; }")
    empty = program.load_func(b"empty", bcc.BPF.SOCKET_FILTER)
    ready, done = threading.Event(), threading.Event()

    def attached() -> None:
        ring = Ring("eth0", filter_fd=empty.fd, blocks=2)
        ready.set()
        done.wait()
        ring.close()

    switch = Path("/proc/sys/kernel/bpf_stats_enabled")
    before = switch.read_text()
    watcher = watchers()[0]
    process = subprocess.Popen(
        ("ip", "netns", "exec", bench.server.name, *watcher.command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        switch.write_text("1")
        bench.server.thread(attached)
        ready.wait(5)
        while packet_sockets(bench.server) < 2:
            time.sleep(0.02)
        bench.load(4.0)
        ours, theirs = per_run(process.pid), per_run(os.getpid(), empty.fd)
        print(
            f"filter {ours[0]:.0f} ns per packet over {ours[1]:,} packets, empty filter {theirs[0]:.0f} ns: "
            f"{ours[0] - theirs[0]:.0f} ns above it"
        )
    finally:
        switch.write_text(before)
        done.set()
        stop(process, signal.SIGINT, 15)


def per_run(pid: int, descriptor: int | None = None) -> tuple[float, int]:
    """Mean run time in ns of the socket filter a process holds, and how often it ran."""
    entries = [Path(f"/proc/{pid}/fdinfo/{descriptor}")] if descriptor is not None else Path(f"/proc/{pid}/fdinfo").iterdir()
    for entry in entries:
        text = entry.read_text()
        spent, runs = (re.search(rf"^{name}:\s+(\d+)", text, re.M) for name in ("run_time_ns", "run_cnt"))
        if spent and runs and int(runs[1]):
            return int(spent[1]) / int(runs[1]), int(runs[1])
    raise RuntimeError("no program that has run")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.live", description=__doc__)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a run")
    parser.add_argument("--cost", action="store_true", help="only the cost of the filter per packet")
    options = parser.parse_args()
    if os.geteuid() != 0 or not shutil.which("wrk") or not shutil.which("nginx") or not hasattr(socket, "AF_PACKET"):
        print("NOT RUN: bench-live needs root, wrk and nginx", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="lbtop-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        bench = Bench(folder, options.seconds)
        with bench.running():
            cost(bench)
            if not options.cost:
                compare(bench, options.pairs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
