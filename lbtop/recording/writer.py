"""Writes a recording: bounded in size, rotated, whole after every frame."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lbtop import __version__
from lbtop.model.errors import LbtopError
from lbtop.model.observation import TABLES, Batch, Rows, SourceStats, empty
from lbtop.recording import format
from lbtop.recording.privacy import Identities, TextTable, without_secrets

ROWS_PER_FRAME = 4096
ROWS_PER_MARK = 256
"""Rows between two times at which the open connections are written, at least."""
DEFAULT_MAX_BYTES = 256 << 20


class Recorder:
    """Takes batches and statistics, writes frames. Not thread-safe.

    When a file reaches ``max_bytes`` it is closed in order and renamed to ``NAME.1`` (older ones to ``.2`` and so on, ``keep`` of
    them are kept), and a new one is begun that stands alone.
    """

    def __init__(
        self, path: str | Path, *, kind: str, inputs: Sequence[str], max_bytes: int = DEFAULT_MAX_BYTES, keep: int = 4
    ) -> None:
        self.path = Path(path)
        self.max_bytes, self.keep = max_bytes, keep
        self._about = {"lbtop": __version__, "kind": kind, "inputs": list(inputs), "tables": format.layout()}
        self._identities = Identities()
        self._pending: list[Batch] = []
        self._pending_rows = 0
        self._last: Batch | None = None
        self._next_seq = 0
        self._marked_at = 0
        self._marked = 0  # connections that were open then
        self.rows = 0
        self.files = 0
        self._begin()

    def _begin(self) -> None:
        try:
            # What stands in it is nobody's secret, but whose traffic it was is: readable by its owner only.
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise LbtopError(f"cannot write {self.path}: {error.strerror}") from None
        self._file: BinaryIO = os.fdopen(descriptor, "wb")
        self._file.write(format.MAGIC + format.VERSION.to_bytes(2, "little"))
        self._texts = TextTable()
        self._addresses_written = 0
        self._size = len(format.MAGIC) + 2
        self._size += format.write_frame(self._file, format.LAYOUT, json.dumps(self._about).encode())
        self.files += 1

    def add(self, batch: Batch, stats: SourceStats) -> None:
        """Takes a batch. It is on disk after the next full frame, :meth:`flush` or :meth:`close`."""
        self._rotate_if_full()
        self._pending.append(batch)
        self._pending_rows += len(batch)
        if self._pending_rows >= ROWS_PER_FRAME or batch.final:
            self.flush(stats)

    def add_open(self, connections: Rows, stats: SourceStats) -> None:
        """Takes the connections that are still open when a recording is ended early (:meth:`Source.live`)."""
        if self._pending:
            last = self._pending[-1]
        elif self._last is not None:
            last = self._last
        else:
            return
        connections = connections.copy()
        connections["seq"] = np.arange(self._next_seq, self._next_seq + len(connections), dtype=np.uint64)
        tables = {name: connections if name == "connections" else empty(name) for name in TABLES}
        self.add(Batch(tables, last.strings, last.addresses, final=True), stats)

    @property
    def wants_open(self) -> bool:
        """Whether it is time for :meth:`mark_open`: so many rows came since that the open ones are a small part of them."""
        return self.rows + self._pending_rows - self._marked_at >= max(ROWS_PER_MARK, 4 * self._marked)

    def mark_open(self, connections: Rows, stats: SourceStats) -> None:
        """Takes the connections that are open now and will be written again when they end: a replay that is stopped here knows
        them as they were."""
        self.flush(stats)
        self._marked_at, self._marked = self.rows, len(connections)
        if self._last is not None:
            clean = without_secrets("connections", connections, self._last.strings, self._texts, self._identities)
            if self._texts.fresh or self._addresses_written < len(self._last.addresses):
                self._write_batch({}, self._last)  # a reader that does not know of open connections must not miss them
            self._size += format.write_frame(self._file, format.OPEN, format.pack_batch((), (), {"connections": clean}))

    def flush(self, stats: SourceStats) -> None:
        """Writes what is pending and the statistics, and hands it to the operating system."""
        if self._pending_rows:
            self._write(self._pending)
        self._pending, self._pending_rows = [], 0
        self._size += format.write_frame(self._file, format.STATS, json.dumps(asdict(stats)).encode())
        self._file.flush()

    def _rotate_if_full(self) -> None:
        if self._size >= self.max_bytes:
            self._rotate()

    def _write(self, batches: Sequence[Batch]) -> None:
        last = self._last = batches[-1]
        clean: dict[str, Rows] = {}
        for name in TABLES:
            rows = np.concatenate([batch[name] for batch in batches])
            if len(rows):
                self._next_seq = max(self._next_seq, int(rows["seq"][-1]) + 1)
                clean[name] = without_secrets(name, rows, last.strings, self._texts, self._identities)
                self.rows += len(rows)
        self._write_batch(clean, last)

    def _write_batch(self, clean: dict[str, Rows], last: Batch) -> None:
        """Rows, and the texts and addresses that came with them."""
        fresh, self._texts.fresh = self._texts.fresh, []
        addresses = [last.addresses[n] for n in range(self._addresses_written, len(last.addresses))]
        self._addresses_written = len(last.addresses)
        self._size += format.write_frame(self._file, format.BATCH, format.pack_batch(fresh, addresses, clean))

    def _rotate(self) -> None:
        self._end()
        for number in range(self.keep, 0, -1):
            older = self._numbered(number)
            if older.exists():
                if number == self.keep:
                    older.unlink()
                else:
                    older.replace(self._numbered(number + 1))
        self.path.replace(self._numbered(1))
        self._begin()

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _end(self) -> None:
        format.write_frame(self._file, format.END, b"")
        self._file.close()

    def close(self, stats: SourceStats) -> None:
        """Writes what is pending and closes the file in order."""
        self.flush(stats)
        self._end()
