"""``make bench``: lbtop and its peers over the same captures, in alternating runs; one ratio per capture and peer.

Whole processes, interpreter start included, files in the page cache. A ratio is the median of the ratios of runs that stood
next to each other: the machine's mood is in both. ``--write`` puts the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
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
    "tcpdump -w /dev/null": ("tcpdump", ("-r", "{file}", "-w", "/dev/null")),
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


@dataclass(frozen=True, slots=True)
class Run:
    seconds: float
    megabytes: float


def run(command: list[str]) -> Run:
    """Wall time and peak memory of one whole process."""
    # An installed lbtop has its modules compiled; where Python may not keep them, it would compile them in every run.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return Run(time.perf_counter() - started, usage.ru_maxrss / 1000)


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
    ours = [sys.executable, "-m", "lbtop", "diagnose", "--json", str(capture)]
    run(ours)  # reads the file into the page cache
    mine: list[Run] = []
    rows: list[str] = []
    size = f"{capture.name} ({capture.stat().st_size / 1e9:.2f} GB)"
    for peer, (program, arguments) in PEERS.items():
        if shutil.which(program) is None:
            rows.append(f"| {size} | {peer} | not installed | | |")
            continue
        command = [program, *(argument.format(file=capture) for argument in arguments)]
        pairs = [(run(ours), run(command)) for _ in range(1 if peer in ONCE else rounds)]
        mine += [own for own, _ in pairs]
        theirs = statistics.median(other.seconds for _, other in pairs)
        memory = max(other.megabytes for _, other in pairs)
        ratio = statistics.median(own.seconds / other.seconds for own, other in pairs)
        said = f"{1 / ratio:.1f} times as fast" if ratio < 1 else f"{ratio:.2f} times the time"
        rows.append(f"| {size} | {peer} | {theirs:.2f} s | {memory:.0f} MB | lbtop: {said} |")
    seconds = statistics.median(own.seconds for own in mine) if mine else run(ours).seconds
    memory = max((own.megabytes for own in mine), default=run(ours).megabytes)
    return [f"| {size} | **{LBTOP}** | {seconds:.2f} s | {memory:.0f} MB | |", *rows]


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("captures", nargs="*", help="other captures than the two of the lab")
    parser.add_argument("--rounds", type=int, default=7, help="paired runs per peer (default 7)")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    lines = ["| capture | program | time | memory | ratio |", "|---|---|---|---|---|"]
    for capture in captures(FOLDER, options.captures):
        for line in compare(capture, options.rounds):
            lines.append(line)
            print(line, flush=True)
    if options.write:
        host = (
            f"{os.cpu_count()} cores, {platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}"
        )
        head = (
            "# Benchmarks\n\nMade by `make bench ARGS=--write`: whole processes, interpreter start included, files in the page\n"
            f"cache, paired alternating runs, medians. {host}.\n\n"
        )
        PAGE.write_text(head + "\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
