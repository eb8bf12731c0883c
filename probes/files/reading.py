"""Reads plain files ahead: a thread per file fills the next chunk while the last one is decoded.

Half of the time that a capture of large packets takes is the kernel's copy out of its page cache. Here it goes on beside the
decoding, on another core. Neither side needs the interpreter for it, so that both run while Python code does.
"""

import os
import threading

import cython
from cython.cimports.cpython.pythread import (
    PyThread_acquire_lock,
    PyThread_allocate_lock,
    PyThread_free_lock,
    PyThread_release_lock,
)
from cython.cimports.libc.errno import EINTR, errno
from cython.cimports.posix.unistd import pread

WORTH_BYTES = 8 << 20
"""Files from this size on are read ahead. A smaller one is read before a thread has well begun."""


def processors():
    """How many this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pays(size):
    """Whether a file of so many bytes (None: nobody knows) is read faster by a thread of its own."""
    return size is not None and size >= WORTH_BYTES and processors() > 1


def room(lead, files):
    """Bytes of the buffer that reading ahead needs for so many files at a time, with records of at most ``lead`` bytes."""
    return files * CHUNKS * (lead + CHUNK)


class Readers:
    """Files read ahead into the buffer's spare room, each known by a number below FILES.

    ``lead``: the bytes kept free in front of every chunk, for the beginning of a record whose rest the chunk holds.
    """

    def __cinit__(self):
        i: cython.int
        k: cython.int
        for i in range(FILES):
            for k in range(CHUNKS):
                self.readings[i].empty[k] = PyThread_allocate_lock()
                self.readings[i].filled[k] = PyThread_allocate_lock()

    def __dealloc__(self):
        i: cython.int
        k: cython.int
        for i in range(FILES):
            for k in range(CHUNKS):
                PyThread_free_lock(self.readings[i].empty[k])
                PyThread_free_lock(self.readings[i].filled[k])

    def __init__(self, buffer, lead):
        self.buffer = buffer
        self.lead = lead
        self.stride = CHUNKS * (lead + CHUNK)
        self.threads = {}

    def open(self, i: cython.uint, file, position: cython.longlong, chunk: cython.Py_ssize_t = CHUNK):
        """Begins to read the open ``file`` at ``position``, at most ``chunk`` bytes at a time. Free numbers only.

        Raises RuntimeError where no thread can be started.
        """
        k: cython.int
        if i >= FILES or i in self.threads or self.buffer.spare + (i + 1) * self.stride > self.buffer.u8.shape[0]:
            raise IndexError(i)
        reading: cython.pointer(Reading) = cython.address(self.readings[i])
        reading.fd = file.fileno()
        reading.error = 0
        reading.position = position
        reading.taken = position
        reading.area = self.buffer.spare + i * self.stride
        reading.size = min(max(chunk, 1), CHUNK)
        reading.current = -1
        reading.previous = -1
        reading.over = False
        reading.stopping = False
        for k in range(CHUNKS):
            # Whatever the number's last file left behind: every chunk is empty, none is filled.
            while PyThread_acquire_lock(reading.filled[k], 0):
                pass
            PyThread_acquire_lock(reading.empty[k], 0)
            PyThread_release_lock(reading.empty[k])
        thread = threading.Thread(target=self.read, args=(i,), name="lbtop-reader", daemon=True)
        thread.start()
        self.threads[i] = thread

    def read(self, i: cython.uint):
        """What the thread of file ``i`` does until the file is at its end or :meth:`close` is called."""
        with cython.nogil:
            # With a processor less than threads, it is to copy its chunk between two turns of the one that folds, and soon.
            short_turns(TURN_NS)
            self._fill(cython.address(self.readings[i]))

    def taken(self, i: cython.uint):
        """Bytes from the file's beginning to the end of what the decoder was given."""
        return self.readings[i].taken

    def error(self, i: cython.uint):
        """The errno of a read that failed; 0 when the file was read to its end."""
        return self.readings[i].error

    def close(self, i: cython.uint):
        """Ends the thread of file ``i``, whose number is free then. The file itself is its owner's to close, after this."""
        k: cython.int
        reading: cython.pointer(Reading) = cython.address(self.readings[i])
        reading.stopping = True
        for k in range(CHUNKS):
            PyThread_acquire_lock(reading.empty[k], 0)
            PyThread_release_lock(reading.empty[k])
        self.threads.pop(i).join()

    def next(self, i, begin):
        k: cython.int
        reading: cython.pointer(Reading) = cython.address(self.readings[i])
        if reading.over:
            return 0
        k = (reading.current + 1) % CHUNKS
        PyThread_acquire_lock(reading.filled[k], 1)
        reading.previous = reading.current
        reading.current = k
        reading.over = reading.got[k] < reading.size
        reading.taken += reading.got[k]
        begin[0] = reading.area + k * (self.lead + CHUNK) + self.lead
        return reading.got[k]

    def release(self, i):
        k: cython.int = self.readings[i].previous
        if k >= 0:
            PyThread_release_lock(self.readings[i].empty[k])
            self.readings[i].previous = -1
        return 0

    def _fill(self, reading):
        k: cython.int = 0
        begin: cython.Py_ssize_t
        got: cython.Py_ssize_t
        size: cython.Py_ssize_t
        while True:
            PyThread_acquire_lock(reading.empty[k], 1)
            if reading.stopping:
                return 0
            begin = reading.area + k * (self.lead + CHUNK) + self.lead
            got = 0
            while got < reading.size:
                # The place was checked when the file was opened.
                size = pread(reading.fd, cython.address(self.buffer.u8[begin + got]), reading.size - got, reading.position)
                if size > 0:
                    got += size
                    reading.position += size
                elif size == 0:
                    break
                elif errno != EINTR:
                    reading.error = errno
                    break
            reading.got[k] = got
            PyThread_release_lock(reading.filled[k])
            if got < reading.size:
                return 0
            k = (k + 1) % CHUNKS
