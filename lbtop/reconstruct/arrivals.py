"""From rows to arrivals: who asked, under which keys, bringing what. Everything on whole columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lbtop.model.observation import Interner, Rows
from lbtop.model.record import dataclass
from lbtop.reconstruct.keytable import ARRIVAL
from lbtop.reconstruct.window import NO_TARGET, ServiceWindow

V4_MAPPED = bytes(10) + b"\xff\xff"
FORWARDED = ("forwarded0", "forwarded1", "forwarded2", "forwarded3")

U64 = npt.NDArray[np.uint64]
Targets = npt.NDArray[np.uint16]


@dataclass(slots=True, eq=False)
class Feed:
    """Arrivals of one key, in order of ``seq``: parallel arrays."""

    key: str
    rows: Rows  # keytable.ARRIVAL
    values: U64
    aux: U64
    seq: U64
    request: npt.NDArray[np.intp] | None = None  # row of the request each belongs to; -1 where it is in no row of this window


class Part:
    """Some rows of a table, column by column. A column is taken out once, contiguous: a strided one costs several times as
    much per use, and whole rows are mostly columns that nobody asked for."""

    __slots__ = ("_columns", "_index", "_rows")

    def __init__(self, rows: Rows, index: npt.NDArray[np.intp] | None = None) -> None:
        self._rows = rows
        self._index = index
        self._columns: dict[str, npt.NDArray[Any]] = {}

    def __len__(self) -> int:
        return len(self._rows) if self._index is None else len(self._index)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        found = self._columns.get(name)
        if found is None:
            values = self._rows[name]
            found = self._columns[name] = np.ascontiguousarray(values) if self._index is None else values[self._index]
        return found

    def where(self, mask: npt.NDArray[np.bool_]) -> Part:
        """Those of the rows."""
        return self if mask.all() else self.at(np.flatnonzero(mask))

    def at(self, index: npt.NDArray[np.intp]) -> Part:
        """The rows at these places."""
        return Part(self._rows, index if self._index is None else self._index[index])


def numbers(rows: Rows | Part, name: str) -> U64:
    """One column as 64-bit values."""
    values: U64 = rows[name].astype(np.uint64)
    return values


def columns(window: ServiceWindow, table: str) -> Part:
    """All rows of the back leg's table, by columns that every ledger shares: they are read, never written."""
    found = window.memo.get(f"all {table}")
    if found is None:
        found = window.memo[f"all {table}"] = Part(window.back[table])
    part: Part = found
    return part


def counted(window: ServiceWindow, table: str) -> tuple[Part, Targets]:
    """The rows of a table at a target and not of a health check, with their targets. Worked out once per window."""
    found = window.memo.get(table)
    if found is None:
        rows, target = columns(window, table), window.target[table]
        if len(rows):
            keep = ~window.health[table] & (target != NO_TARGET)
            if not keep.all():
                index = np.flatnonzero(keep)
                rows, target = rows.at(index), target[index]
        found = window.memo[table] = (rows, np.ascontiguousarray(target))
    part: tuple[Part, Targets] = found
    return part


def arrivals(rows: Part, target: Targets) -> Rows:
    """ARRIVAL rows of anything with a connection and a time."""
    made = np.zeros(len(rows), ARRIVAL)
    made["conn"] = rows["conn"]
    made["at_ns"] = rows["at_ns"]
    made["target"] = target
    return made


def clients_of(window: ServiceWindow) -> U64:
    """:func:`client_address` of the counted requests. Worked out once per window."""
    found = window.memo.get("clients")
    if found is None:
        rows, _ = counted(window, "requests")
        found = window.memo["clients"] = client_address(rows, window.proxies)
    clients: U64 = found
    return clients


def client_address(requests: Rows | Part, proxies: frozenset[int]) -> U64:
    """Per request the client's address number: the rightmost forwarded one that is no recognised proxy, else the one a
    proxy's own header names, else the PROXY header's, else the connection's."""
    client = np.zeros(len(requests), np.uint64)
    left = np.arange(len(requests))
    is_proxy = np.zeros(max(proxies, default=0) + 2, np.bool_)
    is_proxy[list(proxies)] = True
    for name in (*FORWARDED, "real_ip", "proxy_source", "client"):
        value = requests[name][left].astype(np.uint64) if len(left) < len(requests) else numbers(requests, name)
        if name in FORWARDED and proxies:
            value[is_proxy[np.minimum(value, len(is_proxy) - 1)]] = 0
        client[left] = value
        left = left[value == 0]
        if not len(left):
            break
    return client


def rows_by_number(requests: Rows | Part, wanted: U64) -> npt.NDArray[np.intp]:
    """The row of each request by its number; -1 where it is in no row."""
    return places_of(numbers(requests, "request"), wanted)


def places_of(have: U64, wanted: U64) -> npt.NDArray[np.intp]:
    """Where each wanted number stands among those we have; -1 for none. Cheapest where they go up by one."""
    if not len(have):
        return np.full(len(wanted), -1, np.intp)
    steps = np.diff(have.astype(np.int64))
    if (steps == 1).all():
        places = wanted.astype(np.int64) - int(have[0])
        places[(places < 0) | (places >= len(have))] = -1
        return places.astype(np.intp)
    order = None if (steps > 0).all() else np.argsort(have, kind="stable")
    places = np.minimum(np.searchsorted(have, wanted, sorter=order), len(have) - 1)
    if order is not None:
        places = order[places]
    return np.where(have[places] == wanted, places, -1)


class Networks:
    """The /24 or /64 of every address number, worked out when it is first asked for."""

    def __init__(self) -> None:
        self._nets: U64 = np.zeros(1, np.uint64)

    def of(self, addresses: U64, interner: Interner) -> U64:
        """One 64-bit value per network."""
        known = len(self._nets)
        top = int(addresses.max(initial=0)) + 1
        if top > known:
            grown = np.zeros(top, np.uint64)
            grown[:known] = self._nets
            for number in range(max(known, 1), top):
                packed = interner[number]
                grown[number] = int.from_bytes(packed[7:15] if packed[:12] == V4_MAPPED else packed[:8], "big")
            self._nets = grown
        nets: U64 = self._nets[addresses.astype(np.intp)]
        return nets


def distinct(values: npt.NDArray[np.generic], limit: int = 256) -> list[int]:
    """Different values in order of first appearance; cheap for many rows with few values."""
    found: list[int] = []
    left = values
    while len(left) and len(found) < limit:
        found.append(int(left[0]))
        left = left[left != left[0]]
    return found


class Neighbours:
    """Consecutive rows of one connection."""

    def __init__(self, conns: npt.NDArray[np.generic]) -> None:
        self._order = np.argsort(conns, kind="stable")
        conns = conns[self._order]
        self._same = conns[1:] == conns[:-1]

    def changes(self, who: U64) -> tuple[int, int]:
        """Neighbours that both name somebody, and those that name somebody else than the one before."""
        who = who[self._order]
        together = self._same & (who[1:] != 0) & (who[:-1] != 0)
        return int(together.sum()), int((together & (who[1:] != who[:-1])).sum())
