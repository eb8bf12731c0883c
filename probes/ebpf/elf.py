"""Where a library's exported functions lie in its file (ELF-64, little-endian; System V gABI, chapters 4 and 5).

Files of containers are read too, and theirs may be made to harm: they are read in bounded pieces and not mapped, because a
mapping of a file that is cut meanwhile would end the process.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

_DYNSYM = 11
_LOAD = 1
_FUNCTIONS = (2, 10)  # STT_FUNC, STT_GNU_IFUNC
_SYMBOL = struct.Struct("<IBBHQQ")
_MOST_BYTES = 1 << 24
"""Of symbols, and of their names."""
_MOST_SEARCHED = 1 << 28
_PIECE = 1 << 22
_LONGEST_NAME = 64


def function_offsets(path: Path, names: Collection[str]) -> dict[str, int]:
    """File offsets of those of ``names`` that the file exports; empty for what is no such file. Raises OSError."""
    with path.open("rb") as file:
        try:
            return _offsets(file, {name.encode(): name for name in names})
        except (struct.error, OverflowError, ValueError):
            return {}  # damaged, or made to look like a library


def contains(path: Path, words: Collection[bytes]) -> bytes | None:
    """The first of ``words`` that stands in the file's first 256 MB. Raises OSError."""
    longest = max(map(len, words))
    left = dict.fromkeys(words)
    found = set()
    with path.open("rb") as file:
        tail = b""
        for _ in range(_MOST_SEARCHED // _PIECE):
            piece = file.read(_PIECE)
            if not piece:
                break
            data = tail + piece
            found.update(word for word in left if word in data)
            tail = data[-longest:]
            if next(iter(left)) in found:
                break
    return next((word for word in words if word in found), None)


def _offsets(file: BinaryIO, names: dict[bytes, str]) -> dict[str, int]:
    head = _read(file, 0, 64)
    if head[:6] != b"\x7fELF\x02\x01":
        return {}
    size_of_file = os.fstat(file.fileno()).st_size
    program_at, sections_at = struct.unpack_from("<QQ", head, 32)
    program_size, programs, section_size, sections = struct.unpack_from("<HHHH", head, 54)
    segments = []
    table = _read(file, program_at, program_size * programs)
    for at in range(0, len(table), program_size or 1):
        kind, _, offset, address, _, size = struct.unpack_from("<IIQQQQ", table, at)
        if kind == _LOAD:
            segments.append((address, address + size, offset - address))
    table = _read(file, sections_at, section_size * sections)
    found: dict[str, int] = {}
    for at in range(0, len(table), section_size or 1):
        kind, link, offset, size = _section(table, at)
        if kind != _DYNSYM:
            continue
        _, _, strings_at, strings_size = _section(table, link * section_size)
        symbols, strings = _read(file, offset, size), _read(file, strings_at, strings_size)
        for name_at, info, _, section, value, _ in _SYMBOL.iter_unpack(symbols[: len(symbols) // _SYMBOL.size * _SYMBOL.size]):
            if info & 15 not in _FUNCTIONS or section == 0:
                continue
            name = names.get(strings[name_at : strings.find(b"\0", name_at, name_at + _LONGEST_NAME)])
            if name is not None and name not in found:  # each once, however many symbols and segments a file claims
                places = (value + shift for low, high, shift in segments if low <= value < high)
                found.update((name, place) for place in places if 0 <= place < size_of_file)
        break  # there is one
    return found


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    return os.pread(file.fileno(), min(size, _MOST_BYTES), offset)


def _section(table: bytes, at: int) -> tuple[int, int, int, int]:
    """Type, link, offset and size of a section."""
    _, kind, _, _, offset, size, link = struct.unpack_from("<IIQQQQI", table, at)
    return kind, link, offset, size
