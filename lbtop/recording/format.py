"""How a recording lies in its file: a header, then frames that stand alone, so that a cut file opens up to the cut.

    file    = MAGIC version:u16 frame*
    frame   = length:u32 crc:u32 payload          little endian; crc32 of the payload; payload is zlib-compressed
    payload = kind:u8 body
      kind 1  layout   JSON {"lbtop": …, "tables": {table: [[field, dtype], …]}, "kind": …, "inputs": […]}
      kind 2  batch    strings addresses rows*, see pack_batch
      kind 3  stats    JSON of SourceStats
      kind 4  end      empty: the recording was closed in order
      kind 5  open     rows of the connections that are open at this moment, as a batch without texts of its own

Frames of kinds a reader does not know are left out by it.

A reader maps columns by name through the layout, so that rows gain columns without a new version. The version rises only
when an old reader would misread.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from lbtop.model.observation import TABLES, Rows
from lbtop.recording.magic import MAGIC as MAGIC
from lbtop.recording.magic import VERSION as VERSION

LAYOUT, BATCH, STATS, END, OPEN = 1, 2, 3, 4, 5
MAX_FRAME = 64 << 20
"""Longer frames are damage, whatever their length field says: a reader never allocates more for one."""

_HEAD = struct.Struct("<II")
_INTEGERS = frozenset(("|u1", "<u2", "<u4", "<u8", "<i8"))
_ALWAYS = frozenset(("seq", "at_ns", "conn"))
"""In every row of every version. Rows of next to no bytes would let a few of them in a file stand for gigabytes in memory."""
_U32 = struct.Struct("<I")


class Damaged(Exception):
    """A frame that is cut, altered or too long. Everything before it is good."""


def layout() -> dict[str, list[list[str]]]:
    """Fields and their types, as this version writes them."""
    return {name: [[field, dtype[field].str] for field in dtype.names or ()] for name, dtype in TABLES.items()}


def write_frame(out: BinaryIO, kind: int, body: bytes) -> int:
    """Appends one frame. Returns its size in the file."""
    payload = zlib.compress(bytes([kind]) + body, 3)
    out.write(_HEAD.pack(len(payload), zlib.crc32(payload)) + payload)
    return _HEAD.size + len(payload)


def read_frames(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Kind and body of every frame. Raises Damaged where the file is cut or altered."""
    while head := file.read(_HEAD.size):
        if len(head) < _HEAD.size:
            raise Damaged("it ends in the middle of a frame")
        length, crc = _HEAD.unpack(head)
        if length > MAX_FRAME:
            raise Damaged(f"a frame claims {length:,} bytes")
        payload = file.read(length)
        if len(payload) < length:
            raise Damaged("it ends in the middle of a frame")
        if zlib.crc32(payload) != crc:
            raise Damaged("a frame does not match its checksum")
        inflate = zlib.decompressobj()
        try:
            body = inflate.decompress(payload, MAX_FRAME)
        except zlib.error:
            raise Damaged("a frame cannot be decompressed") from None
        if inflate.unconsumed_tail or not body:
            raise Damaged("a frame is larger than any that lbtop writes, or empty")
        yield body[0], body[1:]


def pack_batch(strings: Sequence[bytes], addresses: Sequence[bytes], tables: Mapping[str, Rows]) -> bytes:
    """New strings, new addresses, then per table its name, number of rows and rows."""
    parts = [_pack_items(strings), _pack_items(addresses)]
    for name, rows in tables.items():
        if len(rows):
            parts += [bytes([len(name)]), name.encode("ascii"), _U32.pack(len(rows)), rows.tobytes()]
    return b"".join(parts)


def unpack_batch(body: bytes, layouts: Mapping[str, np.dtype[np.void]]) -> tuple[list[bytes], list[bytes], dict[str, Rows]]:
    """The reverse of :func:`pack_batch`, rows in today's layout. Raises Damaged."""
    try:
        strings, at = _unpack_items(body, 0)
        addresses, at = _unpack_items(body, at)
        tables: dict[str, Rows] = {}
        while at < len(body):
            name = body[at + 1 : at + 1 + body[at]].decode("ascii")
            at += 1 + body[at]
            (count,) = _U32.unpack_from(body, at)
            at += 4
            dtype = layouts[name]
            if at + count * dtype.itemsize > len(body):
                raise Damaged("rows are missing from a batch")
            tables[name] = _today(name, np.frombuffer(body, dtype, count, at).copy())  # whoever folds rows may want them writable
            at += count * dtype.itemsize
    except (struct.error, IndexError, KeyError, UnicodeDecodeError) as error:
        raise Damaged(f"a batch cannot be read ({type(error).__name__})") from None
    return strings, addresses, tables


def row_layouts(described: Mapping[str, Any]) -> dict[str, np.dtype[np.void]]:
    """The types of a file's rows from its layout frame. Raises Damaged.

    numpy evaluates what a type's name says, so only the plain integers that rows are made of are handed to it.
    """
    try:
        if any(kind not in _INTEGERS for name, fields in described.items() if name in TABLES for _, kind in fields):
            raise Damaged("its layout holds a type that no row has")
        layouts = {
            str(name): np.dtype([(str(field), str(kind)) for field, kind in fields], align=True)
            for name, fields in described.items()
            if name in TABLES
        }
    except (TypeError, ValueError):
        raise Damaged("its layout cannot be read") from None
    if any(not set(dtype.names or ()) >= _ALWAYS for dtype in layouts.values()):
        raise Damaged("its layout lacks what every row has")
    return layouts


def parse_json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        raise Damaged("a frame is no JSON") from None
    if not isinstance(value, dict):
        raise Damaged("a frame is no JSON object")
    return value


def _today(name: str, rows: Rows) -> Rows:
    """Rows of another version in today's columns: by name, what is missing stays 0."""
    dtype = TABLES[name]
    if rows.dtype == dtype:
        return rows
    fresh = np.zeros(len(rows), dtype)
    for field in dtype.names or ():
        if field in (rows.dtype.names or ()):
            fresh[field] = rows[field]
    return fresh


def _pack_items(items: Sequence[bytes]) -> bytes:
    return _U32.pack(len(items)) + b"".join(_U32.pack(len(item)) + item for item in items)


def _unpack_items(body: bytes, at: int) -> tuple[list[bytes], int]:
    (count,) = _U32.unpack_from(body, at)
    at += 4
    items: list[bytes] = []
    for _ in range(count):
        (length,) = _U32.unpack_from(body, at)
        at += 4
        if at + length > len(body):
            raise Damaged("a text is missing from a batch")
        items.append(body[at : at + length])
        at += length
    return items, at
