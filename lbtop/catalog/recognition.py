"""The catalogue in the form the decoder takes: names as bytes, handed over once at start."""

from __future__ import annotations

from functools import cache

from lbtop import catalog
from lbtop.model.observation import SecretKind
from lbtop.probes.wire.recognition import Decoded, Recognition

_KINDS = {
    "api_key": SecretKind.API_KEY,
    "password": SecretKind.PASSWORD,
    "bearer_token": SecretKind.BEARER_TOKEN,
    "card_number": SecretKind.CARD_NUMBER,
}


def _decode(name: bytes, value: bytes) -> Decoded | None:
    from lbtop.catalog.decoders import decode  # compiling its patterns costs more than most captures need

    return decode(name, value)


def _digests(packed: bytes, port: int) -> dict[bytes, int]:
    from lbtop.catalog.digests import digests  # hashlib is needed where a cookie's value looks like a digest, and nowhere else

    return digests(packed, port)


@cache
def recognition() -> Recognition:
    """Tables for the decoder: cookies of balancers and sessions, credentials by name, headers that prove a TLS hop."""
    session_names = [row.name.encode() for row in catalog.sessions()]
    balancer_names = [row.name.encode() for row in catalog.cookies() if row.name != "*" and row.kind != "other"]
    secrets = catalog.secrets()
    default = Recognition()
    return Recognition(
        session_cookies=frozenset(name for name in session_names if b"*" not in name),
        session_prefixes=tuple(name[:-1] for name in session_names if name.endswith(b"*")),
        session_suffixes=tuple(name[1:] for name in session_names if name.startswith(b"*")),
        balancer_cookies=frozenset(name for name in balancer_names if not name.endswith(b"*")),
        balancer_prefixes=tuple(name[:-1] for name in balancer_names if name.endswith(b"*")),
        api_key_headers=frozenset(row.name.lower().encode() for row in secrets if row.place == "header"),
        tls_headers={
            **default.tls_headers,
            **{row.header.lower().encode(): b"" for row in catalog.headers() if row.tls == "yes" and row.match != "via"},
            b"front-end-https": b"on",
        },
        parameters={row.name.lower().encode(): _KINDS[row.kind] for row in secrets if row.place == "parameter"},
        login_paths=tuple(row.segment.encode() for row in catalog.logins()),
        decode=_decode,
        digests=_digests,
    )
