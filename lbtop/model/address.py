"""Addresses as the decoder stores them (16 bytes, IPv4 mapped into IPv6) and as people read them."""

from __future__ import annotations

import ipaddress

_V4_PREFIX = b"\x00" * 10 + b"\xff\xff"


def ip_text(packed: bytes) -> str:
    """``10.0.0.1`` or ``2001:db8::1`` for 16 packed bytes; "?" for anything else."""
    if len(packed) != 16:
        return "?"
    if packed[:12] == _V4_PREFIX:
        return ".".join(map(str, packed[12:]))
    return str(ipaddress.IPv6Address(packed))


def endpoint_text(packed: bytes, port: int) -> str:
    """``ip:port`` or ``[ipv6]:port``."""
    ip = ip_text(packed)
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def pack_ip(text: str) -> bytes:
    """16 bytes for an address in text form. Raises ValueError."""
    ip = ipaddress.ip_address(text)
    return _V4_PREFIX + ip.packed if ip.version == 4 else ip.packed
