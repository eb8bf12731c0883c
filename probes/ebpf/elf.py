"""Where a library's exported functions lie in its file (ELF-64, little-endian; System V ABI, gABI chapter 4 and 5)."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Collection
from pathlib import Path

_DYNSYM = 11
_LOAD = 1
_FUNCTIONS = (2, 10)  # STT_FUNC, STT_GNU_IFUNC
_MOST_SYMBOLS = 1 << 20
_SYMBOL = struct.Struct("<IBBHQQ")


def function_offsets(path: Path, names: Collection[str]) -> dict[str, int]:
    """File offsets of those of ``names`` that the file exports; empty for what is no such file. Raises OSError."""
    with path.open("rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            return {}
        with data:
            try:
                return _offsets(data, {name.encode(): name for name in names})
            except (struct.error, IndexError):
                return {}  # damaged


def contains(path: Path, words: Collection[bytes]) -> bytes | None:
    """The first of ``words`` that stands in the file. Raises OSError."""
    with path.open("rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            return None
        with data:
            return next((word for word in words if data.find(word) >= 0), None)


def _offsets(data: mmap.mmap, names: dict[bytes, str]) -> dict[str, int]:
    if data[:6] != b"\x7fELF\x02\x01":
        return {}
    program_at, sections_at = struct.unpack_from("<QQ", data, 32)
    program_size, programs, section_size, sections = struct.unpack_from("<HHHH", data, 54)
    segments = []
    for number in range(programs):
        at = program_at + number * program_size
        kind, _, offset, address, _, size = struct.unpack_from("<IIQQQQ", data, at)
        if kind == _LOAD:
            segments.append((address, address + size, offset - address))
    found: dict[str, int] = {}
    for number in range(sections):
        kind, link, offset, size = _section(data, sections_at + number * section_size)
        if kind != _DYNSYM or link >= sections:
            continue
        _, _, strings, _ = _section(data, sections_at + link * section_size)
        for at in range(offset, offset + min(size, _MOST_SYMBOLS * _SYMBOL.size), _SYMBOL.size):
            name_at, info, _, section, value, _ = _SYMBOL.unpack_from(data, at)
            if info & 15 not in _FUNCTIONS or section == 0:
                continue
            begin = strings + name_at
            name = names.get(data[begin : data.find(b"\0", begin, begin + 64)])
            if name is not None:
                found.update((name, value + shift) for low, high, shift in segments if low <= value < high)
    return found


def _section(data: mmap.mmap, at: int) -> tuple[int, int, int, int]:
    """Type, link, offset and size of a section."""
    _, kind, _, _, offset, size, link = struct.unpack_from("<IIQQQQI", data, at)
    return kind, link, offset, size
