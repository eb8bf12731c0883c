"""PROXY protocol headers, versions 1 and 2 (HAProxy, doc/proxy-protocol.txt)."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from lbtop.model.observation import ProxyFlag
from tests.reference.packets import V4

V1 = b"PROXY "
V2 = b"\r\n\r\n\x00\r\nQUIT\n"
V1_LONGEST = 107
NO_FLAGS = ProxyFlag(0)
CRC32C, AUTHORITY, ALPN, NOOP, SSL, SSL_VERSION, AWS = 0x03, 0x02, 0x01, 0x04, 0x20, 0x21, 0xEA


@dataclass(slots=True)
class ProxyHeader:
    size: int
    flags: ProxyFlag = NO_FLAGS
    source: bytes = b""
    destination: bytes = b""
    source_port: int = 0
    destination_port: int = 0
    authority: bytes = b""
    alpn: bytes = b""
    tls_version: bytes = b""


def parse(data: bytes) -> ProxyHeader | bool | None:
    """A header, None when more bytes are needed, False when this is not one."""
    if data[:6] == V1[: len(data)] and data:
        return _v1(data)
    if data[:12] == V2[: len(data)] and data:
        return _v2(data)
    return False


def _v1(data: bytes) -> ProxyHeader | bool | None:
    end = data.find(b"\r\n", 0, V1_LONGEST)
    if end < 0:
        return None if len(data) < V1_LONGEST else False
    words = data[:end].decode("latin-1").split(" ")
    if len(words) >= 2 and words[1] == "UNKNOWN":
        return ProxyHeader(end + 2, ProxyFlag.LOCAL)
    try:
        family, source, destination = words[1], ipaddress.ip_address(words[2]), ipaddress.ip_address(words[3])
        ports = int(words[4]), int(words[5])
    except (ValueError, IndexError):
        return False
    if family != f"TCP{source.version}" or source.version != destination.version or not all(0 <= port < 65536 for port in ports):
        return False
    prefix = V4 if source.version == 4 else b""
    return ProxyHeader(end + 2, ProxyFlag(0), prefix + source.packed, prefix + destination.packed, *ports)


def _v2(data: bytes) -> ProxyHeader | bool | None:
    if len(data) < 16:
        return None
    version, family, length = struct.unpack_from(">BBH", data, 12)
    if version >> 4 != 2 or version & 0xF > 1:
        return False
    if len(data) < 16 + length:
        return None
    header = ProxyHeader(16 + length, ProxyFlag.V2)
    body = data[16 : 16 + length]
    local = version & 0xF == 0
    at = {1: 12, 2: 36, 3: 216}.get(family >> 4, 0)
    if local:
        header.flags |= ProxyFlag.LOCAL
        if length < at:  # a family without addresses: hitch and some balancers send that
            at = length
    elif at == 12 and length >= 12:
        header.source, header.destination = V4 + body[:4], V4 + body[4:8]
        header.source_port, header.destination_port = struct.unpack_from(">HH", body, 8)
    elif at == 36 and length >= 36:
        header.source, header.destination = body[:16], body[16:32]
        header.source_port, header.destination_port = struct.unpack_from(">HH", body, 32)
    _tlvs(header, body[at:], data[: 16 + length], 16 + at)
    return header


def _tlvs(header: ProxyHeader, rest: bytes, whole: bytes, start: int) -> None:
    at = 0
    while at + 3 <= len(rest):
        kind, length = struct.unpack_from(">BH", rest, at)
        value = rest[at + 3 : at + 3 + length]
        if len(value) < length:
            return
        if kind == AUTHORITY:
            header.authority = value
        elif kind == ALPN:
            header.alpn = value
        elif kind == AWS:
            header.flags |= ProxyFlag.AWS_TLV
        elif kind == SSL and length >= 5:
            header.flags |= ProxyFlag.SSL_TLV
            if value[0] & 1:
                header.flags |= ProxyFlag.SSL_CLIENT
            _ssl(header, value[5:])
        elif kind == CRC32C and length == 4:
            header.flags |= ProxyFlag.CRC_PRESENT
            where = start + at + 3
            if crc32c(whole[:where] + b"\0\0\0\0" + whole[where + 4 :]) == int.from_bytes(value, "big"):
                header.flags |= ProxyFlag.CRC_OK
        at += 3 + length


def _ssl(header: ProxyHeader, rest: bytes) -> None:
    at = 0
    while at + 3 <= len(rest):
        kind, length = struct.unpack_from(">BH", rest, at)
        if kind == SSL_VERSION:
            header.tls_version = rest[at + 3 : at + 3 + length]
        at += 3 + length


def crc32c(data: bytes) -> int:
    """Castagnoli's polynomial, reflected (RFC 3309), bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
