cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.flags cimport *
from lbtop.probes.wire.state cimport Conn, Context
from lbtop.probes.wire.tables cimport HandshakeRow, Tables

cdef enum:
    LONGEST_NAME = 256

# What JA4 calls the transports.
cdef enum:
    OVER_TCP = 0x74
    OVER_QUIC = 0x71
    OVER_DTLS = 0x64

# A handshake in progress: its row so far, and what decides the rest of it.
cdef struct Hello:
    HandshakeRow row
    uint64_t session_id           # keyed hash of the client's, to compare with the server's; 0 none
    uint32_t next                 # of the free ones
    uint8_t server, tls13, leaf   # server hello seen, TLS 1.3 chosen, certificate seen

# What the extensions of a hello say.
cdef struct Extensions:
    Py_ssize_t sni, alpn, psk, ticket, signatures, versions, shares, groups    # where its data begins, 0 absent
    int sni_size, alpn_size, psk_size, ticket_size, signatures_size, versions_size, shares_size, groups_size
    int count                     # without GREASE
    uint64_t sum                  # of all numbers without GREASE, whatever their order
    uint32_t flags                # HL_*
    Py_ssize_t start, end         # the list itself


@cython.final
cdef class Hellos:
    cdef Context context
    cdef Buffer buffer
    cdef Tables tables
    cdef Hello[::1] hellos        # entry 0 is nobody
    cdef uint32_t free, fresh
    cdef uint64_t[::1] print_keys
    cdef uint32_t[::1] prints     # ja4, family
    cdef uint64_t retry[4]        # the random that makes a server hello a retry

    cdef uint32_t begin(self, Conn *conn, int64_t ts_ns) except? 0xFFFFFFFE nogil
    cdef int write(self, Conn *conn) except -1 nogil
    cdef int client_hello(self, Conn *conn, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end, uint8_t transport) except -1 nogil
    cdef int server_hello(self, Conn *conn, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef int sslv2(self, Conn *conn, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil

    cdef int _extensions(self, Py_ssize_t offset, Py_ssize_t end, Extensions *found) except -1 nogil
    cdef uint64_t _session(self, Extensions *found) except? 0xFFFFFFFFFFFFFFFE nogil
    cdef uint32_t _protocols(self, Extensions *found) except? 0xFFFFFFFE nogil
    cdef int _fingerprint(self, HandshakeRow *row, uint8_t transport, Py_ssize_t ciphers, int size, uint64_t sum,
                          Extensions *found) except -1 nogil
    cdef int _print(self, size_t place, uint8_t transport, int version, Py_ssize_t ciphers, int size, Extensions *found) except -1
    cdef int _grow(self) except -1
