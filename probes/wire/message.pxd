cimport cython
from libc.stdint cimport int64_t

from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.flags cimport *
from lbtop.probes.wire.head cimport U_HTTP2, U_WEBSOCKET
from lbtop.probes.wire.http1 cimport *
from lbtop.probes.wire.http2 cimport Http2
from lbtop.probes.wire.secrets cimport BODY_FORM, BODY_OTHER, BODY_PREFIX, Secrets
from lbtop.probes.wire.state cimport *

cdef enum:
    LONGEST_HEAD = 65536


@cython.final
cdef class Messages:
    cdef Context context
    cdef Buffer buffer
    cdef Http1 http1
    cdef Http2 http2
    cdef Secrets secrets

    cdef Py_ssize_t head(self, Conn *conn, int direction, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef Py_ssize_t form(self, Conn *conn, int direction, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef int scan(self, Conn *conn, Half *half, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef bint _plausible(self, int direction, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef int _after_head(self, Conn *conn, Half *half, int framing) except -1 nogil
