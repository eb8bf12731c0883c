from lbtop.probes.wire.conversation cimport *


cdef class Detection(Conversations):
    # Who the first payload bytes of a connection show their sender to be (SENDER_* of sniff.pxd). Called before open, only where no SYN was seen; no state.
    cdef int proof(self, Py_ssize_t offset, Py_ssize_t n) except -1 nogil
    # The same for the first datagram of a flow.
    cdef int proof_of_datagram(self, Py_ssize_t offset, Py_ssize_t n) except -1 nogil
    cdef int _swap(self, Conn *conn) except -1 nogil
    cdef Py_ssize_t _detect(self, Conn *conn, int64_t ts_ns, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef int _both(self, Conn *conn, int protocol, int mode) except -1 nogil
    cdef bint _anything_known(self, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
    cdef int _datagram_of(self, Conn *conn, Py_ssize_t offset, Py_ssize_t end) except -1 nogil
