"""Input made to exhaust: time and memory stay bounded, bounds that are met are reported, and what is real is still seen.

Every attack goes through standard input into a process of its own, whose peak memory the kernel tells.
"""

from __future__ import annotations

import gzip
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests import attacks

MEGABYTES = 150
"""Peak of any attack; an idle process has some 45."""
MEASURE = (
    "import os, resource, subprocess, sys; status = subprocess.call(sys.argv[2:]); "
    "os.write(int(sys.argv[1]), b'%d' % resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(status)"
)
"""Between the tests and the command stands a small process: the kernel counts the memory of whoever forks as the child's, too."""
ESCAPES = b"\x1b[31m\x1b]0;pwned\x07\x9b2J\r\x08[bold]\xe2\x80\xae"


@dataclass(frozen=True, slots=True)
class Told:
    """What the command made of an attack."""

    status: int
    output: bytes
    errors: bytes
    megabytes: float

    @property
    def diagnosis(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.output)
        return found

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.splitlines()]


@pytest.fixture
def tell(lbtop: list[str]) -> Any:
    def run(pieces: bytes | Iterable[bytes], *command: str, limit: float = MEGABYTES) -> Told:
        read, write = os.pipe()
        peak, tell_peak = os.pipe()
        arguments = [sys.executable, "-S", "-c", MEASURE, str(tell_peak), *lbtop, *(command or ("diagnose", "--json")), "-"]
        child = subprocess.Popen(arguments, stdin=read, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[tell_peak])
        os.close(read)
        os.close(tell_peak)
        feeder = os.fork()
        if not feeder:
            try:
                with os.fdopen(write, "wb") as pipe:
                    for piece in [pieces] if isinstance(pieces, bytes) else pieces:
                        pipe.write(piece)
            finally:
                os._exit(0)
        os.close(write)
        output, errors = child.communicate(timeout=120)
        os.waitpid(feeder, 0)
        with os.fdopen(peak) as said:
            told = Told(child.returncode, output, errors, int(said.read()) / 1024)
        assert told.status in (0, 1, 2), told.errors
        assert b"Traceback" not in told.errors
        assert told.megabytes < limit, f"{told.megabytes:.0f} MB"
        return told

    return run


def zeros(megabytes: int) -> Iterator[bytes]:
    """A capture of nothing but empty records, which compresses a thousandfold."""
    yield attacks.HEADER
    for _ in range(megabytes):
        yield bytes(1 << 20)


def gzipped(pieces: Iterable[bytes]) -> bytes:
    squeezer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(map(squeezer.compress, pieces)) + squeezer.flush()


def test_gzip_bomb(tell: Any) -> None:
    bomb = gzipped(zeros(100))
    assert len(bomb) < 200_000
    assert tell(bomb).diagnosis["source"]["packets"] == 100 * (1 << 20) // 16


def test_gzip_in_gzip_is_refused(tell: Any) -> None:
    told = tell(gzip.compress(gzipped(zeros(1))))
    assert told.status == 2 and len(told.errors.splitlines()) == 1


def test_zstd_bomb(tell: Any) -> None:
    zstandard = pytest.importorskip("zstandard")
    bomb = zstandard.ZstdCompressor(19).compress(b"".join(zeros(100)))
    assert len(bomb) < 100_000
    assert tell(bomb).diagnosis["source"]["packets"] == 100 * (1 << 20) // 16


def test_zstd_window_of_a_gigabyte_is_not_allocated(tell: Any) -> None:
    pytest.importorskip("zstandard")
    # A frame header that asks for a window of 2 GB, and a block that says it holds as much as may be.
    told = tell(b"\x28\xb5\x2f\xfd\x00" + bytes([21 << 3]) + b"\xff\xff\x03" + bytes(1000))
    assert told.status == 2


@pytest.mark.parametrize("size", [0xFFFFFFF0, 0x7FFFFFF0, 0x10000000, 12, 0])
def test_pcapng_block_of_four_gigabytes(size: int, tell: Any) -> None:
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    block = struct.pack("<II", 6, size) + bytes(100_000)
    told = tell(section + struct.pack("<IIHHII", 1, 20, 101, 0, 0, 20) + block)
    assert told.status in (0, 2)


def test_packet_of_four_gigabytes(tell: Any) -> None:
    told = tell(attacks.HEADER + struct.pack("<IIII", 1, 1, 0xFFFFFFFF, 0xFFFFFFFF) + bytes(100_000))
    assert told.status in (0, 2)


def test_a_million_syns_push_out_no_connection(tell: Any) -> None:
    diagnosis = tell(attacks.syn_flood(1_000_000)).diagnosis
    assert diagnosis["source"]["connections"] == diagnosis["source"]["connections_seen_from_start"] == 3
    assert any("without an answer" in cap for cap in diagnosis["source"]["caps_reached"])
    (service,) = diagnosis["services"]
    assert [(target["connections"], target["requests"]) for target in service["targets"]] == [(3, 5)]


def test_a_header_line_that_never_ends(tell: Any) -> None:
    endless = b"GET / HTTP/1.1\r\nHost: shop.example\r\nX: " + b"a" * 20_000_000
    told = tell(attacks.conversation(("C", endless)), "observe")
    (request,) = [row for row in told.rows if row["kind"] == "request"]
    assert "truncated" in request["flags"]


def test_a_hundred_thousand_cookies(tell: Any) -> None:
    cookies = b"; ".join(b"n%d=v" % number for number in range(100_000))
    said = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: " + cookies + b"\r\n\r\n"
    told = tell(attacks.conversation(("C", said)), "observe")
    assert sum(row["kind"] == "request" for row in told.rows) == 1
    assert sum(row["kind"] == "cookie" for row in told.rows) <= 128


def test_names_without_end(tell: Any) -> None:
    """More hosts, paths, browsers and cookie names than are told apart: the bound is named, and the requests are counted."""
    count = 90_000
    heads = b"".join(
        b"GET /p%d HTTP/1.1\r\nHost: h%d\r\nUser-Agent: u%d\r\nCookie: c%d=1\r\n\r\n" % (n, n, n, n) for n in range(count)
    )
    source = tell(attacks.conversation(("C", heads)))
    assert any("strings" in cap for cap in source.diagnosis["source"]["caps_reached"])
    (service,) = source.diagnosis["services"]
    assert service["targets"][0]["requests"] == count


@pytest.mark.parametrize("servers", [1, 5000], ids=["ports of one address", "addresses"])
def test_ten_thousand_services(servers: int, tell: Any) -> None:
    diagnosis = tell(attacks.services(10_000, servers), limit=400).diagnosis
    assert diagnosis["source"]["connections"] == 10_000
    assert sum(len(service["targets"]) for service in diagnosis["services"]) <= 10_000


def test_proxy_headers_without_end(tell: Any) -> None:
    """Two are read, as some balancers send them; a third is data."""
    v1 = b"PROXY TCP4 198.51.100.7 203.0.113.9 51234 443\r\n"
    tlvs = b"\xee\0\0" * 21_000
    v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H", 12 + len(tlvs)) + bytes(12) + tlvs
    for bomb in (v1 * 10_000, v2 * 20, b"PROXY " + b"a" * 100_000):
        told = tell(attacks.conversation(("C", bomb)), "observe")
        assert sum(row["kind"] == "proxy" for row in told.rows) <= 2


def test_empty_tls_records_without_end(tell: Any) -> None:
    for record in (b"\x16\3\3\0\0", b"\x17\3\3\0\0", b"\x15\3\3\0\2\1\0", b"\x16\3\1\0\1\1"):
        told = tell(attacks.conversation(("C", record * 400_000)), "observe")
        assert sum(row["kind"] == "handshake" for row in told.rows) <= 1


def test_chunks_of_one_byte(tell: Any) -> None:
    said = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 500_000 + b"0\r\n\r\n"
    said += b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
    told = tell(attacks.conversation(("C", said)), "observe")
    assert [row["path"] for row in told.rows if row["kind"] == "request"] == ["/a", "/b"]


def test_ten_thousand_requests_before_the_first_answer(tell: Any) -> None:
    asked = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
    requests = b"".join(asked % number for number in range(10_000))
    answers = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 10_000
    told = tell(attacks.conversation(("C", requests), ("S", answers)), "observe")
    assert sum(row["kind"] == "request" for row in told.rows) == 10_000
    assert sum(row["kind"] == "response" for row in told.rows) == 10_000


def test_fragments_that_are_never_completed(tell: Any) -> None:
    source = tell(attacks.fragments(100_000)).diagnosis["source"]
    assert source["packets"] == source["undecoded_packets"] == 100_000


@pytest.mark.parametrize("kind", ["gre", "ipip", "vxlan"])
def test_tunnels_in_tunnels(kind: str, tell: Any) -> None:
    for depth, undecoded in ((3, 0), (40, 1)):
        source = tell(attacks.nested(kind, depth)).diagnosis["source"]
        assert (source["packets"], source["undecoded_packets"]) == (1, undecoded)


@pytest.mark.parametrize("command", [(), ("diagnose", "--evidence"), ("observe",), ("observe", "--format", "csv")], ids=" ".join)
def test_nothing_from_the_wire_commands_the_terminal(command: tuple[str, ...], tell: Any) -> None:
    """Escape sequences in every string that a client or a server may choose."""
    mark = ESCAPES.replace(b"\r", b"")
    said = (
        b"GET /" + mark + b" HTTP/1.1\r\nHost: " + mark + b"\r\nUser-Agent: " + mark + b"\r\nVia: 1.1 " + mark + b"\r\n"
        b"Cookie: "
        + mark
        + b"=1; JSESSIONID="
        + b"0123456789ABCDEF"
        + b"\r\n"
        + mark
        + b": x\r\nX-Forwarded-For: "
        + mark
        + b"\r\n\r\n"
    )
    answer = b"HTTP/1.1 200 OK\r\nServer: " + mark + b"\r\nSet-Cookie: " + mark + b"=2; Path=/\r\nContent-Length: 0\r\n\r\n"
    told = tell(attacks.conversation(*[("C", said), ("S", answer)] * 20), *command)
    printed = (told.output + told.errors).decode()
    assert not [character for character in printed if character != "\n" and not character.isprintable()]
