"""The lines of an HTTP head, in place: where each name and value lies, and what they say about the message's length."""

import os

import cython
import numpy as np
from cython.cimports.lbtop.probes.wire.buffer import SCRATCH
from cython.cimports.lbtop.probes.wire.scan import MIX, find_byte, fold, hashed, holds_folded, is_blank, is_digit, starts_folded
from cython.cimports.lbtop.probes.wire.secrets import BODY_FORM, BODY_JSON, BODY_OTHER
from cython.cimports.libc.stdint import int64_t, uint64_t

_SHAPES = 4096
SHAPE_MASK = cython.declare(cython.size_t, _SHAPES - 1)
SEED = cython.declare(cython.ulonglong, int.from_bytes(os.urandom(8), "little") | 1)
LARGEST = cython.declare(int64_t, 1 << 56)


class Head:
    """One head at a time: :meth:`measure` finds its lines, :meth:`split` names them, :meth:`framing` reads the body's length."""

    def __init__(self, context: Context):
        self.context = context
        self.buffer = context.buffer
        self.strings = context.tables.strings
        self.headers = context.headers
        self.shape_keys = np.zeros(_SHAPES, np.uint64)
        self.shape_numbers = np.zeros(_SHAPES, np.uint32)

    def measure(self, offset, end):
        """Size of the head that starts at ``offset``, blank line included; 0 when it goes on beyond ``end``. Finds its lines.

        Empty lines in front of it are part of it (RFC 9112 section 2.2), a line feed alone ends a line, and a line that
        begins with a blank continues the one before it.
        """
        at: cython.Py_ssize_t = offset
        feed: cython.Py_ssize_t
        last: cython.Py_ssize_t
        self.count = 0
        self.start_end = -1
        self.cut = False
        while True:
            feed = find_byte(self.buffer, at, end, 0x0A)
            if feed < 0:
                if self.start_end < 0:
                    self.start = at
                    self.start_end = end
                elif at < end and self.count < MOST_LINES:
                    # Only of use when the rest of the head is lost.
                    self.lines[self.count].name = at
                    self.lines[self.count].value_end = end
                    self.count += 1
                    self.cut = True
                return 0
            last = feed
            if last > at and self.buffer.u8[last - 1] == 0x0D:
                last -= 1
            if last == at:
                if self.start_end >= 0:
                    return feed + 1 - offset
            elif self.start_end < 0:
                self.start = at
                self.start_end = last
            elif is_blank(self.buffer.u8[at]):
                if self.count:
                    self.lines[self.count - 1].value_end = last
            elif self.count < MOST_LINES:
                self.lines[self.count].name = at
                self.lines[self.count].value_end = last
                self.count += 1
            at = feed + 1

    def split(self):
        """Names and values of the lines; what is none is left out."""
        i: cython.int
        kept: cython.int = 0
        present: uint64_t = 0
        one: uint64_t = 1
        key: uint64_t
        shape: uint64_t = SEED
        colon: cython.Py_ssize_t
        at: cython.Py_ssize_t
        end: cython.Py_ssize_t
        line: cython.pointer(Line)
        for i in range(self.count):
            at = self.lines[i].name
            end = self.lines[i].value_end
            # HTTP/2's own names begin with a colon.
            colon = find_byte(self.buffer, at + 1 if self.pseudo else at, end, 0x3A)
            if colon <= at:
                if self.cut and i == self.count - 1:
                    self.cut = False
                continue
            line = cython.address(self.lines[kept])
            kept += 1
            line.name = at
            line.name_end = colon
            key = hashed(self.buffer, at, colon - at, SEED)
            line.code = self._code(at, colon - at, key)
            present |= one << min(line.code, 63)
            if kept <= SHAPE_NAMES and not (self.cut and i == self.count - 1):
                shape = fold(shape ^ key, MIX)
            at = colon + 1
            while at < end and is_blank(self.buffer.u8[at]):
                at += 1
            while end > at and is_blank(self.buffer.u8[end - 1]):
                end -= 1
            line.value = at
            line.value_end = end
        self.present = present
        self.shape_hash = shape
        # The line that breaks off stands behind the others: only for cookies is there anything whole in it.
        self.count = kept - 1 if self.cut else kept
        return 0

    def _code(self, offset, length, key):
        """H_* number of a name. The same few hundred spellings come again and again: they are found by their hash."""
        known: cython.pointer(Written) = cython.address(self.written[key >> 56])
        if known.hash != key:
            known.code = self.headers.code(offset, length)
            known.hash = key
        return known.code

    def find(self, code):
        """Index of the first line with this H_* number, -1 without one."""
        i: cython.int
        if self.has(code):
            for i in range(self.count):
                if self.lines[i].code == code:
                    return i
        return -1

    def shown(self, offset, end):
        """Number of a value as it is kept for showing: its first 256 bytes."""
        return self.strings.intern(offset, min(end - offset, LONGEST_SHOWN), False)

    def framing(self, request):
        """Length, transfer coding and connection options (RFC 9112 sections 6 and 9.3)."""
        i: cython.int
        code: cython.int
        at: cython.Py_ssize_t
        end: cython.Py_ssize_t
        value: int64_t
        self.length = -1
        self.chunked = False
        self.close = False
        self.keep = False
        self.body = BODY_OTHER
        self.upgraded = U_OTHER
        for i in range(self.count):
            code = self.lines[i].code
            if code < H_CONTENT_LENGTH or code > H_UPGRADE:
                continue
            at = self.lines[i].value
            end = self.lines[i].value_end
            if code == H_CONTENT_LENGTH:
                value = 0
                if at == end:
                    value = -2
                while at < end and value >= 0:
                    if not is_digit(self.buffer.u8[at]) or value > LARGEST:
                        # A list of equal values is allowed; what else stands here makes the length unknown.
                        value = value if self.buffer.u8[at] == 0x2C else -2
                        break
                    value = value * 10 + (self.buffer.u8[at] - 0x30)
                    at += 1
                self.length = value if self.length == -1 or self.length == value else -2
            elif code == H_TRANSFER_ENCODING:
                if holds_folded(self.buffer, at, end, b"chunked", 7):
                    self.chunked = True
            elif code == H_CONNECTION:
                if holds_folded(self.buffer, at, end, b"close", 5):
                    self.close = True
                if holds_folded(self.buffer, at, end, b"keep-alive", 10):
                    self.keep = True
            elif code == H_UPGRADE:
                if starts_folded(self.buffer, at, end, b"websocket", 9):
                    self.upgraded = U_WEBSOCKET
                elif starts_folded(self.buffer, at, end, b"h2c", 3):
                    self.upgraded = U_HTTP2
            elif code == H_CONTENT_TYPE and request:
                if starts_folded(self.buffer, at, end, b"application/x-www-form-urlencoded", 33):
                    self.body = BODY_FORM
                elif starts_folded(self.buffer, at, end, b"application/", 12) and holds_folded(self.buffer, at, end, b"json", 4):
                    self.body = BODY_JSON
        return 0

    def shape(self):
        """The names of all headers in order and case, joined by commas. A hash of them finds the number of a known shape."""
        i: cython.int
        names: cython.int = min(self.count, SHAPE_NAMES)
        at: cython.Py_ssize_t
        end: cython.Py_ssize_t
        size: cython.Py_ssize_t
        place: cython.size_t
        place = self.shape_hash & SHAPE_MASK
        if self.shape_keys[place] == self.shape_hash and self.shape_numbers[place]:
            return self.shape_numbers[place]
        size = 0
        for i in range(names):
            at = self.lines[i].name
            end = min(self.lines[i].name_end, at + LONGEST_SHAPE)
            if size and size < LONGEST_SHAPE:
                self.buffer.u8[SCRATCH + size] = 0x2C
                size += 1
            end = min(end, at + LONGEST_SHAPE - size)
            self.buffer.copy(SCRATCH + size, at, end - at)
            size += max(end - at, 0)
        self.shape_keys[place] = self.shape_hash
        self.shape_numbers[place] = self.strings.intern(SCRATCH, size, False)
        return self.shape_numbers[place]
