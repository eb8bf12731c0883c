"""Everything that arrived at the targets of one service, as columns: the input of a what-if."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from lbtop import catalog
from lbtop.model.address import endpoint_text
from lbtop.model.observation import Batch, CookieFlag, Rows, Source
from lbtop.model.record import dataclass

Column = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """One row per unit the balancer decides about: a connection at layer 4, a request at layer 7, in order of time.

    ``client`` and ``session`` are dense numbers (session -1: none), ``octets`` the four bytes of an IPv4 client, else zeros;
    ``cost`` its requests, or 1 where there are none; ``target`` as it was.
    """

    at_ns: Column
    until_ns: Column
    client: Column
    port: Column
    session: Column
    octets: npt.NDArray[np.uint8]
    cost: Column
    target: Column
    targets: tuple[str, ...]
    layer7: bool

    def __len__(self) -> int:
        return len(self.at_ns)


def collect(source: Source, targets: Iterable[str], *, layer7: bool) -> Arrivals:
    """Reads a source to its end. ``targets`` are endpoints as text; their order numbers them. Health checks are left out."""
    wanted = {name: number for number, name in enumerate(targets)}
    parts: dict[str, list[Rows]] = {name: [] for name in ("opened", "requests", "cookies", "responses", "connections")}
    last: Batch | None = None
    known: dict[tuple[int, int], int] = {}
    while (batch := source.poll(1.0)) is not None:
        last = batch
        for table, rows in parts.items():
            found = batch[table]
            if len(found):
                rows.append(found[_numbers(found, batch, wanted, known) >= 0])
        if batch.final:
            break
    assert last is not None
    tables = {name: np.concatenate(rows) if rows else np.zeros(0, last[name].dtype) for name, rows in parts.items()}
    return _requests(tables, last, wanted, known) if layer7 else _connections(tables, last, wanted, known)


def _numbers(rows: Rows, batch: Batch, wanted: dict[str, int], known: dict[tuple[int, int], int]) -> Column:
    """Number of the target of every row, -1 for others."""
    ends = rows["server"].astype(np.int64) << 16 | rows["server_port"]
    distinct, inverse = np.unique(ends, return_inverse=True)
    numbers = np.empty(len(distinct), np.int64)
    for i, end in enumerate(distinct.tolist()):
        pair = (end >> 16, end & 0xFFFF)
        if pair not in known:
            known[pair] = wanted.get(endpoint_text(batch.addresses[pair[0]], pair[1]), -1)
        numbers[i] = known[pair]
    return numbers[inverse]


def _client(rows: Rows) -> npt.NDArray[np.uint32]:
    """The address the balancer next to the target would hash: the forwarded one, the PROXY header's, or the peer's."""
    names = rows.dtype.names or ()
    client: npt.NDArray[np.uint32] = rows["client"].copy()
    for column in ("proxy_source", "forwarded0"):
        if column in names:
            client = np.where(rows[column] != 0, rows[column], client)
    return client


def _connections(tables: dict[str, Rows], batch: Batch, wanted: dict[str, int], known: dict[tuple[int, int], int]) -> Arrivals:
    opened, ended, requests = tables["opened"], tables["connections"], tables["requests"]
    order = np.argsort(ended["conn"], kind="stable")
    at = np.searchsorted(ended["conn"][order], opened["conn"])
    at = np.minimum(at, max(0, len(order) - 1))
    closed = ended[order][at] if len(order) else np.zeros(len(opened), ended.dtype)
    until = np.where(closed["conn"] == opened["conn"], closed["last_ns"], opened["at_ns"])
    cost = np.maximum(1, closed["requests"].astype(np.int64)) if len(requests) else np.ones(len(opened), np.int64)
    return _arrivals(
        opened, opened["at_ns"], until, _client(opened), opened["client_port"], None, cost, batch, wanted, known, False
    )


def _requests(tables: dict[str, Rows], batch: Batch, wanted: dict[str, int], known: dict[tuple[int, int], int]) -> Arrivals:
    requests, cookies = _without_checks(tables["requests"], batch), tables["cookies"]
    sessions = np.zeros(len(requests), np.uint64)
    # the session that a request presents; where it has none, the one that its response issues: it begins there
    for wanted_flags in (CookieFlag.SESSION, CookieFlag.SESSION | CookieFlag.SET):
        chosen = cookies[(cookies["flags"] & (CookieFlag.SESSION | CookieFlag.SET)) == wanted_flags]
        found, where = _by_request(chosen, requests)
        sessions[(sessions == 0) & found] = chosen["value"][where[(sessions == 0) & found]]
    cost = np.ones(len(requests), np.int64)
    found, where = _by_request(tables["responses"], requests)
    until = requests["at_ns"].astype(np.int64)
    until[found] = np.maximum(until[found], tables["responses"]["at_ns"][where[found]])
    return _arrivals(
        requests, requests["at_ns"], until, _client(requests), requests["client_port"], sessions, cost, batch, wanted, known, True
    )


def _by_request(rows: Rows, requests: Rows) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.intp]]:
    """Of every request, whether a row belongs to it, and the first one's place."""
    if not len(rows):
        return np.zeros(len(requests), np.bool_), np.zeros(len(requests), np.intp)
    numbers, first = np.unique(rows["request"], return_index=True)
    at = np.minimum(np.searchsorted(numbers, requests["request"]), len(numbers) - 1)
    return numbers[at] == requests["request"], first[at]


def _without_checks(requests: Rows, batch: Batch) -> Rows:
    """Without the requests of health checkers, known ones and those that alone are not forwarded for anybody."""
    agents, which = np.unique(requests["user_agent"], return_inverse=True)
    known = np.array([catalog.health_checker(batch.strings[int(n)].decode("latin-1")) is not None for n in agents], bool)
    forwarded = requests["forwarded0"] != 0
    checks = known[which] if len(requests) else np.zeros(0, bool)
    if 2 * np.count_nonzero(forwarded) > len(requests):
        checks = checks | ~forwarded
    kept: Rows = requests[~checks]
    return kept


def _arrivals(
    rows: Rows, at: Rows, until: Column, client: npt.NDArray[np.uint32], port: Rows, sessions: npt.NDArray[np.uint64] | None,
    cost: Column, batch: Batch, wanted: dict[str, int], known: dict[tuple[int, int], int], layer7: bool,
) -> Arrivals:  # fmt: skip
    distinct, clients = np.unique(client, return_inverse=True)
    packed = [batch.addresses[int(number)] for number in distinct]
    v4 = [address[:12] == b"\x00" * 10 + b"\xff\xff" for address in packed]
    octets = np.array([list(a[12:]) if is_v4 else [0] * 4 for a, is_v4 in zip(packed, v4, strict=True)], np.uint8).reshape(-1, 4)
    numbered = np.full(len(rows), -1, np.int64)
    if sessions is not None and len(rows):
        values, dense = np.unique(sessions, return_inverse=True)
        numbered = np.where(sessions == 0, -1, dense - int(values[0] == 0))
    order = np.argsort(at, kind="stable")
    return Arrivals(
        at_ns=at[order].astype(np.int64), until_ns=until[order].astype(np.int64),
        client=clients[order].astype(np.int64),
        port=port[order].astype(np.int64), session=numbered[order],
        octets=octets[clients][order] if len(rows) else np.zeros((0, 4), np.uint8), cost=cost[order],
        target=_numbers(rows, batch, wanted, known)[order], targets=tuple(wanted), layer7=layer7,
    )  # fmt: skip
