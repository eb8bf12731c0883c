"""``make bench``: lbtop and its peers over the same captures, in alternating runs; one ratio per capture and peer.

Whole processes, interpreter start included, files in the page cache. A ratio is the median of the ratios of runs that stood
next to each other: the machine's mood is in both. What a packet more costs comes from the same capture ten times as long
(tests/tools/longer.py). ``--write`` puts the tables into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "bench"
PAGE = ROOT / "docs" / "benchmarks.md"
LBTOP = "lbtop diagnose --json"

PEERS: dict[str, tuple[str, tuple[str, ...]]] = {
    # -Z root: run by root, it would make /dev/null the property of its own user.
    "tcpdump -w /dev/null": ("tcpdump", ("-Z", "root", "-r", "{file}", "-w", "/dev/null")),
    "ndpiReader": ("ndpiReader", ("-q", "-i", "{file}")),
    "tcptrace": ("tcptrace", ("{file}",)),
    "argus": ("argus", ("-r", "{file}", "-w", "/dev/null")),
    "capinfos": ("capinfos", ("{file}",)),
    "tshark (requests and hellos)": (
        "tshark",
        ("-r", "{file}", "-Y", "http.request or tls.handshake.type==1", "-T", "fields", "-e", "ip.src", "-e", "http.host",
         "-e", "tls.handshake.extensions_server_name"),
    ),
}  # fmt: skip
ONCE = frozenset({"tshark (requests and hellos)"})
"""Peers that take so long that one run says enough."""


HEAD = """\
# Benchmarks

Made by `make bench ARGS=--write`: whole processes, interpreter start included, files in the page cache, paired alternating
runs, medians. {host}.

A is kept-alive HTTP behind an offloading balancer, B short TLS connections to the targets (`python -m tests.lab --bench`
records such captures). lbtop does all of `diagnose` in this time: reassembly, every hello and request head, cookies and
secrets, inference, findings. tcpdump copies packets, ndpiReader and argus tell flows, tcptrace counts TCP, tshark prints one
line per request and hello.

Time is what a person waits. Processor time is what the host pays, of all threads together: lbtop reads, decodes and folds on
three threads where there is a second processor, and on one where there is not (`taskset -c 0`), with the same output to the
byte. A third of it on A is the kernel's copy of the file, which tcpdump pays as well.

"""
TIMES = 10
MARGINAL = "tcpdump -w /dev/null"
"""What a packet more is compared with."""


@dataclass(frozen=True, slots=True)
class Run:
    seconds: float
    processor_s: float  # of all threads together
    megabytes: float


PAUSE_S = 0.0
"""Between runs. With real-time priority (chrt), the kernel takes 50 ms of every second that a processor is busy throughout."""


def run(command: list[str]) -> Run:
    """Times and peak memory of one whole process."""
    time.sleep(PAUSE_S)
    # An installed lbtop has its modules compiled; where Python may not keep them, it would compile them in every run.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return Run(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)


def lbtop(capture: Path) -> list[str]:
    return [sys.executable, "-m", "lbtop", "diagnose", "--json", str(capture)]


def peer(name: str, capture: Path) -> list[str] | None:
    """None where it is not installed."""
    program, arguments = PEERS[name]
    return [program, *(argument.format(file=capture) for argument in arguments)] if shutil.which(program) else None


def captures(folder: Path, names: list[str]) -> list[Path]:
    """The benchmark captures, recorded with the lab where they are not there yet (root and HAProxy needed)."""
    if names:
        return [Path(name) for name in names]
    if not list(folder.glob("*.pcap")):
        print(f"recording the captures into {folder} (some minutes)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "tests.lab", "--bench", str(folder)], cwd=ROOT, check=True)
    return sorted(folder.glob("*.pcap"))


def compare(capture: Path, rounds: int) -> list[str]:
    """Rows of the table for one capture."""
    ours = lbtop(capture)
    mine = [run(ours)]  # reads the file into the page cache, and does not count where there are others
    rows: list[str] = []
    size = f"{capture.name} ({capture.stat().st_size / 1e9:.2f} GB)"
    for name in PEERS:
        command = peer(name, capture)
        if command is None:
            rows.append(f"| {size} | {name} | not installed | | | |")
            continue
        pairs = [(run(ours), run(command)) for _ in range(1 if name in ONCE else rounds)]
        mine += [own for own, _ in pairs]
        ratio = statistics.median(own.seconds / other.seconds for own, other in pairs)
        said = f"{1 / ratio:.1f} times as fast" if ratio < 1 else f"{ratio:.2f} times the time"
        rows.append(f"| {size} | {name} | {figures([other for _, other in pairs])} | lbtop: {said} |")
    return [f"| {size} | **{LBTOP}** | {figures(mine[1:] or mine)} | |", *rows]


def figures(runs: list[Run]) -> str:
    seconds, processor_s = (statistics.median(getattr(one, name) for one in runs) for name in ("seconds", "processor_s"))
    return f"{seconds:.2f} s | {processor_s:.2f} s | {max(one.megabytes for one in runs):.0f} MB"


def margin(capture: Path, rounds: int) -> list[str]:
    """Rows of the second table: the same capture ten times as long, and what a packet more costs there."""
    theirs = peer(MARGINAL, capture)
    if theirs is None:
        return [f"| {capture.name} | {MARGINAL} | not installed | | | |"]
    packets = int(json.loads(subprocess.run(lbtop(capture), capture_output=True, check=False).stdout)["source"]["packets"])
    long = capture.with_name(f"{capture.stem} x {TIMES}{capture.suffix}")
    try:
        # In a process of its own: what this one has in memory would count as the memory of those it starts.
        subprocess.run([sys.executable, "-m", "tests.tools.longer", str(capture), str(TIMES), str(long)], cwd=ROOT, check=True)
        several: dict[str, list[Run]] = {LBTOP: [], MARGINAL: []}
        packet_ns: dict[str, list[float]] = {LBTOP: [], MARGINAL: []}
        run(lbtop(long))
        for _ in range(rounds):
            for name, short_one, long_one in (
                (LBTOP, lbtop(capture), lbtop(long)),
                (MARGINAL, theirs, peer(MARGINAL, long) or []),
            ):
                short, several_times = run(short_one), run(long_one)
                several[name].append(several_times)
                packet_ns[name].append((several_times.seconds - short.seconds) / (TIMES - 1) / packets * 1e9)
    finally:
        long.unlink(missing_ok=True)
    ratio = statistics.median(own / other for own, other in zip(packet_ns[LBTOP], packet_ns[MARGINAL], strict=True))
    return [
        f"| {long.stem} | {name} | {figures(several[name])} | {statistics.median(packet_ns[name]):.0f} ns | {said} |"
        for name, said in ((LBTOP, f"{ratio:.2f} of tcpdump's"), (MARGINAL, ""))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("captures", nargs="*", help="other captures than the two of the lab")
    parser.add_argument("--rounds", type=int, default=7, help="paired runs per peer (default 7)")
    parser.add_argument("--pause", type=float, default=0.0, metavar="S", help="seconds between runs; 1 under chrt (default 0)")
    parser.add_argument("--no-margin", action="store_true", help="leave out the captures of ten times the length")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    global PAUSE_S
    PAUSE_S = options.pause
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    lines: list[str] = []

    def say(*more: str) -> None:
        lines.extend(more)
        print(*more, sep="\n", flush=True)

    found = captures(FOLDER, options.captures)
    say("| capture | program | time | processor time | memory | ratio |", "|---|---|---|---|---|---|")
    for capture in found:
        say(*compare(capture, options.rounds))
    if not options.no_margin:
        say("", "Ten times as long:", "")
        say("| capture | program | time | processor time | memory | a packet more | ratio |", "|---|---|---|---|---|---|---|")
        for capture in found:
            say(*margin(capture, min(options.rounds, 3)))
    if options.write:
        host = (
            f"{os.cpu_count()} cores, {platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}"
        )
        _, heading, others = PAGE.read_text("utf-8").partition("\n## ")  # sections that are measured otherwise stay
        PAGE.write_text(HEAD.format(host=host) + "\n".join(lines) + "\n" + heading + others, "utf-8")


if __name__ == "__main__":
    main()
