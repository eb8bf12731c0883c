"""Sensitive values in requests and answers, by documented rules; nothing but their hashes goes further."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

from lbtop.model.observation import CookieFlag, SecretKind
from tests.reference.heads import Head

Found = tuple[SecretKind, bytes, bytes]
JWT = re.compile(rb"^[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]*$")


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
    if name in names.session_cookies or name.startswith(names.session_prefixes) or lower.endswith(names.session_suffixes):
        return True
    return any(part in lower for part in names.likely_session_parts) and (presented or looks_random(value))


def looks_random(value: bytes) -> bool:
    """A token rather than a word or a number: 16 bytes or more, of the first 64 all ASCII, letters and digits, ten different."""
    start = value[:64]
    letters, digits = (len(re.findall(kind, start)) for kind in (rb"[A-Za-z]", rb"[0-9]"))
    return len(value) >= 16 and start.isascii() and letters > 1 and digits > 1 and len(set(start)) >= 10


def is_jwt(value: bytes) -> bool:
    if not JWT.match(value):
        return False
    try:
        head = value.split(b".")[0]
        decoded = json.loads(base64.urlsafe_b64decode(head + b"=" * (-len(head) % 4)))
    except (binascii.Error, ValueError):
        return False
    return isinstance(decoded, dict) and "alg" in decoded


def is_card(value: bytes) -> bool:
    """13 to 19 digits in an issuer's range with a correct check digit, blanks and dashes between groups allowed."""
    digits = re.sub(rb"[ -]", b"", value)
    if not re.fullmatch(rb"\d{13,19}", digits):
        return False
    length, two, four = len(digits), int(digits[:2]), int(digits[:4])
    issued = (
        (digits[:1] == b"4" and length in (13, 16, 19))
        or ((51 <= two <= 55 or 2221 <= four <= 2720) and length == 16)
        or (two in (34, 37) and length == 15)
        or ((four == 6011 or two == 65 or 644 <= four // 10 <= 649) and 16 <= length <= 19)
        or ((two in (36, 38, 39) or 300 <= four // 10 <= 305) and 14 <= length <= 19)
        or (3528 <= four <= 3589 and 16 <= length <= 19)
        or (two == 62 and 16 <= length <= 19)
    )
    doubled = sum(sum(divmod(2 * int(chr(d)), 10)) if at % 2 else int(chr(d)) for at, d in enumerate(reversed(digits)))
    return bool(issued) and doubled % 10 == 0 and len(set(digits)) > 1


def in_request(head: Head, cookies: list[tuple[bytes, bytes, bool]], names: Any) -> Iterator[Found]:
    for name, value in head.lines:
        lower = name.lower()
        if lower in (b"authorization", b"proxy-authorization"):
            yield from _authorization(name, value)
        elif lower in names.api_key_headers and value:
            yield (SecretKind.JWT if is_jwt(value) else SecretKind.API_KEY), name, value
    for name, value, cut in cookies:
        if cut:
            continue
        if is_jwt(value):
            yield SecretKind.JWT, name, value
        elif is_session(name, value, names):
            yield SecretKind.SESSION_COOKIE, name, value
    yield from _parameters(head.query(), names)


def _authorization(name: bytes, value: bytes) -> Iterator[Found]:
    scheme, _, credentials = value.partition(b" ")
    credentials = credentials.strip()
    kind = {b"basic": SecretKind.BASIC_AUTH, b"digest": SecretKind.DIGEST_AUTH, b"bearer": SecretKind.BEARER_TOKEN}.get(
        scheme.lower()
    )
    if kind is None or not credentials:
        return
    if kind is SecretKind.BEARER_TOKEN and is_jwt(credentials):
        kind = SecretKind.JWT
    yield kind, name, credentials


def _parameters(text: bytes, names: Any) -> Iterator[Found]:
    for pair in text.split(b"&"):
        name, equals, value = pair.partition(b"=")
        if equals:
            yield from _named(unquote_to_bytes(name.replace(b"+", b" ")), unquote_to_bytes(value.replace(b"+", b" ")), names)


def _named(name: bytes, value: bytes, names: Any) -> Iterator[Found]:
    kind = names.parameters.get(name.lower())
    if not value:
        return
    if is_jwt(value):
        yield SecretKind.JWT, name, value
    elif kind is SecretKind.CARD_NUMBER:
        if is_card(value):
            yield kind, name, re.sub(rb"[ -]", b"", value)
    elif kind is not None:
        yield kind, name, value


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
