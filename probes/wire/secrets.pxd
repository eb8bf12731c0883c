cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.flags cimport *
from lbtop.probes.wire.state cimport Conn, Context
from lbtop.probes.wire.tables cimport Tables

# Bodies worth a look.
cdef enum:
    BODY_OTHER
    BODY_FORM
    BODY_JSON

cdef enum:
    BODY_PREFIX = 2048    # bytes of a body that are looked at

cdef bint looks_random(Buffer buffer, Py_ssize_t offset, Py_ssize_t end) except -1 nogil

cdef bint issued(Buffer buffer, Py_ssize_t offset, Py_ssize_t end) except -1 nogil


@cython.final
cdef class Secrets:
    cdef Context context
    cdef Buffer buffer
    cdef Tables tables

    cdef int authorization(self, Conn *conn, int64_t ts_ns, uint32_t name, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef int api_key(self, Conn *conn, int64_t ts_ns, uint32_t name, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef int pairs(self, Conn *conn, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef int json(self, Conn *conn, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef bint token(self, Conn *conn, int64_t ts_ns, int sender, uint32_t name, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef int _value(self, Conn *conn, int64_t ts_ns, Py_ssize_t name, Py_ssize_t name_end, Py_ssize_t offset,
                    Py_ssize_t end) except -1 nogil
    cdef Py_ssize_t _inner_end(self, Py_ssize_t name, Py_ssize_t end) except -2 nogil
    cdef Py_ssize_t _inner(self, Py_ssize_t name, Py_ssize_t end) except -2 nogil
    cdef Py_ssize_t _closing(self, Py_ssize_t offset, Py_ssize_t end) except -2 nogil
    cdef bint is_jwt(self, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef uint64_t _card(self, Py_ssize_t offset, Py_ssize_t end, bint named) except? 0xFFFFFFFFFFFFFFFE nogil
