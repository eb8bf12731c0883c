from lbtop.probes.wire.buffer cimport Buffer

# What the first bytes of a direction are.
cdef enum:
    N_MORE                # too few bytes to tell
    N_PROXY1
    N_PROXY2
    N_REQUEST             # HTTP/1
    N_RESPONSE
    N_PREFACE             # HTTP/2, client
    N_SETTINGS            # HTTP/2, server
    N_CLIENT_HELLO
    N_SSLV2_HELLO
    N_SERVER_HELLO
    N_TLS                 # some other TLS record: joined in the middle
    N_SSH
    N_POSTGRES            # client's startup message
    N_POSTGRES_SSL        # client asks for TLS
    N_MYSQL               # server's greeting
    N_SMTP                # server's greeting
    N_SMTP_CLIENT
    N_MAIL                # IMAP or POP3, server's greeting
    N_MAIL_CLIENT
    N_REDIS               # client's command
    N_REDIS_SERVER
    N_MQTT                # client's CONNECT
    N_NATS                # server's INFO
    N_NATS_CLIENT
    N_SYSLOG
    N_SOCKS4
    N_SOCKS5
    N_TEXT
    N_BINARY
    N_DNS
    N_QUIC
    N_NEGOTIATION         # of QUIC's version: a server's answer
    N_DTLS

cdef enum:
    LONGEST_LOOK = 512    # bytes after which a decision is made in any case
    MOST_SOCKS_METHODS = 8  # nobody offers more; a random second byte often does
    LONGEST_SOCKS_USER = 256
    LEAST_TEXT = 12       # bytes of a datagram: fewer are text by chance

# Who says such a thing.
cdef enum:
    SENDER_UNKNOWN = 0
    SENDER_CLIENT = 1     # a request, a client hello, a PROXY header
    SENDER_SERVER = 2     # a response, a banner, a server hello

cdef int sender(int what) except -1 nogil
cdef int sniff(Buffer buffer, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
cdef int sniff_datagram(Buffer buffer, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
cdef bint starts_head(Buffer buffer, Py_ssize_t offset, Py_ssize_t end, bint request, bint whole) except -1 nogil

cdef bint _prefix(Buffer buffer, Py_ssize_t offset, Py_ssize_t end, const char *word, int length) except -1 nogil
cdef int _tls(Buffer buffer, Py_ssize_t offset, Py_ssize_t n) except -1 nogil
cdef int _binary(Buffer buffer, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
cdef int _mysql(Buffer buffer, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
cdef int _request(Buffer buffer, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
cdef bint _known_method(Buffer buffer, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
cdef int _text(Buffer buffer, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
cdef bint _priority(Buffer buffer, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
cdef bint _negotiates(Buffer buffer, Py_ssize_t offset, Py_ssize_t n) except -1 nogil
cdef bint _readable(Buffer buffer, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
