"""The socket filter, compiled and loaded, and its maps."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any

from lbtop.probes.ebpf.toolchain import Unavailable, load_bcc

HERE = Path(__file__).parent
_COARSE_CLOCK = (5, 11)
"""Linux since which programs may read the clock of the last tick."""
ENTRIES = 65_536
NAMES = ("packets", "cut", "cut_bytes", "no_room", "not_parsed")
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
        if os.geteuid() != 0 and not _may_load():
            raise Unavailable(
                "loading a filter needs root, or CAP_BPF and CAP_NET_RAW (setcap, or systemd's AmbientCapabilities)"
            )
        bcc = load_bcc()
        with _quiet_compiler() as said:
            try:
                self._bpf: Any = bcc.BPF(text=source().encode(), cflags=_flags(entries))
                self._function: Any = self._bpf.load_func(b"lbtop_filter", bcc.BPF.SOCKET_FILTER)
            except Exception as error:
                detail = " ".join(said().split())[-200:] or str(error)
                raise Unavailable(f"the filter could not be loaded ({detail})") from None
        self.fd: int = self._function.fd
        self.entries = entries
        self.ledger: Any = self._bpf[b"ledger"]
        self.bulk: Any = self._bpf[b"bulk"]
        self._counters: Any = self._bpf[b"counters"]
        self._effort: Any = self._bpf[b"effort"]
        self._lib: Any = bcc.lib

    def counters(self) -> Mapping[str, int]:
        """Counts since it was loaded, over all processors."""
        return {name: int(sum(self._counters[ctypes.c_int(number)])) for number, name in enumerate(NAMES)}

    def set_effort(self, effort: Effort) -> None:
        """From the next packet on."""
        self._effort[ctypes.c_int(0)] = ctypes.c_uint32(effort)

    def mark(self, key: bytes, mark: bytes) -> bool:
        """Writes what the decoder no longer needs of a connection; False where the map has no room."""
        return int(self._lib.bpf_update_elem(self.bulk.map_fd, key, mark, 0)) == 0

    def forget(self, key: bytes) -> None:
        """Removes a connection that is over from both maps."""
        self._lib.bpf_delete_elem(self.ledger.map_fd, key)
        self._lib.bpf_delete_elem(self.bulk.map_fd, key)

    def look(self, key: bytes) -> FlowLedger | None:
        """The kernel's own count of a connection."""
        found = FlowLedger()
        if self._lib.bpf_lookup_elem(self.ledger.map_fd, key, ctypes.byref(found)):
            return None
        return found

    def forget_before(self, last_ns: int) -> int:
        """Removes connections silent since then (of the kernel's monotonic clock): their end was never seen. How many."""
        stale = [bytes(key) for key, entry in self.ledger.items() if entry.last_ns < last_ns]
        for key in stale:
            self.forget(key)
        return len(stale)

    def close(self) -> None:
        """Frees program and maps. (When the process ends, however it ends, the kernel does.)"""
        self._bpf.cleanup()


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


@contextmanager
def _quiet_compiler() -> Iterator[Any]:
    """What the compiler prints goes nowhere near the screen; the callable gives it back."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    os.set_blocking(write_end, False)
    sys.stderr.flush()
    kept = os.dup(2)
    os.dup2(write_end, 2)

    def said() -> str:
        try:
            return os.read(read_end, 65536).decode("utf-8", "replace")
        except BlockingIOError:
            return ""

    try:
        yield said
    finally:
        os.dup2(kept, 2)
        for descriptor in (kept, read_end, write_end):
            os.close(descriptor)
