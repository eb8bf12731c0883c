"""Hosts of several interfaces and namespaces: every packet counts once, and who listens is known by name."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lbtop.probes.live.listeners import ANY, Listener, namespaces
from lbtop.probes.live.listeners import Namespace as NetworkNamespace
from lbtop.probes.live.owners import Owners
from lbtop.probes.wire.decoder import Decoder

from lbtop.model.observation import Orientation, Side
from tests.lab.net_base import Namespace, stop
from tests.live.beside import PROBES, Listening, essence
from tests.tools.crafting import CLIENT as CLIENT_SIDE
from tests.tools.crafting import SERVER as SERVER_SIDE
from tests.tools.crafting import Talk

SERVER, CALLER, PORT = "10.78.0.1", "10.78.0.2", 8080
REQUESTS = 23


@contextmanager
def spaces(*names: str) -> Iterator[list[Namespace]]:
    found = [Namespace(f"lbtophost{os.getpid()}{name}") for name in names]
    for ns in found:
        subprocess.run(("ip", "netns", "add", ns.name), check=True)
    try:
        for ns in found:
            ns.run("ip", "link", "set", "lo", "up")
        yield found
    finally:
        for ns in found:
            subprocess.run(("ip", "netns", "delete", ns.name), check=True)


def bridge(host: Namespace, *guests: Namespace) -> None:
    """A host's bridge with a port for every guest: what goes from one to another crosses two ports."""
    host.run("ip", "link", "add", "br0", "type", "bridge")
    host.run("ip", "link", "set", "br0", "up")
    for number, (guest, address) in enumerate(zip(guests, (SERVER, CALLER), strict=True)):
        host.run("ip", "link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns", guest.name)
        host.run("ip", "link", "set", f"port{number}", "master", "br0", "up")
        guest.run("ip", "addr", "add", f"{address}/24", "dev", "eth0")
        guest.run("ip", "link", "set", "eth0", "up")


def routed(host: Namespace, *guests: Namespace) -> None:
    """A host that forwards between two networks, as one with containers does: other link addresses, one hop less."""
    host.sysctl(net__ipv4__ip_forward=1)
    for number, (guest, address) in enumerate(zip(guests, (SERVER, "10.79.0.2"), strict=True)):
        gateway = address.rpartition(".")[0] + ".254"
        host.run("ip", "link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns", guest.name)
        host.run("ip", "addr", "add", f"{gateway}/24", "dev", f"port{number}")
        host.run("ip", "link", "set", f"port{number}", "up")
        guest.run("ip", "addr", "add", f"{address}/24", "dev", "eth0")
        guest.run("ip", "link", "set", "eth0", "up")
        guest.run("ip", "route", "add", "default", "via", gateway)


def ask(ns: Namespace, address: str) -> None:
    for _ in range(REQUESTS):
        ns.run("curl", "-s", "-o", "/dev/null", f"http://{address}:{PORT}/")


@pytest.fixture(autouse=True)
def curl() -> None:
    if shutil.which("curl") is None or shutil.which("ip") is None:
        pytest.skip("not installed: curl or ip")


Verdicts = dict[tuple[str, str], dict[str, Any]]


def observed(
    here: Namespace, places: tuple[str, ...], server: Namespace, caller: Namespace, folder: Path
) -> tuple[Verdicts, int]:
    """Verdicts by probe and interface ("": all) on the same requests of ``caller``, and the server's process id."""
    address = SERVER if server is not caller else "127.0.0.1"
    serving = server.start(sys.executable, "-m", "http.server", str(PORT), "--bind", "0.0.0.0", cwd=folder)
    try:
        deadline = time.monotonic() + 10
        while f"{PORT:04X} 00000000:0000 0A" not in server.run("cat", "/proc/net/tcp") and time.monotonic() < deadline:
            time.sleep(0.05)
        listening = {
            (probe, place): Listening(here, (place,) if place else (), probe, folder / f"{probe}{place}.log")
            for probe in PROBES
            for place in places
        }
        ask(caller, address)
        time.sleep(0.5)
        return {name: each.finish() for name, each in listening.items()}, serving.pid
    finally:
        stop(serving)


@pytest.mark.parametrize("topology", [bridge, routed])
def test_a_packet_that_crosses_two_interfaces_counts_once(topology: Any, root: None, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with spaces("h", "s", "c") as (host, server, caller):
        topology(host, server, caller)
        verdicts, pid = observed(host, ("", "port0"), server, caller, tmp_path)
    for probe in PROBES:
        everywhere, single = (verdicts[probe, place] for place in ("", "port0"))
        (service,) = everywhere["services"]
        (target,) = service["targets"]
        assert target["target"] == f"{SERVER}:{PORT}"
        assert target["requests"] == target["connections"] == REQUESTS
        for name in ("services", "vantage", "findings", "connections"):
            assert essence(everywhere)[name] == essence(single)[name]
        (process,) = target["processes"]
        assert process["pid"] == pid and process["name"].startswith("python")


def test_loopback_when_asked(root: None, tmp_path: Path) -> None:
    with spaces("l") as (host,):
        verdicts, pid = observed(host, ("lo", ""), host, host, tmp_path)
    for probe in PROBES:
        (service,) = verdicts[probe, "lo"]["services"]
        (target,) = service["targets"]
        assert target["requests"] == target["connections"] == REQUESTS
        assert target["processes"][0]["pid"] == pid
        assert verdicts[probe, ""]["source"]["packets"] == 0


def test_who_listens_is_found_in_this_namespace() -> None:
    with socket.socket() as any_address, socket.socket() as one:
        any_address.bind(("", 0))
        one.bind(("127.0.0.1", 0))
        for listener in (any_address, one):
            listener.listen()
        (own,) = (space for space in namespaces() if space.own)
        found = {row.port: row for row in own.listeners}
        ports = [listener.getsockname()[1] for listener in (any_address, one)]
    name = Path("/proc/self/comm").read_text().strip()
    loopback = bytes(10) + b"\xff\xff" + bytes((127, 0, 0, 1))
    rows = [found[port] for port in ports]
    assert [(row.address, row.pid, row.process) for row in rows] == [(ANY, os.getpid(), name), (loopback, os.getpid(), name)]
    assert loopback in own.addresses


def test_what_proc_says_is_read_however_odd(tmp_path: Path) -> None:
    """Made-up /proc: a listener over IPv6 in a container, one whose process is hidden, lines that are none."""
    net = tmp_path / "net"
    net.mkdir()
    (net / "tcp").write_text(
        "  sl  local_address rem_address st\n"
        "   0: 0100000A:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 700 1\n"
        "   1: 0100000A:1F90 0200000A:9C40 01 00000000:00000000 00:00000000 00000000 0 0 701 1\n"
        "   2: odd\n"
    )
    (net / "tcp6").write_text("sl\n 0: 00000000000000000000000000000000:01BB 0:0 0A 0:0 0:0 0 0 0 702 1\n")
    (net / "fib_trie").write_text(
        "Local:\n  +-- 0.0.0.0/0\n     |-- 10.0.0.1\n        /32 host LOCAL\n     |-- 10.0.0.0\n        /24 link UNICAST\n"
    )
    (net / "if_inet6").write_text("20010db8000000000000000000000001 02 40 00 80 eth0\n")
    own = tmp_path / "self" / "ns" / "net"
    own.parent.mkdir(parents=True)
    own.write_text("")
    for pid in (31, 30):
        place = tmp_path / str(pid)
        for folder in ("ns", "fd"):
            (place / folder).mkdir(parents=True)
        os.link(own, place / "ns" / "net")
        os.symlink("socket:[702]", place / "fd" / "6")
        (place / "comm").write_text("nginx\n")
        (place / "cgroup").write_text(f"0::/docker/{'ab' * 32}\n")
    (space,) = namespaces(tmp_path)
    mapped = bytes(10) + b"\xff\xff" + bytes((10, 0, 0, 1))
    assert space.own and space.addresses == {mapped, bytes.fromhex("20010db8000000000000000000000001")}
    assert set(space.listeners) == {Listener(mapped, 8080), Listener(ANY, 443, 30, "nginx", "ab" * 6)}
    assert namespaces(tmp_path / "absent")[0].listeners == ()


def test_a_listener_is_the_server_of_a_connection_seen_from_its_middle() -> None:
    """Neither payload nor ports tell: the lower port is the client's."""
    server, caller = ("10.0.0.11", 50123), ("10.0.1.5", 40000)
    packets = Talk(caller, server).say([(CLIENT_SIDE, b"\x00" * 40), (SERVER_SIDE, b"\x01" * 300)] * 4)[3:-4]
    address = bytes(10) + b"\xff\xff" + bytes((10, 0, 0, 11))
    for known in (False, True):
        decoder = Decoder()
        owners = Owners(decoder)
        if known:
            owners.learn([NetworkNamespace(True, frozenset({address}), (Listener(ANY, 50123, 77, "node", "3f2a9b1c0d4e"),))])
        for record in packets:
            decoder.packet(1, record.ts_ns, len(record.data), record.wire_length, record.data)
        owners.tell()
        batch = decoder.flush()
        (opened,) = batch["opened"]
        assert int(opened["server_port"]) == (50123 if known else 40000)
        if known:
            assert opened["orientation"] == Orientation.LISTENER
            (row,) = batch["processes"]
            assert (row["pid"], row["end"], row["conn"]) == (77, Side.SERVER, opened["conn"])
            assert [batch.strings[int(row[name])] for name in ("process", "container")] == [b"node", b"3f2a9b1c0d4e"]
        else:
            assert not len(batch["processes"])


def test_a_listener_of_many_connections_is_told_ever_more_rarely() -> None:
    decoder = Decoder()
    owners = Owners(decoder)
    address = bytes(10) + b"\xff\xff" + bytes((10, 0, 0, 11))
    owners.learn([NetworkNamespace(True, frozenset(), (Listener(address, 8080, 77, "nginx"),))])
    for number in range(300):
        for record in Talk(("10.0.1.5", 10000 + number), ("10.0.0.11", 8080)).say([(CLIENT_SIDE, b"GET / HTTP/1.1\r\n\r\n")]):
            decoder.packet(1, record.ts_ns, len(record.data), record.wire_length, record.data)
        if number % 7 == 0:
            owners.tell()
    owners.tell()
    batch = decoder.flush()
    assert len(batch["opened"]) == 300 and len(batch["processes"]) == 64 + 2
    told = np.concatenate([batch[name]["seq"] for name in batch.tables])
    assert len(np.unique(told)) == len(told)
