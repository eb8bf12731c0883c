"""The packet ring with the socket filter in front of it: bulk data stay in the kernel.

The decoder says what it no longer needs (a body's remaining bytes, TLS after its handshake); that is written into the
filter's map, and segments wholly inside such a stretch arrive without their payload. Headers always arrive, so everything that
is counted is counted in one place, the decoder. The kernel's own ledger is only compared with it, to tell what was lost on the
way.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from lbtop.probes.ebpf.keys import flow_key, flow_keys
from lbtop.probes.ebpf.program import Effort, FlowBulk, Program
from lbtop.probes.live.budget import Budget
from lbtop.probes.live.source import PacketSource

from lbtop.model.observation import Batch, Rows

if TYPE_CHECKING:
    from lbtop.probes.wire.recognition import Recognition

_FORGET_AFTER_S = 600.0
_SWEEP_S = 30.0
_RING_DELAY_S = 1.0
_READS = {Effort.HANDSHAKES: "the first 8 KB of every direction", Effort.LEDGER: "packet headers"}
_COMPARED_AT_ONCE = 64
"""Connections per batch whose kernel count is compared with the decoder's: each costs a system call."""


class EbpfSource(PacketSource):
    """Raises Unavailable (lbtop.probes.ebpf.toolchain) where the filter cannot be had."""

    kind = "ebpf"

    def __init__(
        self,
        interfaces: Sequence[str] = (),
        *,
        ports: Sequence[int] = (),
        for_s: float | None = None,
        recognition: Recognition | None = None,
        max_cpu: float | None = None,
    ) -> None:
        self.program = Program()
        self._counters = self.program.counters()
        self._closed = False
        self._budget = None if max_cpu is None else Budget(max_cpu, Effort.LEDGER)
        self._full_since = 0.0
        super().__init__(interfaces, ports=ports, for_s=for_s, recognition=recognition, filter_fd=self.program.fd)
        self._swept = time.monotonic()
        self.marks_written = 0
        self.marks_failed = 0
        self.compared_packets = 0
        self.missed_packets = 0

    def _walk(self) -> int:
        busy = super()._walk()
        if self._budget is not None:
            self._keep_to(self._budget)
        for blocks in self._blocks:
            if blocks.waiting:
                self._write_marks(blocks.take_marks())
        return busy

    def _keep_to(self, budget: Budget) -> None:
        """Reads less or more. What was cut before waits in the ring for a moment longer."""
        now = time.monotonic()
        if budget.look():
            self.program.set_effort(Effort(budget.step))
            if self.inside is not None:
                self.inside.spare(budget.step > 0)
            self._full_since = now
        sparing = budget.step > 0 or now - self._full_since < _RING_DELAY_S
        for blocks in self._blocks:
            blocks.sparing = sparing

    def _write_marks(self, marks: Rows) -> None:
        addresses = self.decoder.tables.addresses
        for mark in marks:
            if not mark["low"] or not mark["high"]:
                continue
            key, swapped = flow_key(
                addresses[int(mark["low"])], int(mark["low_port"]), addresses[int(mark["high"])], int(mark["high_port"])
            )
            ends = (1, 0) if swapped else (0, 1)
            bulk = FlowBulk()
            for at, end in enumerate(ends):
                bulk.until[at] = int(mark["until"][end])
                bulk.mode[at] = int(mark["mode"][end])
            if self.program.mark(key, bytes(bulk)):
                self.marks_written += 1
            else:
                self.marks_failed += 1

    def _taken(self, batch: Batch) -> Batch:
        """Removes what has ended from the kernel's maps, and compares its count with the decoder's."""
        ended = batch["connections"]
        decoded = ended["packets_c"].astype(np.int64) + ended["packets_s"] + ended["duplicates"]
        for rows, keys in flow_keys(ended, batch.addresses) if len(ended) else ():
            for row, key in zip(rows[:_COMPARED_AT_ONCE], keys, strict=False):
                self._compare(key.tobytes(), int(decoded[row]))
            self.program.forget(keys.tobytes(), keys.itemsize)
        now = time.monotonic()
        if now - self._swept > _SWEEP_S:
            self._swept = now
            self.program.forget_before(time.clock_gettime_ns(time.CLOCK_MONOTONIC) - int(_FORGET_AFTER_S * 1e9))
        return batch

    def _count(self) -> None:
        super()._count()
        if not self._closed:
            self._counters = self.program.counters()

    def _caps(self) -> list[str]:
        said = []
        full = f"{self.program.entries:,} connections in the filter's ledger"
        if self._counters["no_room"]:
            said.append(f"{full}: {self._counters['no_room']:,} packets of others were read whole")
        if self.marks_failed:
            said.append(f"{self.program.entries:,} connections marked as bulk: {self.marks_failed:,} marks had no room")
        stale = sum(blocks.stale for blocks in self._blocks)
        if stale:
            said.append(f"{stale:,} packets lack their payload because their ports were used again at once")
        spared = sum(blocks.spared for blocks in self._blocks)
        if spared:
            said.append(f"--max-cpu: the payload of {spared:,} packets was not read")
        return said

    def _damage(self) -> list[str]:
        missed = self.missed_packets
        lost = [f"{missed:,} packets that the filter counted were not decoded"] if missed > self._dropped else []
        if self._budget is not None and self._budget.step:
            lost.append(
                f"only {_READS[Effort(self._budget.step)]} are read, to stay within {self._budget.share:.0%} of a processor "
                f"(now {self._budget.used:.1%})"
            )
        return super()._damage() + lost

    def _compare(self, key: bytes, decoded: int) -> None:
        entry = self.program.look(key)
        if entry is not None:
            self.compared_packets += decoded
            self.missed_packets += max(0, entry.packets[0] + entry.packets[1] - decoded)

    def close(self) -> None:
        super().close()
        if not self._closed:
            self._counters = self.program.counters()
            self._closed = True
            self.program.close()
