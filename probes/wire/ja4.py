"""JA4 of a client hello (FoxIO JA4, the BSD-licensed TLS client fingerprint) and the coarser key that resumption leaves alone.

Called once per distinct shape of hello, so plain Python is fast enough here: the decoder caches what this returns.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable

SNI, ALPN = 0x0000, 0x0010
VOLATILE = frozenset((21, 35, 41, 42, 44))
"""padding, session_ticket, pre_shared_key, early_data, cookie: what one TLS stack sends in one hello and not in the next."""

_VERSIONS = {
    0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2",
    0xFEFF: "d1", 0xFEFD: "d2", 0xFEFC: "d3",
}  # fmt: skip
_EMPTY = "0" * 12


def is_grease(value: int) -> bool:
    """RFC 8701: both bytes equal, low nibble 0xA."""
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


def ja4(
    transport: str,
    version: int,
    ciphers: Sequence[int],
    extensions: Sequence[int],
    alpn: bytes | None,
    signature_algorithms: Sequence[int],
) -> str:
    """The fingerprint of one hello.

    ``transport`` is "t", "q" or "d"; ``version`` the highest offered without GREASE; lists are in wire order, GREASE may be in
    them; ``alpn`` is the first protocol offered, None without one.
    """
    ciphers = [value for value in ciphers if not is_grease(value)]
    extensions = [value for value in extensions if not is_grease(value)]
    head = (
        transport
        + _VERSIONS.get(version, "00")
        + ("d" if SNI in extensions else "i")
        + f"{min(len(ciphers), 99):02d}{min(len(extensions), 99):02d}"
        + _alpn_mark(alpn)
    )
    cipher_part = _digest(_hex(sorted(ciphers))) if ciphers else _EMPTY
    kept = [value for value in extensions if value not in (SNI, ALPN)]
    algorithms = _hex([value for value in signature_algorithms if not is_grease(value)])
    listed = _hex(sorted(kept))
    extension_part = _digest(f"{listed}_{algorithms}" if algorithms else listed) if kept else _EMPTY
    return f"{head}_{cipher_part}_{extension_part}"


def family(
    transport: str,
    version: int,
    ciphers: Sequence[int],
    extensions: Sequence[int],
    alpn: bytes | None,
    signature_algorithms: Sequence[int],
) -> str:
    """Like :func:`ja4`, without the extensions that come and go with resumption, retry and padding: one value per TLS stack."""
    steady = [value for value in extensions if value not in VOLATILE]
    return ja4(transport, version, ciphers, steady, alpn, signature_algorithms)


def _alpn_mark(alpn: bytes | None) -> str:
    """First and last character; of the hexadecimal form where either is not an ASCII letter or digit (JA4.md, ALPN)."""
    if not alpn:
        return "00"
    first, last = alpn[:1], alpn[-1:]
    if first.isalnum() and last.isalnum():
        return (first + last).decode("ascii")
    digits = alpn.hex()
    return digits[0] + digits[-1]


def _hex(values: Sequence[int]) -> str:
    return ",".join(f"{value:04x}" for value in values)


def _digest(text: str) -> str:
    return _sha256()(text.encode("ascii")).hexdigest()[:12]


@functools.cache
def _sha256() -> Callable[[bytes], hashlib._Hash]:
    """The interpreter's own, as its ``random`` does it: OpenSSL behind hashlib takes 3 ms and 3 MB to load."""
    for module in ("_sha2", "_sha256", "hashlib"):  # since Python 3.12, before, and where it was built without
        with contextlib.suppress(ImportError):
            found: Callable[[bytes], hashlib._Hash] = importlib.import_module(module).sha256
            return found
    raise ImportError("this Python has no SHA-256")
