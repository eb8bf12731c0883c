"""nginx in a namespace, wrk in another, and what programs beside them cost: shared by the benchmarks of listening."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.net_base import Namespace, stop
from tests.lab.webserver import nginx_target
from tests.live.beside import LBTOP, packet_sockets

ADDRESS, CALLER, PORT = "10.77.0.1", "10.77.0.2", 8080
BULK_PORT, BULK_BYTES = 8081, 16 << 20
CONNECTIONS = 32
PATIENCE_S = 30.0


@dataclass(frozen=True)
class Load:
    requests_per_s: float
    packets: int
    seconds: float

    @property
    def packets_per_s(self) -> float:
        return self.packets / self.seconds


class Served:
    """A server and a caller on a veth pair. ``seconds``: the length of a run."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self.seconds = folder, seconds
        mark = f"lbtopbench{os.getpid()}"
        self.server, self.client = Namespace(f"{mark}s"), Namespace(f"{mark}c")

    @contextmanager
    def running(self) -> Iterator[None]:
        # A shell's background ignores Ctrl-C, and so would what is started here: that is how it is ended.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for ns in (self.server, self.client):
            subprocess.run(("ip", "netns", "add", ns.name), check=True)
        nginx: subprocess.Popen[bytes] | None = None
        try:
            self.server.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", self.client.name)
            for ns, address in ((self.server, ADDRESS), (self.client, CALLER)):
                ns.run("ip", "link", "set", "lo", "up")
                ns.run("ip", "link", "set", "eth0", "up")
                ns.run("ip", "addr", "add", f"{address}/24", "dev", "eth0")
            folder = self.folder / "nginx"
            bulk = f"server {{ listen {ADDRESS}:{BULK_PORT}; location / {{ root {folder}/www; try_files /bulk =404; }} }}"
            nginx = nginx_target(self.server, ADDRESS, PORT, folder, body=600, http=bulk)
            (folder / "www" / "bulk").write_bytes(bytes(BULK_BYTES))
            yield
        finally:
            if nginx is not None:
                stop(nginx)
            for ns in (self.server, self.client):
                subprocess.run(("ip", "netns", "delete", ns.name), check=True)

    def load(
        self,
        seconds: float | None = None,
        *,
        pause_ms: float = 0.0,
        close: bool = False,
        bulk: bool = False,
        connections: int = CONNECTIONS,
    ) -> Load:
        """wrk for a while. Every connection waits ``pause_ms`` between requests, and is opened anew for each with ``close``.

        Responses have 600 bytes, with ``bulk`` 16 MB.
        """
        seconds = seconds or self.seconds
        script = self.folder / "load.lua"
        script.write_text(f"function delay() return {pause_ms:g} end\n" if pause_ms else "")
        script.chmod(0o644)
        more = ("-H", "Connection: close") if close else ()
        port = BULK_PORT if bulk else PORT
        before, began = self.packets(), time.monotonic()
        said = self.client.run(
            *("wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds:.0f}s", "-s", str(script), *more),
            f"http://{ADDRESS}:{port}/page",
        )
        found = re.search(r"Requests/sec:\s+([\d.]+)", said)
        if found is None:
            raise RuntimeError(said)
        return Load(float(found[1]), self.packets() - before, time.monotonic() - began)

    def packets(self) -> int:
        """Packets in both directions, as packet sockets count them: after merging, before splitting."""
        row = next(line for line in self.server.run("cat", "/proc/net/dev").splitlines() if "eth0:" in line)
        columns = row.partition(":")[2].split()
        return int(columns[1]) + int(columns[9])

    @contextmanager
    def beside(self, name: str, command: tuple[str, ...]) -> Iterator[Beside]:
        """A program that listens at the server's interface while the block runs; Ctrl-C ends it."""
        log, out = self.folder / f"{name}.log", self.folder / f"{name}.out"
        before, began = packet_sockets(self.server), time.monotonic()
        with open(log, "wb") as err, open(out, "wb") as stdout:
            process = subprocess.Popen(
                ("ip", "netns", "exec", self.server.name, *command), stdout=stdout, stderr=err, stdin=subprocess.DEVNULL
            )
        try:
            while packet_sockets(self.server) == before:
                if process.poll() is not None or time.monotonic() - began > PATIENCE_S:
                    raise RuntimeError(f"{name}: {log.read_text(errors='replace')}")
                time.sleep(0.005)
            yield Beside(process, out, time.monotonic() - began)
        finally:
            stop(process, signal.SIGINT, PATIENCE_S)


@dataclass(frozen=True)
class Beside:
    process: subprocess.Popen[bytes]
    output: Path
    attached_s: float

    def cpu_s(self) -> float:
        """Processor time of all its threads, exactly (schedstat; the usual counters know hundredths of a second)."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def resident_mb(self) -> float:
        """Resident memory, the packet ring's shared pages left out."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return sum(int(found) for found in re.findall(r"^(?:RssAnon|RssFile):\s+(\d+) kB", text, re.M)) / 1024


def live(probe: str, *more: str) -> tuple[str, ...]:
    """The installed command, listening until it is ended."""
    return (str(LBTOP), "diagnose", "--json", "--for", "3600s", "-i", "eth0", "--probe", probe, *more)
