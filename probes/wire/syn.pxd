from libc.stdint cimport uint16_t, uint32_t, uint64_t

from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.frame cimport Frame
from lbtop.probes.wire.tables cimport Tables

# A stack named before: KNOWN_STACKS of them, found by the upper bits of a hash.
cdef enum:
    KNOWN_STACKS = 64

cdef struct KnownStack:
    uint64_t packed         # the layout, four bits a letter, and its length
    uint64_t numbers        # mss, window, 1 + scale
    uint32_t stack          # number of its name, 0 = free

cdef struct SynOptions:
    uint32_t mss
    uint32_t tsval
    uint32_t stack          # interned name of the TCP stack

# What a SYN's options say.
cdef int read_syn(Buffer buffer, Tables tables, KnownStack *known, Frame frame, SynOptions* found) except -1 nogil
cdef Py_ssize_t write_number(Buffer buffer, Py_ssize_t at, uint32_t value) except -1 nogil
