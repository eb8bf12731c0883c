"""One array for every byte the decoder looks at: packets as read, and slots in which heads and early segments wait.

Parsers get offsets into it, never slices, so that one parser serves a head that lies whole in the read area and one that
was collected over several segments. The array is seen through four views at once: bytes, and 16, 32 and 64-bit
items *at every byte offset* (stride 1), which makes a field one bounds-checked read. Items are in the machine's
little-endian order; ``be16`` and its sisters turn them. Eight bytes of slack follow, so that an eight-byte read that begins
inside the data is always inside the array.

    0        scratch     pool of slots (2, 16 and 64 KB)      read areas        spare     slack
    |--------|-----------|------------------------------------|-----------------|---------|--|

The memory is only touched where it is used: the pool's size is a bound, not a cost.
"""

import sys

import cython
import numpy as np
from cython.cimports.libc.string import memmove
from numpy.lib.stride_tricks import as_strided

if sys.byteorder != "little":
    raise ImportError("the decoder reads fields in place and needs a little-endian machine")

POOL_BYTES = 32 << 20
AREA_BYTES = 512 << 10
AREA_LEAST = 4096
_SIZES = (2048, 16384, 65536)


class Buffer:
    """``areas`` read areas of ``area_size`` bytes behind a pool of at most ``pool`` bytes of slots, then ``spare`` bytes more."""

    def __init__(self, area_size=AREA_BYTES, areas=1, pool=POOL_BYTES, spare=0):
        self.area_size = max(area_size, AREA_LEAST)
        self.areas = areas
        self.blocks = max(pool // BLOCK, 1)
        self.area = POOL + self.blocks * BLOCK
        self.spare = self.area + self.area_size * areas
        size = self.spare + spare + SLACK
        # Zeroed lazily by the kernel: pages cost memory from their first use on.
        self.array = np.zeros(size, np.uint8)
        self.u8 = self.array
        self.u16 = as_strided(self.array[: (size - 2) & ~1].view("u2"), (size - 1,), (1,))
        self.u32 = as_strided(self.array[: (size - 4) & ~3].view("u4"), (size - 3,), (1,))
        self.u64 = as_strided(self.array[: (size - 8) & ~7].view("u8"), (size - 7,), (1,))
        self.free_slots = np.zeros(self.blocks, np.uint32)
        self.block_class = np.zeros(self.blocks, np.uint8)
        self.next_block = np.zeros(self.blocks, np.int32)
        self.previous_block = np.zeros(self.blocks, np.int32)
        self.empty = -1
        self.fresh = 0
        for size_class in range(3):
            self.partial[size_class] = -1

    def take(self, size):
        """Offset of a free slot of at least ``size`` bytes (up to 64 KB); -1, and counted, when there is none."""
        size_class: cython.int = 0 if size <= 2048 else 1 if size <= 16384 else 2
        block: cython.int
        slot: cython.int = 0
        mask: cython.uint
        if size > BLOCK:
            self.refused += 1
            return -1
        block = self.partial[size_class]
        if block < 0:
            if self.empty >= 0:
                block = self.empty
                self.empty = self.next_block[block]
            elif self.fresh < self.blocks:
                block = self.fresh
                self.fresh += 1
            else:
                self.refused += 1
                return -1
            self.block_class[block] = size_class
            self.free_slots[block] = cython.cast(cython.uint, -1) if size_class == 0 else 15 if size_class == 1 else 1
            self._link(block, size_class)
        mask = self.free_slots[block]
        while not (mask >> slot) & 1:
            slot += 1
        mask &= ~(cython.cast(cython.uint, 1) << slot)
        self.free_slots[block] = mask
        if mask == 0:
            self._unlink(block, size_class)
        self.taken += 1
        return POOL + cython.cast(cython.Py_ssize_t, block) * BLOCK + slot * (2048 if size_class == 0 else 16384)

    def give(self, offset):
        """Gives a slot back."""
        block: cython.int = cython.cast(cython.int, (offset - POOL) // BLOCK)
        inside: cython.int = cython.cast(cython.int, (offset - POOL) % BLOCK)
        size_class: cython.int = self.block_class[block]
        slot: cython.int = inside // 2048 if size_class == 0 else inside // 16384 if size_class == 1 else 0
        before: cython.uint = self.free_slots[block]
        after: cython.uint = before | (cython.cast(cython.uint, 1) << slot)
        whole: cython.uint = cython.cast(cython.uint, -1) if size_class == 0 else 15 if size_class == 1 else 1
        if after == before:
            return 0
        self.taken -= 1
        self.free_slots[block] = after
        if after == whole:
            if before:
                self._unlink(block, size_class)
            self.next_block[block] = self.empty
            self.empty = block
        elif before == 0:
            self._link(block, size_class)
        return 0

    def capacity(self, offset):
        """Bytes that the slot at ``offset`` holds."""
        size_class: cython.int = self.block_class[(offset - POOL) // BLOCK]
        return 2048 if size_class == 0 else 16384 if size_class == 1 else BLOCK

    def copy(self, target, source, size):
        """Copies ``size`` bytes inside the array; the stretches may overlap. Raises IndexError outside of it."""
        if size <= 0:
            return 0
        if target < 0 or source < 0 or target + size > self.u8.shape[0] or source + size > self.u8.shape[0]:
            with cython.gil:
                raise IndexError("outside the buffer")
        memmove(cython.address(self.u8[target]), cython.address(self.u8[source]), size)
        return 0

    def _link(self, block, size_class):
        head: cython.int = self.partial[size_class]
        self.next_block[block] = head
        self.previous_block[block] = -1
        if head >= 0:
            self.previous_block[head] = block
        self.partial[size_class] = block
        return 0

    def _unlink(self, block, size_class):
        after: cython.int = self.next_block[block]
        before: cython.int = self.previous_block[block]
        if before >= 0:
            self.next_block[before] = after
        else:
            self.partial[size_class] = after
        if after >= 0:
            self.previous_block[after] = before
        return 0
