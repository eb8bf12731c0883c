cimport cython
from libc.stdint cimport int64_t, uint32_t

from lbtop.probes.wire.addresses cimport AddressText
from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.flags cimport *
from lbtop.probes.wire.state cimport Conn, Context
from lbtop.probes.wire.tables cimport ProxyRow, Tables

cdef enum:
    LONGEST_V1 = 107


@cython.final
cdef class ProxyHeaders:
    cdef Context context
    cdef Buffer buffer
    cdef Tables tables
    cdef AddressText addresses
    cdef uint32_t[::1] crc_table

    cdef Py_ssize_t v1(self, Conn *conn, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef Py_ssize_t v2(self, Conn *conn, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef ProxyRow *_row(self, Conn *conn, int64_t ts_ns) except NULL nogil
    cdef int _done(self, Conn *conn, ProxyRow *row) except -1 nogil
    cdef int _tlvs(self, ProxyRow *row, Py_ssize_t start, Py_ssize_t at, Py_ssize_t end) except -1 nogil
    cdef uint32_t _crc(self, Py_ssize_t start, Py_ssize_t field, Py_ssize_t end) except? 0xFFFFFFFE nogil
