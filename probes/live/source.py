"""Live packets as a source of observations."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from lbtop.probes.live.blocks import Blocks
from lbtop.probes.live.listeners import namespaces
from lbtop.probes.live.losses import HostLosses
from lbtop.probes.live.owners import Owners
from lbtop.probes.live.ring import ALL_INTERFACES, LOOPBACK, Ring
from lbtop.probes.live.sockets import Keepalive, accepted, keepalives, sockets
from lbtop.probes.wire.decoder import Decoder

from lbtop.model.observation import Batch, KernelTcp, Rows, SourceStats
from lbtop.model.record import replace

if TYPE_CHECKING:
    from lbtop.probes.ebpf.plaintext import Plaintext
    from lbtop.probes.ebpf.tcp_events import TcpEvents
    from lbtop.probes.wire.recognition import Recognition

_FLUSH_S = 0.25
"""A batch is handed over at least this often when anything was observed."""
_MOST_TOLD = 3
"""Ports of which the kernel's own counts are notes; all of them are in the JSON."""
_COUNT_S = 1.0
"""The kernel's counters are read this often at most, and at the end."""
_SOCKETS_S = 15.0
_SOCKETS_COST = 500
"""The socket table is looked at this often at most, and for at most this part of the time: a host may have very many."""


class PacketSource:
    """Rings on the wanted interfaces, one decoder for all. Implements :class:`lbtop.model.observation.Source`.

    Without ``interfaces``: everything but loopback. Ends after ``for_s`` seconds where that is given, or with :meth:`stop`.
    """

    kind = "packet"

    def __init__(
        self,
        interfaces: Sequence[str] = (),
        *,
        ports: Sequence[int] = (),
        for_s: float | None = None,
        recognition: Recognition | None = None,
        filter_fd: int | None = None,
    ) -> None:
        self.decoder = Decoder(recognition=recognition)
        self.interfaces = tuple(interfaces)
        leave_out = 0 if interfaces else _interface_number(LOOPBACK)
        self._rings = [Ring(name, filter_fd=filter_fd) for name in (interfaces or (ALL_INTERFACES,))]
        filtered = filter_fd is not None
        self._blocks = [Blocks(self.decoder, ring.map, ring.block_bytes, leave_out, filtered) for ring in self._rings]
        self._poll = select.poll()
        for ring in self._rings:
            self._poll.register(ring, select.POLLIN | select.POLLERR)
        self.namespaces = namespaces()
        self._owners = Owners(self.decoder)
        self._owners.learn(self.namespaces)
        self._losses = HostLosses(interfaces)
        self._open_before: int | None = None
        self._keepalives: dict[int, Keepalive] = {}
        self._look_at_sockets()
        self._ends = None if for_s is None else time.monotonic() + for_s
        self._flushed = time.monotonic()
        self._dropped = 0
        self._lost: list[str] = []
        self._count_again = 0.0
        self._stopping = False
        self._final = False
        self._ports = np.array(sorted(ports), np.uint16)
        self.inside: Plaintext | None = None
        self.kernel: TcpEvents | None = None
        self._kernel_tcp: tuple[KernelTcp, ...] = ()
        self._served = np.zeros(1 << 16, np.bool_)
        self.notes: list[str] = []
        if self._open_before:
            self.notes.append(
                f"{self._open_before:,} connections to this host were open already: they are seen from their middle on"
            )

    def poll(self, timeout_s: float = 0.0) -> Batch | None:
        if self._final:
            return None
        deadline = time.monotonic() + timeout_s
        while True:
            busy = self._walk()
            now = time.monotonic()
            if self._stopping or (self._ends is not None and now >= self._ends):
                return self._finish()
            waiting = self.decoder.tables.rows
            if self.decoder.due() or (waiting and now - self._flushed >= _FLUSH_S):
                self._flushed = now
                self._owners.tell()
                return self._of_ports(self._taken(self.decoder.flush()))
            if now >= deadline:
                return None
            if not busy:
                until = min(deadline, self._ends or deadline)
                if waiting:
                    until = min(until, self._flushed + _FLUSH_S)
                self._poll.poll(max(1.0, (until - now) * 1000))

    def _look_at_sockets(self) -> None:
        """The host's own socket table: once at the start, and now and then for what keepalive really is."""
        began = time.monotonic()
        table = sockets()
        if self._open_before is None:
            self._open_before = accepted(table)
        self._keepalives.update({row.port: row for row in keepalives(table)})
        ended = time.monotonic()
        self._look_again = ended + max(_SOCKETS_S, _SOCKETS_COST * (ended - began))

    def _walk(self) -> int:
        """Decodes what has arrived; how many blocks that were."""
        began = time.monotonic_ns()
        busy = sum(blocks.walk() for blocks in self._blocks)
        if self.inside is not None and (self._stopping or not self.decoder.due()):
            self.inside.drain(began, everything=self._stopping)
        return busy

    def stop(self) -> None:
        """The next :meth:`poll` reads what has arrived and gives the last batch."""
        self._stopping = True

    def _finish(self) -> Batch:
        self._stopping = True
        while self._walk():
            pass
        self._final = True
        self._owners.tell()
        return self._of_ports(self._taken(self.decoder.finish()))

    def _taken(self, batch: Batch) -> Batch:
        """For probes that keep something per connection: sees every batch before it is handed over."""
        return batch

    def _of_ports(self, batch: Batch) -> Batch:
        """Only what belongs to services on the wanted ports."""
        if self.inside is not None:
            self.inside.coverage.ended(batch)
        if self.kernel is not None:
            self._served[batch["opened"]["server_port"]] = True
            self._served[batch["connections"]["server_port"]] = True
        if not len(self._ports):
            return batch
        tables = {name: rows[np.isin(rows["server_port"], self._ports)] for name, rows in batch.tables.items()}
        return replace(batch, tables=tables)

    def live(self) -> Rows:
        rows: Rows = self.decoder.live()
        if self.inside is not None:
            self.inside.coverage.live(rows)
        return rows[np.isin(rows["server_port"], self._ports)] if len(self._ports) else rows

    def stats(self) -> SourceStats:
        decoder = self.decoder
        now = time.monotonic()
        if self._final or now >= self._count_again:
            self._count_again = now + _COUNT_S
            self._count()
        if now > self._look_again and not self._final:
            self._look_at_sockets()
        seen = decoder.packets + decoder.duplicates > 0
        kernel = self._of_kernel()
        return SourceStats(
            kind=self.kind,
            inputs=self.interfaces or ("all interfaces",),
            started_ns=decoder.started_ns if seen else 0,
            ended_ns=decoder.ended_ns if seen else 0,
            packets=decoder.packets,
            bytes=decoder.bytes,
            undecoded_packets=decoder.undecoded + decoder.fragments.lost + decoder.fragments.waiting,
            truncated_packets=decoder.truncated,
            duplicate_packets=decoder.duplicates,
            dropped_packets=self._dropped,
            half_open_evicted=decoder.connections.half_open_evicted,
            caps_reached=(*decoder.caps_reached(), *self._caps()),
            read_bytes=decoder.bytes,
            notes=(
                *self._damage(),
                *self._lost,
                *self.notes,
                *(self.inside.notes() if self.inside else ()),
                *[row.told for row in kernel if row.told][:_MOST_TOLD],
            ),
            inside_tls=self.inside.stats() if self.inside else None,
            kernel_tcp=kernel,
            keepalives=tuple((row.port, row.sockets, row.seconds) for row in self._keepalives.values()),
        )

    def _of_kernel(self) -> tuple[KernelTcp, ...]:
        """The kernel's counts, as far as they are of ports in view."""
        if self.kernel is not None:
            found = self.kernel.read(self._served)
            self._kernel_tcp = tuple(row for row in found if not len(self._ports) or row.port in self._ports)
        return self._kernel_tcp

    def _count(self) -> None:
        """What takes system calls to know."""
        if any(ring.socket.fileno() >= 0 for ring in self._rings):
            self._dropped = sum(ring.dropped() for ring in self._rings)
        self._lost = self._losses.notes()

    def _caps(self) -> list[str]:
        """For probes with bounds of their own: a sentence about every one that was met."""
        return []

    def _damage(self) -> list[str]:
        damaged = sum(blocks.damaged for blocks in self._blocks)
        return [f"{damaged:,} blocks of the packet ring were damaged and left out in part"] if damaged else []

    def close(self) -> None:
        for part in (self.inside, self.kernel):
            if part is not None:
                part.close()
        for blocks in self._blocks:
            blocks.release()
        for ring in self._rings:
            ring.close()


def _interface_number(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0
