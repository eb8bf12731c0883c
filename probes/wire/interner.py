"""Numbers for byte strings, in order of first appearance, without a Python object per string.

Open addressing over the bytes in the :class:`Buffer`; equal strings are found by comparing bytes, so a collision of the
seeded hash costs time and is never wrong. A bounded probe length keeps that time bounded for whoever finds collisions.
"""

import cython
import numpy as np
from cython.cimports.lbtop.probes.wire.buffer import SCRATCH
from cython.cimports.lbtop.probes.wire.scan import hashed
from cython.cimports.libc.string import memcmp, memcpy

STRING_CAP = 1 << 16
ADDRESS_CAP = 1 << 19
LONGEST = 4096
"""Longer strings are cut to this many bytes: no row needs more to tell two values apart."""
PROBES = cython.declare(cython.int, 1024)
LONGEST_C = cython.declare(cython.Py_ssize_t, 4096)
LOW_MASK = cython.declare(cython.ulonglong, 0xFFFFFF)


class Interner:
    """Implements :class:`lbtop.model.observation.Interner`: 0 is the empty string, 1 stands for all beyond ``cap``."""

    def __init__(self, buffer, cap=STRING_CAP, seed=0):
        self.buffer = buffer
        self.cap = cap
        self.common_cap = cap // 2
        self.seed = seed
        arena = np.zeros(1 << 14, np.uint8)
        arena[:6] = np.frombuffer(b"(more)", np.uint8)
        self.arena = arena
        self.ends = np.zeros(256, np.uint64)
        self.index = np.zeros(512, np.uint64)
        self.ends[1] = 6
        self.count = 2

    def __len__(self):
        return self.count

    def __getitem__(self, number):
        if not 0 <= number < self.count:
            raise IndexError(number)
        begin = int(self.ends[number - 1]) if number else 0
        return bytes(self.arena[begin : int(self.ends[number])]) if number else b""

    def intern(self, offset, n, common=False):
        found: cython.ulonglong
        place: cython.size_t
        _: cython.int
        if n <= 0:
            return 0
        if n > LONGEST_C:
            n = LONGEST_C
        key: cython.ulonglong = self._hash(offset, n)
        mask: cython.size_t = self.index.shape[0] - 1
        place = (key >> 1) & mask
        for _ in range(PROBES):
            found = self.index[place]
            if found == 0:
                break
            if (found ^ key) & ~LOW_MASK == 0 and self._same(cython.cast(cython.uint, found & LOW_MASK), offset, n):
                return cython.cast(cython.uint, found & LOW_MASK)
            place = (place + 1) & mask
        else:
            self.full = True
            return 1
        if self.count >= (self.common_cap if common else self.cap):
            self.full = True
            return 1
        self.index[place] = (key & ~LOW_MASK) | self.count
        return self._append(offset, n)

    def text(self, text):
        """Number of ``text`` (bytes), for what was read elsewhere than in a packet."""
        size: cython.Py_ssize_t = min(len(text), LONGEST)
        self.buffer.array[SCRATCH : SCRATCH + size] = np.frombuffer(text, np.uint8)[:size]
        return self.intern(SCRATCH, size)

    def address(self, high, low):
        # Written where a slot or packet never is, so that one lookup serves text and addresses.
        self.buffer.u64[0] = high
        self.buffer.u64[8] = low
        return self.intern(0, 16)

    def _hash(self, offset, n):
        return hashed(self.buffer, offset, n, self.seed)

    def _same(self, number, offset, n):
        begin: cython.Py_ssize_t = self.ends[number - 1]
        if cython.cast(cython.Py_ssize_t, self.ends[number]) - begin != n or offset + n > self.buffer.u8.shape[0]:
            return False
        return memcmp(cython.address(self.arena[begin]), cython.address(self.buffer.u8[offset]), n) == 0

    def _append(self, offset, n):
        begin: cython.Py_ssize_t = self.ends[self.count - 1]
        number: cython.uint = self.count
        if begin + n > self.arena.shape[0] or number + 1 >= self.ends.shape[0]:
            with cython.gil:
                self._grow_arena(n)
        if offset < 0 or offset + n > self.buffer.u8.shape[0]:
            with cython.gil:
                raise IndexError("outside the buffer")
        memcpy(cython.address(self.arena[begin]), cython.address(self.buffer.u8[offset]), n)
        self.ends[number] = begin + n
        self.count = number + 1
        if 2 * self.count > self.index.shape[0]:
            with cython.gil:
                self._grow_index()
        return number

    def _grow_arena(self, more):
        used = int(self.ends[self.count - 1])
        if used + more > self.arena.shape[0]:
            arena = np.zeros(max(2 * self.arena.shape[0], used + more), np.uint8)
            arena[:used] = np.asarray(self.arena)[:used]
            self.arena = arena
        if self.count + 1 >= self.ends.shape[0]:
            self.ends = np.concatenate([np.asarray(self.ends), np.zeros(self.ends.shape[0], np.uint64)])
        return 0

    def _grow_index(self):
        # Only the upper hash bits are kept, and the lower ones choose the place: each string is hashed again from the arena.
        old: cython.ulonglong[::1] = self.index
        size: cython.size_t = 2 * old.shape[0]
        self.index = np.zeros(size, np.uint64)
        place: cython.size_t
        found: cython.ulonglong
        number: cython.uint
        key: cython.ulonglong
        scratch: cython.Py_ssize_t = self.buffer.take(LONGEST_C)
        if scratch < 0:
            self.index = old
            self.cap = min(self.cap, self.count)
            self.full = True
            return 0
        for found in old:
            if found == 0:
                continue
            number = cython.cast(cython.uint, found & LOW_MASK)
            begin: cython.Py_ssize_t = self.ends[number - 1]
            n: cython.Py_ssize_t = cython.cast(cython.Py_ssize_t, self.ends[number]) - begin
            memcpy(cython.address(self.buffer.u8[scratch]), cython.address(self.arena[begin]), n)
            key = self._hash(scratch, n)
            place = (key >> 1) & (size - 1)
            while self.index[place]:
                place = (place + 1) & (size - 1)
            self.index[place] = (key & ~LOW_MASK) | number
        self.buffer.give(scratch)
        return 0
