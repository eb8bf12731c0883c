"""Rows of many connections, handed out as a source would."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count

import numpy as np

from lbtop.model.address import endpoint_text, pack_ip
from lbtop.model.observation import (
    TABLES,
    Batch,
    ConnFlag,
    End,
    Orientation,
    Protocol7,
    Rows,
    Side,
    SourceStats,
    empty,
)
from lbtop.testing.connection import Connection, Row
from lbtop.testing.interner import TextInterner, hashed, split_endpoint

STEP_S = 0.001
START_NS = 1_790_000_000_000_000_000
LINUX = "1460,64240,7,MSTNW"


class Traffic:
    """Collects rows; :meth:`batch`, :meth:`batches` and :meth:`source` hand them out."""

    def __init__(self, start_ns: int = START_NS) -> None:
        self.start_ns = start_ns
        self.strings = TextInterner()
        self.addresses = TextInterner()
        self.request_numbers = count(1)
        self.connections: list[Connection] = []
        self._rows: list[tuple[int, int, str, Row]] = []
        self._now_s = 0.0
        self._ports: dict[str, Iterator[int]] = {}

    def moment(self, at: float | None) -> float:
        """Seconds since the start: the time given, or a step after the latest call."""
        self._now_s = self._now_s + STEP_S if at is None else at
        return self._now_s

    def time(self, at: float | None) -> int:
        return self.start_ns + round(self.moment(at) * 1e9)

    def address(self, text: str) -> int:
        return self.addresses.number(pack_ip(text)) if text else 0

    def string(self, text: str | bytes) -> int:
        return self.strings.number(text.encode() if isinstance(text, str) else text)

    def add(self, table: str, at_ns: int, **columns: int) -> None:
        """One row of any table, for what the methods below do not offer."""
        self._rows.append((at_ns, len(self._rows), table, columns))

    def connect(
        self,
        client: str,
        server: str,
        *,
        at: float | None = None,
        syn: bool = True,
        stack: str = LINUX,
        ttl: int = 64,
        ttl_s: int = 64,
        proto: int = 6,
        protocol7: Protocol7 = Protocol7.UNKNOWN,
        orientation: Orientation | None = None,
        connect_ms: float = 0.5,
        ack_ms: float = 0.0,
        isn: int | None = None,
        flags: int = 0,
        interface: int = 0,
    ) -> Connection:
        """A connection that has begun. Without a port the client takes its next one. Counts from its first data on."""
        at_s = self.moment(at)
        client_ip, client_port = split_endpoint(client)
        server_ip, server_port = split_endpoint(server)
        client_port = client_port or next(self._ports.setdefault(client_ip, count(32768)))
        number = len(self.connections) + 1
        if syn and proto == 6:
            flags |= ConnFlag.SYN | ConnFlag.SYNACK
        if orientation is None:
            orientation = Orientation.SYN if syn and proto == 6 else Orientation.PAYLOAD
        row = {
            name: 0
            for name in TABLES["connections"].names or ()
            if name not in ("seq", "at_ns", "conn", "client", "server", "client_port", "server_port", "end", "first_closer")
        }
        mss, window = (int(part) for part in stack.split(",")[:2])
        row.update(
            opened_ns=self.start_ns + round(at_s * 1e9),
            connect_ns=round(connect_ms * 1e6) if syn else 0,
            ack_ns=round(ack_ms * 1e6) if syn else 0,
            isn_c=(hashed(f"isn-{number}") & 0xFFFFFFFF) if isn is None else isn,
            stack=self.string(stack) if syn else 0,
            mss=mss,
            window=window,
            proto=proto,
            protocol7=protocol7,
            orientation=orientation,
            ttl_c=ttl,
            ttl_s=ttl_s,
            interface=interface,
            flags=flags,
        )
        row["last_ns"] = row["opened_ns"]
        ends = {
            "client": self.address(client_ip),
            "server": self.address(server_ip),
            "client_port": client_port,
            "server_port": server_port,
        }
        conn = Connection(self, number, ends, row, at_s)
        self.connections.append(conn)
        return conn

    def exchange(
        self,
        client: str,
        server: str,
        path: str = "/",
        *,
        at: float | None = None,
        status: int = 200,
        set_cookies: Mapping[str, str] | None = None,
        **request: object,
    ) -> Connection:
        """A connection with one request, its response and an orderly end."""
        conn = self.connect(client, server, at=at)
        conn.request("GET", path, **request)  # type: ignore[arg-type]
        conn.respond(status, set_cookies=set_cookies)
        return conn.close()

    def probe(self, client: str, server: str, *, at: float | None = None, refused: bool = False) -> Connection:
        """Opens and closes without a byte; or is refused."""
        conn = self.connect(client, server, at=at)
        return conn.close(
            end=End.RST if refused else End.FIN,
            flags=ConnFlag.REFUSED if refused else 0,
            closer=Side.SERVER if refused else Side.CLIENT,
        )

    def _ordered(self) -> list[tuple[int, int, str, Row]]:
        rows = sorted(self._rows, key=lambda row: (row[0], row[1]))
        last_ns = rows[-1][0] if rows else self.start_ns
        still_open = [conn for conn in self.connections if not conn.closed]
        return rows + [
            (last_ns, 0, "connections", {**conn.ends, **conn.row, "conn": conn.number, "end": int(End.OPEN)})
            for conn in still_open
        ]

    def batch(self) -> Batch:
        """Everything in one final batch."""
        (only,) = self.batches()
        return only

    def batches(self, rows_each: int | None = None) -> list[Batch]:
        """Everything, ``rows_each`` rows at a time; the last one is final."""
        rows = list(enumerate(self._ordered()))
        size = rows_each or max(len(rows), 1)
        parts = [rows[start : start + size] for start in range(0, len(rows), size)] or [[]]
        return [self._batch(part, index == len(parts) - 1) for index, part in enumerate(parts)]

    def _batch(self, rows: Iterable[tuple[int, tuple[int, int, str, Row]]], final: bool) -> Batch:
        by_table: dict[str, list[Row]] = {}
        for seq, (at_ns, _, table, columns) in rows:
            by_table.setdefault(table, []).append({**columns, "seq": seq, "at_ns": at_ns})
        return Batch(
            {name: _array(name, by_table[name]) if name in by_table else empty(name) for name in TABLES},
            self.strings,
            self.addresses,
            final,
        )

    def source(self, rows_each: int | None = None, **stats: object) -> ListSource:
        """A :class:`lbtop.model.observation.Source`; ``stats`` override fields of its :class:`SourceStats`."""
        rows = self._ordered()
        times = [at_ns for at_ns, *_ in rows] or [self.start_ns]
        packets = sum(conn.row["packets_c"] + conn.row["packets_s"] for conn in self.connections)
        known = {
            "kind": "capture",
            "inputs": ("made-up",),
            "started_ns": min(times),
            "ended_ns": max(times),
            "packets": packets,
        }
        return ListSource(self.batches(rows_each), SourceStats(**{**known, **stats}))  # type: ignore[arg-type]

    def endpoint(self, number: int, port: int) -> str:
        return endpoint_text(self.addresses[number], port)


def _array(table: str, rows: Sequence[Row]) -> Rows:
    array = np.zeros(len(rows), TABLES[table])
    for name in array.dtype.names or ():
        array[name] = [row.get(name, 0) for row in rows]
    return array


class ListSource:
    """A source that hands out ready-made batches."""

    def __init__(self, batches: Sequence[Batch], stats: SourceStats) -> None:
        self._batches = list(batches)
        self._stats = stats

    def poll(self, timeout_s: float = 0.0) -> Batch | None:
        return self._batches.pop(0) if self._batches else None

    def live(self) -> Rows:
        return empty("connections")

    def stats(self) -> SourceStats:
        return self._stats

    def close(self) -> None:
        self._batches.clear()
