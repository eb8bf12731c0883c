"""bpf maps by their descriptors: what is left to do once a program is loaded."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator

from lbtop.probes.ebpf.bpf import DELETE, DELETE_BATCH, LOOKUP, LOOKUP_BATCH, UPDATE, system_call

_AT_ONCE = 4096


class _Element(ctypes.Structure):
    """The part of union bpf_attr that element commands use."""

    _fields_ = (
        ("map_fd", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
        ("key", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    )


class _Batch(ctypes.Structure):
    """The part of union bpf_attr that batch commands use."""

    _fields_ = (
        ("in_batch", ctypes.c_uint64),
        ("out_batch", ctypes.c_uint64),
        ("keys", ctypes.c_uint64),
        ("values", ctypes.c_uint64),
        ("count", ctypes.c_uint32),
        ("map_fd", ctypes.c_uint32),
        ("element_flags", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    )


class Map:
    """A map with keys of ``key_size`` and values of ``value_size`` bytes. Not thread-safe: its buffers are used again."""

    def __init__(self, descriptor: int, key_size: int, value_size: int) -> None:
        self.fd = descriptor
        self.key_size = key_size
        self._key = ctypes.create_string_buffer(key_size)
        self._other = ctypes.create_string_buffer(max(key_size, value_size))
        self._value_size = value_size
        self._element = _Element(descriptor, 0, ctypes.addressof(self._key), ctypes.addressof(self._other), 0)

    def get(self, key: bytes) -> bytes | None:
        self._key.raw = key
        return self._other.raw[: self._value_size] if self._call(LOOKUP) else None

    def put(self, key: bytes, value: bytes) -> bool:
        """False where there is no room."""
        self._key.raw = key
        ctypes.memmove(self._other, value, self._value_size)
        return self._call(UPDATE)

    def remove(self, key: bytes) -> bool:
        """False where it was not there."""
        self._key.raw = key
        self._element.value = 0  # the kernel insists that what a command does not use is zero
        try:
            return self._call(DELETE)
        finally:
            self._element.value = ctypes.addressof(self._other)

    def remove_all(self, keys: bytes) -> None:
        """Removes keys that stand one after the other; those that are not there do not matter."""
        if not keys:
            return
        size = self.key_size
        left = len(keys) // size
        buffer = ctypes.create_string_buffer(keys, len(keys))
        at = ctypes.addressof(buffer)
        while left > 0:
            batch = _Batch(keys=at, count=left, map_fd=self.fd)
            if self._call(DELETE_BATCH, batch):
                return
            gone = min(batch.count, left - 1) + 1  # it stops at one that is not there
            left -= gone
            at += gone * size

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Everything in a hash map, as some thousands of keys and of values at a time, each one after the other.

        What is inserted or removed meanwhile may be in it or not.
        """
        keys = ctypes.create_string_buffer(_AT_ONCE * self.key_size)
        values = ctypes.create_string_buffer(_AT_ONCE * self._value_size)
        places = ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)
        before = 0
        for turn in range(1 << 20):
            place = ctypes.addressof(places[turn % 2])
            batch = _Batch(
                in_batch=before,
                out_batch=place,
                keys=ctypes.addressof(keys),
                values=ctypes.addressof(values),
                count=_AT_ONCE,
                map_fd=self.fd,
            )
            more = self._call(LOOKUP_BATCH, batch)
            if not more and ctypes.get_errno() != errno.ENOENT:  # that is its end
                return
            yield keys.raw[: batch.count * self.key_size], values.raw[: batch.count * self._value_size]
            if not more:
                return
            before = place

    def close(self) -> None:
        os.close(self.fd)

    def _call(self, command: int, attributes: ctypes.Structure | None = None) -> bool:
        return system_call(command, attributes or self._element) == 0


def processors() -> int:
    """How many values a per-processor map has for a key: of every processor there may ever be."""
    try:
        with open("/sys/devices/system/cpu/possible", encoding="ascii") as file:
            return int(file.read().strip().rpartition("-")[2].rpartition(",")[2]) + 1
    except (OSError, ValueError):
        return os.cpu_count() or 1
