"""Addresses and ports that are known to accept connections: they tell who is who where a connection's start was missed."""

import cython
import numpy as np
from cython.cimports.libc.stdint import uint32_t, uint64_t

MOST = cython.declare(uint32_t, 1 << 13)
M1 = cython.declare(uint64_t, 0x9E3779B97F4A7C15)
M2 = cython.declare(uint64_t, 0xC2B2AE3D27D4EB4F)


class Listeners:
    """The first few thousand proven ones. Two that share a 64-bit hash under the run's seed count as one."""

    def __init__(self, seed):
        self.seed = seed
        self.known = np.zeros(2 * MOST, np.uint64)

    def add(self, proto, high, low, port):
        hashed: uint64_t = self._hash(proto, high, low, port)
        mask: cython.size_t = self.known.shape[0] - 1
        place: cython.size_t = hashed & mask
        while self.known[place]:
            if self.known[place] == hashed:
                return 0
            place = (place + 1) & mask
        if self.count < MOST:
            self.known[place] = hashed
            self.count += 1
        return 0

    def has(self, proto, high, low, port):
        hashed: uint64_t = self._hash(proto, high, low, port)
        mask: cython.size_t = self.known.shape[0] - 1
        place: cython.size_t = hashed & mask
        while self.known[place]:
            if self.known[place] == hashed:
                return True
            place = (place + 1) & mask
        return False

    def _hash(self, proto, high, low, port):
        hashed: uint64_t = (high ^ self.seed) * M1
        hashed = (hashed ^ (hashed >> 32) ^ low) * M2
        hashed = (hashed ^ (hashed >> 29) ^ ((cython.cast(uint64_t, port) << 8) | cython.cast(uint64_t, proto))) * M1
        return (hashed ^ (hashed >> 32)) | 1
