"""The installed command listening in a namespace beside tcpdump: the same packets, judged live and from the file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.lab.net_base import Namespace, stop
from tests.lab.record import Recorder

LBTOP = Path(os.environ.get("LBTOP") or Path(sys.executable).with_name("lbtop"))
PROBES = ("ebpf", "packet")
PATIENCE_S = 20.0

COUNTED = (
    "connections",
    "requests",
    "health_checks",
    "probes",
    "refused",
    "bytes_in",
    "bytes_out",
    "clients",
    "resets",
    "retransmits",
)


class Listening:
    """``lbtop diagnose`` in a namespace, attached once constructed, until :meth:`finish`."""

    def __init__(self, ns: Namespace, interfaces: tuple[str, ...], probe: str, log: Path, *more: str) -> None:
        asked = [word for name in interfaces for word in ("-i", name)]
        before = packet_sockets(ns)
        self._log = log
        self._out = log.with_suffix(".json")
        with open(self._out, "wb") as out, open(log, "wb") as err:
            self.process = subprocess.Popen(
                (
                    *("ip", "netns", "exec", ns.name, str(LBTOP), "diagnose", "--json", "--for", "300s"),
                    *asked,
                    *("--probe", probe),
                    *more,
                ),
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
            )
        started = time.monotonic()
        while packet_sockets(ns) < before + max(1, len(interfaces)):
            if "no eBPF here" in self.said():
                self.process.wait()
                pytest.skip(self.said().strip())
            if self.process.poll() is not None or time.monotonic() - started > PATIENCE_S:
                raise RuntimeError(f"lbtop does not listen: {self.said()}")
            time.sleep(0.02)
        self.attached_s = time.monotonic() - started

    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def finish(self) -> dict[str, Any]:
        """Ends it as Ctrl-C does; the verdict."""
        stop(self.process, signal.SIGINT, PATIENCE_S)
        if self.process.returncode not in (0, 1):
            raise RuntimeError(f"lbtop ended with {self.process.returncode}: {self.said()}")
        verdict: dict[str, Any] = json.loads(self._out.read_text())
        return verdict


def packet_sockets(ns: Namespace) -> int:
    """Packet sockets in a namespace that receive."""
    rows = ns.run("cat", "/proc/net/packet").splitlines()[1:]
    return sum(row.split()[5] == "1" for row in rows)


class Beside(Recorder):
    """A recorder with live probes beside it. ``verdicts`` is filled by :meth:`finish`."""

    def __init__(self, ns: Namespace, interface: str, path: Path, *, expression: str = "tcp or udp") -> None:
        super().__init__(ns, interface, path, expression=expression, buffer_kib=65536, immediate=False)
        asked = () if interface == "any" else (interface,)
        self.probes = {probe: Listening(ns, asked, probe, path.with_suffix(f".{probe}.log")) for probe in PROBES}
        self.verdicts: dict[str, dict[str, Any]] = {}

    def finish(self) -> Path:
        if not self.verdicts:
            time.sleep(0.3)
            self.verdicts = {name: probe.finish() for name, probe in self.probes.items()}
            super().finish()
            self.verdicts["file"] = judged(self.path)
        return self.path


def judged(*captures: Path) -> dict[str, Any]:
    """The verdict on capture files."""
    command = (str(LBTOP), "diagnose", "--json", *map(str, captures))
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr)
    verdict: dict[str, Any] = json.loads(done.stdout)
    return verdict


def essence(verdict: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on how the packets were got: verdicts, and every count that is no time."""
    source = verdict["source"]
    return {
        "connections": source["connections"],
        "from_start": source["connections_seen_from_start"],
        "decoded": source["packets"] - source["undecoded_packets"],
        "truncated": source["truncated_packets"],
        "dropped": source["dropped_packets"] or 0,
        "vantage": source["vantage"],
        "services": {row["service"]: _service(row) for row in verdict["services"]},
        "findings": sorted({finding["id"] for finding in verdict["findings"]}),
    }


def _service(row: dict[str, Any]) -> dict[str, Any]:
    sticky = row["stickiness"] or {}
    exposure = row["exposure"]
    return {
        "balancer": row["load_balancer"]["product"],
        "mode": row["termination"]["mode"],
        "candidates": row["termination"]["candidates"],
        "mechanism": sticky.get("mechanism"),
        "cookie": sticky.get("cookie"),
        "affinity": sticky.get("affinity"),
        "keys": sticky.get("keys"),
        "targets": {target["target"]: {name: target[name] for name in COUNTED} for target in row["targets"]},
        "status": {target["target"]: target["status"] for target in row["targets"]},
        "plain": (exposure["plaintext_bytes"], exposure["plaintext_connections"]),
        "tls": (exposure["tls_bytes"], exposure["tls_connections"]),
        "sensitive": {kind["kind"]: (kind["count"], kind["distinct"]) for kind in exposure["sensitive"]},
        "ja4": exposure["tls"]["ja4"],
    }
