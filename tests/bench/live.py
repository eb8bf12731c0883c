"""``make bench-live``: what listening costs the host, in paired alternating runs of the same load.

nginx answers small kept-alive responses to wrk over a veth pair; beside it runs nothing, lbtop, tcpdump writing to nowhere,
tshark, or a packet socket that takes nothing. Runs alternate and are short, because machines drift: what counts is the ratio
within a pair and its 95 % interval. ``--write`` puts the figures into docs/live.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.served import BULK_BYTES, Beside, Load, Served, live
from tests.lab.net_base import stop
from tests.live.beside import packet_sockets

DOC = Path(__file__).resolve().parents[2] / "docs" / "live.md"
BEGIN, END = "<!-- figures of make bench-live -->", "<!-- end of figures -->"
GOAL_LOSS = 0.05
STEADY_PAUSE_MS = 2.6
"""Between the requests of 32 connections: some 10,000 a second."""
T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13)
"""Student's t, 97.5 %, for 1 to 15 degrees of freedom."""
FEW_PAIRS = 6
"""Of watchers whose loss is plain to see after a few, or that take long to settle."""


@dataclass
class Watcher:
    """A program that listens on the server's interface."""

    name: str
    title: str
    command: tuple[str, ...]
    settles_s: float = 1.0  # under load, before it is measured
    most_pairs: int = 1000
    ratios: list[float] = field(default_factory=list)
    cpu_per_million: list[float] = field(default_factory=list)
    core_at_10k: float = math.nan
    bulk_ratios: list[float] = field(default_factory=list)
    cpu_per_gb: list[float] = field(default_factory=list)

    @property
    def keeps_up(self) -> bool:
        """Whether it reads what is sent, at any rate."""
        return self.name not in ("tshark", "nothing")

    @property
    def is_ours(self) -> bool:
        return self.name.startswith("lbtop")


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """Geometric mean of ratios and its 95 % interval (Student's t on the logarithms)."""
    logs = [math.log(ratio) for ratio in ratios]
    mean = statistics.fmean(logs)
    if len(logs) < 2:
        return math.exp(mean), 0.0, math.inf
    freedom = len(logs) - 1
    t = T[freedom - 1] if freedom <= len(T) else 1.96 + 2.5 / freedom
    half = t * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def watchers() -> list[Watcher]:
    found = [
        Watcher("lbtop", "lbtop, eBPF filter", live("ebpf")),
        Watcher("lbtop-packet", "lbtop, plain ring", live("packet")),
        # It looks at what it costs every two seconds, and goes down one step at a time.
        Watcher("lbtop-limited", "lbtop, eBPF filter, --max-cpu 5%", live("ebpf", "--max-cpu", "5%"), 8.0, FEW_PAIRS),
        # What the kernel does for any listener: a time stamp and a copy of every packet's description.
        Watcher("nothing", "a packet socket that takes nothing", (sys.executable, "-m", "tests.bench.nothing", "eth0")),
    ]
    if shutil.which("tcpdump"):
        command = ("tcpdump", "-Z", "root", "-n", "-i", "eth0", "-s", "0", "-w", "/dev/null")
        found.append(Watcher("tcpdump", "tcpdump -w /dev/null", command))
    if shutil.which("tshark"):
        command = ("tshark", "-n", "-l", "-i", "eth0", "-T", "fields", "-e", "ip.src", "-Y", "http.request")
        found.append(Watcher("tshark", "tshark, requests only", command, most_pairs=FEW_PAIRS))
    return found


def dropped(beside: Beside) -> int:
    """Packets that a lbtop which has ended says were dropped."""
    return int(json.loads(beside.output.read_text())["source"]["dropped_packets"] or 0)


def compare(served: Served, found: list[Watcher], pairs: int) -> tuple[int, float]:
    """Fills in ratios and processor time. Packets that lbtop dropped, and the lowest rate at which it ran."""
    lost, slowest = 0, math.inf
    served.load(2)
    for number in range(pairs):
        for watcher in found:
            if number >= watcher.most_pairs:
                continue
            # Without first and with first, in turns.
            alone = served.load() if number % 2 == 0 else None
            with served.beside(watcher.name, watcher.command) as beside:
                load, cpu = measured(served, beside, watcher.settles_s)
            if alone is None:
                alone = served.load()
            watcher.ratios.append(load.requests_per_s / alone.requests_per_s)
            watcher.cpu_per_million.append(cpu / load.packets * 1e6)
            if watcher.is_ours:
                lost += dropped(beside)
                slowest = min(slowest, load.packets_per_s)
            print(
                f"pair {number + 1} {watcher.name:<13}{alone.requests_per_s:>9,.0f} requests/s alone "
                f"{load.requests_per_s:>9,.0f} beside it ({load.packets_per_s:,.0f} packets/s)",
                flush=True,
            )
    for watcher in found:
        with served.beside(watcher.name, watcher.command) as beside:
            load, cpu = measured(served, beside, watcher.settles_s, STEADY_PAUSE_MS)
            watcher.core_at_10k = cpu / load.seconds * 10_000 / load.requests_per_s
        print(
            f"steady {watcher.name:<13}{load.requests_per_s:,.0f} requests/s, {cpu / load.seconds:.1%} of a processor", flush=True
        )
    return lost, slowest


def compare_bulk(served: Served, found: list[Watcher], pairs: int) -> None:
    """The same with responses of 16 MB, for those that keep up."""
    for number in range(pairs):
        for watcher in found:
            alone = served.load(bulk=True) if number % 2 == 0 else None
            with served.beside(watcher.name, watcher.command) as beside:
                load, cpu = measured(served, beside, watcher.settles_s, bulk=True)
            if alone is None:
                alone = served.load(bulk=True)
            watcher.bulk_ratios.append(load.requests_per_s / alone.requests_per_s)
            gb = load.requests_per_s * load.seconds * BULK_BYTES / 1e9
            watcher.cpu_per_gb.append(cpu / gb)
            print(
                f"bulk {number + 1} {watcher.name:<13}{alone.requests_per_s * BULK_BYTES / 1e9:>6.2f} GB/s alone "
                f"{load.requests_per_s * BULK_BYTES / 1e9:>6.2f} beside it, CPU {watcher.cpu_per_gb[-1]:.3f} s/GB",
                flush=True,
            )


def measured(served: Served, beside: Beside, settles_s: float, pause_ms: float = 0.0, bulk: bool = False) -> tuple[Load, float]:
    """A run, and the processor time the program beside it took; what is done once at the start is over by then."""
    served.load(settles_s, pause_ms=pause_ms, bulk=bulk)
    before = beside.cpu_s()
    load = served.load(pause_ms=pause_ms, bulk=bulk)
    time.sleep(0.3)
    return load, beside.cpu_s() - before


def cost(served: Served) -> tuple[float, float, int]:
    """Nanoseconds per packet of the filter and of an empty one beside it, by the kernel's own accounting; over how many."""
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
    thread = served.server.thread(attached)
    try:
        ready.wait(5)
        switch.write_text("1")
        with served.beside("cost", live("ebpf")) as beside:
            served.load()
            ours, theirs = per_run(beside.process.pid), per_run(os.getpid(), empty.fd)
        return ours[0], theirs[0], ours[1]
    finally:
        switch.write_text(before)
        done.set()
        thread.join()


def per_run(pid: int, descriptor: int | None = None) -> tuple[float, int]:
    """Mean run time in ns of the socket filter a process holds, and how often it ran."""
    entries = [Path(f"/proc/{pid}/fdinfo/{descriptor}")] if descriptor is not None else Path(f"/proc/{pid}/fdinfo").iterdir()
    for entry in entries:
        text = entry.read_text()
        spent, runs = (re.search(rf"^{name}:\s+(\d+)", text, re.M) for name in ("run_time_ns", "run_cnt"))
        if spent and runs and int(runs[1]):
            return int(spent[1]) / int(runs[1]), int(runs[1])
    raise RuntimeError("no program that has run")


def attach(served: Served, times: int = 10) -> dict[str, list[float]]:
    """Seconds from the start of the process until packets arrive, by probe; nothing else runs."""
    found: dict[str, list[float]] = {"ebpf": [], "packet": []}
    for _ in range(times):
        for probe, seconds in found.items():
            began, before = time.monotonic(), packet_sockets(served.server)
            process = subprocess.Popen(
                ("ip", "netns", "exec", served.server.name, *live(probe)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            rows = Path(f"/proc/{process.pid}/net/packet")  # of the namespace it enters
            while process.poll() is None:
                if sum(row.split()[5] == "1" for row in rows.read_text().splitlines()[1:]) > before and in_namespace(process.pid):
                    break
                time.sleep(0.002)
            seconds.append(time.monotonic() - began)
            stop(process, signal.SIGINT, 15)
    return found


def in_namespace(pid: int) -> bool:
    return os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")


def lines(
    found: list[Watcher], lost: int, slowest: float, filter_ns: list[tuple[float, float, int]], starts: dict[str, list[float]]
) -> list[str]:
    """The figures as they stand in docs/live.md."""
    pairs = len(found[0].ratios)
    load = os.getloadavg()[0]
    said = [
        f"{os.cpu_count()} processors, Linux {os.uname().release.split('-')[0]}, load {load:.1f} at the end, {pairs} pairs.",
        "",
        "| beside nginx under wrk | requests/s kept | 95 % interval | CPU s per million packets | of a core at 10k requests/s |",
        "|---|---|---|---|---|",
    ]
    for watcher in found:
        mean, low, high = interval(watcher.ratios)
        said.append(
            f"| {watcher.title} | {mean:.1%} | {low:.1%} to {min(high, 9.99):.1%} | "
            f"{statistics.median(watcher.cpu_per_million):.2f} | {watcher.core_at_10k:.1%} |"
        )
    if any(watcher.bulk_ratios for watcher in found):
        said += ["", "| beside responses of 16 MB | bytes/s kept | 95 % interval | CPU s per GB |", "|---|---|---|---|"]
    for watcher in found:
        if watcher.bulk_ratios:
            mean, low, high = interval(watcher.bulk_ratios)
            spent = statistics.median(watcher.cpu_per_gb)
            said.append(f"| {watcher.title} | {mean:.1%} | {low:.1%} to {min(high, 9.99):.1%} | {spent:.3f} |")
    loss = {watcher.name: 1 - interval(watcher.ratios)[1] for watcher in found}
    others = f", tcpdump's {loss['tcpdump']:.1%}" if "tcpdump" in loss else ""
    said += [
        "",
        f"Upper bound of the loss with the filter: {loss['lbtop']:.1%}{others} (goal: {GOAL_LOSS:.0%}, and not above tcpdump's).",
    ]
    said.append(f"Dropped by lbtop in all these runs, at {slowest:,.0f} packets/s and more: {lost:,} packets.")
    if filter_ns:
        above = [ours - theirs for ours, theirs, _ in filter_ns]
        ours, theirs = (statistics.median(row[at] for row in filter_ns) for at in (0, 1))
        said.append(
            f"By the kernel's accounting the filter takes {ours:.0f} ns per packet and an empty one beside it {theirs:.0f} ns: "
            f"{statistics.median(above):.0f} ns above it (median of {len(above)} runs, {min(above):.0f} to {max(above):.0f})."
        )
    if starts:
        told = " and ".join(f"{statistics.median(times):.2f} s ({probe})" for probe, times in starts.items())
        said.append(f"From the start of the process to the first packet: {told}, median of {len(starts['ebpf'])}.")
    return said


def write(said: list[str]) -> None:
    before, _, rest = DOC.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    DOC.write_text(f"{before}{BEGIN}\n" + "\n".join(said) + f"\n{END}{after}", "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.live", description=__doc__)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--seconds", type=int, default=2, help="length of a run")
    parser.add_argument("--cost", action="store_true", help="hardly more than the cost of the filter per packet, and the start")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/live.md")
    options = parser.parse_args()
    if os.geteuid() != 0 or not shutil.which("wrk") or not shutil.which("nginx"):
        print("NOT RUN: bench-live needs root, wrk and nginx", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="lbtop-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        served = Served(folder, options.seconds)
        with served.running():
            starts = attach(served)
            filter_ns = [cost(served) for _ in range(5)]
            found = watchers() if not options.cost else watchers()[:1]
            lost, slowest = compare(served, found, 2 if options.cost else options.pairs)
            if not options.cost:
                compare_bulk(served, [watcher for watcher in found if watcher.keeps_up], min(FEW_PAIRS, options.pairs))
    said = lines(found, lost, slowest, filter_ns, starts)
    print("\n" + "\n".join(said))
    if options.write and not options.cost:
        write(said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
