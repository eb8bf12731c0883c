"""What this host's kernel says of its own TCP: segments sent again, resets and why, connections opened and refused.

Counted by programs at tracepoints, by ports. Packets remain what everything is judged by; this says which of it was this
host's doing, and for what reason, which no packet tells. It counts for the whole kernel: every network namespace.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from lbtop.probes.ebpf import assembler, attach
from lbtop.probes.ebpf.assembler import LOOKUP, R0, R1, R2, R3, R4, R6, R10, UPDATE, Assembly
from lbtop.probes.ebpf.bpf import is_supported
from lbtop.probes.ebpf.maps import Map
from lbtop.probes.ebpf.toolchain import Unavailable
from lbtop.probes.ebpf.tracefs import Tracepoint, tracepoints

from lbtop.model.observation import KernelTcp

LOST, AGAIN, RESET_SENT, RESET_RECEIVED, ACCEPTED, CONNECTED, FAILED = range(7)
"""First byte of a key; its second is the reason of a reset, then come the ports: our own, and the other end's."""
STATE, RETRANSMIT, SENT, RECEIVED = (
    "sock/inet_sock_set_state",
    "tcp/tcp_retransmit_skb",
    "tcp/tcp_send_reset",
    "tcp/tcp_receive_reset",
)
NAMES = (STATE, RETRANSMIT, SENT, RECEIVED)
ENTRIES = 8192
_KEY = struct.Struct("=BBHHH")
_ESTABLISHED, _SYN_SENT, _SYN_RECV, _CLOSE = 1, 2, 3, 7
_TCP = 6
_KEY_AT, _ONE_AT = -8, -16


class TcpEvents:
    """Counts while it lives. ``missing``: tracepoints that this kernel does not have. Raises Unavailable."""

    def __init__(self) -> None:
        if not is_supported() or not attach.is_supported():
            raise Unavailable("this kernel or machine has no perf events for programs")
        points = tracepoints(NAMES)
        self.missing = tuple(name for name in NAMES if name not in points)
        self._reasons: Mapping[int, str] = points[SENT].symbols if SENT in points and "reason" in points[SENT].fields else {}
        self._descriptors: list[int] = []
        counts = assembler.create_map(_KEY.size, 8, ENTRIES)
        self._map = Map(counts, _KEY.size, 8)
        self._descriptors.append(counts)
        self._totals: Counter[tuple[int, int, int]] = Counter()
        self._map.put(_KEY.pack(LOST, 0, 0, 0, 0), bytes(8))
        try:
            for name, point in points.items():
                try:
                    code = program_for(name, point, counts)
                except KeyError:  # this kernel calls a field otherwise
                    self.missing = (*self.missing, name)
                    continue
                program = assembler.load(code)
                self._descriptors += (program, attach.to_tracepoint(program, point.number))
        except Unavailable:
            self.close()
            raise

    def read(self, served: npt.NDArray[np.bool_]) -> tuple[KernelTcp, ...]:
        """What was counted for every port of ``served`` (65,536 flags), since it was attached."""
        if self._descriptors:
            self._fold(served)
        found = []
        for port in sorted({port for _, _, port in self._totals}):
            of = {what: self._sum(what, port) for what in (AGAIN, RESET_RECEIVED, ACCEPTED, CONNECTED, FAILED)}
            reasons = {why: count for (what, why, at), count in self._totals.items() if what == RESET_SENT and at == port}
            told = tuple(sorted((reason_text(self._reasons.get(why)), count) for why, count in reasons.items()))
            found.append(KernelTcp(port, of[AGAIN], told, of[RESET_RECEIVED], of[ACCEPTED], of[CONNECTED], of[FAILED]))
        return tuple(found)

    def close(self) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []

    def _sum(self, what: int, port: int) -> int:
        return sum(count for (kind, _, at), count in self._totals.items() if kind == what and at == port)

    def _fold(self, served: npt.NDArray[np.bool_]) -> None:
        """Takes the counts out of the map, to the ports that serve. What belongs to none waits, up to half of the map."""
        keys = [key for some, _ in self._map.items() for key in _KEY.iter_unpack(some)]
        for what, why, local, remote, pad in keys:
            if what == LOST:
                continue
            port = local if served[local] else remote if served[remote] else None
            if port is None and len(keys) < ENTRIES // 2:
                continue
            key = _KEY.pack(what, why, local, remote, pad)
            value = self._map.get(key)
            self._map.remove(key)
            if value is not None and port is not None:
                self._totals[what, why, port] += struct.unpack("=Q", value)[0]


def reason_text(name: str | None) -> str:
    """``TCP_ABORT_ON_CLOSE`` of the kernel's names as words."""
    return "no reason given" if name in (None, "NOT_SPECIFIED") else str(name).removeprefix("TCP_").lower().replace("_", " ")


def program_for(name: str, point: Tracepoint, counts: int) -> bytes:
    """The program that counts at a tracepoint into the map ``counts``, by where this kernel has the fields."""
    code = Assembly()
    code.move(R6, R1)
    code.store_number(8, R10, _KEY_AT, 0)
    fields = point.fields
    if name == STATE:
        _state(code, fields)
    else:
        code.store_number(1, R10, _KEY_AT, {RETRANSMIT: AGAIN, SENT: RESET_SENT, RECEIVED: RESET_RECEIVED}[name])
        if "reason" in fields:
            code.load(4, R2, R6, fields["reason"][0])
            code.unless_above(R2, 255, "known")
            code.put(R2, 0)
            code.label("known")
            code.store(1, R10, _KEY_AT + 1, R2)
        _ports(code, fields)
    _count(code, counts)
    return code.bytes()


def _state(code: Assembly, fields: Mapping[str, tuple[int, int]]) -> None:
    """Connections accepted (by our port), opened by us and refused to us (by the other end's)."""
    if "protocol" in fields:
        size = fields["protocol"][1]
        code.load(size, R2, R6, fields["protocol"][0])
        code.unless_equal(R2, _TCP, "out")
    code.load(4, R2, R6, fields["oldstate"][0])
    code.load(4, R3, R6, fields["newstate"][0])
    code.if_equal(R2, _SYN_SENT, "ours")
    code.unless_equal(R2, _SYN_RECV, "out")
    code.unless_equal(R3, _ESTABLISHED, "out")
    code.store_number(1, R10, _KEY_AT, ACCEPTED)
    code.load(2, R2, R6, fields["sport"][0])
    code.store(2, R10, _KEY_AT + 2, R2)
    code.go("count")
    code.label("ours")
    code.store_number(1, R10, _KEY_AT, CONNECTED)
    code.if_equal(R3, _ESTABLISHED, "to")
    code.unless_equal(R3, _CLOSE, "out")
    code.store_number(1, R10, _KEY_AT, FAILED)
    code.label("to")
    code.load(2, R2, R6, fields["dport"][0])
    code.store(2, R10, _KEY_AT + 4, R2)
    code.label("count")


def _ports(code: Assembly, fields: Mapping[str, tuple[int, int]]) -> None:
    """Both ports: numbers of their own, or within socket addresses (in network order, Linux 6.10)."""
    for place, port, address in ((2, "sport", "saddr"), (4, "dport", "daddr")):
        if port in fields:
            code.load(2, R2, R6, fields[port][0])
        else:
            code.load(2, R2, R6, fields[address][0] + 2)
            code.from_network(R2)
        code.store(2, R10, _KEY_AT + place, R2)


def _count(code: Assembly, counts: int) -> None:
    """Adds one to the key's count; makes it where it is new; where there is no room, to the count of what was lost."""
    _look_up(code, counts, "new")
    code.label("new")
    code.store_number(8, R10, _ONE_AT, 1)
    code.map(R1, counts)
    code.move(R2, R10)
    code.add(R2, _KEY_AT)
    code.move(R3, R10)
    code.add(R3, _ONE_AT)
    code.put(R4, 1)  # BPF_NOEXIST: another processor may have been first
    code.call(UPDATE)
    code.if_equal(R0, 0, "out")
    _look_up(code, counts, "full")
    code.label("full")
    code.store_number(8, R10, _KEY_AT, 0)
    _look_up(code, counts, "out")
    code.label("out")
    code.end()


def _look_up(code: Assembly, counts: int, absent: str) -> None:
    code.map(R1, counts)
    code.move(R2, R10)
    code.add(R2, _KEY_AT)
    code.call(LOOKUP)
    code.if_equal(R0, 0, absent)
    code.put(R1, 1)
    code.count(R0, R1)
    code.end()
