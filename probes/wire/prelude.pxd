cimport cython
from libc.stdint cimport int64_t

from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.flags cimport *
from lbtop.probes.wire.sniff cimport *
from lbtop.probes.wire.state cimport *

cdef enum:
    LONGEST_LINE = 4096
    MOST_LINES_READ = 64


@cython.final
cdef class Preludes:
    cdef Context context
    cdef Buffer buffer
    cdef Py_ssize_t line(self, Conn *conn, int direction, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef Py_ssize_t socks(self, Conn *conn, int direction, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef Py_ssize_t mysql(self, Conn *conn, int direction, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
