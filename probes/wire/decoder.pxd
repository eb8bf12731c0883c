cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from lbtop.probes.wire.assembly cimport Assembly
from lbtop.probes.wire.buffer cimport Buffer, fetch, prefetch
from lbtop.probes.wire.connections cimport Connections
from lbtop.probes.wire.frame cimport Frame
from lbtop.probes.wire.stream cimport Streams
from lbtop.probes.wire.tables cimport Tables

# Sets of four, each one cache line; 64 KB, as more would push other things out of the caches.
cdef enum:
    WAYS = 4
    SEEN_SETS = 1023        # sets, less one: a mask

# Packets seen lately, for recognising their copies.
cdef struct Seen:
    uint64_t print[WAYS]
    uint64_t when[WAYS]     # in units of 1,024 ns, with the uppermost 16 bits of its place above

cdef bint repeats(Frame frame, uint64_t before, uint64_t when) noexcept nogil


@cython.final
cdef class Decoder:
    cdef readonly Buffer buffer
    cdef readonly Tables tables
    cdef readonly Streams streams
    cdef readonly Connections connections
    cdef Assembly assembly
    cdef Frame frame
    cdef readonly object fragments
    cdef Seen[::1] seen
    cdef uint32_t origin            # number of the file or ring that packets come from: part of their place

    cdef readonly uint64_t packets
    cdef readonly uint64_t bytes
    cdef readonly uint64_t undecoded
    cdef readonly uint64_t truncated
    cdef readonly uint64_t duplicates
    cdef readonly int64_t started_ns
    cdef readonly int64_t ended_ns

    # Decodes the packet of `captured` bytes that lies in the buffer at `offset`; on the wire it had `wire` bytes.
    cdef int take(self, int linktype, uint32_t interface, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t captured, Py_ssize_t wire) except -1 nogil
    cdef inline int _take(self, Frame frame, Connections table, int linktype) except -1 nogil
    cdef int recall(self) except -1 nogil
    cdef int count(self, Frame frame) except -1 nogil
    cdef Py_ssize_t _join(self) except -2
    cdef bint parse(self, Frame frame, int linktype) except -1 nogil
    cdef bint unwrap(self, Frame frame) except -1 nogil
    cdef inline uint64_t mark(self, Frame frame) except? 0xFFFFFFFFFFFFFFFE nogil
    cdef uint64_t _mark_unnumbered(self, Frame frame, uint64_t a) except? 0xFFFFFFFFFFFFFFFE nogil
    cdef inline bint is_copy(self, Frame frame, uint64_t print) except -1 nogil
