cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.interner cimport Interner
from lbtop.probes.wire.names cimport *
from lbtop.probes.wire.state cimport Context

cdef enum:
    MOST_LINES = 256
    LONGEST_SHOWN = 256
    LONGEST_SHAPE = 1024
    WRITTEN = 256
    SHAPE_NAMES = 64

# What a 101 agreed on.
cdef enum:
    U_OTHER
    U_WEBSOCKET
    U_HTTP2

# A header's name as it was written last, by its hash, and the number found for it.
cdef struct Written:
    uint64_t hash
    int code

cdef struct Line:
    Py_ssize_t name, name_end, value, value_end
    int code


@cython.final
cdef class Head:
    cdef Context context
    cdef Buffer buffer
    cdef Interner strings
    cdef Names headers
    cdef Line lines[MOST_LINES]
    cdef int count
    cdef Py_ssize_t start, start_end      # its first line
    cdef uint64_t present                 # bit n: a line with code n stands there; bit 63 all from 63 on
    cdef bint cut                         # lines[count] breaks off where the bytes do
    cdef bint pseudo                      # it was HTTP/2's: names may begin with a colon
    cdef uint64_t shape_hash              # of the names, in order and as they were written
    cdef Written written[WRITTEN]
    cdef uint64_t[::1] shape_keys
    cdef uint32_t[::1] shape_numbers

    # What framing found:
    cdef int64_t length                   # Content-Length, -1 absent, -2 unintelligible
    cdef int body                         # BODY_*
    cdef int upgraded                     # U_*
    cdef bint chunked, close, keep

    cdef Py_ssize_t measure(self, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef int _code(self, Py_ssize_t offset, Py_ssize_t length, uint64_t key) except -1 nogil
    cdef int split(self) except -1 nogil
    cdef inline bint has(self, int code) noexcept nogil:
        """Is there a line with this H_* number (below 63)?"""
        return (self.present >> code) & 1

    cdef int find(self, int code) except -2 nogil
    cdef uint32_t shown(self, Py_ssize_t offset, Py_ssize_t end) except? 0xFFFFFFFE nogil
    cdef int framing(self, bint request) except -1 nogil
    cdef uint32_t shape(self) except? 0xFFFFFFFE nogil
