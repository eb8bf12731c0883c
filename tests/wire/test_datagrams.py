"""QUIC and DTLS hellos, from captures of real ones and from crafted fragments."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from lbtop.probes.wire.decoder import Decoder

from lbtop.model.observation import HelloFlag, Protocol7
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


def datagrams(said: list[tuple[str, bytes]]) -> Any:
    decoder = Decoder(key=bytes(16))
    for number, (who, data) in enumerate(said):
        ends = (b"\x0a\0\0\1", b"\x0a\0\0\2", 50000, 4433) if who == CLIENT else (b"\x0a\0\0\2", b"\x0a\0\0\1", 4433, 50000)
        udp = struct.pack(">HHHH", ends[2], ends[3], 8 + len(data), 0) + data
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), number, 0, 64, 17, 0, ends[0], ends[1])
        decoder.packet(RAW_IP, START_NS + number * 10**6, len(ip + udp), len(ip + udp), ip + udp)
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


@given(
    st.lists(st.tuples(st.sampled_from([CLIENT, SERVER]), st.binary(max_size=80)), max_size=5), st.sampled_from([0xC3, 0x16, 0])
)
def test_any_datagrams(said: list[tuple[str, bytes]], first: int) -> None:
    quic = b"\xc3\0\0\0\1\x08" + bytes(8)
    dtls = hello_in_dtls(5000)[0][:60]
    prefix = {0xC3: quic, 0x16: dtls, 0: b""}[first]
    datagrams([(who, prefix + data) for who, data in said])
