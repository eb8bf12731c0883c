from libc.stdint cimport int64_t, uint32_t, uint64_t

from lbtop.probes.wire.addresses cimport AddressText
from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.cookies cimport Cookies
from lbtop.probes.wire.secrets cimport Secrets
from lbtop.probes.wire.state cimport Conn, Context, Pending
from lbtop.probes.wire.tables cimport RequestRow, ResponseRow, Tables

cdef enum:
    MOST_LINES = 256
    LONGEST_SHOWN = 256
    LONGEST_SHAPE = 1024
    SHAPE_NAMES = 64

# What the framing of a message says about what follows its head.
cdef enum:
    F_NONE                # no body
    F_LENGTH              # `length` bytes
    F_CHUNKED
    F_CLOSE               # until the connection closes
    F_UPGRADED            # another protocol
    F_TUNNEL              # CONNECT was granted: anything
    F_INTERIM             # a 1xx response: the real head follows
    F_BROKEN              # no HTTP message, or one whose length cannot be told

cdef struct Line:
    Py_ssize_t name, name_end, value, value_end
    int code


cdef class Http1:
    cdef Context context
    cdef Buffer buffer
    cdef Tables tables
    cdef Cookies cookies
    cdef Secrets secrets
    cdef AddressText addresses
    cdef Line lines[MOST_LINES]
    cdef int count
    cdef Py_ssize_t start, start_end      # first line of the head
    cdef bint cut                         # the last line may go on
    cdef uint64_t[::1] shape_keys
    cdef uint32_t[::1] shape_numbers
    cdef list tls_values

    # Of the head read last:
    cdef int64_t length                   # Content-Length, -1 absent
    cdef int body                         # BODY_*
    cdef bint chunked, close, keep
    cdef int upgraded                     # what a 101 agreed on: 1 WebSocket, 2 HTTP/2, 0 anything else

    cdef Py_ssize_t measure(self, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef int request(self, Conn *conn, int64_t ts_ns, bint truncated) except -1 nogil
    cdef int response(self, Conn *conn, int64_t ts_ns, bint truncated) except -1 nogil
    cdef int unanswered(self, Conn *conn, int64_t ts_ns) except -1 nogil

    cdef int _split(self) except -1 nogil
    cdef int _framing(self, bint request) except -1 nogil
    cdef uint32_t _shown(self, Py_ssize_t offset, Py_ssize_t end) except? 0 nogil
    cdef uint32_t _path(self, Py_ssize_t offset, Py_ssize_t end, bint authority) except? 0 nogil
    cdef uint32_t _shape(self) except? 0 nogil
    cdef int _forwarded(self, RequestRow *row, int code, uint32_t *places) except -1 nogil
    cdef int _tells(self, RequestRow *row, int host) except -1 nogil
    cdef int _own_origin(self, Line *line, int host) except -1 nogil
    cdef bint _offers(self, Py_ssize_t at, Py_ssize_t end, const char *coding, int length) except -1 nogil
    cdef bint _tls_value(self, int number, Py_ssize_t at, Py_ssize_t end) except -1 nogil
    cdef bint _trace_id(self, Py_ssize_t at, Py_ssize_t end) except -1 nogil
    cdef bint _login(self, Py_ssize_t offset, Py_ssize_t end) except -1
    cdef ResponseRow *_row(self, Conn *conn, int64_t ts_ns, uint32_t pending) except NULL nogil
