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

@cython.final
cdef class Streams:
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

    # Who the first payload bytes of a connection show their sender to be (SENDER_* of sniff.pxd). Called before open, only where no SYN was seen; no state.
    cdef int proof(self, Py_ssize_t offset, Py_ssize_t n) except -1 nogil

    # The same for the first datagram of a flow.
    cdef int proof_of_datagram(self, Py_ssize_t offset, Py_ssize_t n) except -1 nogil

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

    # What the process at one end of a TLS connection wrote or read there, as it told: the next n bytes of a direction, in the buffer at
    # offset, after `passed` others. whole: told from the handshake on; broken: HTTP/2 frames that later ones depend on are missing.
    cdef int inside(self, uint32_t slot, int direction, uint64_t passed, Py_ssize_t offset, Py_ssize_t n, int64_t ts_ns, bint whole, bint broken) except -1 nogil
    # The state of this slot will be asked for soon.
    cdef int fetch(self, uint32_t slot) except -1 nogil

    # Facts of an open slot for its CONNECTION row.
    cdef int protocol7(self, uint32_t slot) except -1 nogil
    cdef uint32_t flags(self, uint32_t slot) except? 0xFFFFFFFE nogil        # ConnFlag bits: UPGRADED, STARTTLS, PROXIED, PROXIED_LOCAL, NOT_DECODABLE
    cdef int64_t turn_ns(self, uint32_t slot) except -1 nogil
    cdef uint32_t requests(self, uint32_t slot) except? 0xFFFFFFFE nogil
    cdef uint32_t responses(self, uint32_t slot) except? 0xFFFFFFFE nogil

    cdef Conn *_conn(self, uint32_t slot) except NULL nogil
    cdef int _told(self, Conn *conn) except -1 nogil
    cdef Conn *_begin_inside(self, Conn *conn, uint32_t slot) except NULL nogil
    cdef int _follow(self, Conn *conn, Py_ssize_t offset, Py_ssize_t end) except -1
    cdef int _unseal(self, Conn *conn, uint32_t slot, Py_ssize_t offset, Py_ssize_t n, int64_t ts_ns, bint lost) except -1
    cdef int _release(self, Half *half) except -1 nogil
    cdef int _keep(self, Conn *conn, Py_ssize_t offset, Py_ssize_t end, int64_t ts_ns) except -1 nogil
    cdef int _overflow(self, Conn *conn, int64_t ts_ns) except -1 nogil
    cdef int _swap(self, Conn *conn) except -1 nogil
    cdef Py_ssize_t _run(self, Conn *conn, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef Py_ssize_t _step(self, Conn *conn, Half *half, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef Py_ssize_t _detect(self, Conn *conn, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef int _datagram(self, Conn *conn, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef bint _anything_known(self, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef int _first_datagram(self, Conn *conn, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef int _both(self, Conn *conn, int protocol, int mode) except -1 nogil
