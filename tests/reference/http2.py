"""HTTP/2 in clear (RFC 9113): header blocks are unpacked and told as the heads of HTTP/1 are."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import hpack

from lbtop.model.observation import Side
from tests.reference.heads import Head
from tests.reference.http import HttpConversation, Outstanding
from tests.reference.rows import Recorder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, SETTINGS, PUSH_PROMISE, CONTINUATION = 1, 4, 5, 9
END_HEADERS, PADDED, PRIORITY = 0x04, 0x08, 0x20
OTHER = {Side.CLIENT: Side.SERVER, Side.SERVER: Side.CLIENT}


class Http2Conversation:
    """Both directions of one connection. HPACK has a memory: after a loss nothing can be known any more."""

    def __init__(self, rows: Recorder, recognition: Any, number: int, ends: dict[str, int], proxy_source: int) -> None:
        self.decodable = True
        self._lossy = False
        self.heads = HttpConversation(rows, recognition, number, ends, proxy_source)
        self._buffers = {Side.CLIENT: bytearray(), Side.SERVER: bytearray()}
        self._unpack = {side: hpack.Decoder(max_header_list_size=65536) for side in OTHER}
        self._blocks: dict[Side, tuple[int, bool, bytearray] | None] = {Side.CLIENT: None, Side.SERVER: None}
        self._streams: dict[int, Outstanding] = {}

    def feed(self, side: Side, data: bytes, ts_ns: int) -> None:
        buffer = self._buffers[side]
        buffer += data
        if side is Side.CLIENT and buffer.startswith(PREFACE[: len(buffer)]):
            if len(buffer) < len(PREFACE):
                return
            del buffer[: len(PREFACE)]
        while self.decodable and len(buffer) >= 9:
            length, kind, flags = int.from_bytes(buffer[:3], "big"), buffer[3], buffer[4]
            if len(buffer) < 9 + length:
                return
            stream = struct.unpack_from(">I", buffer, 5)[0] & 0x7FFFFFFF
            body = bytes(buffer[9 : 9 + length])
            del buffer[: 9 + length]
            self.decodable = self._frame(side, kind, flags, stream, body, ts_ns)

    def skip(self, side: Side, count: int, ts_ns: int) -> None:
        self.decodable = False

    def miss(self, side: Side, count: int) -> None:
        """The last bytes are missing: of a frame that holds no headers, as long as it is not over."""
        buffer = self._buffers[side]
        kinds = (HEADERS, SETTINGS, PUSH_PROMISE, CONTINUATION)
        left = 9 + int.from_bytes(buffer[:3], "big") - len(buffer) if len(buffer) >= 9 and buffer[3] not in kinds else 0
        self._lossy |= side is Side.SERVER and count > left

    def close(self, ts_ns: int, heard: bool) -> None:
        if self.decodable and heard and not self._lossy:
            self.heads.unanswered(list(self._streams.values()), ts_ns)

    def _frame(self, side: Side, kind: int, flags: int, stream: int, body: bytes, ts_ns: int) -> bool:
        """False where what follows cannot be understood any more."""
        waiting = self._blocks[side]
        if kind == SETTINGS:
            for at in range(0, len(body) - 5, 6):
                number, value = struct.unpack_from(">HI", body, at)
                if number == 1:
                    self._unpack[OTHER[side]].max_allowed_table_size = min(value, 65536)
            return True
        if kind not in (HEADERS, PUSH_PROMISE, CONTINUATION):
            return True
        if (kind == CONTINUATION) != (waiting is not None):
            return False
        if kind != CONTINUATION:
            start, end = 0, len(body)
            if flags & PADDED and body:
                start, end = 1, len(body) - body[0]
            start += 4 if kind == PUSH_PROMISE else 5 if flags & PRIORITY else 0
            if start > end:
                return False
            body = body[start:end]
            waiting = (stream, kind == HEADERS, bytearray())
        assert waiting is not None
        waiting[2].extend(body)
        self._blocks[side] = None if flags & END_HEADERS else waiting
        if flags & END_HEADERS:
            try:
                fields = list(self._unpack[side].decode(bytes(waiting[2]), raw=True))
            except hpack.HPACKError:
                return False
            if waiting[1]:
                self._head(side, waiting[0], fields, ts_ns)
        return True

    def _head(self, side: Side, stream: int, fields: Sequence[tuple[bytes, bytes]], ts_ns: int) -> None:
        own = {name: value for name, value in fields if name.startswith(b":")}
        lines = [(name, value.strip()) for name, value in fields]
        if side is Side.CLIENT and b":method" in own:
            target = own.get(b":path") or own.get(b":authority", b"")
            head = Head(b"%s %s HTTP/2.0" % (own[b":method"], target), lines)
            self._streams[stream] = self.heads.request(head, ts_ns)
        elif side is Side.SERVER and b":status" in own and own[b":status"][:1] != b"1":
            request = self._streams.pop(stream, None) or Outstanding(0, b"", 0, {})
            self.heads.answer(Head(b"HTTP/2.0 " + own[b":status"], lines), request, ts_ns, cut=False)


KNOWN_FLAGS = {0: 0x09, 1: 0x2D, 3: 0, 4: 1, 6: 1, 7: 0, 8: 0}


def looks_like_frames(data: bytes) -> bool:
    """Two frames that follow each other, or one that ends where the bytes do, by the rules of RFC 9113 section 6."""
    count = 0
    while len(data) >= 9 and count < 2:
        length, kind, flags = int.from_bytes(data[:3], "big"), data[3], data[4]
        stream = struct.unpack_from(">I", data, 5)[0]
        sizes = {1: length > 0, 3: length == 4, 4: length % 6 == 0, 6: length == 8, 7: length >= 8, 8: length == 4}
        if kind not in KNOWN_FLAGS or flags & ~KNOWN_FLAGS[kind] or not sizes.get(kind, True) or length > 1 << 20:
            return False
        if stream > 0x7FFFFFFF or ((stream == 0) != (kind in (4, 6, 7)) and kind != 8):
            return False
        count += 1
        data = data[9 + length :] if len(data) >= 9 + length else b"?"
    return count == 2 or (count == 1 and not data)
