"""The one gate for bytes from the network that will be shown or written."""

from __future__ import annotations

from typing import NewType

SafeText = NewType("SafeText", str)
MAX_SHOWN = 200


def safe_text(raw: bytes | str, limit: int = MAX_SHOWN) -> SafeText:
    """Printable text for hostile bytes: no control codes, no bidirectional overrides, bounded.

    What is not printable is written as ``\\xNN`` / ``\\uNNNN``; bytes that are not UTF-8 likewise. Markup brackets stay:
    whoever draws must not parse markup (pass ``Text``/``markup=False``). Longer texts end in ``…``.
    """
    text = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isascii() and text.isprintable():
        return SafeText(text)
    return SafeText("".join(char if char.isprintable() else _escape(char) for char in text))


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


METHODS = frozenset(
    b"GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH PRI PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK REPORT "
    b"SEARCH".split()
)


def known_method(raw: bytes) -> bytes:
    """A registered method; ``other`` for anything else, which could be anything."""
    return raw if raw in METHODS else b"other"


def bare_path(raw: bytes) -> bytes:
    """A path without query, fragment and path parameters: ``;jsessionid=…`` is a secret too."""
    return raw.split(b"?", 1)[0].split(b"#", 1)[0].split(b";", 1)[0]
