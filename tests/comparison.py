"""Two readings of one capture compared row by row, without the numbers that only mean something inside one run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from lbtop.model.address import ip_text
from lbtop.model.observation import TABLES, Batch, CookieFlag

STRINGS = {
    "stack", "sni", "alpn", "alpn_chosen", "ja4", "family", "authority", "tls_version", "method", "path", "host", "user_agent",
    "via", "header_shape", "name", "session_name", "server_header", "process", "container", "pod",
}  # fmt: skip
ADDRESSES = {
    "client", "server", "source", "destination", "forwarded0", "forwarded1", "forwarded2", "forwarded3", "real_ip",
    "proxy_source", "names",
}  # fmt: skip
HASHES = {"value", "presented", "session", "random", "certificate"}
OF_ONE_RUN = {"seq", "conn", "request", "pad", "pad8", "flags16"}
Key = tuple[Any, ...]
Canonical = dict[str, dict[Key, list[dict[str, Any]]]]


def canonical(batch: Batch) -> Canonical:
    """Per table and connection its rows in order: strings and addresses spelled out, hashes as dense numbers."""
    conns = {int(row["conn"]): _key(batch, row) for row in batch["connections"]}
    index = {int(row["request"]): int(row["index"]) for row in batch["requests"]}
    dense: dict[int, int] = {0: 0}
    result: Canonical = {}
    for table in TABLES:
        rows = batch[table]
        grouped: dict[Key, list[Any]] = defaultdict(list)
        for row in rows:
            grouped[conns.get(int(row["conn"]), ("no connection row", int(row["conn"])))].append(row)
        result[table] = {}
        for key in sorted(grouped, key=str):
            result[table][key] = [_plain(batch, row, index, dense) for row in grouped[key]]
    return result


def differences(left: Batch, right: Batch, ignore: frozenset[str] = frozenset()) -> list[str]:
    """One line for each row or column in which the two differ. ``ignore``: names of columns, alone or as ``table.column``."""
    return list(_differences(canonical(left), canonical(right), ignore))


def _differences(left: Canonical, right: Canonical, ignore: frozenset[str]) -> Iterator[str]:
    for table in TABLES:
        for key in sorted(left[table].keys() | right[table].keys(), key=str):
            ours, theirs = left[table].get(key, []), right[table].get(key, [])
            if len(ours) != len(theirs):
                yield f"{table} {_show(key)}: {len(ours)} rows against {len(theirs)}"
                continue
            for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
                for column, value in one.items():
                    if value != other[column] and not {column, f"{table}.{column}"} & ignore:
                        yield f"{table} {_show(key)} row {number} {column}: {value!r} against {other[column]!r}"


def _key(batch: Batch, row: Any) -> Key:
    ends = sorted((ip_text(batch.addresses[int(row[end])]), int(row[f"{end}_port"])) for end in ("client", "server"))
    return int(row["opened_ns"]), int(row["proto"]), *ends


def _show(key: Key) -> str:
    return " ".join(f"{part[0]}:{part[1]}" if isinstance(part, tuple) else str(part) for part in key)


def _plain(batch: Batch, row: Any, index: dict[int, int], dense: dict[int, int]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for column in row.dtype.names:
        value = int(row[column])
        if column == "value" and "decoder" in row.dtype.names and int(row["flags"]) & CookieFlag.CUT:
            continue  # where exactly a value was cut means nothing
        if column in HASHES:
            plain[column] = dense.setdefault(value, len(dense))
        elif column in STRINGS:
            plain[column] = batch.strings[value]
        elif column in ADDRESSES:
            plain[column] = ip_text(batch.addresses[value]) if value else ""
        elif column == "request":
            plain["answers"] = index.get(value)
        elif column not in OF_ONE_RUN:
            plain[column] = value
    return plain
