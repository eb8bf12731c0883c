cimport cython
from libc.stdint cimport uint64_t

from lbtop.probes.wire.buffer cimport Buffer

# Header fields the decoder does something with. 0: any other.
cdef enum:
    H_OTHER
    H_HOST
    H_USER_AGENT
    H_COOKIE
    H_SET_COOKIE
    H_CONTENT_LENGTH
    H_CONTENT_TYPE
    H_TRANSFER_ENCODING
    H_CONNECTION
    H_UPGRADE
    H_X_FORWARDED_FOR
    H_FORWARDED
    H_X_FORWARDED_PROTO
    H_X_FORWARDED_PORT
    H_X_FORWARDED_OTHER
    H_REAL_IP
    H_VIA
    H_AUTHORIZATION
    H_SEC_FETCH_SITE
    H_SEC_CH_UA
    H_ACCEPT_ENCODING
    H_ORIGIN
    H_REFERER
    H_TRACE_ID
    H_UPGRADE_INSECURE
    H_LOCATION
    H_SERVER
    H_REQUEST_ID
    H_API_KEY
    H_TLS                 # from here on: H_TLS + n, the nth TLS header of the recognition tables


cdef enum:
    LONGEST_NAME = 40     # bytes
    PLACES = 1024

# The first, middle and last eight bytes of a name in lower case, its length, and its number: 0 in a free place.
cdef struct Name:
    uint64_t first, middle, last, length
    int code


@cython.final
cdef class Names:
    cdef Buffer buffer
    cdef Name places[PLACES]      # asked for by hashes of ten bits: every index is inside
    cdef int code(self, Py_ssize_t offset, Py_ssize_t length) except -1 nogil
    cdef int put(self, uint64_t first, uint64_t middle, uint64_t last, uint64_t length, int code) except -1
