"""The compiled filter run by the kernel on packets of our choice (bpf(2), BPF_PROG_TEST_RUN), and what a process holds of bpf."""

from __future__ import annotations

import ctypes
import os
import platform
from collections import Counter
from pathlib import Path

from lbtop.probes.ebpf.keys import flow_key
from lbtop.probes.ebpf.program import FlowBulk, Program

from tests.live.model import End, FlowName

_BPF_PROG_TEST_RUN = 10
_SYSCALL = {"x86_64": 321, "aarch64": 280}.get(platform.machine(), 0)
_libc = ctypes.CDLL(None, use_errno=True)


class _TestRun(ctypes.Structure):
    _fields_ = (
        ("prog_fd", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("data_in", ctypes.c_uint64),
        ("data_out", ctypes.c_uint64),
        ("repeat", ctypes.c_uint32),
        ("duration", ctypes.c_uint32),
        ("rest", ctypes.c_uint8 * 80),
    )


def run(program: Program, frame: bytes, repeat: int = 1) -> tuple[int, int]:
    """What the program returns for an Ethernet frame, and nanoseconds per run."""
    data = ctypes.create_string_buffer(frame, len(frame))
    attributes = _TestRun(prog_fd=program.fd, data_size_in=len(frame), data_in=ctypes.addressof(data), repeat=repeat)
    if _libc.syscall(_SYSCALL, _BPF_PROG_TEST_RUN, ctypes.byref(attributes), ctypes.sizeof(attributes)) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return attributes.retval, attributes.duration


def write(program: Program, flow: FlowName, marks: dict[End, tuple[int, int]]) -> None:
    """Marks of a flow, as user space writes them."""
    (one, one_port), (other, other_port) = flow[1:]
    key, swapped = flow_key(one, one_port, other, other_port, flow[0])
    bulk = FlowBulk()
    for at, end in enumerate(reversed(flow[1:]) if swapped else flow[1:]):
        bulk.mode[at], bulk.until[at] = marks[end]
    assert program.mark(key, bytes(bulk))


def held(pid: int | str = "self") -> Counter[str]:
    """bpf programs and maps, and packet sockets, that a process holds."""
    packet = {row.split()[8] for row in Path(f"/proc/{pid}/net/packet").read_text().splitlines()[1:]}
    found: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            name = os.readlink(entry)
        except OSError:
            continue
        if name.startswith("anon_inode:bpf"):
            found[name.removeprefix("anon_inode:")] += 1
        elif name.removeprefix("socket:[").rstrip("]") in packet:
            found["packet"] += 1
    return found


def loaded_maps() -> set[int]:
    """Identifiers of every bpf map in the kernel."""
    return _identifiers(12)


def loaded_programs() -> set[int]:
    return _identifiers(11)


class _NextId(ctypes.Structure):
    _fields_ = (("start", ctypes.c_uint32), ("next", ctypes.c_uint32), ("flags", ctypes.c_uint32))


def _identifiers(command: int) -> set[int]:
    found: set[int] = set()
    attributes = _NextId()
    while _libc.syscall(_SYSCALL, command, ctypes.byref(attributes), ctypes.sizeof(attributes)) == 0:
        found.add(attributes.next)
        attributes.start = attributes.next
    return found
