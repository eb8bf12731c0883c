cimport cython
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from lbtop.probes.wire.buffer cimport Octets, word32, word64

# Link types (the capture file's registry) and Ethernet types this decoder knows.
cdef enum:
    LINK_NULL = 0
    LINK_ETHERNET = 1
    LINK_PPP = 9
    LINK_RAW_OLD = 12
    LINK_RAW_BSD = 14
    LINK_RAW = 101
    LINK_LOOP = 108
    LINK_SLL = 113
    LINK_IPV4 = 228
    LINK_IPV6 = 229
    LINK_SLL2 = 276
    LINK_IP_FRAGMENTS = -1      # a reassembled IP packet, without a link layer

cdef enum:
    TYPE_IPV4 = 0x0800
    TYPE_ARP = 0x0806
    TYPE_IPV6 = 0x86DD
    TYPE_VLAN = 0x8100
    TYPE_QINQ = 0x88A8
    TYPE_QINQ_OLD = 0x9100
    TYPE_QINQ_OLDER = 0x9200
    TYPE_PPPOE = 0x8864
    TYPE_MPLS = 0x8847
    TYPE_MPLS_MULTICAST = 0x8848
    TYPE_TRANSPARENT_BRIDGE = 0x6558

cdef enum:
    PROTO_TCP = 6
    PROTO_UDP = 17

cdef enum:
    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    PSH = 0x08
    ACK = 0x10

# A place with one more thing that tells two copies of a packet apart.
cdef inline uint64_t mixed(uint64_t place, uint64_t what) noexcept nogil:
    return (place ^ what) * <uint64_t>0x9E3779B97F4A7C15

# Both addresses of an Ethernet header, of which all 12 bytes are there.
cdef inline uint64_t link_addresses(Octets octets) noexcept nogil:
    return word64(octets) ^ (<uint64_t>word32(octets + 8) << 17)


@cython.final
cdef class Frame:
    # The record, as the reader found it.
    cdef int64_t ts_ns
    cdef Py_ssize_t begin           # offset of its first byte in the buffer
    cdef Py_ssize_t captured        # bytes in the buffer
    cdef Py_ssize_t wire            # bytes there were on the wire
    cdef uint32_t interface

    # How far the layers are taken apart.
    cdef Py_ssize_t at              # first byte of the layer that comes next
    cdef Py_ssize_t end             # end of the captured bytes of the layer at hand
    cdef Py_ssize_t wire_end        # where it would end had everything been captured
    cdef uint16_t vlan              # outermost tag
    cdef uint64_t place             # folds what tells two copies of one packet apart: interface, tag, hop limit, link addresses

    # IP.
    cdef uint64_t source_high, source_low, target_high, target_low
    cdef uint8_t ttl
    cdef uint8_t proto
    cdef uint32_t ip_id             # IPv4, 0 otherwise
    cdef uint32_t fragment          # 0 = whole; else a fragment: offset in bytes | 1 when more follow
    cdef uint8_t tunnels            # headers taken off so far

    # TCP and UDP. length counts the payload on the wire, payload_captured what of it is in the buffer.
    cdef uint16_t source_port, target_port
    cdef uint32_t seq, ack
    cdef uint8_t flags
    cdef uint16_t window
    cdef Py_ssize_t options, options_length
    cdef Py_ssize_t payload, payload_captured, length
