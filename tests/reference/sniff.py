"""What the first bytes of a direction are, from the bytes alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lbtop.model.observation import Protocol7, Side
from tests.reference.proxyproto import V1, V2

METHOD = re.compile(
    rb"(?:\r?\n)*(?:(?:GET|PUT|POST|HEAD|PATCH|TRACE|DELETE|OPTIONS) [/*h]|[A-Z_-]{3,20} [^\n]* HTTP/1\.[^\n]?\r?\n)"
)
LONGEST_LOOK = 64
LEAST_TEXT = 12
TEXT = re.compile(
    rb"(?:[\t\n\r -~]|[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3})*"
    rb"(?:[\xc2-\xf4]|[\xe0-\xf4][\x80-\xbf]|[\xf0-\xf4][\x80-\xbf]{2})?"
)
STATUS = re.compile(rb"HTTP/1\.[01]")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Signs:
    """What is spoken, and who must have sent these bytes."""

    kind: str
    protocol: Protocol7 = Protocol7.UNKNOWN
    sender: Side = Side.NONE


TEXTS: tuple[tuple[re.Pattern[bytes], Signs], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), signs)
    for pattern, signs in (
        (rb"SSH-", Signs("ssh", Protocol7.SSH)),
        (rb"220[ -][^\n]*smtp[^\n]*\n", Signs("mail", Protocol7.SMTP, Side.SERVER)),
        (rb"220[ -][^\n]*\n|\* ok[^\n]*\n|\+ok [^\n]{2,}\n", Signs("mail", Protocol7.OTHER_CLEAR, Side.SERVER)),
        (rb"(?:ehlo|helo|lhlo) [^\n]*\n", Signs("mail", Protocol7.SMTP, Side.CLIENT)),
        (rb"(?:capa|stls)[^\n]*\n", Signs("mail", Protocol7.OTHER_CLEAR, Side.CLIENT)),
        (rb"\*\d[^\n]*\n\$|ping\r?\n|auth [^\n]*\n", Signs("redis", Protocol7.REDIS, Side.CLIENT)),
        (rb"\*\d[^\n]*\n|\+ok[^\n]*\n|\+pong[^\n]*\n|-err[^\n]*\n|-noauth[^\n]*\n", Signs("redis", Protocol7.REDIS, Side.SERVER)),
        (rb"info \{[^\n]*\n", Signs("nats", Protocol7.NATS, Side.SERVER)),
        (rb"connect \{[^\n]*\n", Signs("nats", Protocol7.NATS, Side.CLIENT)),
        (rb"<\d{1,3}>", Signs("syslog", Protocol7.SYSLOG)),
    )
)


def of_stream(data: bytes) -> Signs:
    """Of the beginning of a TCP direction; kind "" for nothing known."""
    if data.startswith((V1, V2)):
        return Signs("proxy", Protocol7.UNKNOWN, Side.CLIENT)
    if METHOD.match(data):
        return Signs("http", Protocol7.HTTP1, Side.CLIENT)
    if STATUS.match(data):
        return Signs("http", Protocol7.HTTP1, Side.SERVER)
    if data.startswith(PREFACE):
        return Signs("http2", Protocol7.HTTP2, Side.CLIENT)
    if len(data) >= 9 and data[0] == 0 and int.from_bytes(data[:3], "big") % 6 == 0 and data[3:9] == b"\x04\0\0\0\0\0":
        return Signs("http2", Protocol7.HTTP2)  # a server's settings: it need not wait for the preface
    if is_record(data):
        hello = {1: Side.CLIENT, 2: Side.SERVER}.get(data[5], Side.NONE) if data[0] == 22 else Side.NONE
        return Signs("tls" if hello else "inside tls", Protocol7.TLS, hello)
    if is_sslv2(data):
        return Signs("sslv2", Protocol7.TLS, Side.CLIENT)
    if len(data) >= 12 and data[0] == 0x10 and re.match(rb"\x10[\x80-\xff]{0,3}.\0.mq", data, re.IGNORECASE | re.DOTALL):
        return Signs("mqtt", Protocol7.MQTT, Side.CLIENT)
    if data[:1] == b"\x05" and len(data) > 2 and data[1] == len(data) - 2:
        return Signs("socks5", Protocol7.UNKNOWN, Side.CLIENT)
    if data[:2] == b"\x04\x01" and b"\0" in data[8:]:
        return Signs("socks4", Protocol7.UNKNOWN, Side.CLIENT)
    if re.match(rb"\0\0\0\x08\x04\xd2\x16[\x2f\x30]", data):
        return Signs("postgres ssl", Protocol7.POSTGRES, Side.CLIENT)
    if re.match(rb"\0\0..\0\x03\0\0", data, re.DOTALL):
        return Signs("postgres", Protocol7.POSTGRES, Side.CLIENT)
    if re.match(rb"..\0\0\x0a\d[^\0]{0,73}\0", data, re.DOTALL) and len(data) >= 16:
        return Signs("mysql", Protocol7.MYSQL, Side.SERVER)
    if readable(data):
        return next((signs for pattern, signs in TEXTS if pattern.match(data)), Signs("text", Protocol7.OTHER_CLEAR))
    return Signs("")


def may_become(data: bytes) -> bool:
    """Could more bytes show a protocol that these do not show yet?"""
    if readable(data):
        return len(data) < LONGEST_LOOK
    if data[0] & 0x80:
        return len(data) < 3 or (data[2] == 1 and len(data) < 11)
    return len(data) < 16 and (data[0] in (0, 4, 5, 13, 16, *range(20, 25)) or data[2:4] in (b"", b"\0", b"\0\0"))


def of_datagram(data: bytes) -> Signs:
    if len(data) >= 13 and 20 <= data[0] <= 25 and data[1] == 0xFE and data[2] >= 0xFC:
        return Signs("dtls", Protocol7.DTLS)
    versions = (b"\0\0\0\x01", b"\x6b\x33\x43\xcf")
    if len(data) >= 21 and data[0] & 0xC0 == 0xC0 and data[5] <= 20 and (data[1:5] in versions or data[1:4] == b"\xff\0\0"):
        return Signs("quic", Protocol7.QUIC)
    if len(data) >= 1200 and data[0] & 0xC0 == 0xC0 and data[5] <= 20 and all(byte & 15 == 10 for byte in data[1:5]):
        return Signs("quic", Protocol7.QUIC, Side.CLIENT)
    if len(data) > 6 and data[0] & 0x80 and data[1:5] == bytes(4) and negotiates(data[5:]):
        return Signs("quic", Protocol7.QUIC, Side.SERVER)
    if is_dns(data):
        return Signs("dns", Protocol7.DNS, Side.SERVER if data[2] & 0x80 else Side.CLIENT)
    if re.match(rb"<\d{1,3}>", data):
        return Signs("syslog", Protocol7.SYSLOG)
    return Signs("text", Protocol7.OTHER_CLEAR) if len(data) >= LEAST_TEXT and TEXT.fullmatch(data[:64]) else Signs("")


def negotiates(data: bytes) -> bool:
    """Two connection ids and a list of versions with a known one in it (RFC 9000 section 17.2.1)."""
    for _ in range(2):
        if not data or data[0] > 20:
            return False
        data = data[1 + data[0] :]
    versions = [data[at : at + 4] for at in range(0, len(data), 4)]
    known = any(one in (b"\0\0\0\1", b"\x6b\x33\x43\xcf") or one[:3] == b"\xff\0\0" for one in versions)
    return known and len(data) % 4 == 0


def is_record(data: bytes) -> bool:
    """A TLS record's header and the first byte of what it carries."""
    return (
        len(data) >= 6
        and 20 <= data[0] <= 24
        and data[1] == 3
        and data[2] <= 4
        and 0 < int.from_bytes(data[3:5], "big") <= (1 << 14) + 2048
    )


def is_sslv2(data: bytes) -> bool:
    """RFC 5246 appendix E.2: a length, client hello, a version, and three lengths that add up."""
    if len(data) < 11 or not data[0] & 0x80 or data[2] != 1 or (data[3] != 3 and data[3:5] != b"\0\x02"):
        return False
    lengths = [int.from_bytes(data[at : at + 2], "big") for at in (5, 7, 9)]
    return lengths[0] % 3 == 0 and 9 + sum(lengths) == int.from_bytes(data[:2], "big") & 0x7FFF


def is_dns(data: bytes) -> bool:
    """One question of class IN, CH or ANY whose labels end inside the datagram (RFC 1035 section 4.1)."""
    if len(data) < 17 or data[2] & 0x78 or data[4:6] != b"\0\x01" or int.from_bytes(data[6:8], "big") >= 64:
        return False
    at = 12
    while at < len(data) and 0 < data[at] < 64:
        at += data[at] + 1
    return at + 5 <= len(data) and data[at] == 0 and int.from_bytes(data[at + 3 : at + 5], "big") & 0x7FFF in (1, 3, 255)


def readable(data: bytes) -> bool:
    """Begins with a printable ASCII byte or a line end; UTF-8, no control codes but line ends and tabs in the first 64 bytes."""
    if not 0x20 <= data[0] < 0x80 and data[0] not in b"\r\n":
        return False
    return TEXT.fullmatch(data[:64]) is not None
