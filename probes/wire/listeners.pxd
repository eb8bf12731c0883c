cimport cython
from libc.stdint cimport uint16_t, uint32_t, uint64_t


@cython.final
cdef class Listeners:
    cdef uint64_t[::1] known            # hashes of endpoints; 0 = free
    cdef uint64_t seed
    cdef uint32_t count

    cdef int add(self, int proto, uint64_t high, uint64_t low, uint16_t port) except -1 nogil
    cdef bint has(self, int proto, uint64_t high, uint64_t low, uint16_t port) except -1 nogil
    cdef uint64_t _hash(self, int proto, uint64_t high, uint64_t low, uint16_t port) noexcept nogil
