"""The last observations of a source, kept in memory while somebody else reads it: what a recording is on disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

from lbtop.model.observation import TABLES, Batch, Rows, Source, SourceStats, empty

MOST_BYTES = 64 << 20


class Recent:
    """A source that hands on what another one yields and remembers the end of it, as many bytes of rows as are asked for.

    ``attend`` is called at every poll, whether rows came or not.
    """

    def __init__(self, source: Source, most_bytes: int = MOST_BYTES) -> None:
        self.attend: Callable[[], None] = lambda: None
        self._source = source
        self._most_bytes = most_bytes
        self._kept: deque[Batch] = deque()
        self._sizes: deque[int] = deque()
        self._bytes = 0
        self.forgot = False
        """Whether older rows had to go."""

    def poll(self, timeout_s: float = 0.0) -> Batch | None:
        self.attend()
        batch = self._source.poll(timeout_s)
        if batch is not None and len(batch):
            size = sum(rows.nbytes for rows in batch.tables.values())
            self._kept.append(batch)
            self._sizes.append(size)
            self._bytes += size
            while self._bytes > self._most_bytes and len(self._kept) > 1:
                self._kept.popleft()
                self._bytes -= self._sizes.popleft()
                self.forgot = True
        return batch

    def live(self) -> Rows:
        return self._source.live()

    def stats(self) -> SourceStats:
        return self._source.stats()

    def close(self) -> None:
        self._source.close()

    def stop(self) -> None:
        """Ends the reading where the source can be ended."""
        stop = getattr(self._source, "stop", None)
        if stop is not None:
            stop()

    @property
    def since_ns(self) -> int:
        """Time of the oldest row that is kept, 0 where none is."""
        return min((int(rows["at_ns"][0]) for rows in self._kept[0].tables.values() if len(rows)), default=0) if self._kept else 0

    def connection(self, number: int) -> Iterator[Batch]:
        """The rows of one connection, oldest first, and its row as it is now where it is still open."""
        for batch in self._kept:
            tables = {name: rows[rows["conn"] == number] for name, rows in batch.tables.items()}
            if any(len(rows) for rows in tables.values()):
                yield Batch(tables, batch.strings, batch.addresses)
        if self._kept:
            last = self._kept[-1]
            now = self.live()
            now = now[now["conn"] == number]
            if len(now):
                yield Batch(_only_connections(now), last.strings, last.addresses)

    def again(self) -> Source:
        """All that is kept as a source of its own, with the connections that are open now as if they ended here."""
        return _Again(tuple(self._kept), self.live(), self.stats())


class _Again:
    """Batches that were kept, from the first to the last."""

    def __init__(self, batches: tuple[Batch, ...], live: Rows, stats: SourceStats) -> None:
        self._batches = iter([*batches, *_last(batches, live)])
        self._stats = stats

    def poll(self, timeout_s: float = 0.0) -> Batch | None:
        return next(self._batches, None)

    def live(self) -> Rows:
        return empty("connections")

    def stats(self) -> SourceStats:
        return self._stats

    def close(self) -> None:
        """Nothing to close: the rows belong to whoever keeps them."""


def _last(batches: tuple[Batch, ...], live: Rows) -> Iterator[Batch]:
    if batches:
        newest = batches[-1]
        seq = max(int(rows["seq"][-1]) for rows in newest.tables.values() if len(rows))
        live = live.copy()
        live["seq"] = np.arange(seq + 1, seq + 1 + len(live), dtype=np.uint64)
        yield Batch(_only_connections(live), newest.strings, newest.addresses, final=True)


def _only_connections(rows: Rows) -> dict[str, Rows]:
    return {name: rows if name == "connections" else empty(name) for name in TABLES}
