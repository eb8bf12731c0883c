"""bpf maps by their descriptors (bpf(2)): what is left to do once a program is loaded needs no compiler, and no library."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator

_LOOKUP, _UPDATE, _DELETE, _NEXT_KEY = 1, 2, 3, 4
_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
"""Of the system call, by machine."""
_libc = ctypes.CDLL(None, use_errno=True)


class _Element(ctypes.Structure):
    """The part of union bpf_attr that element commands use."""

    _fields_ = (
        ("map_fd", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
        ("key", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    )


def is_supported() -> bool:
    """Whether the number of the system call is known on this machine."""
    return platform.machine() in _NUMBERS


class Map:
    """A map with keys of ``key_size`` and values of ``value_size`` bytes. Not thread-safe: its buffers are used again."""

    def __init__(self, descriptor: int, key_size: int, value_size: int) -> None:
        self.fd = descriptor
        self._key = ctypes.create_string_buffer(key_size)
        self._other = ctypes.create_string_buffer(max(key_size, value_size))
        self._value_size = value_size
        self._number = _NUMBERS[platform.machine()]
        self._element = _Element(descriptor, 0, ctypes.addressof(self._key), ctypes.addressof(self._other), 0)

    def get(self, key: bytes) -> bytes | None:
        self._key.raw = key
        return self._other.raw[: self._value_size] if self._call(_LOOKUP) else None

    def put(self, key: bytes, value: bytes) -> bool:
        """False where there is no room."""
        self._key.raw = key
        ctypes.memmove(self._other, value, self._value_size)
        return self._call(_UPDATE)

    def remove(self, key: bytes) -> bool:
        """False where it was not there."""
        self._key.raw = key
        self._element.value = 0  # the kernel insists that what a command does not use is zero
        try:
            return self._call(_DELETE)
        finally:
            self._element.value = ctypes.addressof(self._other)

    def keys(self) -> Iterator[bytes]:
        """Keys one by one. Some may come twice, or not at all, while others are removed."""
        size = len(self._key)
        self._element.key = 0
        more = self._call(_NEXT_KEY)
        self._element.key = ctypes.addressof(self._key)
        while more:
            key = self._other.raw[:size]
            yield key
            self._key.raw = key
            more = self._call(_NEXT_KEY)

    def close(self) -> None:
        os.close(self.fd)

    def _call(self, command: int) -> bool:
        return bool(_libc.syscall(self._number, command, ctypes.byref(self._element), ctypes.sizeof(self._element)) == 0)


def processors() -> int:
    """How many values a per-processor map has for a key: of every processor there may ever be."""
    try:
        with open("/sys/devices/system/cpu/possible", encoding="ascii") as file:
            return int(file.read().strip().rpartition("-")[2].rpartition(",")[2]) + 1
    except (OSError, ValueError):
        return os.cpu_count() or 1
