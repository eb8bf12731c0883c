"""The filter as instructions compiled beforehand (ledger.bpf): loading it needs neither a compiler nor bcc, and takes a moment.

Instructions mean the same on every machine of one byte order, and the program uses stable interfaces only, so what bcc compiles
here is what it compiles everywhere. Maps are made here and their descriptors put where the instructions want them.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from lbtop.probes.ebpf.maps import bpf

FILE = Path(__file__).parent / "ledger.bpf"
_MAP_CREATE, _PROG_LOAD = 0, 5
_SOCKET_FILTER = 1
_HASH = 1
_INSTRUCTION = struct.Struct("<BBhi")
_LOAD_64 = 0x18
_MAP_DESCRIPTOR = 1
"""Source register of a 64-bit load whose constant is the descriptor of a map (BPF_PSEUDO_MAP_FD)."""
_SINCE = (5, 11)
"""Clock of the last tick for programs; memory of maps no longer counts as locked."""
_LICENSE = b"GPL"


class _MapCreate(ctypes.Structure):
    """The part of union bpf_attr that BPF_MAP_CREATE uses."""

    _fields_ = (
        ("map_type", ctypes.c_uint32),
        ("key_size", ctypes.c_uint32),
        ("value_size", ctypes.c_uint32),
        ("max_entries", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
        ("inner_map_fd", ctypes.c_uint32),
        ("numa_node", ctypes.c_uint32),
        ("map_name", ctypes.c_char * 16),
    )


class _ProgramLoad(ctypes.Structure):
    """The part of union bpf_attr that BPF_PROG_LOAD uses."""

    _fields_ = (
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_name", ctypes.c_char * 16),
    )


class Prebuilt:
    """What a file of that kind holds. ``maps``: type, sizes of key and value, entries and flags by name, in their order."""

    def __init__(self, text: str) -> None:
        self.source = ""
        self.maps: dict[str, tuple[int, int, int, int, int]] = {}
        code = []
        for line in text.splitlines():
            word, _, rest = line.partition(" ")
            if word == "source":
                self.source = rest
            elif word == "map":
                name, *numbers = rest.split()
                kind, key, value, entries, flags = map(int, numbers)
                self.maps[name] = kind, key, value, entries, flags
            elif word and word != "#":
                code.append(bytes.fromhex(line))
        self.code = b"".join(code)

    def text(self, remarks: str) -> str:
        """The file, ``remarks`` on top of it."""
        maps = [f"map {name} {' '.join(map(str, numbers))}" for name, numbers in self.maps.items()]
        code = [self.code[at : at + 32].hex(" ", 8) for at in range(0, len(self.code), 32)]
        return "\n".join([*(f"# {line}" for line in remarks.splitlines()), f"source {self.source}", *maps, *code, ""])


def is_for_this_host() -> bool:
    """Whether byte order and kernel are those that it was compiled for."""
    numbers = platform.release().split("-")[0].split(".")[:2]
    return sys.byteorder == "little" and all(map(str.isdigit, numbers)) and tuple(map(int, numbers)) >= _SINCE


def load(prebuilt: Prebuilt, function: str, entries: int) -> list[int]:
    """Descriptors of the program and of its maps, in their order. Hash maps get ``entries``. Raises OSError."""
    made: list[int] = []
    try:
        for name, numbers in prebuilt.maps.items():
            made.append(_make_map(name, *numbers, entries))
        return [_load_program(function, placed(prebuilt.code, dict(enumerate(made)))), *made]
    except OSError:
        for descriptor in made:
            with suppress(OSError):
                os.close(descriptor)
        raise


def placed(code: bytes, numbers: Mapping[int, int]) -> bytes:
    """The instructions with other constants where maps are loaded: descriptors for the maps' places in the file, or back."""
    changed = bytearray(code)
    at = 0
    while at < len(changed):
        operation, registers, offset, constant = _INSTRUCTION.unpack_from(changed, at)
        if operation == _LOAD_64:
            if registers >> 4 == _MAP_DESCRIPTOR:
                _INSTRUCTION.pack_into(changed, at, operation, registers, offset, numbers[constant])
            at += _INSTRUCTION.size  # such a load takes two
        at += _INSTRUCTION.size
    return bytes(changed)


def _make_map(name: str, kind: int, key: int, value: int, least: int, flags: int, entries: int) -> int:
    attributes = _MapCreate(kind, key, value, entries if kind == _HASH else least, flags, 0, 0, name.encode())
    return bpf(_MAP_CREATE, attributes)


def _load_program(function: str, code: bytes) -> int:
    instructions = ctypes.create_string_buffer(code, len(code))
    license_ = ctypes.create_string_buffer(_LICENSE)
    attributes = _ProgramLoad(
        prog_type=_SOCKET_FILTER,
        insn_cnt=len(code) // _INSTRUCTION.size,
        insns=ctypes.addressof(instructions),
        license=ctypes.addressof(license_),
        prog_name=function.encode()[:15],
    )
    return bpf(_PROG_LOAD, attributes)
