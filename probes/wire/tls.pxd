cimport cython
from libc.stdint cimport int64_t

from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.flags cimport *
from lbtop.probes.wire.hello cimport Hello, Hellos
from lbtop.probes.wire.state cimport *

cdef enum:
    LONGEST_MESSAGE = 65536


@cython.final
cdef class Tls:
    cdef Context context
    cdef Buffer buffer
    cdef Hellos hellos

    cdef Py_ssize_t records(self, Conn *conn, int direction, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef int finish(self, Conn *conn) except -1 nogil
    cdef int answered(self, Conn *conn, int64_t ts_ns) except -1 nogil

    cdef Py_ssize_t _handshakes(self, Conn *conn, int direction, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef Py_ssize_t _gather(self, Py_ssize_t *record, Py_ssize_t *inside, Py_ssize_t end) except -3 nogil
    cdef int _message(self, Conn *conn, int direction, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef int _certificate(self, Hello *hello, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
