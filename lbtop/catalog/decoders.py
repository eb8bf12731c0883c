"""Balancer cookies whose value names a target. Total on bytes: what does not decode is None.

The value is looked at here and nowhere else; what leaves is an address.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re

from lbtop.catalog import DECODERS, balancer_cookie

Decoded = tuple[bytes, int, int]
"""16 address bytes (IPv4 mapped into IPv6), port, number of the decoder in :data:`lbtop.catalog.DECODERS`."""

_V4_PREFIX = b"\x00" * 10 + b"\xff\xff"
_F5_PLAIN = re.compile(rb"(\d{1,10})\.(\d{1,5})\.0000")
_F5_ROUTE_V4 = re.compile(rb"rd\d+o0{20}f{4}([0-9a-f]{8})o(\d{1,5})")
_F5_V6 = re.compile(rb"vi([0-9a-f]{32})\.(\d{1,5})")
_F5_ROUTE_V6 = re.compile(rb"rd\d+o([0-9a-f]{32})o(\d{1,5})")
_NETSCALER = re.compile(rb"[0-9a-f]{8}([0-9a-f]{8})[0-9a-f]{4,48}?([0-9a-f]{4})")
_NETSCALER_IP, _NETSCALER_PORT = 0x03081E11, 0x3630
_URL = re.compile(rb"https?(?:://|%3[Aa]%2[Ff]%2[Ff])(\[[0-9a-fA-F:.]+\]|[\d.]+)(?::|%3[Aa])(\d{1,5})")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{12,96}={0,2}")
_ENDPOINT = re.compile(rb"(?:(\d{1,3}(?:\.\d{1,3}){3})|\[([0-9a-fA-F:.]{2,45})\]):(\d{1,5})")


def decode(name: bytes, value: bytes) -> Decoded | None:
    """The target a balancer's cookie names.

    F5 (K6917), NetScaler, Envoy's stateful session (base64 of the address or of its protobuf), plain URLs (Traefik) and plain
    addresses. Encrypted values name nothing; hashed ones are told by :mod:`lbtop.catalog.digests`.
    """
    row = balancer_cookie(name.decode("latin-1"))
    value = value.strip(b'"')
    if row is not None and row.product == "netscaler":
        return _numbered(_netscaler(value), "netscaler")
    return (
        _numbered(_f5(value), "f5")  # its cookies can be renamed
        or _numbered(_url(value), "traefik")
        or _numbered(_envoy(value), "envoy")
        or _numbered(_plain(value), "plain")
    )


def _numbered(target: tuple[bytes, int] | None, decoder: str) -> Decoded | None:
    if target is None or not 0 < target[1] < 0x10000:
        return None
    return (*target, DECODERS.index(decoder))


def _swapped(port: bytes) -> int:
    number = int(port)
    return ((number & 0xFF) << 8) | (number >> 8) if number < 0x10000 else 0


def _f5(value: bytes) -> tuple[bytes, int] | None:
    if found := _F5_PLAIN.fullmatch(value):
        number = int(found[1])
        return (_V4_PREFIX + number.to_bytes(4, "little"), _swapped(found[2])) if number < 1 << 32 else None
    if found := _F5_ROUTE_V4.fullmatch(value):
        return _V4_PREFIX + bytes.fromhex(found[1].decode()), int(found[2])
    if found := _F5_V6.fullmatch(value):
        return bytes.fromhex(found[1].decode()), _swapped(found[2])
    if found := _F5_ROUTE_V6.fullmatch(value):
        return bytes.fromhex(found[1].decode()), int(found[2])
    return None


def _netscaler(value: bytes) -> tuple[bytes, int] | None:
    found = _NETSCALER.fullmatch(value)
    if found is None:
        return None
    address = (int(found[1], 16) ^ _NETSCALER_IP).to_bytes(4, "big")
    return _V4_PREFIX + address, int(found[2], 16) ^ _NETSCALER_PORT


def _url(value: bytes) -> tuple[bytes, int] | None:
    found = _URL.match(value)
    return _endpoint(found[1].strip(b"[]"), found[2]) if found else None


def _plain(value: bytes) -> tuple[bytes, int] | None:
    found = _ENDPOINT.fullmatch(value)
    return _endpoint(found[1] or found[2], found[3]) if found else None


def _envoy(value: bytes) -> tuple[bytes, int] | None:
    if not _BASE64.fullmatch(value):
        return None
    digits = value.rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
    try:
        raw = base64.b64decode(digits + b"=" * (-len(digits) % 4))
    except (binascii.Error, ValueError):
        return None
    if raw[:1] == b"\x0a" and len(raw) > 2 and raw[1] <= len(raw) - 2:  # protobuf field 1, length-delimited
        raw = raw[2 : 2 + raw[1]]
    found = _ENDPOINT.fullmatch(raw)
    return _endpoint(found[1] or found[2], found[3]) if found else None


def _endpoint(ip: bytes, port: bytes) -> tuple[bytes, int] | None:
    try:
        address = ipaddress.ip_address(ip.decode("ascii"))
    except ValueError:
        return None
    packed = address.packed
    return (_V4_PREFIX + packed if len(packed) == 4 else packed), int(port)
