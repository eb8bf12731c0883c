from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.decoder cimport Decoder
from lbtop.probes.wire.frame cimport Frame

cdef extern from *:
    void barrier "__sync_synchronize"() noexcept nogil

# struct event of plaintext.h
cdef struct Event:
    uint64_t at_ns
    uint64_t passed
    uint64_t local_high, local_low
    uint64_t remote_high, remote_low
    unsigned short local_port, remote_port, size
    uint8_t written, flags

cdef enum:
    EVENT_WHOLE = 1
    EVENT_LOST = 2


cdef class Heads:
    cdef Decoder decoder
    cdef Buffer buffer
    cdef Frame frame                        # to look a connection up with; the decoder's own, between two packets
    cdef object owners                      # keep the mappings alive
    cdef uint8_t[::1] consumed              # the page with the position of the reader
    cdef const uint8_t[::1] ring            # the page with the position of the writer, then the data, twice
    cdef uint64_t size                      # of the data
    cdef Py_ssize_t page
    cdef uint64_t at                        # position of the reader
    cdef readonly uint64_t taken            # events read
    cdef readonly uint64_t unknown          # events of connections that no packet has shown
    cdef readonly uint64_t refused          # events of connections that do not speak TLS, as far as the packets show
    cdef readonly uint64_t damaged          # records whose fields do not add up

    cdef int _drain(self, int64_t offset_ns, int64_t until_ns, bint everything) except -1 nogil
    cdef int _event(self, Event *event, Py_ssize_t data, int64_t when) except -1 nogil
    cdef uint64_t _u64(self, Py_ssize_t at) except? 0xFFFFFFFFFFFFFFFE nogil
