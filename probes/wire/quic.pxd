cimport cython
from libc.stdint cimport int64_t, uint32_t

from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.hello cimport Hellos
from lbtop.probes.wire.state cimport Conn, Context


@cython.final
cdef class Quic:
    cdef Context context
    cdef Buffer buffer
    cdef Hellos hellos
    cdef dict conversations       # conn -> what is remembered of it
    cdef object ciphers           # the module with the ciphers; False where it is not installed

    # A datagram of a QUIC flow. True once nothing more can be learned.
    cdef bint datagram(self, Conn *conn, int direction, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1
    cdef bint from_client(self, Py_ssize_t offset, Py_ssize_t end) except -1
    cdef int end(self, Conn *conn) except -1 nogil
    cdef int _hello(self, Conn *conn, int direction, int64_t ts_ns, message) except -1
