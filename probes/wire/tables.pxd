cimport cython
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from lbtop.probes.wire.interner cimport Interner

# The rows of lbtop.model.observation as C structs: same names, same order, same offsets (checked when Tables is made).

cdef struct OpenedRow:
    uint64_t seq
    int64_t at_ns
    uint64_t conn
    int64_t syn_ns
    uint32_t client, server, isn_c, stack
    uint16_t client_port, server_port, mss, window
    uint8_t proto, orientation, ttl_c, ttl_s
    uint16_t interface, flags16

cdef struct HandshakeRow:
    uint64_t seq
    int64_t at_ns
    uint64_t conn, random, session, certificate
    int64_t not_before_ns, not_after_ns
    uint32_t client, server, sni, alpn, alpn_chosen, ja4, family, flags
    uint32_t size
    uint16_t client_port, server_port, version, cipher, version_offered, pad

cdef struct ProxyRow:
    uint64_t seq
    int64_t at_ns
    uint64_t conn
    uint32_t client, server, source, destination, authority, alpn, tls_version, flags
    uint16_t client_port, server_port, source_port, destination_port

cdef struct RequestRow:
    uint64_t seq
    int64_t at_ns
    uint64_t conn, request
    uint32_t client, server, forwarded0, forwarded1, forwarded2, forwarded3, real_ip, proxy_source
    uint32_t method, path, host, user_agent, via, header_shape, flags, index
    uint16_t client_port, server_port, forwarded_port, forwarded_count, cookies
    uint8_t version, forwarded_proto

cdef struct CookieRow:
    uint64_t seq
    int64_t at_ns
    uint64_t conn, request, value, presented
    int64_t lifetime_ns
    uint32_t client, server, forwarded0, name, flags, names
    uint16_t client_port, server_port, names_port, decoder

cdef struct ResponseRow:
    uint64_t seq
    int64_t at_ns
    uint64_t conn, request
    int64_t delay_ns
    uint64_t session
    uint32_t client, server, session_name, flags, server_header
    uint16_t client_port, server_port, status, set_cookies

cdef struct SecretRow:
    uint64_t seq
    int64_t at_ns
    uint64_t conn, value
    uint32_t client, server, name
    uint16_t client_port, server_port
    uint8_t kind, sender
    uint16_t pad
    uint32_t flags

cdef struct ConnectionRow:
    uint64_t seq
    int64_t at_ns
    uint64_t conn
    int64_t opened_ns, first_data_ns, last_ns
    uint64_t bytes_c, bytes_s
    int64_t connect_ns, ack_ns, turn_ns, idle_survived_ns, idle_before_end_ns
    uint64_t missing_bytes
    uint32_t client, server, isn_c, stack, packets_c, packets_s, retransmits_c, retransmits_s
    uint32_t requests, responses, keepalive_probes, flags, tsval_c, duplicates
    uint16_t client_port, server_port, mss, window, resets_c, resets_s, interface, vlan
    uint8_t proto, protocol7, orientation, end, first_closer, ttl_c, ttl_s, data_order

cdef struct ProcessRow:
    uint64_t seq
    int64_t at_ns
    uint64_t conn
    uint32_t client, server, pid, process, container, pod
    uint16_t client_port, server_port
    uint8_t end, pad8
    uint16_t pad


@cython.final
cdef class Tables:
    cdef readonly Interner strings
    cdef readonly Interner addresses
    cdef readonly uint64_t seq            # number of the next row
    cdef readonly Py_ssize_t rows         # rows waiting in all tables
    cdef readonly Py_ssize_t limit        # rows in a batch
    cdef readonly uint64_t due            # a batch is due when seq has reached this
    cdef object arrays
    cdef object handed                    # per table: arrays that went with a batch

    cdef OpenedRow[::1] opened
    cdef HandshakeRow[::1] handshakes
    cdef ProxyRow[::1] proxies
    cdef RequestRow[::1] requests
    cdef CookieRow[::1] cookies
    cdef ResponseRow[::1] responses
    cdef SecretRow[::1] secrets
    cdef ConnectionRow[::1] connections
    cdef ProcessRow[::1] processes
    cdef Py_ssize_t used[9]               # rows waiting, per table in the order of TABLES

    # Index of a new row: zeroes and its seq. The index holds until the next flush, which never happens inside a packet.
    cdef Py_ssize_t add_opened(self) except -1 nogil
    cdef Py_ssize_t add_handshake(self) except -1 nogil
    cdef Py_ssize_t add_proxy(self) except -1 nogil
    cdef Py_ssize_t add_request(self) except -1 nogil
    cdef Py_ssize_t add_cookie(self) except -1 nogil
    cdef Py_ssize_t add_response(self) except -1 nogil
    cdef Py_ssize_t add_secret(self) except -1 nogil
    cdef Py_ssize_t add_connection(self) except -1 nogil
    cdef Py_ssize_t add_process(self) except -1 nogil
    cdef int _replace(self, int table) except -1
    cdef int _grow(self, int table) except -1
    cdef int _bind(self, int table) except -1
