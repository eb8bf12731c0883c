cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.dtls cimport Dtls
from lbtop.probes.wire.flags cimport *
from lbtop.probes.wire.hello cimport Hellos
from lbtop.probes.wire.http1 cimport Http1
from lbtop.probes.wire.http2 cimport Http2
from lbtop.probes.wire.message cimport LONGEST_HEAD, Messages
from lbtop.probes.wire.prelude cimport Preludes
from lbtop.probes.wire.proxyproto cimport ProxyHeaders
from lbtop.probes.wire.quic cimport Quic
from lbtop.probes.wire.sniff cimport *
from lbtop.probes.wire.state cimport *
from lbtop.probes.wire.tables cimport Tables
from lbtop.probes.wire.tls cimport Tls

cdef enum:
    CLIENT_TO_SERVER = 0
    SERVER_TO_CLIENT = 1

# What deliver, skip and proof answer: bits.
cdef enum:
    PROVEN = 1          # the bytes prove the orientation as it stands
    SWAP = 2            # they prove the opposite: Streams has swapped its own state, the caller swaps its own before the next call
    OPAQUE_CLIENT = 4   # nothing the client sends from now on is looked at: count it, deliver no more of it, buffer nothing
    OPAQUE_SERVER = 8   # (both bits refer to the orientation after a SWAP)
    REFUSED = 16        # inside: the connection does not speak TLS


cdef class Conversations:
    cdef Buffer buffer
    cdef Tables tables
    cdef Context context
    cdef Http1 http1
    cdef Hellos hellos
    cdef Tls tls
    cdef Preludes preludes
    cdef Http2 http2
    cdef Quic quic
    cdef Dtls dtls
    cdef ProxyHeaders proxies
    cdef Messages messages
    cdef uint8_t[::1] memory      # of Conn, by slot
    cdef int answer               # bits for the caller, collected during a call
    cdef int direction            # of the bytes at hand, as the connection is oriented now
    cdef bint fresh               # the bytes at hand begin a segment
    cdef readonly bint keyed      # what is inside TLS may be read
    cdef uint32_t slots           # of connections; the state of what is inside their TLS follows, in the same order
    cdef uint32_t slot            # whose bytes are at hand
    cdef object begin_session     # gives a Session that asks the KeyLog
    cdef dict sessions            # number of a connection whose TLS is followed to its Session
    cdef Py_ssize_t within        # end of those bytes of the segment that the handlers are given
    cdef Py_ssize_t unsealed      # begin of those bytes of the segment that its Session has not got yet

    # The state of a slot. Raises IndexError for one that does not exist.
    cdef inline Conn *_conn(self, uint32_t slot) except NULL nogil:
        return <Conn *>&self.memory[<Py_ssize_t>slot * <Py_ssize_t>sizeof(Conn)]

    # A connection's first payload byte is about to be delivered. Slots are numbers below `slots`, used again after close.
    # client and server are numbers of tables.addresses; proto 6 or 17; orientation as in lbtop.model.observation.
    cdef int open(self, uint32_t slot, uint64_t conn, uint32_t client, uint32_t server, uint16_t client_port,
                  uint16_t server_port, int proto, int orientation) except -1 nogil
    # The state of this slot will be asked for soon.
    cdef int fetch(self, uint32_t slot) except -1 nogil
    # Facts of an open slot for its CONNECTION row.
    cdef int protocol7(self, uint32_t slot) except -1 nogil
    cdef uint32_t flags(self, uint32_t slot) except? 0xFFFFFFFE nogil        # ConnFlag bits: UPGRADED, STARTTLS, PROXIED, PROXIED_LOCAL, NOT_DECODABLE
    cdef int64_t turn_ns(self, uint32_t slot) except -1 nogil
    cdef uint32_t requests(self, uint32_t slot) except? 0xFFFFFFFE nogil
    cdef uint32_t responses(self, uint32_t slot) except? 0xFFFFFFFE nogil
    cdef Conn *_begin_inside(self, Conn *conn, uint32_t slot) except NULL nogil
    cdef int _follow(self, Conn *conn, Py_ssize_t offset, Py_ssize_t end) except -1
