"""What a target's address looks like in the cookies of balancers that hash it: digests without a secret.

Whoever knows how a digest is made can try every address; here it is tried for the addresses in view. What needs a secret
(nginx ``sticky secret``, Caddy with one, HAProxy's dynamic cookies, Azure's) or names something else than the target
(ingress-nginx's is a key of a ring) is not here.
"""

from __future__ import annotations

import hashlib
import hmac

from lbtop.catalog import DECODERS
from lbtop.model.address import endpoint_text

_V4_PREFIX = b"\x00" * 10 + b"\xff\xff"
_NGINX, _CADDY, _TRAEFIK = (DECODERS.index(name) for name in ("nginx_md5", "caddy_hmac", "traefik_hash"))
_FNV_START, _FNV_PRIME, _WORD = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1


def digests(packed: bytes, port: int) -> dict[bytes, int]:
    """Cookie value -> number of its decoder, for one target (16 address bytes, IPv4 mapped into IPv6).

    nginx: `sticky cookie` hashes the server's name, `ip:port` where it is configured so; the older third-party module also
    the socket address itself. Caddy: HMAC-SHA256 of `ip:port` under an empty key. Traefik: of the server's URL, by itself
    or by the name it had in earlier versions.
    """
    text = endpoint_text(packed, port).encode()
    found = {hashed(data).hexdigest().encode(): _NGINX for data in (text, _sockaddr(packed, port)) for hashed in (_md5, _sha1)}
    found[hmac.new(b"", text, hashlib.sha256).hexdigest().encode()] = _CADDY
    for scheme in (b"http://", b"https://"):
        for url in (scheme + text, scheme + text + b"/"):
            name = b"%016x" % _fnv1a(url)
            for handler in (url, name):
                found[hashlib.sha256(handler).hexdigest()[:16].encode()] = _TRAEFIK
                found[b"%x" % _fnv1(handler)] = _TRAEFIK
            found[b"%x" % _fnv1(b"%x" % _fnv1(url))] = _TRAEFIK
    return found


def _md5(data: bytes) -> hashlib._Hash:
    return hashlib.md5(data, usedforsecurity=False)


def _sha1(data: bytes) -> hashlib._Hash:
    return hashlib.sha1(data, usedforsecurity=False)


def _sockaddr(packed: bytes, port: int) -> bytes:
    """The address as Linux keeps it: `sockaddr_in` or `sockaddr_in6` on a little-endian machine."""
    if packed.startswith(_V4_PREFIX):
        return b"\x02\x00" + port.to_bytes(2, "big") + packed[12:] + bytes(8)
    return b"\x0a\x00" + port.to_bytes(2, "big") + bytes(4) + packed + bytes(4)


def _fnv1(data: bytes) -> int:
    value = _FNV_START
    for byte in data:
        value = (value * _FNV_PRIME & _WORD) ^ byte
    return value


def _fnv1a(data: bytes) -> int:
    value = _FNV_START
    for byte in data:
        value = ((value ^ byte) * _FNV_PRIME) & _WORD
    return value
