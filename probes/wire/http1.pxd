cimport cython
from libc.stdint cimport int64_t, uint32_t

from lbtop.probes.wire.addresses cimport AddressText
from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.cookies cimport Cookies
from lbtop.probes.wire.flags cimport *
from lbtop.probes.wire.head cimport LONGEST_SHOWN, U_OTHER, U_WEBSOCKET, Head, Line
from lbtop.probes.wire.names cimport *
from lbtop.probes.wire.secrets cimport Secrets
from lbtop.probes.wire.sniff cimport *
from lbtop.probes.wire.state cimport Conn, Context, Pending
from lbtop.probes.wire.tables cimport RequestRow, ResponseRow, Tables
from lbtop.probes.wire.tells cimport Tells

# What follows a head, by its framing.
cdef enum:
    F_NONE                # no body
    F_LENGTH              # `length` bytes
    F_CHUNKED
    F_CLOSE               # until the connection closes
    F_UPGRADED            # another protocol
    F_TUNNEL              # CONNECT was granted: anything
    F_INTERIM             # a 1xx response: the real head follows
    F_BROKEN              # no HTTP message, or one whose length cannot be told


@cython.final
cdef class Http1:
    cdef Context context
    cdef Buffer buffer
    cdef Tables tables
    cdef Head head
    cdef Tells tells
    cdef Cookies cookies
    cdef Secrets secrets
    cdef uint32_t queued                  # the last request's place among the outstanding ones, 0 none

    cdef int request(self, Conn *conn, int64_t ts_ns, bint truncated) except -1 nogil
    cdef int response(self, Conn *conn, int64_t ts_ns, bint truncated, uint32_t pending) except -1 nogil
    cdef int unanswered(self, Conn *conn, int64_t ts_ns) except -1 nogil
    cdef int cut(self, Conn *conn, int64_t ts_ns, bint request, Py_ssize_t offset, Py_ssize_t end) except -1 nogil

    cdef int _version(self, Py_ssize_t at, Py_ssize_t end) except -1 nogil
    cdef int _method(self, RequestRow *row, Pending *entry, Py_ssize_t end) except -1 nogil
    cdef int _secrets(self, Conn *conn, int64_t ts_ns, Py_ssize_t target, Py_ssize_t end) except -1 nogil
    cdef uint32_t _path(self, Py_ssize_t offset, Py_ssize_t end, bint authority) except? 0xFFFFFFFE nogil
    cdef bint _login(self, Py_ssize_t offset, Py_ssize_t end) except -1
    cdef ResponseRow *_row(self, Conn *conn, int64_t ts_ns, uint32_t pending) except NULL nogil
