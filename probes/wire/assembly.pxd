cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.stream cimport Streams

# Bits of Half.flags.
cdef enum:
    CLIENT = 1              # this end is the client; exactly one half of a connection has it
    STARTED = 2             # next is known
    ANCHORED = 4            # and certain: SYN or payload was seen
    SYN_SEEN = 8
    FIN_SEEN = 16
    ACKED = 32              # acked is known
    RESENT = 64             # the last segment that took sequence space was sent again
    OPAQUE = 128            # nobody looks at these bytes

# One direction of a connection: one cache line. The halves of slot n are numbers 2n (sent by the lower address) and 2n + 1.
cdef struct Half:
    int64_t silence         # longest silence this end broke that the other has not answered yet
    uint64_t bytes
    uint32_t next           # sequence number expected next
    uint32_t acked          # highest acknowledgement by the other end
    uint32_t data_end       # end of the last segment with payload, and what it acknowledged
    uint32_t data_ack
    uint32_t isn            # of its SYN, or until that is seen, of the one that a SYN-ACK acknowledges
    uint32_t fin            # sequence number of the FIN
    uint32_t packets
    uint32_t retransmits
    uint32_t probes         # keep-alive probes
    uint32_t held           # bytes of early ranges
    int32_t waiting         # first early range, -1 = none
    uint16_t resets
    uint8_t ttl
    uint8_t flags

# What is only needed where bytes are missing.
cdef struct Hole:
    int64_t since           # when the first early range that still waits arrived
    uint64_t missing        # bytes given up
    uint32_t begin          # the last hole that was given up
    uint32_t end
    uint32_t ranges         # early ranges that wait
    uint32_t used           # whether anything is set here

# A segment that came before its turn.
cdef struct Range:
    int64_t ts_ns
    int64_t offset          # slot in the buffer, -1 = its bytes were not kept
    uint32_t seq
    uint32_t length         # on the wire
    uint32_t captured       # of them kept
    int32_t next


@cython.final
cdef class Assembly:
    cdef Buffer buffer
    cdef Streams streams
    cdef Half[::1] halves
    cdef Hole[::1] holes
    cdef Range[::1] ranges
    cdef int32_t free_range
    cdef int32_t fresh_range
    cdef readonly uint64_t given_up         # holes
    cdef bint repeated                      # accept: nothing of the segment was new
    cdef readonly bint full                 # a segment could not be kept for lack of room

    # Forgets what the halves of a slot were used for before.
    cdef int clear(self, uint32_t slot) except -1 nogil
    # Takes payload of half h that is not wholly old. Answers what Streams learned from what could be delivered.
    cdef int accept(self, uint32_t h, uint32_t seq, Py_ssize_t offset, Py_ssize_t captured, Py_ssize_t length, int64_t ts_ns) except -1 nogil
    # Counts payload whose turn it is, and hands it on where somebody looks at it; what Streams learned.
    cdef int hand_over(self, uint32_t h, Py_ssize_t offset, Py_ssize_t captured, Py_ssize_t length, int64_t ts_ns) except -1 nogil
    # Gives up the first hole of a half and delivers what follows it.
    cdef int give_up(self, uint32_t h) except -1 nogil
    # Gives up every hole: the connection is over.
    cdef int drain(self, uint32_t h) except -1 nogil
    # Counts what was sent after all that came, and that nothing will follow.
    cdef inline int end(self, uint32_t h, bint known) except -1 nogil
    # Counts bytes of an old segment that lie in a hole given up before; how many they are.
    cdef Py_ssize_t late(self, uint32_t h, uint32_t seq, Py_ssize_t length) except -1 nogil
    # Inserts an early segment; how many of its bytes are new.
    cdef Py_ssize_t keep(self, uint32_t h, uint32_t seq, Py_ssize_t offset, Py_ssize_t captured, Py_ssize_t length, int64_t ts_ns) except -1 nogil
    cdef int _advance(self, uint32_t h) except -1 nogil
    cdef int _learn(self, uint32_t h, int learned) except -1 nogil
