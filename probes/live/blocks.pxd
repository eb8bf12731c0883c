from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.decoder cimport Decoder

cdef enum:
    MARK_NONE = 0
    MARK_UNTIL = 1          # payload before sequence number `until` is of no interest
    MARK_FOREVER = 2

# What the decoder no longer needs of one connection, for the filter in the kernel. Ends as in the connection table.
cdef struct Mark:
    uint64_t number
    uint32_t low, high          # numbers of the addresses
    uint32_t until[2]           # 0: sent by the low end
    uint16_t low_port, high_port
    uint8_t mode[2]
    uint16_t pad


cdef class Blocks:
    cdef Decoder decoder
    cdef Buffer buffer
    cdef object owner                   # keeps the mapping alive
    cdef uint8_t[::1] ring
    cdef uint16_t[::1] shorts           # the same memory
    cdef uint32_t[::1] words
    cdef readonly Py_ssize_t block_size
    cdef readonly Py_ssize_t count
    cdef readonly Py_ssize_t current
    cdef readonly uint64_t delivered    # packets handed to the decoder
    cdef readonly uint64_t skipped      # of interfaces nobody asked for
    cdef readonly uint64_t damaged      # blocks whose fields do not add up
    cdef uint32_t leave_out             # number of an interface that is not wanted; 0 none

    # Only with a filter in front:
    cdef readonly bint filtered
    cdef readonly uint64_t cut              # packets that the filter reduced to their headers
    cdef readonly uint64_t stale            # packets cut by the mark of an older connection with the same ports
    cdef public bint sparing                # whether the filter cuts more than the decoder asked for, to spare the processor
    cdef readonly uint64_t spared           # packets that were cut for that reason
    cdef object rows                        # the array of the marks
    cdef Mark[::1] marks
    cdef readonly Py_ssize_t waiting        # marks to be written
    cdef uint64_t[::1] marked               # per half: connection it was marked for
    cdef uint32_t[::1] until
    cdef uint8_t[::1] mode
    cdef uint64_t[::1] truncated            # per slot: connection that lacks something

    cdef int _walk(self) except -1 nogil
    cdef int _block(self, Py_ssize_t at) except -1 nogil
    cdef int _packet(self, Py_ssize_t at, Py_ssize_t end) except -1 nogil
    cdef int _put_tag_back(self, Py_ssize_t at, Py_ssize_t captured) except -1 nogil
    cdef int _after_filter(self, bint short_of_payload) except -1 nogil
    cdef int _mark(self, int32_t slot, uint64_t number) except -1 nogil
    cdef uint16_t _u16(self, Py_ssize_t at) except? 0xFFFE nogil
    cdef uint32_t _u32(self, Py_ssize_t at) except? 0xFFFFFFFE nogil
