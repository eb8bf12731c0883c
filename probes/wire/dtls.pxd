cimport cython
from libc.stdint cimport int64_t

from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.flags cimport *
from lbtop.probes.wire.hello cimport Hellos
from lbtop.probes.wire.state cimport Conn, Context, Half


@cython.final
cdef class Dtls:
    cdef Context context
    cdef Buffer buffer
    cdef Hellos hellos

    # A datagram of DTLS records. True once nothing more can be learned.
    cdef bint datagram(self, Conn *conn, int direction, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef bint _message(self, Conn *conn, int direction, int64_t ts_ns, Py_ssize_t at, Py_ssize_t end) except -1 nogil
    cdef Py_ssize_t _fragment(self, Half *half, Py_ssize_t at, int size, int start, int length) except -2 nogil
