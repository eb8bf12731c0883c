cimport cython
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from lbtop.probes.wire.assembly cimport Half
from lbtop.probes.wire.frame cimport Frame
from lbtop.probes.wire.listeners cimport Listeners
from lbtop.probes.wire.rows cimport ConnectionRows
from lbtop.probes.wire.slots cimport Connection
from lbtop.probes.wire.syn cimport KnownStack


@cython.final
cdef class Connections(ConnectionRows):
    cdef Listeners listeners
    cdef KnownStack stacks[64]
    cdef readonly uint32_t half_open_cap
    cdef int64_t next_sweep_ns
    cdef readonly uint64_t opened       # connections so far
    cdef readonly uint64_t half_open_evicted
    cdef readonly uint64_t evicted

    cdef int32_t create(self, Frame frame, int client_end, int orientation) except -2 nogil
    cdef int remove(self, int32_t slot, int end, int64_t ended_ns) except -1 nogil
    cdef int evict(self, int queue) except -1 nogil
    cdef int sweep(self) except -1 nogil
    cdef int close(self, int32_t slot) except -1 nogil
    cdef int fetch_next(self) except -1 nogil
    cdef int first_payload(self, int32_t slot, Frame frame) except -1 nogil
    cdef int prove_listener(self, int32_t slot) except -1 nogil
