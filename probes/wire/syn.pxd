from libc.stdint cimport int64_t, uint32_t

from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.frame cimport Frame
from lbtop.probes.wire.tables cimport Tables

cdef struct SynOptions:
    uint32_t mss
    uint32_t tsval
    uint32_t stack          # interned name of the TCP stack

# What a SYN's options say.
cdef int read_syn(Buffer buffer, Tables tables, Frame frame, SynOptions* found) except -1 nogil
cdef Py_ssize_t write_number(Buffer buffer, Py_ssize_t at, uint32_t value) except -1 nogil
