from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.tables cimport Tables

cdef enum:
    CLIENT_TO_SERVER = 0
    SERVER_TO_CLIENT = 1

# What deliver, skip and proof answer: bits.
cdef enum:
    PROVEN = 1          # the bytes prove the orientation as it stands
    SWAP = 2            # they prove the opposite: Streams has swapped its own state, the caller swaps its own before the next call
    OPAQUE_CLIENT = 4   # nothing the client sends from now on is looked at: count it, deliver no more of it, buffer nothing
    OPAQUE_SERVER = 8   # (both bits refer to the orientation after a SWAP)

# What proof answers.
cdef enum:
    SENDER_UNKNOWN = 0
    SENDER_CLIENT = 1   # a request, a client hello, a PROXY header
    SENDER_SERVER = 2   # a response, a banner, a server hello


cdef class Streams:
    cdef Buffer buffer
    cdef Tables tables

    # Who the first payload bytes of a connection show their sender to be. Called before open, only where no SYN was seen; no state.
    cdef int proof(self, Py_ssize_t offset, Py_ssize_t n) except -1 nogil

    # A connection's first payload byte is about to be delivered. Slots are numbers below `slots`, used again after close.
    # client and server are numbers of tables.addresses; proto 6 or 17; orientation as in lbtop.model.observation.
    cdef int open(self, uint32_t slot, uint64_t conn, uint32_t client, uint32_t server, uint16_t client_port,
                  uint16_t server_port, int proto, int orientation) except -1 nogil
    # The next n payload bytes of a direction, in order and each once (TCP), or one datagram (UDP), in the buffer at offset.
    cdef int deliver(self, uint32_t slot, int direction, Py_ssize_t offset, Py_ssize_t n, int64_t ts_ns) except -1 nogil
    # n bytes of a direction will never come (lost by the capture, cut by the snap length). What follows starts a segment.
    cdef int skip(self, uint32_t slot, int direction, uint64_t n, int64_t ts_ns) except -1 nogil
    # The connection is over: rows still owed (unanswered requests, half handshakes) are written. end as in lbtop.model.observation.
    cdef int close(self, uint32_t slot, int64_t ts_ns, int end) except -1 nogil

    # Facts of an open slot for its CONNECTION row.
    cdef int protocol7(self, uint32_t slot) except -1 nogil
    cdef uint32_t flags(self, uint32_t slot) except? 0 nogil        # ConnFlag bits: UPGRADED, STARTTLS, PROXIED, PROXIED_LOCAL, NOT_DECODABLE
    cdef uint32_t requests(self, uint32_t slot) except? 0 nogil
    cdef uint32_t responses(self, uint32_t slot) except? 0 nogil
