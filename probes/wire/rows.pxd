from libc.stdint cimport int32_t, int64_t

from lbtop.probes.wire.assembly cimport Assembly
from lbtop.probes.wire.slots cimport Slots
from lbtop.probes.wire.stream cimport Streams
from lbtop.probes.wire.tables cimport Tables


cdef class ConnectionRows(Slots):
    cdef Tables tables
    cdef Streams streams
    cdef Assembly assembly

    cdef bint ended(self, int32_t slot) except -1 nogil
    # Which end of the five-tuple the client is: 0 the lower address.
    cdef int client_end(self, int32_t slot) except -1 nogil
    cdef int intern_ends(self, int32_t slot) except -1 nogil
    # Writes the OPENED row; its index.
    cdef Py_ssize_t write_opened(self, int32_t slot, int64_t ts_ns) except -1 nogil
    # Writes the CONNECTION row as of now. end: used where the packets show none; ended_ns closes the last silence then.
    cdef int write_connection(self, int32_t slot, int end, int64_t ended_ns) except -1 nogil
