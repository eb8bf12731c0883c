cimport cython
from cpython.pythread cimport PyThread_type_lock
from libc.stdint cimport int64_t, uint32_t

from lbtop.probes.wire.buffer cimport Buffer

cdef enum:
    CHUNK = 1 << 19         # bytes read at a time: fewer, and the threads wait for each other; more, and the caches do not hold them
    CHUNKS = 4              # of a file: one is decoded while others are filled, so that neither side waits for the other at every one
    FILES = 32              # read at the same time

# One file. The reader owns a chunk while it holds the chunk's `empty`, the decoder once it has got its `filled`.
cdef struct Reading:
    int fd
    int error               # errno of the read that failed, 0 for none
    int64_t position        # in the file, of the next byte to read
    int64_t taken           # bytes given to the decoder, counted from the file's beginning
    Py_ssize_t area         # where in the buffer its chunks begin, each behind `lead` bytes
    Py_ssize_t size         # most bytes of a chunk
    Py_ssize_t got[CHUNKS]  # bytes in each chunk: fewer than `size` only in the last one
    PyThread_type_lock empty[CHUNKS]
    PyThread_type_lock filled[CHUNKS]
    int current             # the decoder's chunk, and the one before it that is to be released; -1 for none
    int previous
    bint over               # the decoder has got the last chunk
    bint stopping


@cython.final
cdef class Readers:
    cdef Buffer buffer
    cdef Py_ssize_t lead            # room in front of a chunk for the record that the last one broke off in
    cdef Py_ssize_t stride          # bytes of the buffer per file
    cdef Reading readings[FILES]
    cdef dict threads

    # The next chunk of file i: how many bytes it has, 0 at the end of the file, and in `begin` where it begins in the buffer.
    cdef Py_ssize_t next(self, uint32_t i, Py_ssize_t *begin) except -1 nogil
    # What is still needed of the chunk before it was taken out: the reader may fill that one again.
    cdef int release(self, uint32_t i) except -1 nogil
    cdef int _fill(self, Reading *reading) except -1 nogil
