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
import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PREFIX = "lbtoplab"
VIP = "192.0.2.10"
VIP6 = "2001:db8:0:1::10"
BALANCER = "10.0.1.5"
SECOND_NODE = "10.0.1.6"
GATEWAY = "10.0.1.1"
BALANCER6 = "fd00:0:0:1::5"
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


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


class Namespace:
    """One network namespace, by name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *command: str, check: bool = True) -> str:
        """Standard output of a command inside the namespace."""
        done = subprocess.run(("ip", "netns", "exec", self.name, *command), capture_output=True, text=True)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def start(
        self, *command: str, log: Path | None = None, env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """A process inside the namespace; its output goes to ``log``."""
        out = open(log, "ab") if log else subprocess.DEVNULL
        return subprocess.Popen(
            ("ip", "netns", "exec", self.name, *command),
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **env} if env else None,
            cwd=cwd,
        )

    def enter(self) -> None:
        """Move the calling thread, and no other, into the namespace."""
        handle = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            if _libc.setns(handle, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"setns {self.name}")
        finally:
            os.close(handle)

    def thread(self, work: Callable[[], None]) -> threading.Thread:
        """A started thread that does ``work`` inside the namespace."""

        def body() -> None:
            self.enter()
            work()

        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        return thread

    def sysctl(self, **settings: object) -> None:
        """Set ``net.*`` values; dots are written as double underscores."""
        self.run("sysctl", "-qw", *(f"{key.replace('__', '.')}={value}" for key, value in settings.items()))


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
        for ns in (self.lb, *self.target_ns, *(client.ns for client in self.clients)):
            subprocess.run(("ip", "netns", "delete", ns.name), capture_output=True)

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
            lines += [f"link add tl{index} type veth peer name eth0 netns {ns.name}", f"link set tl{index} master back up"]
        for index, client in enumerate(self.clients):
            lines += [
                f"link add cl{index} type veth peer name eth0 netns {client.ns.name}",
                f"link set cl{index} master front up",
            ]
        if not self.offload:
            lines += [
                f"link set {kind}{i} gso_max_segs 1"
                for kind, many in (("tl", self.target_ns), ("cl", self.clients))
                for i in range(len(many))
            ]
        self._batch(self.lb, lines)
        self.lb.sysctl(
            net__ipv4__ip_forward=1,
            net__ipv4__conf__all__rp_filter=0,
            net__ipv4__conf__default__rp_filter=0,
            net__ipv4__ip_nonlocal_bind=1,
        )
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

    def _host(
        self, ns: Namespace, addresses: list[str], gateway: str, addresses6: list[str], gateway6: str, stack: Stack | None
    ) -> None:
        lines = ["link set lo up", "link set eth0 up"] + [f"addr add {address} dev eth0" for address in addresses]
        if not self.offload:
            lines += ["link set eth0 gso_max_segs 1"]
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


def stop(process: subprocess.Popen[bytes], with_signal: int = signal.SIGTERM, patience: float = 5.0) -> None:
    """End a process the lab started, by its own handle, and wait for it."""
    if process.poll() is None:
        process.send_signal(with_signal)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def remove_leftovers() -> None:
    """Remove namespaces of labs whose process is gone."""
    for entry in Path("/run/netns").glob(f"{PREFIX}*-*"):
        with contextlib.suppress(ValueError):
            owner = int(entry.name.removeprefix(PREFIX).split("-")[0])
            if not Path(f"/proc/{owner}").exists():
                subprocess.run(("ip", "netns", "delete", entry.name), capture_output=True)
