"""Cutting batches: at a sequence number, and at moments of the observations' time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from lbtop.model.observation import Batch, Rows

TIMED = ("opened", "handshakes", "proxies", "requests", "responses")
"""Tables whose rows come in the order of their times. A connection's row may come long after its last packet."""


def moment_of(batch: Batch) -> int:
    """Time of the last observation, 0 for an empty batch."""
    return max((int(batch[table]["at_ns"][-1]) for table in TIMED if len(batch[table])), default=0)


def first_after(batch: Batch, at_ns: int) -> int | None:
    """The lowest sequence number of an observation at or after a moment; None when all are earlier."""
    found = []
    for table in TIMED:
        rows = batch[table]
        later = rows["at_ns"] >= at_ns
        if later.any():
            found.append(int(rows["seq"][int(np.argmax(later))]))
    return min(found, default=None)


def cut_after(batch: Batch, seq: int) -> tuple[Batch, Batch]:
    """The rows below a sequence number, and the rest."""
    before: dict[str, Rows] = {}
    rest: dict[str, Rows] = {}
    for table, rows in batch.tables.items():
        place = int(np.searchsorted(rows["seq"], np.uint64(seq)))
        before[table], rest[table] = rows[:place], rows[place:]
    return (
        Batch(before, batch.strings, batch.addresses, False),
        Batch(rest, batch.strings, batch.addresses, batch.final),
    )


def pieces(batch: Batch, moments: Iterable[int], first_rows: int | None) -> Iterator[tuple[Batch, int | None]]:
    """A batch in pieces that end at the moments given, with that moment; the last piece, with None, is what is left.

     ``moments`` is asked for one more only when the one before has come, so it can go on with the next batch
    . ``first_rows``: the first piece has about so many rows, whatever the time.
    """
    if first_rows is not None and len(batch) > first_rows:
        lowest = min(int(rows["seq"][0]) for rows in batch.tables.values() if len(rows))
        piece, batch = cut_after(batch, lowest + first_rows)
        yield piece, moment_of(piece)
    for moment in moments:
        seq = first_after(batch, moment)
        if seq is None:
            break
        piece, batch = cut_after(batch, seq)
        yield piece, moment
    yield batch, None
