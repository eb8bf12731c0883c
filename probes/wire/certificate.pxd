from libc.stdint cimport int64_t

from lbtop.probes.wire.buffer cimport Buffer

cdef int validity(Buffer buffer, Py_ssize_t offset, Py_ssize_t end, int64_t *dates) except -1 nogil

cdef Py_ssize_t _inside(Buffer buffer, Py_ssize_t at, Py_ssize_t end) except -1 nogil
cdef Py_ssize_t _behind(Buffer buffer, Py_ssize_t at, Py_ssize_t end) except -1 nogil
cdef int64_t _time(Buffer buffer, Py_ssize_t at, Py_ssize_t end) except? -1 nogil
cdef int _pair(Buffer buffer, Py_ssize_t at) except -1 nogil
