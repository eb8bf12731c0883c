from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.state cimport *

cdef enum:
    LONGEST_LINE = 4096   # bytes, of a chunk size with its extensions or of a trailer

cdef Py_ssize_t chunk_line(Buffer buffer, Half *half, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
