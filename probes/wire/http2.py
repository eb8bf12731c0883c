"""HTTP/2 in clear (RFC 9113): header blocks become heads of the form that HTTP/1 has, and then the same rows.

Frames are walked in compiled code; header blocks go to the `hpack` package, which is imported with the first
connection that needs it. HPACK has a memory: a connection joined in the middle, or one that lost bytes between frames,
cannot be decoded and says so, instead of showing headers that were never sent.
"""

import cython
from cython.cimports.lbtop.probes.wire.buffer import be24, be32

HEADERS = cython.declare(cython.int, 1)
SETTINGS = cython.declare(cython.int, 4)
PUSH_PROMISE = cython.declare(cython.int, 5)
CONTINUATION = cython.declare(cython.int, 9)
END_HEADERS = cython.declare(cython.int, 0x04)
PADDED = cython.declare(cython.int, 0x08)
PRIORITY = cython.declare(cython.int, 0x20)
STREAM_BITS = cython.declare(cython.uint, 0x7FFFFFFF)
LARGEST_PLAUSIBLE = cython.declare(cython.uint, 1 << 20)

MOST_CONVERSATIONS = 4096
MOST_STREAMS = 1024
LARGEST_TABLE = 65536
LONGEST_BLOCK = 65536
_UNSAFE = bytes.maketrans(b"\r\n\0", b"   ")


class Conversation:
    """What has to be remembered of one connection: both header tables, blocks in pieces, and who waits on which stream."""

    __slots__ = ("blocks", "decoders", "streams", "upgraded")

    def __init__(self, hpack, upgraded):
        self.decoders = [hpack.Decoder(max_header_list_size=LONGEST_BLOCK) for _ in range(2)]
        self.blocks = [None, None]
        self.streams = {}
        self.upgraded = upgraded


class Http2:
    """Reads the frames of both directions."""

    def __init__(self, context: Context, http1):
        self.context = context
        self.buffer = context.buffer
        self.http1 = http1
        self.conversations = {}

    def begin(self, conn, upgraded):
        """From here on both directions are frames. ``upgraded``: stream 1 is the request that asked for it."""
        if conn.http2 == 0:
            with cython.gil:
                self._begin(conn, upgraded)
        return 0

    def frames(self, conn, direction, ts_ns, offset, end):
        """Takes the frame at ``offset``; answers with the bytes used, 0 when it needs more."""
        half: cython.pointer(Half) = cython.address(conn.half[direction])
        length: cython.Py_ssize_t
        kind: cython.int
        good: cython.bint
        if end - offset < FRAME_HEAD:
            return 0
        length = be24(self.buffer, offset)
        kind = self.buffer.u8[offset + 3]
        if kind == HEADERS or kind == SETTINGS or kind == PUSH_PROMISE or kind == CONTINUATION:
            if length > LONGEST_FRAME:
                self.give_up(conn)
                return end - offset
            if end - offset < FRAME_HEAD + length:
                return 0
            with cython.gil:
                good = self._frame(conn, direction, ts_ns, offset, offset + FRAME_HEAD + length)
            if not good:
                self.give_up(conn)
                return end - offset
            return FRAME_HEAD + length
        if length:
            half.need = length
            half.mode = M_BODY
            half.after = M_HTTP2
        return FRAME_HEAD

    def give_up(self, conn):
        """Headers cannot be known from here on."""
        conn.flags |= CN_NOT_DECODABLE
        conn.half[0].mode = M_OPAQUE
        conn.half[1].mode = M_OPAQUE
        return self.end(conn)

    def end(self, conn):
        """Forgets what was remembered of the connection."""
        if conn.http2:
            with cython.gil:
                self.conversations.pop(conn.http2, None)
            conn.http2 = 0
        return 0

    def _begin(self, conn, upgraded):
        if self.hpack is None:
            try:
                import hpack
            except ImportError:
                hpack = False
            self.hpack = hpack
        if not self.hpack or len(self.conversations) >= MOST_CONVERSATIONS:
            self.give_up(conn)
            return 0
        self.numbered += 1
        conn.http2 = self.numbered
        self.conversations[conn.http2] = Conversation(self.hpack, upgraded)
        return 0

    def _frame(self, conn, direction, ts_ns, offset, end):
        """One whole frame that headers depend on; False where the rest of the connection cannot be decoded."""
        kind: cython.int = self.buffer.u8[offset + 3]
        flags: cython.int = self.buffer.u8[offset + 4]
        stream: cython.uint = be32(self.buffer, offset + 5) & STREAM_BITS
        at: cython.Py_ssize_t = offset + FRAME_HEAD
        conversation = self.conversations.get(conn.http2)
        if conversation is None:
            return False
        if kind == SETTINGS:
            while at + 6 <= end:
                if self.buffer.u8[at] == 0 and self.buffer.u8[at + 1] == 1:
                    # How large a table this end keeps for what the other end sends.
                    conversation.decoders[1 - direction].max_allowed_table_size = min(be32(self.buffer, at + 2), LARGEST_TABLE)
                at += 6
            return True
        waiting = conversation.blocks[direction]
        if kind == CONTINUATION:
            if waiting is None:
                return False
        else:
            if waiting is not None:
                return False
            if flags & PADDED and at < end:
                end -= self.buffer.u8[at]
                at += 1
            if kind == PUSH_PROMISE:
                at += 4
            elif flags & PRIORITY:
                at += 5
            if at > end:
                return False
            waiting = conversation.blocks[direction] = (stream, kind == HEADERS, bytearray())
        waiting[2].extend(self.buffer.u8[at:end])
        if len(waiting[2]) > LONGEST_BLOCK:
            return False
        if flags & END_HEADERS:
            conversation.blocks[direction] = None
            try:
                fields = conversation.decoders[direction].decode(bytes(waiting[2]), raw=True)
            except self.hpack.HPACKError:
                return False
            if waiting[1]:
                self._headers(conn, direction, ts_ns, conversation, waiting[0], list(fields))
        return True

    def _headers(self, conn, direction, ts_ns, conversation, stream, fields):
        """A request's or a response's header fields, written out as a head; trailers have neither method nor status."""
        slot: cython.Py_ssize_t
        size: cython.Py_ssize_t
        place: cython.uint = 0
        own = {name: value for name, value in fields if name[:1] == b":"}
        if direction == 0 and b":method" in own:
            first = b"%s %s HTTP/2.0" % (own[b":method"], own.get(b":path") or own.get(b":authority", b""))
        elif direction == 1 and b":status" in own:
            first = b"HTTP/2.0 %s" % own[b":status"]
        else:
            return 0
        lines = [first, *(b"%s: %s" % field for field in fields)]
        text = b"\r\n".join([line.translate(_UNSAFE) for line in lines])[: LONGEST_BLOCK - 4] + b"\r\n\r\n"
        size = len(text)
        slot = self.buffer.take(size)
        if slot < 0:
            return 0
        self.buffer.array[slot : slot + size] = memoryview(text)
        self.http1.head.pseudo = True
        self.http1.head.measure(slot, slot + size)
        if direction == 0:
            self.http1.request(conn, ts_ns, False)
            if len(conversation.streams) < MOST_STREAMS:
                conversation.streams[stream] = (self.http1.queued, self.context.numbered)
        elif not (conversation.upgraded and stream == 1):
            # The place may have gone to another request since, if this one was forgotten.
            place, number = conversation.streams.get(stream, (0, 0))
            if place and self.context.pending[place].request != number:
                place = 0
            if own[b":status"][:1] != b"1":
                conversation.streams.pop(stream, None)
            self.http1.response(conn, ts_ns, False, place)
        self.http1.head.pseudo = False
        self.buffer.give(slot)
        return 0


def looks_like_frames(buffer, offset, end):
    """Do the bytes look like HTTP/2 frames, two that follow each other or one that ends where the bytes do?"""
    count: cython.int = 0
    while end - offset >= FRAME_HEAD and count < 2:
        if not _plausible(buffer, offset):
            return False
        count += 1
        offset += FRAME_HEAD + cython.cast(cython.Py_ssize_t, be24(buffer, offset))
    return count == 2 or (count == 1 and offset == end)


def _plausible(buffer, offset):
    """Does a frame's head keep the rules of RFC 9113 section 6 for its type?"""
    length: cython.uint = be24(buffer, offset)
    kind: cython.int = buffer.u8[offset + 3]
    flags: cython.int = buffer.u8[offset + 4]
    stream: cython.uint = be32(buffer, offset + 5)
    if stream > STREAM_BITS or length > LARGEST_PLAUSIBLE:
        return False
    if kind == 0:
        return stream != 0 and flags & 0xF6 == 0
    if kind == 1:
        return stream != 0 and flags & 0xD2 == 0 and length > 0
    if kind == 3:
        return stream != 0 and length == 4 and flags == 0
    if kind == 4:
        return stream == 0 and length % 6 == 0 and flags <= 1
    if kind == 6:
        return stream == 0 and length == 8 and flags <= 1
    if kind == 7:
        return stream == 0 and length >= 8 and flags == 0
    if kind == 8:
        return length == 4 and flags == 0
    return False
