"""The filter as instructions compiled beforehand (ledger.bpf): loading it needs neither a compiler nor bcc, and takes a moment.

Instructions mean the same on every machine of one byte order, and the program uses stable interfaces only, so what bcc compiles
here is what it compiles everywhere. Maps are made here and their descriptors put where the instructions want them.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from lbtop.probes.ebpf.bpf import HASH, INSTRUCTION_BYTES, SOCKET_FILTER, create_map, load_program
from lbtop.probes.ebpf.toolchain import kernel_version

FILE = Path(__file__).parent / "ledger.bpf"
_INSTRUCTION = struct.Struct("<BBhi")
_LOAD_64 = 0x18
_MAP_DESCRIPTOR = 1
"""Source register of a 64-bit load whose constant is the descriptor of a map (BPF_PSEUDO_MAP_FD)."""
SINCE = (5, 11)
"""Linux: programs may read the clock of the last tick; memory of maps no longer counts as locked."""


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
    return sys.byteorder == "little" and kernel_version() >= SINCE


def load(prebuilt: Prebuilt, function: str, entries: int) -> list[int]:
    """Descriptors of the program and of its maps, in their order. Hash maps get ``entries``. Raises OSError."""
    made: list[int] = []
    try:
        for name, (kind, key, value, least, flags) in prebuilt.maps.items():
            made.append(create_map(kind, key, value, entries if kind == HASH else least, flags, name))
        return [load_program(SOCKET_FILTER, placed(prebuilt.code, dict(enumerate(made))), function), *made]
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
            at += INSTRUCTION_BYTES  # such a load takes two
        at += INSTRUCTION_BYTES
    return bytes(changed)
