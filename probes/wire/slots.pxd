from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from lbtop.probes.wire.frame cimport Frame

# Which queue a connection waits in for its expiry.
cdef enum:
    HALF_OPEN = 0           # TCP without payload or a finished handshake
    ACTIVE = 1
    DATAGRAMS = 2
    CLOSED = 3              # late packets still belong to it
    QUEUES = 4
    UNUSED = 255

# Bits of Connection.state.
cdef enum:
    RESET = 1               # an RST before both FINs
    DELIVERING = 2          # Streams knows this slot
    ENDING = 4              # idle_before_end is settled
    SYNACK_SEEN = 8

# Three cache lines; a packet of a known connection touches the first two.
cdef struct Connection:
    uint64_t low_high, low_low, high_high, high_low     # addresses of the two ends; the lower one comes first
    int64_t last_ns
    int64_t silence         # before the last packet
    int64_t last_silence    # before the last packet that was not an RST
    int64_t longest

    uint16_t low_port, high_port
    uint8_t proto, queue, state, orientation
    uint8_t first_closer, first_sender, last_sender, pad    # 1 + end, 0 = none
    uint32_t flags
    int64_t ack_ns, first_data_ns, survived, queued_ns
    uint32_t hash
    int32_t previous, following     # neighbours in its queue
    uint16_t interface, vlan

    uint64_t number
    int64_t opened_ns, syn_ns, synack_ns, before_end
    uint32_t low, high      # numbers of the addresses, 0 = not interned yet
    uint32_t stack, duplicates, tsval
    uint16_t mss, window

cdef inline uint64_t differ(uint64_t high, uint64_t low, uint16_t port, uint64_t other_high, uint64_t other_low, uint16_t other_port) noexcept nogil:
    return (high ^ other_high) | (low ^ other_low) | (port ^ other_port)


cdef class Slots:
    cdef Connection[::1] all
    cdef uint64_t[::1] index            # hash above, slot + 1 below; 0 = free
    cdef uint64_t seed
    cdef uint64_t port_seed
    cdef readonly uint32_t cap
    cdef readonly uint32_t live
    cdef uint32_t fresh                 # slots never used start here
    cdef int32_t free                   # list of slots used before
    cdef int32_t head[4]
    cdef int32_t tail[4]
    cdef uint32_t queued[4]
    cdef int64_t now_ns                 # the latest time seen; set by the decoder

    # Set by find for the frame at hand.
    cdef uint32_t hash
    cdef int end                        # 0: the lower address sent it, 1: the higher

    cdef int32_t find(self, Frame frame) except -2 nogil
    cdef int32_t reserve(self, uint32_t hashed) except -2 nogil
    cdef int release(self, int32_t slot) except -1 nogil
    cdef int requeue(self, int32_t slot, int queue) except -1 nogil
    cdef int enqueue(self, int32_t slot, int queue) except -1 nogil
    cdef int _dequeue(self, int32_t slot) except -1 nogil
    cdef int _forget(self, int32_t slot) except -1 nogil
    cdef int _grow_index(self) except -1
