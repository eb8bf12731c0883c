"""Network namespaces for one scenario: client networks, a balancer, targets; all of them gone afterwards.

    client networks c0..cN ── bridge `front` ┐
                                             ├ namespace `lb` (routes, may translate addresses)
    targets t0..tN ───────── bridge `back`  ─┘

A thread joins a namespace for itself alone (setns works per thread), so that targets and clients written in Python
run inside the lab's own process and count what they saw without any message passing.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.delay import Wire, finish_checksums
from tests.lab.net_base import Namespace

PREFIX = "lbtoplab"
VIP = "192.0.2.10"
VIP6 = "2001:db8:0:1::10"
BALANCER = "10.0.1.5"
SECOND_NODE = "10.0.1.6"
GATEWAY = "10.0.1.1"
BALANCER6 = "fd00:0:0:1::5"


@dataclass(frozen=True)
class Stack:
    """What sets one client operating system's TCP apart on the wire."""

    ttl: int = 64
    mss: int = 1460
    timestamps: bool = True
    receive_max: int = 6291456  # decides the window scale


STACKS = (
    Stack(52, 1460, True, 6291456),  # Linux or Android, twelve hops away
    Stack(113, 1460, False, 16777216),  # Windows
    Stack(54, 1380, True, 4194304),  # a phone behind a mobile network's tunnel
    Stack(118, 1452, False, 1048576),  # Windows behind PPPoE
    Stack(47, 1400, True, 33554432),  # far away, through a VPN
    Stack(59, 1440, True, 524288),  # macOS-like scale
)


@dataclass
class ClientNet:
    """One client network: a namespace with one TCP stack and several addresses."""

    ns: Namespace
    addresses: list[str]
    addresses6: list[str] = field(default_factory=list)


class Net:
    """The namespaces and links of one scenario. Use as a context manager."""

    def __init__(
        self,
        *,
        targets: int = 3,
        networks: int = 6,
        per_network: int = 10,
        stacks: Sequence[Stack] = STACKS,
        ipv6: bool = False,
        offload: bool = True,
        client_delay: Sequence[float] = (),
        target_delay: Mapping[int, float] | None = None,
    ) -> None:
        self._mark = f"{PREFIX}{os.getpid()}"
        self.offload = offload
        self.lb = Namespace(f"{self._mark}-lb")
        self.target_ns = [Namespace(f"{self._mark}-t{i}") for i in range(targets)]
        self.target_addresses = [f"10.0.1.{11 + i}" for i in range(targets)]
        self.ipv6 = ipv6
        self.target_addresses6 = [f"fd00:0:0:1::{11 + i}" for i in range(targets)] if ipv6 else []
        self.clients = [
            ClientNet(
                Namespace(f"{self._mark}-c{i}"),
                [f"198.18.{10 + i}.{10 + j}" for j in range(per_network)],
                [f"2001:db8:c:{i}::{10 + j}" for j in range(per_network)] if ipv6 else [],
            )
            for i in range(networks)
        ]
        self._stacks = stacks
        self._client_delay, self._target_delay = client_delay, target_delay or {}
        self._wires: list[Wire] = []

    def __enter__(self) -> Net:
        remove_leftovers()
        atexit.register(self.close)
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove every namespace of this lab; links and rules go with them."""
        atexit.unregister(self.close)
        for wire in self._wires:
            wire.cut()
        self._wires.clear()
        for ns in (self.lb, *self.target_ns, *(client.ns for client in self.clients)):
            _remove(ns.name)

    def _build(self) -> None:
        everyone = (self.lb, *self.target_ns, *(client.ns for client in self.clients))
        for ns in everyone:
            subprocess.run(("ip", "netns", "add", ns.name), check=True)
        lines = [
            "link set lo up",
            "link add front type bridge",
            "link add back type bridge",
            "link set front up",
            "link set back up",
            f"addr add {VIP}/24 dev front",
            "addr add 192.0.2.1/24 dev front",
            f"addr add {GATEWAY}/24 dev back",
            f"addr add {BALANCER}/24 dev back",
            f"addr add {SECOND_NODE}/24 dev back",
            "route add 198.18.0.0/15 dev front",
        ]
        if self.ipv6:
            lines += [
                f"addr add {VIP6}/64 dev front nodad",
                "route add 2001:db8:c::/48 dev front",
                f"addr add {BALANCER6}/64 dev back nodad",
                "addr add fd00:0:0:1::1/64 dev back nodad",
            ]
        for index, ns in enumerate(self.target_ns):
            lines += self._link(f"tl{index}", ns, "back", index in self._target_delay)
        for index, client in enumerate(self.clients):
            lines += self._link(f"cl{index}", client.ns, "front", bool(self._client_delay))
        self._batch(self.lb, lines)
        self.lb.sysctl(
            net__ipv4__ip_forward=1,
            net__ipv4__conf__all__rp_filter=0,
            net__ipv4__conf__default__rp_filter=0,
            net__ipv4__ip_nonlocal_bind=1,
        )
        # Otherwise addresses are translated inside the bridge and a recording there shows half of each leg.
        self.lb.run("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0", check=False)
        if self.ipv6:
            self.lb.sysctl(net__ipv6__conf__all__forwarding=1)
        for index, ns in enumerate(self.target_ns):
            self._host(
                ns,
                [f"{self.target_addresses[index]}/24"],
                "10.0.1.1",
                [f"{self.target_addresses6[index]}/64"] if self.ipv6 else [],
                "fd00:0:0:1::1",
                None,
            )
        for index, client in enumerate(self.clients):
            self._host(
                client.ns,
                [f"{address}/32" for address in client.addresses],
                "192.0.2.1",
                [f"{address}/128" for address in client.addresses6],
                VIP6,
                self._stacks[index % len(self._stacks)],
            )
        if not self.offload:
            for name in (*(f"tl{i}" for i in range(len(self.target_ns))), *(f"cl{i}" for i in range(len(self.clients)))):
                finish_checksums(self.lb, name)
            for ns in (*self.target_ns, *(client.ns for client in self.clients)):
                finish_checksums(ns, "eth0")
        self._delay()

    def _link(self, name: str, ns: Namespace, bridge: str, delayed: bool) -> list[str]:
        lines = [f"link add {name} type veth peer name eth0 netns {ns.name}", f"link set {name} up"]
        if delayed:
            lines += [f"link add {name}b type veth peer name {name}w", f"link set {name}b up", f"link set {name}w up"]
        lines += [f"link set {name}{'b' if delayed else ''} master {bridge}"]
        return lines

    def _delay(self) -> None:
        """Put the wires that take time in place."""
        slow = [
            (f"cl{i}", client.ns, self._client_delay[i % len(self._client_delay)])
            for i, client in enumerate(self.clients)
            if self._client_delay
        ]
        slow += [(f"tl{i}", self.target_ns[i], delay) for i, delay in self._target_delay.items()]
        for name, ns, delay in slow:
            finish_checksums(ns, "eth0")
            finish_checksums(self.lb, f"{name}b")
            self._wires.append(Wire(self.lb, name, f"{name}w", delay))

    def _host(
        self, ns: Namespace, addresses: list[str], gateway: str, addresses6: list[str], gateway6: str, stack: Stack | None
    ) -> None:
        lines = ["link set lo up", "link set eth0 up"] + [f"addr add {address} dev eth0" for address in addresses]
        mss = f" advmss {stack.mss}" if stack else ""
        lines += [f"route add {gateway}/32 dev eth0", f"route add default via {gateway}{mss}"]
        lines += [f"addr add {address} dev eth0 nodad" for address in addresses6]
        if addresses6:
            lines += [f"route add {gateway6}/128 dev eth0", f"route add default via {gateway6}"]
        self._batch(ns, lines)
        if stack:
            ns.sysctl(
                net__ipv4__ip_default_ttl=stack.ttl,
                net__ipv4__tcp_timestamps=int(stack.timestamps),
                net__ipv4__tcp_rmem=f"4096 131072 {stack.receive_max}",
            )
            if addresses6:
                ns.sysctl(net__ipv6__conf__all__hop_limit=stack.ttl, net__ipv6__conf__eth0__hop_limit=stack.ttl)

    @staticmethod
    def _batch(ns: Namespace, lines: list[str]) -> None:
        done = subprocess.run(
            ("ip", "-netns", ns.name, "-batch", "-"), input="\n".join(lines) + "\n", capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"ip -batch in {ns.name}: {done.stderr.strip()}")


def remove_leftovers() -> None:
    """Remove namespaces of labs whose process is gone."""
    for entry in Path("/run/netns").glob(f"{PREFIX}*-*"):
        with contextlib.suppress(ValueError):
            owner = int(entry.name.removeprefix(PREFIX).split("-")[0])
            if not Path(f"/proc/{owner}").exists():
                _remove(entry.name)


def _remove(name: str) -> None:
    """Remove a namespace of the lab; a process that still runs inside it is the lab's too."""
    inside = subprocess.run(("ip", "netns", "pids", name), capture_output=True, text=True).stdout.split()
    for process in map(int, inside):
        if process != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
    subprocess.run(("ip", "netns", "delete", name), capture_output=True)
