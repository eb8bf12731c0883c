"""The socket filter, loaded, and its maps."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import struct
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path

from lbtop.probes.ebpf import prebuilt
from lbtop.probes.ebpf.bpf import is_supported
from lbtop.probes.ebpf.loader import load_socket_filter
from lbtop.probes.ebpf.maps import Map, processors
from lbtop.probes.ebpf.toolchain import Unavailable, kernel_version

HERE = Path(__file__).parent
ENTRIES = 65_536
NAMES = ("cut", "cut_bytes", "no_room", "not_parsed")
"""The kernel's counters, in the order of enum counter in ledger.h."""


class Effort(IntEnum):
    """enum effort of ledger.h: how much of every connection is read."""

    HEADS = 0
    HANDSHAKES = 1
    LEDGER = 2


class Flow4(ctypes.Structure):
    """struct flow4 of ledger.h."""

    _fields_ = (
        ("low", ctypes.c_uint8 * 4),
        ("high", ctypes.c_uint8 * 4),
        ("low_port", ctypes.c_uint16),
        ("high_port", ctypes.c_uint16),
        ("proto", ctypes.c_uint32),
    )


class Flow6(ctypes.Structure):
    """struct flow6 of ledger.h."""

    _fields_ = (
        ("low", ctypes.c_uint8 * 16),
        ("high", ctypes.c_uint8 * 16),
        ("low_port", ctypes.c_uint16),
        ("high_port", ctypes.c_uint16),
        ("proto", ctypes.c_uint32),
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
        ("pad", ctypes.c_uint8 * 10),
    )


class FlowBulk(ctypes.Structure):
    """struct flow_bulk of ledger.h."""

    _fields_ = (("until", ctypes.c_uint32 * 2), ("mode", ctypes.c_uint8 * 2), ("pad", ctypes.c_uint8 * 2))


FUNCTION = "lbtop_filter"
MAPS = ("ledger4", "ledger6", "bulk4", "bulk6", "counters", "control")
HINTS = 1 << 14


class Control(ctypes.Structure):
    """struct control of ledger.h."""

    _fields_ = (("effort", ctypes.c_uint32), ("marked", ctypes.c_uint8 * HINTS))


def hint(key: bytes) -> int:
    """Place of a connection in ``Control.marked``: hint() of ledger.h."""
    width = (len(key) - 8) // 2
    (low,), (high,) = (struct.unpack_from("=I", key, end * width - 4) for end in (1, 2))
    low_port, high_port = struct.unpack_from("=HH", key, 2 * width)
    mixed = low * 0x9E3779B1 + high * 0x85EBCA77 + (low_port << 16 | high_port) * 0xC2B2AE3D
    return int(mixed & 0xFFFFFFFF) >> 18


class Program:
    """Loaded while it lives. ``fd`` is what a socket attaches. Keys are those of keys.py. Raises Unavailable.

    ``compiled``: by bcc, here, even where what was compiled beforehand fits.
    """

    def __init__(self, entries: int = ENTRIES, *, compiled: bool = False) -> None:
        if not is_supported():
            raise Unavailable(f"bpf(2) is not known on {platform.machine()}")
        if os.geteuid() != 0 and not _may_load():
            raise Unavailable(
                "loading a filter needs root, or CAP_BPF and CAP_NET_RAW (setcap, or systemd's AmbientCapabilities)"
            )
        loaded, refused = (None, None) if compiled else _load_prebuilt(entries)
        self.compiled = loaded is None
        """Whether bcc compiled it here, because what was compiled beforehand does not fit."""
        if loaded is None:
            try:
                loaded = load_socket_filter(source().encode(), FUNCTION.encode(), [m.encode() for m in MAPS], flags(entries))
            except Unavailable as why:
                raise Unavailable(f"the kernel refuses the filter ({refused}); {why}" if refused else str(why)) from None
        self.fd, *maps, counters, control = loaded
        self.entries = entries
        self._processors = processors()
        sizes = [(ctypes.sizeof(key), ctypes.sizeof(value)) for value in (FlowLedger, FlowBulk) for key in (Flow4, Flow6)]
        ledger4, ledger6, bulk4, bulk6 = (Map(each, *size) for each, size in zip(maps, sizes, strict=True))
        self._ledgers = {ledger4.key_size: ledger4, ledger6.key_size: ledger6}
        self._bulks = {bulk4.key_size: bulk4, bulk6.key_size: bulk6}
        self._counters = Map(counters, 4, 8 * self._processors)
        self._memory = mmap.mmap(control, -(-ctypes.sizeof(Control) // mmap.PAGESIZE) * mmap.PAGESIZE)
        self._control = Control.from_buffer(self._memory)
        os.close(control)  # the mapping keeps a descriptor of its own
        self._marked: dict[bytes, int] = {}
        self._hints = [0] * HINTS

    def counters(self) -> Mapping[str, int]:
        """Counts since it was loaded, over all processors."""
        layout = f"={self._processors}Q"
        found = (self._counters.get(struct.pack("=i", number)) for number in range(len(NAMES)))
        return {name: sum(struct.unpack(layout, values)) if values else 0 for name, values in zip(NAMES, found, strict=True)}

    def set_effort(self, effort: Effort) -> None:
        """From the next packet on."""
        self._control.effort = effort

    def mark(self, key: bytes, mark: bytes) -> bool:
        """Writes what the decoder no longer needs of a connection; False where the map has no room."""
        if not self._bulks[len(key)].put(key, mark):
            return False
        if key not in self._marked:
            place = self._marked[key] = hint(key)
            self._hints[place] += 1
            self._control.marked[place] = 1
        return True

    def forget(self, keys: bytes, size: int) -> None:
        """Removes connections that are over: their keys of ``size`` bytes, one after the other."""
        self._ledgers[size].remove_all(keys)
        if not self._marked:
            return
        for at in range(0, len(keys), size):
            key = keys[at : at + size]
            place = self._marked.pop(key, None)
            if place is not None:
                self._bulks[size].remove(key)
                self._hints[place] -= 1
                if not self._hints[place]:
                    self._control.marked[place] = 0

    def look(self, key: bytes) -> FlowLedger | None:
        """The kernel's own count of a connection."""
        found = self._ledgers[len(key)].get(key)
        return None if found is None else FlowLedger.from_buffer_copy(found)

    def forget_before(self, last_ns: int) -> int:
        """Removes connections silent since then (of the kernel's monotonic clock): their end was never seen. How many."""
        stale = 0
        for size, ledger in self._ledgers.items():
            for keys, values in ledger.items():
                rows = (FlowLedger * (len(values) // ctypes.sizeof(FlowLedger))).from_buffer_copy(values)
                old = [keys[at * size : (at + 1) * size] for at, row in enumerate(rows) if row.last_ns < last_ns]
                stale += len(old)
                self.forget(b"".join(old), size)
        return stale

    def close(self) -> None:
        """Frees program and maps. (When the process ends, however it ends, the kernel does.)"""
        os.close(self.fd)
        for each in (*self._ledgers.values(), *self._bulks.values(), self._counters):
            each.close()
        del self._control
        self._memory.close()


def source() -> str:
    """The C text with its header in place: bcc compiles from memory."""
    header = (HERE / "ledger.h").read_text("utf-8")
    return (HERE / "ledger.c").read_text("utf-8").replace('#include "ledger.h"', header)


def flags(entries: int) -> list[str]:
    """What the compiler is told besides the source."""
    clock = ["-DCLOCK=bpf_ktime_get_coarse_ns"] if kernel_version() >= prebuilt.SINCE else []
    return [f"-DLEDGER_ENTRIES={entries}", *clock, "-Wno-everything"]


def _load_prebuilt(entries: int) -> tuple[list[int] | None, str | None]:
    """What was compiled beforehand, loaded; None where that does not fit or the kernel does not take it, and then why not."""
    if not prebuilt.is_for_this_host():
        return None, None
    try:
        return prebuilt.load(prebuilt.Prebuilt(prebuilt.FILE.read_text("ascii")), FUNCTION, entries), None
    except OSError as error:
        return None, error.strerror


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
