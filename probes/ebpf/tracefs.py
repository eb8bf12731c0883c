"""Tracepoints: their numbers and where their fields lie, from the kernel's own description of them (tracefs).

Where tracefs is not mounted (containers, small images) a short-lived child mounts it in a mount namespace of its own: nobody
else sees that, and nothing of it stays.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lbtop.probes.ebpf.toolchain import Unavailable

from lbtop.model.record import dataclass

PLACES = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
_CLONE_NEWNS = 0x20000
_MS_REC_PRIVATE = 1 << 14 | 1 << 18
_FIELD = re.compile(r"field:(.*?)\s*(\w+)(?:\[\d*\])?;\s*offset:(\d+);\s*size:(\d+);")
_NAMES = re.compile(r"\{\s*(\d+),\s*\"(\w+)\"\s*\}")
_MOST = 1 << 20


@dataclass(frozen=True, slots=True)
class Tracepoint:
    """``number``: for perf_event_open(2); ``fields``: name to (offset, size); ``symbols``: of the last enumerated field."""

    number: int
    fields: dict[str, tuple[int, int]]
    symbols: dict[int, str]


def is_mounted() -> bool:
    return any((place / "events").is_dir() for place in PLACES)


def tracepoints(names: Sequence[str]) -> dict[str, Tracepoint]:
    """Those of ``names`` (``tcp/tcp_send_reset``) that this kernel has. Raises Unavailable where tracefs cannot be read."""
    texts = _texts(names)
    if not texts and not is_mounted():
        texts = _in_own_namespace(names)
    return {name: parse(text) for name, text in texts.items()}


def parse(text: str) -> Tracepoint:
    """A format file, as the kernel writes it."""
    number = re.search(r"^ID:\s*(\d+)", text, re.M)
    fields = {match[2]: (int(match[3]), int(match[4])) for match in _FIELD.finditer(text)}
    symbols = {int(match[1]): match[2] for match in _NAMES.finditer(text.rpartition("__print_symbolic(")[2])}
    return Tracepoint(int(number[1]) if number else 0, fields, symbols)


def _texts(names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in names:
        for place in PLACES:
            with suppress(OSError):
                found[name] = (place / "events" / name / "format").read_text("utf-8", "replace")
                break
    return found


def _in_own_namespace(names: Sequence[str]) -> dict[str, str]:
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read_end)
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(_CLONE_NEWNS) or libc.mount(None, b"/", None, _MS_REC_PRIVATE, None):
                os._exit(1)
            if libc.mount(b"tracefs", bytes(PLACES[0]), b"tracefs", 0, None):
                os._exit(1)
            with os.fdopen(write_end, "wb") as out:
                for name, text in _texts(names).items():
                    out.write(f"{name}\0{text}\0".encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as source:
        words = source.read(_MOST).decode("utf-8", "replace").split("\0")
    _, status = os.waitpid(child, 0)
    if status:
        raise Unavailable("tracefs is not mounted and may not be mounted: mount -t tracefs tracefs /sys/kernel/tracing")
    return dict(zip(words[::2], words[1::2], strict=False))
