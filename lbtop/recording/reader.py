"""Reads a recording back as a source of observations."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, BinaryIO, TypeGuard

import numpy as np

from lbtop.model.errors import LbtopError
from lbtop.model.observation import ADDRESS_COLUMNS, TABLES, Batch, InsideTls, KernelTcp, Rows, SourceStats, empty
from lbtop.model.record import replace
from lbtop.model.text import safe_text
from lbtop.recording import format
from lbtop.recording.privacy import TEXTS

_STATS_FIELDS = frozenset(SourceStats.__match_args__)


class Texts:
    """The interner of a recording: what its frames have brought so far."""

    def __init__(self, *first: bytes) -> None:
        self.items: list[bytes] = list(first)

    def __getitem__(self, number: int) -> bytes:
        # A damaged or forged file may name texts that it never brought.
        return self.items[number] if number < len(self.items) else b""

    def __len__(self) -> int:
        return len(self.items)


class RecordingSource:
    """The observations of a recording, in the batches in which they were written.

    A file that is cut or altered is read up to that point, and :meth:`stats` says so.
    """

    def __init__(self, path: str, file: BinaryIO) -> None:
        self._path, self._file = path, file
        self._frames: Iterator[tuple[int, bytes]] = format.read_frames(file)
        self._strings = Texts(b"", b"(more)")
        self._addresses = Texts()
        self._stats = SourceStats(kind="recording", inputs=(path,))
        self._layouts: dict[str, np.dtype[np.void]] = {}
        self._note: str | None = None
        self._done = False
        self._next_seq = 0
        self._open = empty("connections")
        self._ahead: tuple[int, bytes] | None = None
        self._damage: format.Damaged | None = None
        self._first_frame()

    def _first_frame(self) -> None:
        try:
            kind, body = next(self._frames)
            described = format.parse_json(body).get("tables") if kind == format.LAYOUT else None
            if not isinstance(described, dict):
                raise format.Damaged("its layout is missing")
            self._layouts = format.row_layouts(described)
        except (StopIteration, format.Damaged) as problem:
            reason = str(problem) or "it ends at once"
            raise LbtopError(f"{safe_text(self._path)} is a recording, but {reason}; record again") from None

    def poll(self, timeout_s: float = 0.0) -> Batch | None:
        """The next batch. The last one is empty and ``final``."""
        if self._done:
            return None
        try:
            kind, body = self._upcoming()
            if kind == format.BATCH:
                batch = self._batch(body)
                self._look_ahead()
                return batch
            if kind != format.END:
                self._note = "the recording was not closed in order: what came after its last frame is not in it"
        except format.Damaged as problem:
            self._note = f"the recording is damaged ({problem}): read up to there"
        return self._final()

    def _upcoming(self) -> tuple[int, bytes]:
        """The next batch or the end; kind 0 where the file just stops. Raises Damaged."""
        if self._ahead is None and self._damage is None:
            self._look_ahead()
        if self._damage is not None:
            raise self._damage
        ahead, self._ahead = self._ahead, None
        return ahead or (0, b"")

    def _look_ahead(self) -> None:
        """Reads on to the next batch. What stands before it (connections open now) belongs to the batch just handed out."""
        try:
            for kind, body in self._frames:
                if kind in (format.BATCH, format.END):
                    self._ahead = kind, body
                    return
                if kind == format.STATS:
                    self._take_stats(format.parse_json(body))
                if kind == format.OPEN:
                    self._take_open(body)
        except format.Damaged as problem:
            self._damage = problem

    def _take_open(self, body: bytes) -> None:
        _, _, tables = format.unpack_batch(body, self._layouts)
        rows = tables.get("connections", empty("connections"))
        if len(rows):
            self._check_references("connections", rows)
        self._open = rows

    def _batch(self, body: bytes) -> Batch:
        strings, addresses, tables = format.unpack_batch(body, self._layouts)
        tables = {name: rows for name, rows in tables.items() if len(rows)}
        for rows in tables.values():
            if int(rows["seq"][0]) < self._next_seq or (rows["seq"][1:] < rows["seq"][:-1]).any():
                raise format.Damaged("its rows are not in order")
        self._next_seq = max((int(rows["seq"][-1]) + 1 for rows in tables.values()), default=self._next_seq)
        self._strings.items += strings
        self._addresses.items += addresses
        for name, rows in tables.items():
            self._check_references(name, rows)
        if "connections" in tables and len(self._open):
            self._open = self._open[~np.isin(self._open["conn"], tables["connections"]["conn"])]
        return Batch({name: tables.get(name, empty(name)) for name in TABLES}, self._strings, self._addresses)

    def _check_references(self, table: str, rows: Rows) -> None:
        """What is numbered must be there: whoever folds rows goes by these numbers. Raises Damaged."""
        for column in rows.dtype.names or ():
            if column in ADDRESS_COLUMNS and int(rows[column].max()) >= max(len(self._addresses), 1):
                raise format.Damaged("a row names an address that it does not hold")
            if column in TEXTS.get(table, ()) and int(rows[column].max()) >= len(self._strings):
                raise format.Damaged("a row names a text that it does not hold")

    def _final(self) -> Batch:
        self._done = True
        return Batch({name: empty(name) for name in TABLES}, self._strings, self._addresses, final=True)

    def _take_stats(self, raw: dict[str, Any]) -> None:
        known: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in raw.items() if name in _STATS_FIELDS
        }
        with contextlib.suppress(TypeError):
            known |= {"kind": "recording", "inputs": (self._path,)}
            known |= {"inside_tls": _inside_tls(raw.get("inside_tls")), "kernel_tcp": _kernel_tcp(raw.get("kernel_tcp"))}
            self._stats = SourceStats(**known)

    def live(self) -> Rows:
        """The connections that were open when last that was written, without those that have ended since."""
        return self._open

    def stats(self) -> SourceStats:
        return replace(self._stats, notes=(*self._stats.notes, self._note)) if self._note else self._stats

    def close(self) -> None:
        self._file.close()


def _inside_tls(raw: Any) -> InsideTls | None:
    """As it was written; None where it is anything else."""
    if not isinstance(raw, dict):
        return None
    counts = [raw.get(name) for name in ("connections", "read", "lost")]
    ports, unreadable = raw.get("ports"), raw.get("unreadable")
    if not _are(counts, int) or not _are(ports, int) or not _are(unreadable, str):
        return None
    return InsideTls(tuple(ports), counts[0], counts[1], counts[2], tuple(map(safe_text, unreadable)))


def _kernel_tcp(raw: Any) -> tuple[KernelTcp, ...]:
    """As it was written, without what is anything else."""
    found = []
    for row in raw if isinstance(raw, list) else ():
        if not isinstance(row, dict):
            continue
        reasons = row.get("resets_sent")
        counts: dict[str, Any] = {name: row.get(name) for name in KernelTcp.__match_args__ if name != "resets_sent"}
        pairs = [pair for pair in reasons if _is_reason(pair)] if isinstance(reasons, list) else None
        if pairs is not None and _are(list(counts.values()), int):
            found.append(KernelTcp(resets_sent=tuple((safe_text(why), count) for why, count in pairs), **counts))
    return tuple(found)


def _is_reason(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and _are(pair[1:], int)


def _are(values: Any, kind: type) -> TypeGuard[list[Any]]:
    return isinstance(values, list) and all(isinstance(value, kind) and not isinstance(value, bool) for value in values)


def open_recording(path: str) -> RecordingSource:
    """Opens a recording. Raises LbtopError where it cannot be read, is none, or is of a later version."""
    try:
        file = open(path, "rb")  # noqa: SIM115 - the source owns it
    except OSError as error:
        raise LbtopError(f"cannot read {safe_text(path)}: {error.strerror}") from None
    head = file.read(len(format.MAGIC) + 2)
    if head[: len(format.MAGIC)] != format.MAGIC:
        file.close()
        raise LbtopError(f"{safe_text(path)} is no recording; a capture is read as it is: lbtop diagnose {safe_text(path)}")
    version = int.from_bytes(head[len(format.MAGIC) :], "little")
    if version != format.VERSION:
        file.close()
        raise LbtopError(
            f"{safe_text(path)} was written by another version of lbtop (format {version}, this reads {format.VERSION})"
        )
    return RecordingSource(path, file)
