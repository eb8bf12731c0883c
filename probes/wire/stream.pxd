cimport cython

from lbtop.probes.wire.detection cimport *


@cython.final
cdef class Streams(Detection):
    # The next n payload bytes of a direction, in order and each once (TCP), or one datagram (UDP), in the buffer at offset.
    cdef int deliver(self, uint32_t slot, int direction, Py_ssize_t offset, Py_ssize_t n, int64_t ts_ns) except -1 nogil
    # n bytes of a direction will never come (lost by the capture, cut by the snap length). What follows starts a segment.
    cdef int skip(self, uint32_t slot, int direction, uint64_t n, int64_t ts_ns) except -1 nogil
    # The last n bytes of a direction will never come, and nothing follows them: all that is left is to close.
    cdef int miss(self, uint32_t slot, int direction, int64_t n) except -1 nogil
    # The connection is over: rows still owed (unanswered requests, half handshakes) are written. heard: packets of the server
    # are in view, whether or not it said anything.
    cdef int close(self, uint32_t slot, int64_t ts_ns, bint heard) except -1 nogil
    # What the process at one end of a TLS connection wrote or read there, as it told: the next n bytes of a direction, in the buffer at
    # offset, after `passed` others. whole: told from the handshake on; broken: HTTP/2 frames that later ones depend on are missing.
    cdef int inside(self, uint32_t slot, int direction, uint64_t passed, Py_ssize_t offset, Py_ssize_t n, int64_t ts_ns, bint whole, bint broken) except -1 nogil
    cdef int _told(self, Conn *conn) except -1 nogil
    cdef int _unseal(self, Conn *conn, uint32_t slot, Py_ssize_t offset, Py_ssize_t n, int64_t ts_ns, bint lost) except -1
    cdef int _release(self, Half *half) except -1 nogil
    cdef int _keep(self, Conn *conn, Py_ssize_t offset, Py_ssize_t end, int64_t ts_ns) except -1 nogil
    cdef int _overflow(self, Conn *conn, int64_t ts_ns) except -1 nogil
    cdef Py_ssize_t _run(self, Conn *conn, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef Py_ssize_t _step(self, Conn *conn, Half *half, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef int _datagram(self, Conn *conn, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
