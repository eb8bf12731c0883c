"""What must hold of the rows of any input whatever: they are few, numbered, in range and refer to things that exist."""

from __future__ import annotations

from enum import IntEnum, IntFlag

import numpy as np

from lbtop.model.observation import (
    ADDRESS_COLUMNS,
    TABLES,
    Batch,
    ConnFlag,
    CookieFlag,
    End,
    HelloFlag,
    Orientation,
    Protocol7,
    ProxyFlag,
    ReqFlag,
    RespFlag,
    Rows,
    SecretFlag,
    SecretKind,
    Side,
)

FLAGS: dict[str, type[IntFlag]] = {
    "handshakes": HelloFlag, "proxies": ProxyFlag, "requests": ReqFlag, "cookies": CookieFlag, "responses": RespFlag,
    "connections": ConnFlag, "secrets": SecretFlag,
}  # fmt: skip
KINDS: dict[tuple[str, str], type[IntEnum]] = {
    ("opened", "orientation"): Orientation,
    ("connections", "orientation"): Orientation,
    ("connections", "protocol7"): Protocol7,
    ("connections", "end"): End,
    ("connections", "first_closer"): Side,
    ("connections", "data_order"): Side,
    ("secrets", "kind"): SecretKind,
    ("secrets", "sender"): Side,
    ("processes", "end"): Side,
}
STRINGS = frozenset(
    ("stack", "sni", "alpn", "alpn_chosen", "ja4", "family", "authority", "tls_version", "method", "path", "host", "user_agent",
     "via", "header_shape", "name", "session_name", "server_header", "process", "container", "pod")
)  # fmt: skip
ROWS_AT_LEAST = 64
"""Rows that even the smallest input may cause. Beyond them: one per byte, which only cookies and nothing else come near."""


def check(batch: Batch, size: int) -> None:
    """Raises AssertionError where the rows that ``size`` bytes of input caused cannot be right."""
    count = len(batch)
    assert count <= ROWS_AT_LEAST + size, f"{count} rows from {size} bytes"
    numbers = np.sort(np.concatenate([batch[table]["seq"] for table in TABLES]))
    assert np.array_equal(numbers, np.arange(count, dtype=np.uint64)), "sequence numbers are not dense"
    for table in TABLES:
        rows = batch[table]
        if len(rows):
            _in_order(table, rows)
            _in_range(table, rows)
            _refer(table, rows, batch)


def same(one: Batch, other: Batch, apart_from: frozenset[str] = frozenset()) -> None:
    """Raises AssertionError where two batches differ in a column that is not in ``apart_from``."""
    for table in TABLES:
        rows, others = one[table], other[table]
        assert len(rows) == len(others), f"{table}: {len(rows)} rows and {len(others)}"
        for column in rows.dtype.names or ():
            if column in apart_from or column == "pad":
                continue
            if column in STRINGS or column in ADDRESS_COLUMNS:
                mine, theirs = ((b.addresses if column in ADDRESS_COLUMNS else b.strings) for b in (one, other))
                left = [mine[int(number)] for number in rows[column]]
                right = [theirs[int(number)] for number in others[column]]
            else:
                left, right = rows[column].tolist(), others[column].tolist()
            assert left == right, f"{table}.{column}: {left} and {right}"


def _in_order(table: str, rows: Rows) -> None:
    assert bool(np.all(rows["seq"][1:] > rows["seq"][:-1])), f"{table} is not in order"
    assert bool(np.all(rows["conn"] > 0)), f"{table}: a row of no connection"


def _in_range(table: str, rows: Rows) -> None:
    flags = FLAGS.get(table)
    if flags is not None:
        known = sum(flags)
        strange = rows["flags"] & ~np.array(known, rows["flags"].dtype)
        assert not strange.any(), f"{table}: reserved flags {strange[strange != 0]}"
    for (of, column), kind in KINDS.items():
        if of == table:
            values = set(rows[column].tolist())
            assert values <= {int(member) for member in kind}, f"{table}.{column}: {values}"


def _refer(table: str, rows: Rows, batch: Batch) -> None:
    for column in rows.dtype.names or ():
        if column in ADDRESS_COLUMNS:
            assert int(rows[column].max()) < len(batch.addresses), f"{table}.{column} names no address"
        elif column in STRINGS:
            assert int(rows[column].max()) < len(batch.strings), f"{table}.{column} names no string"
