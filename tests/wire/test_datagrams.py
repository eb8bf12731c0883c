"""QUIC and DTLS hellos, from captures of real ones and from crafted fragments."""

from __future__ import annotations

import random
import ssl
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lbtop.probes.wire.decoder import Decoder

from lbtop.model.observation import HelloFlag, Protocol7
from tests.reference.files import Record
from tests.tools import writing
from tests.wire import spoken
from tests.wire.talk import CLIENT, RAW_IP, SERVER, START_NS, plain

QUIC = {
    "quic-tls-handshake.pcapng": (b"www.google.com", b"q13d0310h3_55b375c5d22e_cd85d2d88918", 0),
    "quic-with-several-tls-frames.pcapng": (b"ogs.google.com", b"q13d0310h3_55b375c5d22e_cd85d2d88918", 0),
    "chrome-cloudflare-quic-with-secrets.pcapng": (b"cloudflare-quic.com", b"q13d0310h3_55b375c5d22e_cd85d2d88918", 0x304),
}


def observed(path: Path) -> Any:
    from lbtop.probes.files import open_capture

    source = open_capture([str(path)])
    batch = source.poll()
    assert batch is not None and batch.final
    return batch


def test_quic_hellos_of_real_captures(shared_captures: Path) -> None:
    for name, (sni, ja4, version) in QUIC.items():
        batch = observed(shared_captures / "ja4" / name)
        found = [row for row in plain(batch, "handshakes") if row["ja4"].startswith(b"q")]
        assert [(row["sni"], row["ja4"], row["version"], row["alpn"]) for row in found] == [(sni, ja4, version, b"h3")]
        assert Protocol7.QUIC in {row["protocol7"] for row in plain(batch, "connections")}


def test_dtls_of_a_real_capture(shared_captures: Path) -> None:
    batch = observed(shared_captures / "ja4" / "dtls-udp.notest.cap")
    (row,) = plain(batch, "handshakes")
    assert row["ja4"].startswith(b"dd1i44") and row["flags"] & HelloFlag.SERVER_SEEN and row["version"] == 0xFEFF


def packets(said: list[tuple[str, bytes]]) -> Iterator[bytes]:
    for number, (who, data) in enumerate(said):
        ends = (b"\x0a\0\0\1", b"\x0a\0\0\2", 50000, 4433) if who == CLIENT else (b"\x0a\0\0\2", b"\x0a\0\0\1", 4433, 50000)
        udp = struct.pack(">HHHH", ends[2], ends[3], 8 + len(data), 0) + data
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), number, 0, 64, 17, 0, ends[0], ends[1])
        yield ip + udp


def datagrams(said: list[tuple[str, bytes]]) -> Any:
    decoder = Decoder(key=bytes(16))
    for number, packet in enumerate(packets(said)):
        decoder.packet(RAW_IP, START_NS + number * 10**6, len(packet), len(packet), packet)
    return decoder.finish()


HELLO = spoken.tls("1.2")[0][1][5:]


def hello_in_dtls(size: int) -> list[bytes]:
    """A real TLS client hello's extensions in a DTLS hello, cut into fragments."""
    body = bytearray(HELLO[4:])
    body[0:2] = b"\xfe\xfd"
    at = 35 + body[34]
    body[at:at] = b"\0"
    result = []
    for start in range(0, len(body), size):
        part = bytes(body[start : start + size])
        head = struct.pack(
            ">B3sH3s3s", 1, len(body).to_bytes(3, "big"), 0, start.to_bytes(3, "big"), len(part).to_bytes(3, "big")
        )
        result.append(b"\x16\xfe\xff" + struct.pack(">H6sH", 0, bytes(6), len(head + part)) + head + part)
    return result


def test_dtls_fragments_are_put_together() -> None:
    (whole,) = plain(datagrams([(CLIENT, piece) for piece in hello_in_dtls(5000)]), "handshakes")
    (pieces,) = plain(datagrams([(CLIENT, piece) for piece in hello_in_dtls(50)]), "handshakes")
    assert whole == pieces and whole["sni"] == b"shop.example" and whole["ja4"].startswith(b"dd2d")


def in_dtls13(message: bytes, number: int, size: int = 1200) -> list[bytes]:
    """A TLS 1.3 hello as RFC 9147 sends it: legacy version 1.2, an empty cookie, 1.3 only in supported_versions."""
    kind, body = message[0], bytearray(message[4:])
    body[0:2] = b"\xfe\xfd"
    if kind == 1:
        at = 35 + body[34]
        body[at:at] = b"\0"
        body = bytearray(bytes(body).replace(b"\0\x2b\0\x03\x02\x03\x04", b"\0\x2b\0\x03\x02\xfe\xfc"))
    else:
        body = bytearray(bytes(body).replace(b"\0\x2b\0\x02\x03\x04", b"\0\x2b\0\x02\xfe\xfc"))
    result = []
    for start in range(0, len(body), size):
        part = bytes(body[start : start + size])
        head = bytes([kind]) + len(body).to_bytes(3, "big") + number.to_bytes(2, "big")
        head += start.to_bytes(3, "big") + len(part).to_bytes(3, "big")
        result.append(
            b"\x16\xfe\xfd" + struct.pack(">H6sH", 0, (number + start).to_bytes(6, "big"), len(head + part)) + head + part
        )
    return result


def exactly_13() -> tuple[bytes, bytes]:
    """Both hellos of a client that offers nothing but TLS 1.3."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    said = spoken.tls("1.3", context=context)
    client, server = said[0][1], said[1][1]
    return client[5 : 5 + int.from_bytes(client[3:5], "big")], server[5 : 5 + int.from_bytes(server[3:5], "big")]


@pytest.mark.parametrize("size", [1200, 60], ids=["whole", "in fragments"])
def test_dtls_1_3(size: int, tshark: str, tmp_path: Path) -> None:
    client, server = exactly_13()
    sealed = b"\x2f" + bytes(range(200, 232)) * 8  # a record with the unified header (RFC 9147 section 4)
    said = [(CLIENT, piece) for piece in in_dtls13(client, 0, size)]
    said += [(SERVER, piece) for piece in in_dtls13(server, 0, size)] + [(SERVER, sealed), (CLIENT, sealed)]
    batch = datagrams(said)
    (row,) = plain(batch, "handshakes")
    assert (row["sni"], row["version"], row["version_offered"]) == (b"shop.example", 0xFEFC, 0xFEFC)
    assert row["flags"] & HelloFlag.SERVER_SEEN and row["ja4"].startswith(b"dd3d")
    (connection,) = plain(batch, "connections")
    assert connection["protocol7"] == Protocol7.DTLS and connection["client_port"] == 50000
    names, suites = by_tshark(tshark, said, tmp_path / "x.pcap")
    assert (names, suites) == ({"shop.example"}, {row["cipher"]})


def by_tshark(tshark: str, said: list[tuple[str, bytes]], path: Path) -> tuple[set[str], set[int]]:
    """Names that the client asks for, and the suite that the server chooses."""
    writing.write(path, [Record(START_NS + n * 10**6, RAW_IP, 0, len(data), data) for n, data in enumerate(packets(said))])
    command = [tshark, "-n", "-r", str(path), "-d", "udp.port==4433,dtls", "-T", "fields", "-E", "occurrence=a"]
    for name in ("dtls.handshake.type", "dtls.handshake.extensions_server_name", "dtls.handshake.ciphersuite"):
        command += ["-e", name]
    names, suites = set(), set()
    for line in subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines():
        kinds, name, suite = line.split("\t")
        names |= {name} - {""}
        suites |= {int(suite, 16)} if kinds.split(",")[-1] == "2" and suite else set()
    return names, suites


@given(
    st.lists(st.tuples(st.sampled_from([CLIENT, SERVER]), st.binary(max_size=80)), max_size=5), st.sampled_from([0xC3, 0x16, 0])
)
def test_any_datagrams(said: list[tuple[str, bytes]], first: int) -> None:
    quic = b"\xc3\0\0\0\1\x08" + bytes(8)
    dtls = hello_in_dtls(5000)[0][:60]
    prefix = {0xC3: quic, 0x16: dtls, 0: b""}[first]
    datagrams([(who, prefix + data) for who, data in said])


@pytest.mark.parametrize(
    ("first", "protocol"),
    [
        (b"requests:1|c", Protocol7.OTHER_CLEAR),
        ("größe:5|g, 漢字 und 🙂".encode(), Protocol7.OTHER_CLEAR),
        (("x" * 62 + "漢").encode()[:64] + bytes(26), Protocol7.OTHER_CLEAR),
        (b"a:1|c", Protocol7.UNKNOWN),  # a random byte is a letter's every third time
        (b"Jk\xf4\xe9b=\xa7c\xd1Zq\xb8", Protocol7.UNKNOWN),  # no control codes, and no UTF-8
        (b"\x47\x11" + b"in clear, behind a header", Protocol7.UNKNOWN),
    ],
    ids=["ASCII", "UTF-8", "only the beginning is looked at", "too short to tell", "random", "binary"],
)
def test_a_datagram_is_text_if_chance_does_not_make_it_so(first: bytes, protocol: Protocol7) -> None:
    batch = datagrams([(CLIENT, first), (SERVER, b"\1\2\3"), (CLIENT, b"what looks like text later on")])
    assert plain(batch, "connections")[0]["protocol7"] == protocol


def test_what_the_snap_length_leaves_of_sealed_datagrams_is_no_text() -> None:
    sealed = random.Random(7)
    for _ in range(500):
        decoder = Decoder(key=bytes(16))
        for packet in packets([(CLIENT, sealed.randbytes(200)) for _ in range(10)]):
            decoder.packet(RAW_IP, START_NS, 40, len(packet), packet)
        assert plain(decoder.finish(), "connections")[0]["protocol7"] == Protocol7.UNKNOWN
