"""A capture file read slowly, packet by packet, into the same observations as the compiled decoder's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from lbtop.model.observation import Batch, Rows, SourceStats, empty
from tests.reference.connections import Table
from tests.reference.files import CaptureFile, Record
from tests.reference.fragments import Fragments
from tests.reference.packets import decode
from tests.reference.rows import Recorder


class ReferenceSource:
    """Satisfies ``lbtop.model.observation.Source``: the whole capture comes as one batch."""

    def __init__(self, paths: Sequence[Path], recognition: object) -> None:
        self._paths = tuple(paths)
        self._recognition = recognition
        self._stats = SourceStats("capture", tuple(str(path) for path in paths))
        self._done = False

    def poll(self, timeout_s: float = 0.0) -> Batch | None:
        if self._done:
            return None
        self._done = True
        rows = Recorder()
        table = Table(rows, self._recognition)
        fragments = Fragments()
        files = [CaptureFile(path) for path in self._paths]
        packets = size = undecoded = truncated = duplicates = first = last = 0
        records: Iterable[Record] = (record for file in files for record in file)
        if len(files) > 1:
            records = sorted(records, key=lambda record: record.ts_ns)
        for record in records:
            first = first or record.ts_ns
            last = max(last, record.ts_ns)
            fragments.kept = False
            packet = decode(record, fragments)
            if packet is not None and not table.packet(packet):
                duplicates += 1
                continue
            packets += 1
            size += record.wire_length
            undecoded += packet is None and not fragments.kept
            truncated += len(record.data) < record.wire_length
        table.finish(last)
        self._stats = SourceStats(
            "capture",
            tuple(str(path) for path in self._paths),
            first,
            last,
            packets,
            size,
            undecoded,
            truncated,
            duplicates,
            cut_at_byte=next((file.cut_at for file in files if file.cut_at is not None), None),
        )
        return rows.take(final=True)

    def live(self) -> Rows:
        return empty("connections")

    def stats(self) -> SourceStats:
        return self._stats

    def close(self) -> None:
        pass


def open_capture(*paths: str | Path, recognition: object = None) -> ReferenceSource:
    """A source over one or more capture files. ``recognition``: tables of known names; the product's own by default."""
    if recognition is None:
        from tests.reference.names import known_names

        recognition = known_names()
    return ReferenceSource([Path(path) for path in paths], recognition)
