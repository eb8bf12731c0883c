cimport cython
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.flags cimport *
from lbtop.probes.wire.secrets cimport Secrets
from lbtop.probes.wire.state cimport *
from lbtop.probes.wire.tables cimport CookieRow, Tables

# What a string is, by its number: found out once per string, under the interpreter lock.
cdef enum:
    S_COOKIE = 1          # the cookie bits below are known
    S_SESSION = 2
    S_LIKELY = 4          # a session, if its value looks like one
    S_BALANCER = 8
    S_SECURE_PREFIX = 16
    S_DECODES = 32        # its values may name a target
    S_AGENT = 64          # the browser bit below is known
    S_BROWSER = 128
    S_NEVER = 256         # no session, whatever its value
    S_MUTE = 512          # its values have named no target often enough

cdef enum:
    MOST_COOKIES = 128
    LONGEST_COOKIE_NAME = 64

cdef struct Found:
    uint64_t value
    Py_ssize_t offset
    Py_ssize_t length
    uint32_t name


@cython.final
cdef class Cookies:
    cdef Context context
    cdef Secrets secrecy
    cdef Buffer buffer
    cdef Tables tables
    cdef uint16_t[::1] kinds
    cdef bint asks                # the catalogue can decode values
    cdef dict named               # (name, hash of value) -> the target a value names
    cdef dict strangers           # name -> values that named nothing; far below 0 once one did
    cdef set targets              # (server, port) whose digests are known
    cdef dict digests             # what a cookie that hashes a target holds -> that target
    cdef Found found[MOST_COOKIES]
    cdef int sessions             # entries of found
    cdef uint32_t flags           # of the last head: RQ_* or RS_*
    cdef int count                # cookies of the last head

    cdef int kind(self, uint32_t name) except -1 nogil
    cdef bint _session(self, int kind, Py_ssize_t offset, Py_ssize_t end, bint known) except -1 nogil
    cdef bint browser(self, uint32_t agent) except -1 nogil
    cdef int begin(self) except -1 nogil
    cdef int request(self, Conn *conn, int64_t ts_ns, uint64_t request, uint32_t forwarded0, uint32_t pending,
                     Py_ssize_t offset, Py_ssize_t end, bint cut) except -1 nogil
    cdef int response(self, Conn *conn, int64_t ts_ns, uint64_t request, uint32_t pending, Py_ssize_t offset,
                      Py_ssize_t end, bint cut) except -1 nogil
    cdef int secrets(self, Conn *conn, int64_t ts_ns, int sender) except -1 nogil
    cdef CookieRow *_row(self, Conn *conn, int64_t ts_ns, uint64_t request, uint32_t name, Py_ssize_t value,
                         Py_ssize_t end) except NULL nogil
    cdef int _present(self, uint32_t pending, uint32_t name, uint64_t value, bint session) except -1 nogil
    cdef bint _may_name(self, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef bint _dated(self, CookieRow *row, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef int _digit64(self, int char) except -2 nogil
    cdef bint _digest_shaped(self, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef bint _dotted(self, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef int _attributes(self, CookieRow *row, int64_t ts_ns, Py_ssize_t at, Py_ssize_t end) except -1 nogil
    cdef int _classify(self, uint32_t name) except -1
    cdef int _classify_agent(self, uint32_t agent) except -1
    cdef int _decode(self, CookieRow *row, Py_ssize_t value, Py_ssize_t length) except -1
    cdef int _meet(self, CookieRow *row) except -1
