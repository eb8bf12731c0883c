"""Heads inside TLS, told by the library that reads and writes them (uprobes), for the decoder of a live source.

Everything that needs privileges happens when it is opened: finding processes and libraries, loading, attaching.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from lbtop.probes.ebpf import attach, libraries
from lbtop.probes.ebpf.coverage import Coverage
from lbtop.probes.ebpf.heads import Heads
from lbtop.probes.ebpf.loader import load_programs
from lbtop.probes.ebpf.maps import Map, processors
from lbtop.probes.ebpf.toolchain import Unavailable
from lbtop.probes.ebpf.tracefs import tracepoints
from lbtop.probes.wire.decoder import Decoder

from lbtop.model.observation import InsideTls

HERE = Path(__file__).parent
THREADS, SESSIONS, PROCESSES = 1024, 32_768, 8192
RING_BYTES = 8 << 20
_CALLS = ("read", "write", "read_ex", "write_ex", "handshake", "free")
_MAPS = ("heads", "processes", "ports", "counts", "sessions", "next", "spared")
RECEIVED, FORKED, EXITED = "tcp/tcp_rcv_space_adjust", "sched/sched_process_fork", "sched/sched_process_exit"
TRACEPOINTS = {RECEIVED: "received", FORKED: "forked", EXITED: "exited"}
_FIELDS = {
    "RECEIVED_SADDR_V6": (RECEIVED, "saddr_v6"),
    "RECEIVED_DADDR_V6": (RECEIVED, "daddr_v6"),
    "RECEIVED_SPORT": (RECEIVED, "sport"),
    "RECEIVED_DPORT": (RECEIVED, "dport"),
    "FORKED_CHILD_PID": (FORKED, "child_pid"),
}
COUNTS = ("calls", "bytes", "copied", "events", "lost", "unjoined", "no_room", "broken")
"""In the order of enum count in plaintext.h."""
_SCOPE_ALL, _SCOPE_PORTS = 1, 2
_HOLD_NS = 60_000_000
"""Packets reach the decoder so much later than the library's calls: the ring hands over a block that is not full after 20 ms."""
_SWEEP_S = 60.0
_IDLE_NS = 3_600_000_000_000


class SessionKey(ctypes.Structure):
    """struct session_key of plaintext.h."""

    _fields_ = (("session", ctypes.c_uint64), ("process", ctypes.c_uint32), ("pad", ctypes.c_uint32))


class Direction(ctypes.Structure):
    """struct direction of plaintext.h."""

    _fields_ = (
        ("passed", ctypes.c_uint64),
        ("window", ctypes.c_uint32),
        ("length", ctypes.c_uint32),
        ("need", ctypes.c_uint32),
        ("mode", ctypes.c_uint8),
        ("keep", ctypes.c_uint8),
        ("have", ctypes.c_uint8),
        ("began", ctypes.c_uint8),
        ("frame", ctypes.c_uint8 * 24),
    )


class Session(ctypes.Structure):
    """struct session of plaintext.h."""

    _fields_ = (
        ("local", ctypes.c_uint8 * 16),
        ("remote", ctypes.c_uint8 * 16),
        ("local_port", ctypes.c_uint16),
        ("remote_port", ctypes.c_uint16),
        ("wanted", ctypes.c_uint8),
        ("whole", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 2),
        ("last_ns", ctypes.c_uint64),
        ("directions", Direction * 2),
    )


class Plaintext:
    """Attached while it lives. Raises Unavailable where it cannot be; what cannot be read of the chosen is in ``found``."""

    def __init__(self, scope: libraries.Scope, decoder: Decoder) -> None:
        self.found = libraries.find(scope)
        self._descriptors: list[int] = []
        self._attached = 0
        if not self.found.libraries:
            raise Unavailable("; ".join(self.found.unreadable) or "nothing chosen speaks TLS through a library")
        points = tracepoints(list(TRACEPOINTS))
        missing = [name for name in TRACEPOINTS if name not in points or not points[name].number]
        if missing:
            raise Unavailable(f"this kernel has no tracepoint {', '.join(missing)}")
        flags = []
        for name, (point, field) in _FIELDS.items():
            if field not in points[point].fields:
                raise Unavailable(f"the tracepoint {point} has no {field} (Linux 4.17)")
            flags.append(f"-D{name}={points[point].fields[field][0]}")
        sizes = {"THREADS": THREADS, "SESSIONS": SESSIONS, "PROCESSES": PROCESSES}
        flags += [f"-DMOST_{name}={size}" for name, size in sizes.items()]
        flags += [f"-DPAGE_SIZE={mmap.PAGESIZE}", f"-DRING_PAGES={RING_BYTES // mmap.PAGESIZE}", "-Wno-everything"]
        functions = [(name, "KPROBE") for name in (*_CALLS, "return", "frames")] + [
            (name, "TRACEPOINT") for name in TRACEPOINTS.values()
        ]
        loaded = load_programs(
            source().encode(), [(f"lbtop_{name}".encode(), kind) for name, kind in functions], [m.encode() for m in _MAPS], flags
        )
        programs = {name: loaded[number] for number, (name, _) in enumerate(functions)}
        maps = dict(zip(_MAPS, loaded[len(functions) :], strict=True))
        self._descriptors += loaded
        self._processors = processors()
        self._counts = Map(maps["counts"], 4, 8 * self._processors)
        self._sessions = Map(maps["sessions"], ctypes.sizeof(SessionKey), ctypes.sizeof(Session))
        Map(maps["next"], 4, 4).put(struct.pack("=I", 0), struct.pack("=I", programs["frames"]))
        self._spared = Map(maps["spared"], 4, 4)
        self._choose(maps["processes"], maps["ports"], scope)
        self._swept = time.monotonic()
        try:
            self._map_ring(maps["heads"], decoder)
            self._attach(programs, {name: points[name].number for name in TRACEPOINTS})
        except (Unavailable, OSError):
            self.close()
            raise
        decoder.streams.read_inside()
        self.coverage = Coverage(self.found.ports)

    def drain(self, now: int, *, everything: bool = False) -> int:
        """Hands heads to the decoder, once their packets must have been; how many events.

        ``now``: of the monotonic clock, nanoseconds, when the packets that had come began to be decoded.
        """
        done: int = self._heads.drain(time.time_ns() - time.monotonic_ns(), now if everything else now - _HOLD_NS, everything)
        if now * 1e-9 - self._swept > _SWEEP_S:
            self._swept = now * 1e-9
            self._sweep(now)
        return done

    def counts(self) -> dict[str, int]:
        """The kernel's counts since it was attached, and ``taken``, ``unknown``, ``refused`` of the events read."""
        if self._descriptors:
            layout = f"={self._processors}Q"
            found = (self._counts.get(struct.pack("=i", number)) for number in range(len(COUNTS)))
            self._last = {
                name: sum(struct.unpack(layout, values)) if values else 0 for name, values in zip(COUNTS, found, strict=True)
            }
        heads = self._heads
        return {**self._last, "taken": heads.taken, "unknown": heads.unknown, "refused": heads.refused}

    def spare(self, nothing: bool) -> None:
        """Whether nothing is read for now (``--max-cpu``)."""
        self._spared.put(struct.pack("=I", 0), struct.pack("=I", nothing))

    def stats(self) -> InsideTls:
        """How much of what the packets show was read."""
        expected, read = self.coverage.connections()
        return InsideTls(tuple(sorted(self.found.ports)), expected, read, self.counts()["lost"], self.found.unreadable)

    def notes(self) -> list[str]:
        """Sentences for a person about what is read and what is not."""
        counts = self.counts()
        said = [self.stats().told]
        if self.found.unreadable:
            said.append(f"not read inside TLS: {'; '.join(self.found.unreadable)}")
        if counts["lost"]:
            said.append(f"{counts['lost']:,} heads inside TLS were lost because lbtop was too slow to fetch them")
        if counts["unjoined"]:
            said.append(
                f"{counts['unjoined']:,} reads and writes inside TLS belong to no TCP connection that could be told "
                "(open before lbtop, or a program that moves the bytes itself)"
            )
        if counts["unknown"]:
            said.append(f"{counts['unknown']:,} heads inside TLS are of connections whose packets are not in view")
        if counts["broken"]:
            said.append(f"{counts['broken']:,} directions of HTTP/2 inside TLS could not be followed further")
        if counts["no_room"]:
            said.append(f"{counts['no_room']:,} threads or connections had no room in the maps for TLS")
        return said

    def close(self) -> None:
        """Detaches, and frees programs and maps. (When the process ends, however it ends, the kernel does.)"""
        if not self._descriptors:
            return
        with suppress(AttributeError):
            self.counts()
            self._heads.release()
            for area in self._areas:
                with suppress(BufferError):
                    area.close()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []

    def _attach(self, programs: dict[str, int], numbers: dict[str, int]) -> None:
        """Tracepoints first: a call must not be seen before the connection behind it can be. Exits and returns before entries."""
        for name, program in TRACEPOINTS.items():
            self._descriptors.append(attach.to_tracepoint(programs[program], numbers[name]))
        for library, offset, call in self._places():
            if call != "free":
                self._descriptors.append(attach.to_function(programs["return"], library.path, offset, returning=True))
        for library, offset, call in self._places():
            self._descriptors.append(attach.to_function(programs[call], library.path, offset))

    def _places(self) -> Iterator[tuple[libraries.Library, int, str]]:
        for library in self.found.libraries:
            for function, offset in library.functions.items():
                yield library, offset, libraries.FUNCTIONS[function]

    def _choose(self, processes: int, ports: int, scope: libraries.Scope) -> None:
        by_process, by_port = Map(processes, 4, 1), Map(ports, 2, 1)
        for pid in self.found.whole:
            by_process.put(struct.pack("=I", pid), bytes([_SCOPE_ALL]))
        for pid in self.found.by_port:
            by_process.put(struct.pack("=I", pid), bytes([_SCOPE_PORTS]))
        for port in scope.ports:
            by_port.put(struct.pack("=H", port), b"\1")

    def _map_ring(self, descriptor: int, decoder: Decoder) -> None:
        page = mmap.PAGESIZE
        consumed = mmap.mmap(descriptor, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
        ring = mmap.mmap(descriptor, page + 2 * RING_BYTES, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._areas = (consumed, ring)
        self._heads = Heads(decoder, consumed, ring, RING_BYTES, page)

    def _sweep(self, now_ns: int) -> None:
        """Forgets sessions of processes that ended without saying so, and what was silent for an hour."""
        stale = []
        for keys, values in self._sessions.items():
            for number in range(len(keys) // ctypes.sizeof(SessionKey)):
                key = SessionKey.from_buffer_copy(keys, number * ctypes.sizeof(SessionKey))
                entry = Session.from_buffer_copy(values, number * ctypes.sizeof(Session))
                if entry.last_ns + _IDLE_NS < now_ns or not _runs(key.process):
                    stale.append(bytes(key))
        for key in stale:
            self._sessions.remove(key)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def source() -> str:
    """The C text with its headers in place: bcc compiles from memory."""
    text = (HERE / "plaintext.c").read_text("utf-8")
    for name in ("registers.h", "scan.h", "plaintext.h"):  # each may include those that come later
        text = text.replace(f'#include "{name}"', (HERE / name).read_text("utf-8"))
    return text
