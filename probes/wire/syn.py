"""The options of a SYN (RFC 9293 section 3.1, RFC 7323): what a TCP stack shows of itself before it says a word."""

import cython
from cython.cimports.lbtop.probes.wire.buffer import SCRATCH, be16, be32
from cython.cimports.libc.stdint import uint8_t, uint64_t

SCRATCH_STACK = cython.declare(cython.Py_ssize_t, SCRATCH + 4096)
# E end of list, N nop, M mss, W window scale, S SACK permitted, T timestamps, ? anything else
LETTERS = cython.declare(cython.p_char, b"ENMWS???T")
UNNAMED = cython.declare(uint8_t, 63)
MOST_OPTIONS = cython.declare(cython.int, 40)
# Layouts of so many letters fit a number; stacks use at most eight.
MOST_PACKED = cython.declare(cython.int, 15)
M1 = cython.declare(uint64_t, 0x9E3779B97F4A7C15)


def read_syn(buffer, tables, known, frame, found):
    """Fills ``found``. The stack is named "mss,window,scale,layout", one letter per option in order of appearance."""
    at: cython.Py_ssize_t = frame.options
    end: cython.Py_ssize_t = at + frame.options_length
    layout: cython.Py_ssize_t = SCRATCH_STACK + 64
    out: cython.Py_ssize_t
    letters: cython.int = 0
    scale: cython.int = -1
    kind: cython.int
    length: cython.Py_ssize_t
    i: cython.int
    packed: uint64_t = 0
    numbers: uint64_t
    entry: cython.pointer(KnownStack)
    found.mss = 0
    found.tsval = 0
    while at < end and letters < MOST_OPTIONS:
        kind = buffer.u8[at]
        buffer.u8[layout + letters] = LETTERS[kind] if kind < 9 else UNNAMED
        letters += 1
        packed = (packed << 4) | cython.cast(uint64_t, kind if kind < 9 else 9)
        if kind == 0:
            break
        if kind == 1:
            at += 1
            continue
        if at + 1 >= end:
            break
        length = buffer.u8[at + 1]
        if length < 2 or at + length > end:
            break
        if kind == 2 and length == 4:
            found.mss = be16(buffer, at + 2)
        elif kind == 3 and length == 3:
            scale = buffer.u8[at + 2]
        elif kind == 8 and length == 10:
            found.tsval = be32(buffer, at + 2)
        at += length
    # Few stacks open most connections: their names are not written out again.
    packed = (packed << 4) | cython.cast(uint64_t, letters)
    numbers = (
        cython.cast(uint64_t, found.mss) << 32 | cython.cast(uint64_t, frame.window) << 16 | cython.cast(uint64_t, scale + 1)
    )
    entry = known + ((((packed * M1) ^ numbers) * M1) >> 58)
    if entry.stack and entry.packed == packed and entry.numbers == numbers and letters <= MOST_PACKED:
        found.stack = entry.stack
        return 0
    out = write_number(buffer, SCRATCH_STACK, found.mss)
    buffer.u8[out] = 44
    out = write_number(buffer, out + 1, frame.window)
    buffer.u8[out] = 44
    if scale < 0:
        buffer.u8[out + 1] = 45
        out += 2
    else:
        out = write_number(buffer, out + 1, scale)
    buffer.u8[out] = 44
    out += 1
    for i in range(letters):
        buffer.u8[out + i] = buffer.u8[layout + i]
    found.stack = tables.strings.intern(SCRATCH_STACK, out + letters - SCRATCH_STACK, True)
    if letters <= MOST_PACKED:
        entry.packed = packed
        entry.numbers = numbers
        entry.stack = found.stack
    return 0


def write_number(buffer, at, value):
    """Writes a number in decimal; where it ends."""
    digits: cython.int = 1
    rest: cython.uint = value
    i: cython.int
    while rest >= 10:
        rest //= 10
        digits += 1
    for i in range(digits - 1, -1, -1):
        buffer.u8[at + i] = cython.cast(uint8_t, 48 + value % 10)
        value //= 10
    return at + digits
