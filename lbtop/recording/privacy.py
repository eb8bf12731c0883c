"""What of an observation may be written to a recording.

Every column that holds a keyed hash becomes a dense number in order of first appearance; every column of text has a rule, and
a column without one cannot be written (a test walks them all). Texts that only have to be told apart, and could name a
person or a machine (User-Agent, Via, Server), become labels, except for the part that the catalogue recognises.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from lbtop import catalog
from lbtop.model.observation import Interner, Rows
from lbtop.model.text import bare_path, known_method

IDENTITIES: dict[str, tuple[str, ...]] = {
    "handshakes": ("random", "session", "certificate"),
    "cookies": ("value", "presented"),
    "responses": ("session",),
    "secrets": ("value",),
}
"""Columns that hold keyed hashes. One numbering for all of them: equal hashes are equal values wherever they stand."""

Rule = Callable[[bytes, int], bytes]
"""From a text and the number of the label it would get to what is written."""


def as_it_is(text: bytes, number: int) -> bytes:
    return text


def method(text: bytes, number: int) -> bytes:
    return known_method(text)


def path(text: bytes, number: int) -> bytes:
    return bare_path(text)


def user_agent(text: bytes, number: int) -> bytes:
    checker = catalog.health_checker(text.decode("latin-1"))
    return checker.user_agent.encode("latin-1") if checker else b"agent %d" % number


def via(text: bytes, number: int) -> bytes:
    known = [
        row.header.encode() for row in catalog.headers() if row.match == "via" and row.header.lower().encode() in text.lower()
    ]
    return b", ".join(known) or b"via %d" % number


def server(text: bytes, number: int) -> bytes:
    return b"server %d" % number


TEXTS: dict[str, dict[str, Rule]] = {
    "opened": {"stack": as_it_is},
    "connections": {"stack": as_it_is},
    "handshakes": {"sni": as_it_is, "alpn": as_it_is, "alpn_chosen": as_it_is, "ja4": as_it_is, "family": as_it_is},
    "proxies": {"authority": as_it_is, "alpn": as_it_is, "tls_version": as_it_is},
    "requests": {
        "method": method,
        "path": path,
        "host": as_it_is,
        "user_agent": user_agent,
        "via": via,
        "header_shape": as_it_is,
    },
    "cookies": {"name": as_it_is},
    "responses": {"session_name": as_it_is, "server_header": server},
    "secrets": {"name": as_it_is},
    "processes": {"process": as_it_is, "container": as_it_is, "pod": as_it_is},
}


class Identities:
    """Dense numbers for keyed hashes.

    Bounded: after :attr:`LIMIT` values all are forgotten and numbering goes on, so that a value seen before and after that point
    has two numbers. That is a million sessions into a recording.
    """

    LIMIT = 1_000_000

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._given = 0

    def number(self, values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """1, 2, … in order of first appearance; 0 stays 0."""
        distinct, first, inverse = np.unique(values, return_index=True, return_inverse=True)
        numbers = np.zeros(len(distinct), np.uint64)
        for at in np.argsort(first, kind="stable").tolist():
            value = int(distinct[at])
            if value:
                numbers[at] = self._one(value)
        return numbers[inverse]

    def _one(self, value: int) -> int:
        known = self._numbers.get(value)
        if known is None:
            if len(self._numbers) >= self.LIMIT:
                self._numbers.clear()
            self._given += 1
            known = self._numbers[value] = self._given
        return known


class TextTable:
    """The texts of a recording: numbers of the source become numbers of the file, per rule."""

    FIRST = 2  # 0 is the empty text and 1 "(more)", as in every interner

    def __init__(self) -> None:
        self._by_source: dict[tuple[Rule, int], int] = {}
        self._by_text: dict[bytes, int] = {b"": 0, b"(more)": 1}
        self.fresh: list[bytes] = []

    def numbers(self, column: npt.NDArray[np.uint32], rule: Rule, strings: Interner) -> npt.NDArray[np.uint32]:
        """The column with the file's numbers; texts not yet in the file are appended to :attr:`fresh`."""
        distinct, inverse = np.unique(column, return_inverse=True)
        return np.array([self._number(int(n), rule, strings) for n in distinct], np.uint32)[inverse]

    def _number(self, number: int, rule: Rule, strings: Interner) -> int:
        if number < self.FIRST:
            return number
        known = self._by_source.get((rule, number))
        if known is None:
            text = rule(strings[number], number)
            known = self._by_text.get(text)
            if known is None:
                known = self._by_text[text] = len(self._by_text)
                self.fresh.append(text)
            self._by_source[(rule, number)] = known
        return known


def without_secrets(table: str, rows: Rows, strings: Interner, texts: TextTable, identities: Identities) -> Rows:
    """A copy of the rows that may be written."""
    # Field by field into zeros: between the fields of a row lie bytes of memory that were never written, or once were something.
    clean = np.zeros(len(rows), rows.dtype)
    for column in rows.dtype.names or ():
        clean[column] = rows[column]
    for column in IDENTITIES.get(table, ()):
        clean[column] = identities.number(rows[column])
    for column, rule in TEXTS.get(table, {}).items():
        clean[column] = texts.numbers(rows[column], rule, strings)
    return clean
