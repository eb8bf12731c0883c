"""The chunked coding (RFC 9112 section 7.1), as far as passing over it needs."""

import cython
from cython.cimports.lbtop.probes.wire.scan import find_byte
from cython.cimports.lbtop.probes.wire.secrets import BODY_OTHER
from cython.cimports.libc.stdint import int64_t


def chunk_line(buffer, half, offset, end):
    """A line of the chunked coding (RFC 9112 section 7.1): a size, the end of a chunk, or a trailer."""
    feed: cython.Py_ssize_t = find_byte(buffer, offset, min(end, offset + LONGEST_LINE), 0x0A)
    at: cython.Py_ssize_t = offset
    byte: cython.int
    size: int64_t = 0
    if feed < 0:
        if end - offset < LONGEST_LINE:
            return 0
        half.mode = M_RESYNC
        half.lost = 1
        return AGAIN
    if half.mode == M_CHUNK_END:
        half.mode = M_CHUNK if feed - offset < 2 else M_RESYNC
    elif half.mode == M_TRAILER:
        if feed == offset or (feed == offset + 1 and buffer.u8[offset] == 0x0D):
            half.mode = M_HEAD
    else:
        while at < feed and at < offset + 15:
            byte = buffer.u8[at]
            if byte >= 0x30 and byte <= 0x39:
                byte -= 0x30
            else:
                byte = (byte | 0x20) - 0x57
                if byte < 10 or byte > 15:
                    break
            size = (size << 4) | byte
            at += 1
        if at == offset or at == offset + 15:
            half.mode = M_RESYNC
        elif size == 0:
            half.mode = M_TRAILER
        else:
            half.need = size
            half.after = M_CHUNK_END
            half.mode = M_FORM if half.body != BODY_OTHER else M_BODY
    if half.mode == M_RESYNC:
        half.lost = 1
    return feed + 1 - offset
