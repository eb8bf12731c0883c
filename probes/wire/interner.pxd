cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbtop.probes.wire.buffer cimport Buffer


@cython.final
cdef class Interner:
    cdef Buffer buffer
    cdef readonly uint32_t cap
    cdef readonly uint32_t common_cap
    cdef readonly bint full                 # a string was answered with 1
    cdef uint64_t seed
    cdef uint32_t count
    cdef uint8_t[::1] arena                 # the bytes of every string, one after the other, eight bytes of slack
    cdef uint64_t[::1] ends                 # where string n ends in the arena
    cdef uint64_t[::1] index                # hash bits above, number below; 0 = free

    # Number of the n bytes at offset. `common` marks values of unbounded variety (paths): they get at most half of the numbers.
    cdef uint32_t intern(self, Py_ssize_t offset, Py_ssize_t n, bint common=*) except? 0xFFFFFFFE nogil
    # Number of an address given as its first and last eight bytes, each loaded as a little-endian word.
    cdef uint32_t address(self, uint64_t high, uint64_t low) except? 0xFFFFFFFE nogil
    cdef uint64_t _hash(self, Py_ssize_t offset, Py_ssize_t n) except? 0xFFFFFFFFFFFFFFFE nogil
    cdef uint32_t _append(self, Py_ssize_t offset, Py_ssize_t n) except? 0xFFFFFFFE nogil
    cdef bint _same(self, uint32_t number, Py_ssize_t offset, Py_ssize_t n) except -1 nogil
    cdef int _grow_arena(self, Py_ssize_t more) except -1
    cdef int _grow_index(self) except -1
