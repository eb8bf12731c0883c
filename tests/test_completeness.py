"""Ways of wrapping and speaking, each against tshark: what this decoder sees inside is what that one sees."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lbtop.model.address import ip_text
from tests.attacks import ACK, FIN, SYN, Attack, address
from tests.readers import by_decoder
from tests.reference.files import Record
from tests.tools import rewrite, writing
from tests.wire import spoken
from tests.wire.spoken import Turns
from tests.wire.talk import CLIENT

scapy = pytest.importorskip("scapy.layers.inet", reason="scapy crafts the packets")

from tests.wire.test_links import INNER, OVER_IPV4, WRAPPED  # noqa: E402

START_NS = 1_700_000_000 * 10**9
Seen = tuple[str, int, int, int]
UNKNOWN_TO_TSHARK = frozenset({"raw, OpenBSD", "raw, old", "ppp in hdlc", "erspan 3", "vxlan on the old port"})
"""Link types that tshark maps otherwise, and ports that it does not look at unless told."""


def fields(tshark: str, path: Path, names: list[str], *options: str) -> list[list[str]]:
    """Of every packet the last occurrence of each field: the innermost one."""
    command = [tshark, "-n", "-r", str(path), "-T", "fields", "-E", "occurrence=l", *options]
    for name in names:
        command += ["-e", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_what_is_wrapped(tmp_path: Path, tshark: str) -> None:
    """One packet per wrapping, each on an interface of its own link type."""
    known = {how: wrapped for how, wrapped in WRAPPED.items() if how not in UNKNOWN_TO_TSHARK}
    different = {}
    known["loop"] = (108, b"\0\0\0\2" + bytes(INNER))  # in network order, as it should be; scapy writes the machine's
    for how, (linktype, packet) in known.items():
        data = bytes(packet)
        path = writing.write(tmp_path / "one.pcap", [Record(START_NS, linktype, 0, len(data), data)])
        batch, _ = by_decoder(path)
        (row,) = batch["connections"]
        ours = [
            ip_text(batch.addresses[int(row["client"])]),
            str(row["client_port"]),
            str(row["server_port"]),
            str(row["bytes_c"]),
        ]
        theirs = fields(tshark, path, ["ip.src", "tcp.srcport", "tcp.dstport", "tcp.len"], "--disable-protocol", "dns")
        if theirs != [ours]:
            different[how] = (theirs, ours)
    assert not different


@pytest.mark.parametrize("how", [how for how in OVER_IPV4 if how not in UNKNOWN_TO_TSHARK])
def test_what_is_wrapped_and_comes_in_fragments(how: str, tmp_path: Path, tshark: str) -> None:
    linktype, packet = WRAPPED[how]
    data = bytes(packet)
    pieces = rewrite.in_fragments([Record(START_NS, linktype, 0, len(data), data)], 32)
    path = writing.write(tmp_path / "pieces.pcap", pieces)
    (row,) = by_decoder(path)[0]["connections"]
    ours = [str(row["client_port"]), str(row["server_port"]), str(row["bytes_c"])]
    names = ["tcp.srcport", "tcp.dstport", "tcp.len"]
    assert fields(tshark, path, names, "-Y", "tcp", "--disable-protocol", "dns") == [ours]


def conversation(turns: Turns, segment: int = 1400) -> bytes:
    """As a capture of raw IP, in segments of at most so many bytes."""
    attack = Attack()
    client, server = address(1), address(2)
    attack.connect(client, 40000, server, 8080)
    for who, text in turns:
        for at in range(0, len(text), segment):
            piece = text[at : at + segment]
            if who == CLIENT:
                attack.tcp(client, 40000, server, 8080, ACK, piece)
            else:
                attack.tcp(server, 8080, client, 40000, ACK, piece)
    attack.close(client, 40000, server, 8080)
    return attack.taken()


SPOKEN: dict[str, Turns] = {
    "HTTP/1": spoken.plain_http()[:10],
    "HTTP/2, prior knowledge, gRPC": spoken.http2(),
    "WebSocket": spoken.websocket()[:2],
    "TLS 1.3": spoken.tls("1.3"),
    "TLS 1.2": spoken.tls("1.2"),
    "TLS 1.2 in records of 40 bytes": spoken.in_small_records(spoken.tls("1.2"), 40),
    "SMTP, then TLS": spoken.smtp(),
    "PostgreSQL, then TLS": spoken.postgres(),
}


@pytest.mark.parametrize("segment", [1400, 100], ids=["whole", "in segments of 100 bytes"])
@pytest.mark.parametrize("what", SPOKEN)
def test_what_is_spoken(what: str, segment: int, tmp_path: Path, tshark: str) -> None:
    """Requests, and the server name of each hello."""
    path = tmp_path / "one.pcap"
    path.write_bytes(conversation(SPOKEN[what], segment))
    batch, _ = by_decoder(path)
    ours = [batch.strings[int(row["path"])].decode() for row in batch["requests"]]
    names = [batch.strings[int(row["sni"])].decode() for row in batch["handshakes"]]
    dissector = {"S": "smtp", "P": "pgsql", "T": "tls"}.get(what[0], "http")
    columns = ["http.request.uri", "http2.headers.path", "tls.handshake.extensions_server_name"]
    rows = fields(
        tshark,
        path,
        columns,
        "-o",
        "tcp.desegment_tcp_streams:TRUE",
        "-E",
        "occurrence=a",
        "-E",
        "aggregator= ",
        "-d",
        f"tcp.port==8080,{dissector}",
    )
    paths = [uri.partition("?")[0] for row in rows for uri in (row[0] + " " + row[1]).split()]
    assert ours == paths
    assert names == [name for row in rows for name in row[2].split()]
    assert ours or names


def test_transport_as_tshark_analyses_it(tmp_path: Path, tshark: str) -> None:
    """Wrapped numbers, simultaneous open, ports used again, keep-alive probes and zero windows, in one capture."""
    attack = Attack()
    a, b = address(1), address(2)
    attack._next[a, 40001, b, 8080] = 0xFFFFFF80  # wraps inside the first request
    attack.connect(a, 40001, b, 8080)
    attack.say(a, 40001, b, 8080, spoken.REQUEST)
    attack.say(b, 8080, a, 40001, spoken.ANSWER)
    attack.close(a, 40001, b, 8080)
    attack.connect(a, 40001, b, 8080)  # the same ports again
    attack.say(a, 40001, b, 8080, spoken.REQUEST)
    attack.say(b, 8080, a, 40001, spoken.ANSWER)
    attack.close(a, 40001, b, 8080)
    attack.tcp(a, 40002, b, 8080, SYN)  # both ends at once
    attack.tcp(b, 8080, a, 40002, SYN)
    attack.tcp(a, 40002, b, 8080, ACK)
    attack.say(a, 40002, b, 8080, spoken.REQUEST)
    attack.tcp(a, 40002, b, 8080, FIN | ACK)
    path = tmp_path / "one.pcap"
    path.write_bytes(attack.taken())
    batch, _ = by_decoder(path)
    rows = fields(tshark, path, ["tcp.stream", "tcp.len", "http.request.uri", "tcp.srcport"])
    assert len({row[0] for row in rows}) == len(batch["connections"]) == 3
    assert sum(bool(row[2]) for row in rows) == len(batch["requests"]) == 3
    towards = sum(int(row[1]) for row in rows if row[3] != "8080")
    assert int(batch["connections"]["bytes_c"].sum()) == towards
