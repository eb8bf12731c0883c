cimport cython
from cpython.pythread cimport PyThread_type_lock
from libc.stdint cimport int64_t, uint32_t, uint64_t

from lbtop.probes.wire.buffer cimport Buffer

# Asks for turns of so many nanoseconds on a processor for the calling thread (sched_setattr(2), Linux 6.12 and later): short turns
# come soon. Where that is unknown or not allowed, everything stays as it was.
cdef extern from *:
    """
    #include <string.h>
    #include <unistd.h>
    #include <stdint.h>
    #if defined(__linux__)
    #include <sys/syscall.h>
    #endif
    static void short_turns(uint64_t ns)
    {
    #if defined(SYS_sched_getattr) && defined(SYS_sched_setattr)
        struct {
            uint32_t size, policy;
            uint64_t flags;
            int32_t nice;
            uint32_t priority;
            uint64_t runtime, deadline, period;
        } turns;
        memset(&turns, 0, sizeof turns);
        /* Only as a thread like any other (SCHED_OTHER): whoever chose another policy for it knows better. */
        if (syscall(SYS_sched_getattr, 0, &turns, sizeof turns, 0) == 0 && turns.policy == 0) {
            turns.size = sizeof turns;
            turns.runtime = ns;
            syscall(SYS_sched_setattr, 0, &turns, 0);
        }
    #endif
    }
    """
    void short_turns(uint64_t ns) noexcept nogil

cdef enum:
    CHUNK = 1 << 20         # bytes read at a time: fewer, and the threads wake each other too often; more, and caches do not hold them
    CHUNKS = 3              # of a file: one is decoded while others are filled, so that neither side waits for the other at every one
    TURN_NS = 100_000       # the kernel's least: a chunk is copied in about as much
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
