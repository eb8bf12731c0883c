"""Sensitive values in requests and answers, by documented rules; nothing but their hashes goes further."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

from lbtop.model.observation import CookieFlag, SecretKind
from tests.reference.heads import Head

ISSUED = re.compile(
    rb"AIza.{35}|[sr]k_live_.+|SG\..{66}|gh._.{36}|github_pat_.+|glpat-.+|xox.-.{20,}", re.IGNORECASE | re.DOTALL
)
"""Keys that their issuers mark: Google, Stripe, SendGrid, GitHub, GitLab, Slack."""
Found = tuple[SecretKind, bytes, bytes]
JWT = re.compile(rb"eyJ[A-Za-z0-9_-]{9,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")


def cookie_flags(name: bytes, value: bytes, names: Any, presented: bool = False) -> CookieFlag:
    flags = CookieFlag(0)
    if is_balancer(name, names):
        flags |= CookieFlag.BALANCER
    if is_session(name, value, names, presented):
        flags |= CookieFlag.SESSION
    return flags


def is_balancer(name: bytes, names: Any) -> bool:
    return name in names.balancer_cookies or name.startswith(names.balancer_prefixes)


def is_session(name: bytes, value: bytes, names: Any, presented: bool = False) -> bool:
    """A known name, or a likely name under which stands a random value or (Set-Cookie) one that the client had."""
    lower = name.lower()
    if is_balancer(name, names) or any(part in lower for part in names.never_session):
        return False
    if lower.startswith(names.foreign_prefixes):
        return False
    if name in names.session_cookies or name.startswith(names.session_prefixes) or lower.endswith(names.session_suffixes):
        return True
    return any(part in lower for part in names.likely_session_parts) and (presented or looks_random(value))


def looks_random(value: bytes) -> bool:
    """A token, no word or number: 16 bytes or more, in the first 64 letters, digits, ten different bytes, no blank."""
    start = value[:64]
    letters, digits = (len(re.findall(kind, start)) for kind in (rb"[A-Za-z]", rb"[0-9]"))
    return len(value) >= 16 and start.isascii() and b" " not in start and letters > 1 and digits > 1 and len(set(start)) >= 10


def is_jwt(value: bytes) -> bool:
    """Three base64url parts of which the first is a JSON object with "alg" (RFC 7519 section 3)."""
    if not JWT.fullmatch(value):
        return False
    try:
        head = value.split(b".")[0]
        return b'"alg"' in base64.urlsafe_b64decode(head + b"=" * (-len(head) % 4)).lower()
    except (binascii.Error, ValueError):
        return False


def card_digits(value: bytes, named: bool) -> bytes:
    """The digits of a payment card's number, empty for anything else.

    Length and range of a known issuer, a correct check digit (Luhn); in groups of four or six, or, under a name that says
    so, without a separator.
    """
    groups = re.split(rb"[ +-]", value)
    digits = b"".join(groups)
    if not re.fullmatch(rb"\d{13,19}", digits) or len(value) > 27 or (len(groups) == 1 and not named):
        return b""
    if any(len(group) not in (4, 6) for group in groups[:-1]) or not groups[-1]:
        return b""
    length, two, four = len(digits), int(digits[:2]), int(digits[:4])
    issued = (
        (digits[:1] == b"4" and length in (13, 16, 19))
        or (length == 16 and (51 <= two <= 55 or 2221 <= four <= 2720))
        or (length == 15 and two in (34, 37))
        or (length >= 16 and (four == 6011 or 6440 <= four <= 6599 or two == 62 or 3528 <= four <= 3589))
        or (length == 14 and (3000 <= four <= 3059 or two in (36, 38)))
    )
    doubled = sum(sum(divmod(2 * digit, 10)) if at % 2 else digit for at, digit in enumerate(map(int, reversed(digits.decode()))))
    return digits if issued and doubled % 10 == 0 else b""


def in_request(head: Head, cookies: list[tuple[bytes, bytes, bool]], names: Any) -> Iterator[Found]:
    """In the order of the rows: header lines, the query, then the session cookies."""
    for name, value in head.lines:
        lower = name.lower()
        if lower in (b"authorization", b"proxy-authorization"):
            yield from _authorization(name, value)
        elif lower in names.api_key_headers and len(value) >= 8:
            yield SecretKind.API_KEY, name, value
    yield from _parameters(head.query(), names)
    for name, value, cut in cookies:
        if not cut and is_session(name, value, names):
            yield SecretKind.SESSION_COOKIE, name, value
            if is_jwt(value):
                yield SecretKind.JWT, name, value


SCHEMES = {
    b"basic": SecretKind.BASIC_AUTH,
    b"digest": SecretKind.DIGEST_AUTH,
    b"bearer": SecretKind.BEARER_TOKEN,
    b"token": SecretKind.API_KEY,
    b"apikey": SecretKind.API_KEY,
}


def _authorization(name: bytes, value: bytes) -> Iterator[Found]:
    scheme, _, credentials = value.partition(b" ")
    kind, credentials = SCHEMES.get(scheme.lower()), credentials.strip()
    if kind is None or not credentials:
        return
    if kind is SecretKind.DIGEST_AUTH:  # everything but the user changes from request to request
        user = re.search(rb"username=[^,]*", credentials, re.IGNORECASE)
        credentials = user[0] if user else credentials
    yield kind, name, credentials
    if kind is SecretKind.BEARER_TOKEN and is_jwt(credentials):
        yield SecretKind.JWT, name, credentials


def _parameters(text: bytes, names: Any) -> Iterator[Found]:
    for pair in text.split(b"&"):
        name, equals, value = pair.partition(b"=")
        if equals and name:
            yield from _named(name, value, names)


def _named(name: bytes, value: bytes, names: Any) -> Iterator[Found]:
    inner = re.search(rb"(?:\[|%5b)([^\[\]%]+)(?:\]|%5d)$", name, re.IGNORECASE)
    kind = names.parameters.get((inner[1] if inner else name).lower())
    digits = card_digits(value, kind is SecretKind.CARD_NUMBER)
    if not value:
        return
    if kind is SecretKind.PASSWORD:
        if value[:1] != b"*" and not (len(value) <= 5 and value.lower().startswith(b"true")):
            yield kind, name, value
    elif digits and kind in (None, SecretKind.CARD_NUMBER):
        yield SecretKind.CARD_NUMBER, name, digits
    elif kind is not SecretKind.CARD_NUMBER and is_jwt(value):
        yield SecretKind.JWT, name, value
    elif kind in (SecretKind.API_KEY, SecretKind.BEARER_TOKEN) and looks_random(value):
        yield kind, name, value
    elif kind is None and ISSUED.fullmatch(value) and looks_random(value):
        yield SecretKind.API_KEY, name, value


def worth_a_look(content_type: bytes) -> bool:
    return (
        content_type == b"application/x-www-form-urlencoded"
        or content_type == b"application/json"
        or content_type.endswith(b"+json")
    )


def in_body(body: bytes, content_type: bytes, names: Any) -> Iterator[Found]:
    if content_type.endswith(b"urlencoded"):
        yield from _parameters(body, names)
        return
    for found in re.finditer(rb'"((?:[^"\\]|\\.){1,64})"\s*:\s*(?:"((?:[^"\\]|\\.)*)"|(\d+))', body):
        yield from _named(found[1], found[2] if found[2] is not None else found[3], names)
