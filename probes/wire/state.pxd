cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.flags cimport SC_DECRYPTED
from lbtop.probes.wire.names cimport Names
from lbtop.probes.wire.siphash cimport SipHash
from lbtop.probes.wire.tables cimport SecretRow, Tables

# What the next bytes of a direction are.
cdef enum:
    M_DETECT = 0          # nobody knows yet
    M_HEAD                # an HTTP/1 head
    M_BODY                # `need` bytes of a body
    M_FORM                # the first bytes of a body that may hold secrets, then M_BODY
    M_CHUNK               # a chunk-size line
    M_CHUNK_END           # the line end after a chunk
    M_TRAILER             # lines after the last chunk
    M_RESYNC              # bytes were lost: wait for a segment that starts with a head
    M_SEARCH              # joined in the middle of something: wait for a segment that starts with anything known
    M_OPAQUE              # nothing of interest will come
    M_TLS                 # TLS records of a handshake in progress
    M_LINES               # a text protocol that may change to TLS
    M_SOCKS               # SOCKS 4 or 5, until the tunnel stands
    M_MYSQL               # a client's first packet, which may ask for TLS
    M_HTTP2
    M_TURN                # the server's hellos are done: the client's next byte ends the turn

# A handler's answer when it took nothing, but changed the mode.
cdef enum:
    AGAIN = -2

cdef struct Half:
    int64_t need          # bytes still to pass over
    int64_t clock         # the latest time of a packet of this direction
    int32_t slot          # where the beginning of an unfinished unit waits; -1: nowhere
    int32_t held          # bytes there
    int32_t seen          # of them known to hold no end of the unit
    uint8_t mode
    uint8_t after         # mode after `need` bytes
    uint8_t body          # BODY_*: what kind of secrets the body may hold
    uint8_t lost          # bytes of this direction are missing
    uint8_t spoke         # it sent payload

cdef struct Conn:
    uint64_t conn
    uint32_t client, server, proxy_source
    uint32_t first, last          # outstanding requests, oldest and newest, in Context.pending; 0 none
    uint32_t requests, responses, flags
    uint32_t hello                # handshake in progress (Tls), 0 none
    uint32_t http2                # connection state (Http2), 0 none
    uint16_t client_port, server_port, outstanding
    uint8_t proto, protocol7, proven, proxies, tunnel
    uint8_t joined                # its start is not in the capture
    uint8_t starttls              # a change to TLS was asked for in the protocol before it
    uint8_t keyed                 # FOLLOWED, INSIDE or 0
    int64_t answered_ns, turn_ns  # TLS: when the server's hellos were done; how long the client's answer took
    Half half[2]

# Where the operator gave keys: a connection whose TLS is read, and the conversation inside of one.
cdef enum:
    FOLLOWED = 1
    INSIDE = 2

cdef enum:
    PRESENTED = 4

cdef struct Pending:
    uint64_t request
    int64_t at_ns
    uint64_t values[PRESENTED]    # keyed hashes of the cookies it presented, sessions first
    uint32_t names[PRESENTED]
    uint32_t next
    uint8_t presented, sessions
    uint8_t head, connect         # HEAD and CONNECT change what the response's length means


@cython.final
cdef class Context:
    cdef Buffer buffer
    cdef Tables tables
    cdef SipHash sip
    cdef Names headers
    cdef Names parameters
    cdef object recognition
    cdef uint64_t numbered        # requests numbered so far
    cdef readonly uint64_t truncated_heads
    cdef Pending[::1] pending     # entry 0 is nobody
    cdef uint32_t free_pending
    cdef uint32_t fresh_pending

    cdef uint32_t enqueue(self, Conn *conn) except? 0xFFFFFFFE nogil
    cdef int dequeue(self, Conn *conn) except -1 nogil
    cdef int forget(self, Conn *conn, uint32_t place) except -1 nogil
    cdef int secret(self, Conn *conn, int64_t ts_ns, int kind, int sender, uint32_t name, uint64_t value) except -1 nogil
    cdef int _grow(self) except -1
