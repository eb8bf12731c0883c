"""Programs attached to tracepoints and to functions of programs, through perf events (perf_event_open(2)).

An attachment lives as long as its descriptor: nothing is registered under a name, so nothing can be left behind.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import struct
from pathlib import Path

from lbtop.probes.ebpf.toolchain import Unavailable

from lbtop.model.text import safe_text

_NUMBERS = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "ppc64le": 319, "s390x": 331}
"""Of perf_event_open, by machine."""
_TRACEPOINT = 2
_SAMPLE_PERIOD = 1
_SET_BPF = 0x40042408
_ENABLE = 0x2400
_CLOEXEC = 8
_ATTRIBUTES_SIZE = 112  # PERF_ATTR_SIZE_VER5
_UPROBES = Path("/sys/bus/event_source/devices/uprobe")
_libc = ctypes.CDLL(None, use_errno=True)


def to_tracepoint(program: int, number: int) -> int:
    """A descriptor that keeps a loaded program at a tracepoint. Raises Unavailable."""
    return _attach(program, _attributes(_TRACEPOINT, number, 0, 0), f"tracepoint {number}")


def to_function(program: int, path: Path, offset: int, *, returning: bool = False) -> int:
    """The same for the code at ``offset`` of a file, in every process that runs it, or for the moment it returns."""
    try:
        kind = int((_UPROBES / "type").read_text())
        flag = 1 << int((_UPROBES / "format" / "retprobe").read_text().rpartition(":")[2])
    except (OSError, ValueError):
        raise Unavailable("this kernel has no uprobes (CONFIG_UPROBE_EVENTS, Linux 4.17)") from None
    name = ctypes.create_string_buffer(os.fsencode(path))
    attributes = _attributes(kind, flag if returning else 0, ctypes.addressof(name), offset)
    return _attach(program, attributes, f"function at {offset:#x} of {safe_text(path.name)}")


def is_supported() -> bool:
    return platform.machine() in _NUMBERS and _UPROBES.is_dir()


def _attributes(kind: int, config: int, config1: int, config2: int) -> ctypes.Array[ctypes.c_char]:
    """struct perf_event_attr (linux/perf_event.h)."""
    head = struct.pack("=IIQQQQQII", kind, _ATTRIBUTES_SIZE, config, _SAMPLE_PERIOD, 0, 0, 0, 1, 0)
    return ctypes.create_string_buffer(head + struct.pack("=QQ", config1, config2), _ATTRIBUTES_SIZE)


def _attach(program: int, attributes: ctypes.Array[ctypes.c_char], what: str) -> int:
    number = _NUMBERS.get(platform.machine())
    if number is None:
        raise Unavailable(f"perf_event_open(2) is not known on {platform.machine()}")
    # One processor stands for all: the program runs wherever the event happens.
    descriptor: int = _libc.syscall(number, attributes, -1, 0, -1, _CLOEXEC)
    if descriptor < 0:
        raise Unavailable(f"cannot attach to {what}: {os.strerror(ctypes.get_errno())}")
    try:
        fcntl.ioctl(descriptor, _SET_BPF, program)
        fcntl.ioctl(descriptor, _ENABLE, 0)
    except OSError as error:
        os.close(descriptor)
        raise Unavailable(f"cannot attach to {what}: {error.strerror}") from None
    return descriptor
