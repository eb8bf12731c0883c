"""The kernel's own counts, from tracepoints, against the packets that tcpdump saw at the same time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from lbtop.probes.ebpf import tcp_events
from lbtop.probes.ebpf.assembler import Assembly
from lbtop.probes.ebpf.tcp_events import NAMES, RETRANSMIT, SENT, TcpEvents, program_for, reason_text
from lbtop.probes.ebpf.toolchain import Unavailable
from lbtop.probes.ebpf.tracefs import Tracepoint, parse, tracepoints

from lbtop.model.observation import KernelTcp
from lbtop.model.record import replace
from tests.lab.net_base import Namespace, stop
from tests.lab.record import Recorder
from tests.live.beside import Listening
from tests.readers import by_decoder

SERVER = """
import socket, struct, sys
listener = socket.create_server(("0.0.0.0", int(sys.argv[1])), backlog=64)
while True:
    peer, _ = listener.accept()
    what = peer.recv(4)
    if what == b"bulk":
        peer.sendall(bytes(400_000))
    elif what == b"hard":
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif what == b"left":
        peer.recv(1)  # and closes with the rest unread
    peer.close()
"""
CLIENT = """
import socket, sys, time
host, port, what, times = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
for _ in range(times):
    try:
        with socket.create_connection((host, port), timeout=20) as link:
            link.sendall(what.encode() + b"more than four bytes")
            while link.recv(65536):
                pass
    except OSError:
        pass
    time.sleep(0.02)
"""


@pytest.fixture(autouse=True)
def programs(root: None) -> None:
    missing = [name for name in ("ip", "nft", "tcpdump") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    try:
        TcpEvents().close()
    except Unavailable as why:
        pytest.skip(f"no tracepoints: {why}")


@pytest.fixture
def hosts() -> Iterator[tuple[Namespace, Namespace]]:
    """Server and client, joined by a cable."""
    pair = tuple(Namespace(f"lbtoptls{os.getpid()}{side}") for side in "sc")
    for ns in pair:
        subprocess.run(("ip", "netns", "add", ns.name), check=True)
    server, client = pair
    try:
        server.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", client.name)
        for ns, address in ((server, "10.77.0.1/24"), (client, "10.77.0.2/24")):
            ns.run("ip", "addr", "add", address, "dev", "eth0")
            for name in ("lo", "eth0"):
                ns.run("ip", "link", "set", name, "up")
        yield server, client
    finally:
        for ns in pair:
            subprocess.run(("ip", "netns", "delete", ns.name), check=True)


def talk(hosts: tuple[Namespace, Namespace], port: int, *work: tuple[str, int], gone: int = 3) -> None:
    """Conversations of the client with the server, after which nothing is under way."""
    server, client = hosts
    process = server.start(sys.executable, "-c", SERVER, str(port))
    try:
        time.sleep(0.7)
        for what, times in work:
            client.run(sys.executable, "-c", CLIENT, "10.77.0.1", str(port), what, str(times))
        time.sleep(0.3)
    finally:
        stop(process)
    client.run(sys.executable, "-c", CLIENT, "10.77.0.1", str(port), "gone", str(gone))
    time.sleep(0.3)


def test_counts_are_those_of_the_packets(hosts: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """Every tenth larger segment is dropped behind the place where tcpdump listens."""
    server, client = hosts
    port = 20_000 + os.getpid() % 10_000
    client.run("nft", "add table ip drops; add chain ip drops in { type filter hook prerouting priority -300; }")
    client.run("nft", "add rule ip drops in ip length > 1000 numgen random mod 10 == 0 drop")
    served = np.zeros(1 << 16, np.bool_)
    served[port] = True
    recorder = Recorder(server, "eth0", tmp_path / "seen.pcap", expression=f"tcp port {port}")
    events = TcpEvents()
    try:
        talk(hosts, port, ("bulk", 30), ("hard", 5), ("left", 4))
        (counted,) = events.read(served)
    finally:
        events.close()
        recorder.finish()
    rows = by_decoder(tmp_path / "seen.pcap")[0]["connections"]
    again = int(rows["retransmits_c"].sum() + rows["retransmits_s"].sum())
    resets = int(rows["resets_c"].sum() + rows["resets_s"].sum())
    print(f"sent again {counted.sent_again} (packets: {again}), resets {dict(counted.resets_sent)} (packets: {resets})")
    assert counted.sent_again == again > 10
    assert sum(count for _, count in counted.resets_sent) == resets >= 12
    late = dict(counted.resets_sent).get("flags", 0)  # answers to what comes after the other end has gone: received by nobody
    assert resets - late <= counted.resets_received <= resets or "no reason given" in dict(counted.resets_sent)
    assert counted.accepted == counted.connected == 39 and counted.connects_failed == 3
    if dict(counted.resets_sent).keys() != {"no reason given"}:
        assert dict(counted.resets_sent)["no socket"] == 3


def test_they_are_told_beside_the_packets(hosts: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """The installed command: in its JSON, and why connections were refused as evidence of that finding."""
    port = 20_000 + (os.getpid() + 1) % 10_000
    listening = Listening(hosts[0], ("eth0",), "ebpf", tmp_path / "lbtop.log")
    time.sleep(1.0)
    talk(hosts, port, ("bulk", 3), ("left", 30), gone=15)
    verdict = listening.finish()
    (row,) = (row for row in verdict["source"]["kernel_tcp"] if row["port"] == port)
    assert row["accepted"] == 33 and row["connects_failed"] == 15 and row["resets_sent"]["no socket"] == 15
    evidence = [e["detail"] for finding in verdict["findings"] for e in finding["evidence"] if e["signal"] == "kernel"]
    assert any(f"port {port}" in detail and "15 no socket" in detail for detail in evidence)


def test_formats_of_other_kernels_are_understood() -> None:
    """Until Linux 6.9 tcp_send_reset had ports of its own and no reason; before 5.6 a state was 16 bits of protocol later."""
    old = parse(
        "name: tcp_send_reset\nID: 1404\nformat:\n\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"
        "\tfield:const void * skbaddr;\toffset:8;\tsize:8;\tsigned:0;\n\tfield:const int state;\toffset:24;\tsize:4;\tsigned:1;\n"
        "\tfield:__u16 sport;\toffset:28;\tsize:2;\tsigned:0;\n\tfield:__u16 dport;\toffset:30;\tsize:2;\tsigned:0;\n"
        "\tfield:__u8 saddr[4];\toffset:34;\tsize:4;\tsigned:0;\n"
    )
    assert old.number == 1404 and old.fields["sport"] == (28, 2) and old.fields["saddr"] == (34, 4)
    assert len(program_for(SENT, old, 3)) % 8 == 0
    assert reason_text("TCP_ABORT_ON_CLOSE") == "abort on close" and reason_text(None) == "no reason given"


def test_a_field_of_another_name_costs_one_tracepoint(monkeypatch: pytest.MonkeyPatch) -> None:
    def renamed(names: Sequence[str]) -> dict[str, Tracepoint]:
        return {name: replace(point, fields={}) if name == RETRANSMIT else point for name, point in tracepoints(names).items()}

    monkeypatch.setattr(tcp_events, "tracepoints", renamed)
    events = TcpEvents()
    assert events.missing == (RETRANSMIT,)
    events.close()


def test_a_jump_goes_where_its_label_is() -> None:
    code = Assembly()
    code.if_equal(0, 7, "out")
    code.map(1, 5)
    code.label("out")
    code.end()
    words = code.bytes()
    assert len(words) == 5 * 8 and words[:8] == bytes((0x15, 0, 2, 0, 7, 0, 0, 0))
    assert words[8:16] == bytes((0x18, 0x11, 0, 0, 5, 0, 0, 0))


def test_what_went_well_is_not_told() -> None:
    assert KernelTcp(443, 0, (), 0, 100, 0, 0).told == ""
    told = KernelTcp(443, 2, (("no socket", 1), ("abort on close", 3)), 1, 9, 0, 0).told
    assert told == (
        "this host's kernel, port 443: 2 segments sent again, 4 resets sent (1 no socket, 3 abort on close), 1 resets received"
    )
    assert len(NAMES) == 4 and isinstance(parse("nothing"), Tracepoint)
