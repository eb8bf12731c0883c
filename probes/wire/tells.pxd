cimport cython
from libc.stdint cimport uint8_t, uint32_t

from lbtop.probes.wire.addresses cimport AddressText
from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.cookies cimport Cookies
from lbtop.probes.wire.flags cimport *
from lbtop.probes.wire.head cimport LONGEST_SHOWN, Head, Line
from lbtop.probes.wire.names cimport *
from lbtop.probes.wire.state cimport Context
from lbtop.probes.wire.tables cimport RequestRow


@cython.final
cdef class Tells:
    cdef Buffer buffer
    cdef Head head
    cdef Cookies cookies
    cdef AddressText addresses
    cdef list tls_values
    cdef uint8_t[::1] any_value   # whether a TLS header's value does not matter, by its number

    cdef int fill(self, RequestRow *row) except -1 nogil
    cdef int _tells(self, RequestRow *row, int host) except -1 nogil
    cdef int _forwarded(self, int code, uint32_t *places) except -1 nogil
    cdef bint _offers(self, Py_ssize_t at, Py_ssize_t end, const char *coding, int length) except -1 nogil
    cdef int _own_origin(self, Line *line, int host) except -1 nogil
    cdef bint _trace_id(self, Py_ssize_t at, Py_ssize_t end) except -1 nogil
    cdef bint _tls_value(self, int number, Py_ssize_t at, Py_ssize_t end) except -1 nogil
