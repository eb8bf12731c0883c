"""Very small bpf programs put together here, loaded with bpf(2): what needs no compiler costs no start-up time.

Instructions as in Documentation/bpf/standardization/instruction-set.rst (RFC 9669).
"""

from __future__ import annotations

import struct

from lbtop.probes.ebpf import bpf
from lbtop.probes.ebpf.toolchain import Unavailable

LOOKUP, UPDATE = 1, 2
"""Helper functions, by number."""
R0, R1, R2, R3, R4, R6, R10 = 0, 1, 2, 3, 4, 6, 10
_SIZES = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}


class Assembly:
    """Instructions one after the other; jumps go forward to a label."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int, str]] = []
        self._labels: dict[str, int] = {}

    def move(self, target: int, source: int) -> None:
        self._add(0xBF, target | source << 4)

    def put(self, target: int, number: int) -> None:
        self._add(0xB7, target, 0, number)

    def add(self, target: int, number: int) -> None:
        self._add(0x07, target, 0, number)

    def load(self, size: int, target: int, base: int, offset: int) -> None:
        self._add(0x61 | _SIZES[size], target | base << 4, offset)

    def store(self, size: int, base: int, offset: int, source: int) -> None:
        self._add(0x63 | _SIZES[size], base | source << 4, offset)

    def store_number(self, size: int, base: int, offset: int, number: int) -> None:
        self._add(0x62 | _SIZES[size], base, offset, number)

    def from_network(self, target: int) -> None:
        """Sixteen bits of network order."""
        self._add(0xDC, target, 0, 16)

    def count(self, base: int, source: int) -> None:
        """Adds to eight bytes of memory at once for all processors."""
        self._add(0xDB, base | source << 4)

    def if_equal(self, source: int, number: int, label: str) -> None:
        self._add(0x15, source, 0, number, label)

    def unless_equal(self, source: int, number: int, label: str) -> None:
        self._add(0x55, source, 0, number, label)

    def unless_above(self, source: int, number: int, label: str) -> None:
        self._add(0xB5, source, 0, number, label)

    def go(self, label: str) -> None:
        self._add(0x05, 0, 0, 0, label)

    def label(self, name: str) -> None:
        self._labels[name] = len(self._code)

    def map(self, target: int, descriptor: int) -> None:
        self._add(0x18, target | 1 << 4, 0, descriptor)
        self._add(0, 0)

    def call(self, function: int) -> None:
        self._add(0x85, 0, 0, function)

    def end(self) -> None:
        self.put(R0, 0)
        self._add(0x95, 0)

    def bytes(self) -> bytes:
        return b"".join(
            struct.pack("<BBhi", code, registers, self._labels[label] - at - 1 if label else offset, number)
            for at, (code, registers, offset, number, label) in enumerate(self._code)
        )

    def _add(self, code: int, registers: int, offset: int = 0, number: int = 0, label: str = "") -> None:
        self._code.append((code, registers, offset, number, label))


def create_map(key_size: int, value_size: int, entries: int) -> int:
    """Descriptor of a hash map. Raises Unavailable."""
    try:
        return bpf.create_map(bpf.HASH, key_size, value_size, entries)
    except OSError as error:
        raise Unavailable(f"the kernel refuses a map: {error.strerror}") from None


def load(code: bytes) -> int:
    """Descriptor of a program for tracepoints. Raises Unavailable."""
    try:
        return bpf.load_program(bpf.TRACEPOINT, code)
    except OSError as error:
        raise Unavailable(f"the kernel refuses a program: {error.strerror}") from None
