"""``python -m tests.bench.soak``: does memory stay flat? 100,000 short connections in ten minutes beside a live lbtop.

nginx answers wrk, which opens a connection for every request; beside it listen ``lbtop diagnose`` and ``lbtop serve``, which
makes a snapshot for every scrape. Prints resident memory every minute, the ring's shared pages left out, and at the end how
many connections were opened (by nginx's own count) and seen, and what was dropped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.bench.served import Served, live
from tests.live.beside import LBTOP

METRICS = "127.0.0.1:9469"
WORKERS = 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--connections", type=int, default=100_000, help="in all that time")
    parser.add_argument("--probe", default="ebpf", choices=("ebpf", "packet"))
    options = parser.parse_args()
    if os.geteuid() != 0 or not shutil.which("wrk") or not shutil.which("nginx"):
        print("NOT RUN: the soak needs root, wrk and nginx", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="lbtop-soak-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        served = Served(folder, options.minutes * 60)
        with served.running():
            soak(served, options.connections, options.probe)
    return 0


def soak(served: Served, connections: int, probe: str) -> None:
    serve = (str(LBTOP), "serve", "--metrics", METRICS, "-i", "eth0", "--probe", probe)
    with served.beside("diagnose", live(probe)) as judge, served.beside("serve", serve) as metrics:
        # A little faster than asked: a request takes its time too.
        pause_ms = 1000 * WORKERS * served.seconds / connections / 1.05
        loads: list[float] = []
        work = threading.Thread(target=lambda: loads.append(load(served, pause_ms)))
        began = time.monotonic()
        cpu = judge.cpu_s(), metrics.cpu_s()
        print(f"{'minute':>7}{'diagnose MB':>13}{'serve MB':>10}{'connections/s':>15}", flush=True)
        work.start()
        minute, opened = 0, accepted(served)
        while work.is_alive():
            work.join(max(0.1, min(60.0, began + 60 * (minute + 1) - time.monotonic())))
            if time.monotonic() - began >= 60 * (minute + 1) - 1 or not work.is_alive():
                minute += 1
                served.server.run("curl", "-s", "-o", "/dev/null", f"http://{METRICS}/metrics")
                rate = (accepted(served) - opened) / (time.monotonic() - began)
                print(f"{minute:>7}{judge.resident_mb():>13.1f}{metrics.resident_mb():>10.1f}{rate:>15.0f}", flush=True)
        seconds = time.monotonic() - began
        spent = [f"{(now - then) / seconds:.1%}" for now, then in zip((judge.cpu_s(), metrics.cpu_s()), cpu, strict=True)]
        made = accepted(served) - opened
    said = judge.output.read_text()
    if not said:
        raise RuntimeError(judge.output.with_suffix(".log").read_text(errors="replace") or "no verdict")
    source = json.loads(said)["source"]
    print(
        f"{made:,} connections accepted, {source['connections']:,} seen, {source['packets']:,} packets, "
        f"{source['dropped_packets']} dropped, caps reached: {source['caps_reached'] or 'none'}"
    )
    print(f"of one processor: diagnose {spent[0]}, serve {spent[1]}")


def load(served: Served, pause_ms: float) -> float:
    return served.load(pause_ms=pause_ms, close=True, connections=WORKERS).requests_per_s


def accepted(served: Served) -> int:
    """Connections that programs of the server's namespace accepted so far (PassiveOpens)."""
    names, values = (line.split() for line in served.server.run("cat", "/proc/net/snmp").splitlines() if line.startswith("Tcp:"))
    return int(values[names.index("PassiveOpens")])


if __name__ == "__main__":
    sys.exit(main())
