"""A source decoded on a thread of its own, while whoever asks for its batches does something else with them.

The decoder runs without the interpreter, so that a second processor folds one batch while the first decodes the next. At most
one finished batch waits: memory stays what it was.

Two processors have three threads then: one reads, one decodes, and whoever asks folds. Everybody waits for the decoder, so the
one that folds gives way, or the reader would take its turns from the decoder.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading

from lbtop.probes.files.reading import processors
from lbtop.probes.files.source import CaptureSource

from lbtop.model.observation import Batch, Rows, Source, SourceStats

NICER = 5
"""By how much the folding thread's priority is lowered (setpriority(2)): it takes half the decoder's time. On a host whose two
processors have other work to do, it gets half the decoder's share, and both end together."""


def decoded_ahead(source: CaptureSource) -> Source:
    """The source, decoded ahead where that can be: with a second processor, and from files whose bytes are all there."""
    if not source.complete or processors() < 2:
        return source
    try:
        return Ahead(source)
    except RuntimeError:  # no more threads are allowed here (pids.max of a control group, RLIMIT_NPROC)
        return source


class Ahead:
    """Implements :class:`lbtop.model.observation.Source` for one who reads to the end: the rows and batches are the source's own.

    The source belongs to the thread from here on. What it raises is raised by :meth:`poll`, after the batches before it.
    Raises RuntimeError, and has not touched the source, where no thread can be started.
    """

    def __init__(self, source: CaptureSource) -> None:
        self._source = source
        self._stats = source.stats()
        self._queue: queue.SimpleQueue[tuple[Batch, SourceStats] | BaseException] = queue.SimpleQueue()
        self._taken = threading.Semaphore()  # the batch before the one that is being decoded
        self._stopping = self._closed = self._over = False
        self._thread = threading.Thread(target=self._decode, name="lbtop-decoder", daemon=True)
        self._thread.start()
        self._yielding: tuple[int, int] | None = _give_way() if processors() == 2 else None

    def poll(self, timeout_s: float = 0.0) -> Batch | None:
        if self._over:
            return None
        try:
            # Once it was told to stop, the last batch is on its way.
            found = self._queue.get(timeout=None if self._stopping else timeout_s)
        except queue.Empty:
            return None
        if isinstance(found, BaseException):
            self._end()
            raise found
        self._taken.release()
        batch, self._stats = found
        if batch.final:
            self._end()
        return batch

    def stop(self) -> None:
        """What is decoded already, and the last batch, are what the next :meth:`poll` calls give."""
        self._stopping = True
        self._source.stop()

    def stats(self) -> SourceStats:
        """As they were with the last batch that was handed over."""
        return self._stats

    def live(self) -> Rows:
        """Never: the decoder is ahead, and what is open where it stands is not what was open at the last batch."""
        raise RuntimeError("a source that is decoded ahead is read to its end")

    def close(self) -> None:
        """Ends the thread, wherever it stands, and closes the source."""
        self._closed = True
        self._source.stop()
        self._taken.release()
        self._thread.join()
        self._end()
        self._source.close()

    def _end(self) -> None:
        self._over = True
        if self._yielding is not None:
            # Not allowed to everybody: then what little is left to do is done with less priority.
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, *self._yielding)
            self._yielding = None

    def _decode(self) -> None:
        try:
            final = False
            while not final and not self._closed:
                self._taken.acquire()
                batch = None
                while batch is None and not self._closed:
                    batch = self._source.poll(1.0)
                if batch is not None:
                    final = batch.final
                    self._queue.put((batch, self._source.stats()))
        except BaseException as error:
            self._queue.put(error)


def _give_way() -> tuple[int, int] | None:
    """Lowers the calling thread's priority; that thread and the priority it had. None where threads have none of their own."""
    if sys.platform != "linux":
        return None
    thread = threading.get_native_id()
    before = os.getpriority(os.PRIO_PROCESS, thread)
    try:
        os.setpriority(os.PRIO_PROCESS, thread, before + NICER)
    except OSError:
        return None
    return thread, before
