"""PROXY protocol headers as balancers send them."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from lbtop.model.observation import ConnFlag, ProxyFlag
from tests.wire.spoken import REQUEST
from tests.wire.talk import CLIENT, Talk, plain

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V4 = bytes([198, 51, 100, 7, 203, 0, 113, 9]) + struct.pack(">HH", 51234, 443)
V6 = bytes(range(16)) + bytes(range(16, 32)) + struct.pack(">HH", 1, 2)


def header(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack(">H", len(body)) + body


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack(">BH", kind, len(value)) + value


def crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0x82F63B78 * (value & 1)
    return value ^ 0xFFFFFFFF


def with_crc(body: bytes, wrong: int = 0) -> bytes:
    whole = header(1, 0x11, body + tlv(3, bytes(4)))
    return whole[:-4] + struct.pack(">I", crc32c(whole) ^ wrong)


def rows(data: bytes) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    batch = Talk().say(CLIENT, data + REQUEST).end().rows()
    return plain(batch, "proxies"), plain(batch, "requests"), plain(batch, "connections")[0]


VECTORS: dict[str, tuple[bytes, int, str, int]] = {
    "v1": (b"PROXY TCP4 198.51.100.7 203.0.113.9 51234 443\r\n", 0, "ffffc6336407", 51234),
    "v1 over IPv6": (b"PROXY TCP6 2001:db8::7 2001:db8::9 51234 443\r\n", 0, "20010db8000000000000000000000007", 51234),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", ProxyFlag.LOCAL, "", 0),
    "v1 unknown with more": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", ProxyFlag.LOCAL, "", 0),
    "v2": (header(1, 0x11, V4), ProxyFlag.V2, "ffffc6336407", 51234),
    "v2 over IPv6": (header(1, 0x21, V6), ProxyFlag.V2, bytes(range(16)).hex(), 1),
    "v2 local": (header(0, 0, b""), ProxyFlag.V2 | ProxyFlag.LOCAL, "", 0),
    "v2 local with a family and no addresses": (header(0, 0x11, b""), ProxyFlag.V2 | ProxyFlag.LOCAL, "", 0),
    "v2 local with addresses": (header(0, 0x11, V4), ProxyFlag.V2 | ProxyFlag.LOCAL, "", 0),
    "v2 with padding and checksum": (
        with_crc(V4 + tlv(4, bytes(40))), ProxyFlag.V2 | ProxyFlag.CRC_PRESENT | ProxyFlag.CRC_OK, "ffffc6336407", 51234,
    ),
    "v2 with a wrong checksum": (with_crc(V4, 1), ProxyFlag.V2 | ProxyFlag.CRC_PRESENT, "ffffc6336407", 51234),
    "v2 of a VPC endpoint": (
        header(1, 0x11, V4 + tlv(0xEA, b"\x01vpce-0123456789abcdef0")), ProxyFlag.V2 | ProxyFlag.AWS_TLV, "ffffc6336407", 51234,
    ),
    "v2 with an SSL TLV of a plain client": (
        header(1, 0x11, V4 + tlv(0x20, bytes(5))), ProxyFlag.V2 | ProxyFlag.SSL_TLV, "ffffc6336407", 51234,
    ),
    "v2 with a unix socket": (header(1, 0x31, bytes(216)), ProxyFlag.V2, "", 0),
}  # fmt: skip


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name: str) -> None:
    data, flags, source, port = VECTORS[name]
    (proxy,), (request,), connection = rows(data)
    assert (proxy["flags"], proxy["source_port"]) == (flags, port)
    assert proxy["source"].endswith(source) and bool(proxy["source"]) == bool(source)
    assert request["proxy_source"] == proxy["source"]
    assert connection["flags"] & ConnFlag.PROXIED
    assert bool(connection["flags"] & ConnFlag.PROXIED_LOCAL) == bool(flags & ProxyFlag.LOCAL)


def test_what_tlvs_say() -> None:
    ssl = bytes([1]) + bytes(4) + tlv(0x21, b"TLSv1.3") + tlv(0x23, b"TLS_AES_256_GCM_SHA384")
    (proxy,), _, _ = rows(header(1, 0x11, V4 + tlv(1, b"h2") + tlv(2, b"shop.example") + tlv(0x20, ssl)))
    assert (proxy["alpn"], proxy["authority"], proxy["tls_version"]) == (b"h2", b"shop.example", b"TLSv1.3")
    assert proxy["flags"] == ProxyFlag.V2 | ProxyFlag.SSL_TLV | ProxyFlag.SSL_CLIENT


@pytest.mark.parametrize("data", [b"PROXY TCP4 1.2.3.4\r\n", header(2, 0x11, V4), b"PROXY " + b"x" * 200])
def test_what_is_no_header(data: bytes) -> None:
    assert rows(data)[0] == []


def test_a_third_header_is_not_believed() -> None:
    v1 = VECTORS["v1"][0]
    assert len(rows(v1 + v1 + v1)[0]) == 2
