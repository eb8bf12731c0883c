"""The socket filter, loaded, and its maps."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path

from lbtop.probes.ebpf.loader import load_socket_filter
from lbtop.probes.ebpf.maps import Map, is_supported, processors
from lbtop.probes.ebpf.toolchain import Unavailable

HERE = Path(__file__).parent
_COARSE_CLOCK = (5, 11)
"""Linux since which programs may read the clock of the last tick."""
ENTRIES = 65_536
NAMES = ("cut", "cut_bytes", "no_room", "not_parsed")
"""The kernel's counters, in the order of enum counter in ledger.h."""


class Effort(IntEnum):
    """enum effort of ledger.h: how much of every connection is read."""

    HEADS = 0
    HANDSHAKES = 1
    LEDGER = 2


class FlowKey(ctypes.Structure):
    """struct flow_key of ledger.h."""

    _fields_ = (
        ("low", ctypes.c_uint8 * 16),
        ("high", ctypes.c_uint8 * 16),
        ("low_port", ctypes.c_uint16),
        ("high_port", ctypes.c_uint16),
        ("proto", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 3),
    )


class FlowLedger(ctypes.Structure):
    """struct flow_ledger of ledger.h. Index 0: sent by the low end."""

    _fields_ = (
        ("first_ns", ctypes.c_uint64),
        ("last_ns", ctypes.c_uint64),
        ("packets", ctypes.c_uint64 * 2),
        ("bytes", ctypes.c_uint64 * 2),
        ("syn_to_synack_us", ctypes.c_uint32),
        ("flags", ctypes.c_uint8 * 2),
        ("pad", ctypes.c_uint8 * 2),
    )


class FlowBulk(ctypes.Structure):
    """struct flow_bulk of ledger.h."""

    _fields_ = (("until", ctypes.c_uint32 * 2), ("mode", ctypes.c_uint8 * 2), ("pad", ctypes.c_uint8 * 2))


class Program:
    """Loaded while it lives. ``fd`` is what a socket attaches. Raises Unavailable."""

    def __init__(self, entries: int = ENTRIES) -> None:
        if not is_supported():
            raise Unavailable(f"bpf(2) is not known on {platform.machine()}")
        if os.geteuid() != 0 and not _may_load():
            raise Unavailable(
                "loading a filter needs root, or CAP_BPF and CAP_NET_RAW (setcap, or systemd's AmbientCapabilities)"
            )
        loaded = load_socket_filter(
            source().encode(), b"lbtop_filter", (b"ledger", b"bulk", b"counters", b"effort"), _flags(entries)
        )
        self.fd, ledger, bulk, counters, effort = loaded
        self.entries = entries
        key = ctypes.sizeof(FlowKey)
        self._processors = processors()
        self._ledger = Map(ledger, key, ctypes.sizeof(FlowLedger))
        self._bulk = Map(bulk, key, ctypes.sizeof(FlowBulk))
        self._counters = Map(counters, 4, 8 * self._processors)
        self._effort = Map(effort, 4, 4)

    def counters(self) -> Mapping[str, int]:
        """Counts since it was loaded, over all processors."""
        layout = f"={self._processors}Q"
        found = (self._counters.get(struct.pack("=i", number)) for number in range(len(NAMES)))
        return {name: sum(struct.unpack(layout, values)) if values else 0 for name, values in zip(NAMES, found, strict=True)}

    def set_effort(self, effort: Effort) -> None:
        """From the next packet on."""
        self._effort.put(struct.pack("=i", 0), struct.pack("=I", effort))

    def mark(self, key: bytes, mark: bytes) -> bool:
        """Writes what the decoder no longer needs of a connection; False where the map has no room."""
        return self._bulk.put(key, mark)

    def forget(self, key: bytes) -> None:
        """Removes a connection that is over from both maps."""
        self._ledger.remove(key)
        self._bulk.remove(key)

    def look(self, key: bytes) -> FlowLedger | None:
        """The kernel's own count of a connection."""
        found = self._ledger.get(key)
        return None if found is None else FlowLedger.from_buffer_copy(found)

    def forget_before(self, last_ns: int) -> int:
        """Removes connections silent since then (of the kernel's monotonic clock): their end was never seen. How many."""
        stale = []
        for key in list(self._ledger.keys()):
            entry = self.look(key)
            if entry is not None and entry.last_ns < last_ns:
                stale.append(key)
        for key in stale:
            self.forget(key)
        return len(stale)

    def close(self) -> None:
        """Frees program and maps. (When the process ends, however it ends, the kernel does.)"""
        os.close(self.fd)
        for each in (self._ledger, self._bulk, self._counters, self._effort):
            each.close()


def source() -> str:
    """The C text with its header in place: bcc compiles from memory."""
    header = (HERE / "ledger.h").read_text("utf-8")
    return (HERE / "ledger.c").read_text("utf-8").replace('#include "ledger.h"', header)


def _flags(entries: int) -> list[str]:
    numbers = platform.release().split("-")[0].split(".")[:2]
    coarse = all(number.isdigit() for number in numbers) and tuple(map(int, numbers)) >= _COARSE_CLOCK
    clock = ["-DCLOCK=bpf_ktime_get_coarse_ns"] if coarse else []
    return [f"-DLEDGER_ENTRIES={entries}", *clock, "-Wno-everything"]


def _may_load() -> bool:
    """CAP_BPF (39) and CAP_NET_RAW (13) among the effective capabilities, or CAP_SYS_ADMIN (21)."""
    try:
        status = Path("/proc/self/status").read_text("ascii", "replace")
    except OSError:
        return False
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            held = int(line.split()[1], 16)
            return bool(held >> 21 & 1) or bool(held >> 39 & 1 and held >> 13 & 1)
    return False
