"""SipHash-1-3 (Aumasson and Bernstein; the variant CPython uses for str): the only form in which a secret leaves the parser."""

import os

import cython
from cython.cimports.lbtop.probes.wire.buffer import SCRATCH, Octets, span, word64


class SipHash:
    """Keyed 64-bit hashes of bytes in the decoder's buffer. The key is random per run unless it is given."""

    def __init__(self, key: bytes | None = None):
        """``key`` has 16 bytes. Raises ValueError otherwise."""
        key = os.urandom(16) if key is None else key
        if len(key) != 16:
            raise ValueError("a SipHash key has 16 bytes")
        k0 = int.from_bytes(key[:8], "little")
        k1 = int.from_bytes(key[8:], "little")
        self.a = k0 ^ 0x736F6D6570736575
        self.b = k1 ^ 0x646F72616E646F6D
        self.c = k0 ^ 0x6C7967656E657261
        self.d = k1 ^ 0x7465646279746573

    def number(self, buffer, data):
        """The hash of at most 4096 bytes that are not in the buffer yet."""
        buffer.array[SCRATCH : SCRATCH + len(data)] = memoryview(data)
        return self.of(buffer, SCRATCH, len(data))

    def of(self, buffer, offset, length):
        """Never 0: that means "none" in the rows. Reads up to seven bytes of slack behind the last byte."""
        v0: cython.ulonglong = self.a
        v1: cython.ulonglong = self.b
        v2: cython.ulonglong = self.c
        v3: cython.ulonglong = self.d
        word: cython.ulonglong
        rest: cython.int = length & 7
        octets: Octets = span(buffer, offset, length + 8 - rest)
        last: Octets = octets + (length - rest)
        _: cython.int
        while octets <= last:
            if octets < last:
                word = word64(octets)
            else:
                word = cython.cast(cython.ulonglong, length) << 56
                if rest:
                    word |= word64(octets) & ((cython.cast(cython.ulonglong, 1) << (8 * rest)) - 1)
            v3 ^= word
            v0 += v1
            v2 += v3
            v1 = ((v1 << 13) | (v1 >> 51)) ^ v0
            v3 = ((v3 << 16) | (v3 >> 48)) ^ v2
            v0 = (v0 << 32) | (v0 >> 32)
            v2 += v1
            v0 += v3
            v1 = ((v1 << 17) | (v1 >> 47)) ^ v2
            v3 = ((v3 << 21) | (v3 >> 43)) ^ v0
            v2 = (v2 << 32) | (v2 >> 32)
            v0 ^= word
            octets += 8
        v2 ^= 0xFF
        for _ in range(3):
            v0 += v1
            v2 += v3
            v1 = ((v1 << 13) | (v1 >> 51)) ^ v0
            v3 = ((v3 << 16) | (v3 >> 48)) ^ v2
            v0 = (v0 << 32) | (v0 >> 32)
            v2 += v1
            v0 += v3
            v1 = ((v1 << 17) | (v1 >> 47)) ^ v2
            v3 = ((v3 << 21) | (v3 >> 43)) ^ v0
            v2 = (v2 << 32) | (v2 >> 32)
        word = v0 ^ v1 ^ v2 ^ v3
        return word if word else 1
