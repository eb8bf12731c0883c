"""The filter's keys of connections: struct flow4 and struct flow6 of ledger.h."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lbtop.model.observation import Interner, Rows

_MAPPED = bytes(10) + b"\xff\xff"
"""Before an IPv4 address where 16 bytes are wanted."""
_MAPPED_WORD = int(np.frombuffer(_MAPPED + bytes(4), "=u4")[2])
_WORDS = struct.Struct("=2Q")
_END = struct.Struct("=HHI")


def flow_key(a: bytes, a_port: int, b: bytes, b_port: int, proto: int = 6) -> tuple[bytes, bool]:
    """The key for two ends (addresses of 16 bytes), and whether the second one is its ``low`` end, in the kernel's order."""
    swapped = (_WORDS.unpack(a), a_port) > (_WORDS.unpack(b), b_port)
    if swapped:
        a, a_port, b, b_port = b, b_port, a, a_port
    if a.startswith(_MAPPED) and b.startswith(_MAPPED):
        a, b = a[12:], b[12:]
    return a + b + _END.pack(a_port, b_port, proto), swapped


def flow_keys(connections: Rows, addresses: Interner) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[Any]]]:
    """For IPv4 and for IPv6: which of these CONNECTION rows, and the key of each."""
    ends = np.empty((len(connections), 2, 4), np.uint32)
    for end, column in enumerate(("client", "server")):
        numbers, which = np.unique(connections[column], return_inverse=True)
        known = b"".join(addresses[int(number)].rjust(16, b"\0") for number in numbers)
        ends[:, end] = np.frombuffer(known, np.uint32).reshape(-1, 4)[which]
    ports = np.stack((connections["client_port"], connections["server_port"]), axis=1)
    one, other = (ends[:, end].copy().view(np.uint64) for end in range(2))
    swapped = ports[:, 0] > ports[:, 1]
    for word in (1, 0):
        swapped = np.where(one[:, word] == other[:, word], swapped, one[:, word] > other[:, word])
    ends[swapped] = ends[swapped, ::-1]
    ports[swapped] = ports[swapped, ::-1]
    short = ((ends[:, :, :2] == 0).all(axis=2) & (ends[:, :, 2] == _MAPPED_WORD)).all(axis=1)
    for rows, words in ((np.flatnonzero(short), slice(3, 4)), (np.flatnonzero(~short), slice(0, 4))):
        width = words.stop - words.start
        keys = np.empty(len(rows), [("ends", np.uint32, (2, width)), ("ports", np.uint16, 2), ("proto", np.uint32)])
        keys["ends"] = ends[rows, :, words]
        keys["ports"] = ports[rows]
        keys["proto"] = connections["proto"][rows]
        if len(rows):
            yield rows, keys
