cimport cython
from libc.stdint cimport int64_t, uint32_t

from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.flags cimport *
from lbtop.probes.wire.http1 cimport Http1
from lbtop.probes.wire.state cimport *

cdef enum:
    PREFACE_SIZE = 24
    FRAME_HEAD = 9
    LONGEST_FRAME = 61440         # of those that are read


@cython.final
cdef class Http2:
    cdef Context context
    cdef Buffer buffer
    cdef Http1 http1
    cdef dict conversations       # number -> what is remembered of a connection
    cdef uint32_t numbered
    cdef object hpack

    cdef int begin(self, Conn *conn, bint upgraded) except -1 nogil
    cdef Py_ssize_t frames(self, Conn *conn, int direction, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef int give_up(self, Conn *conn) except -1 nogil
    cdef int end(self, Conn *conn) except -1 nogil
    cdef int _begin(self, Conn *conn, bint upgraded) except -1
    cdef bint _frame(self, Conn *conn, int direction, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1
    cdef int _headers(self, Conn *conn, int direction, int64_t ts_ns, conversation, uint32_t stream, list fields) except -1

cdef bint looks_like_frames(Buffer buffer, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
cdef bint _plausible(Buffer buffer, Py_ssize_t offset) except -1 nogil
