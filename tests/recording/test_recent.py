"""What is kept in memory of a source that cannot be read again: bounded, and the same rows."""

from __future__ import annotations

import numpy as np
from lbtop.probes.files import open_capture

from lbtop.catalog.recognition import recognition
from lbtop.engine import diagnose
from lbtop.model.observation import Batch, Source
from lbtop.recording.recent import Recent
from tests.corpus import CAPTURES

CAPTURE = CAPTURES / "offload-lb-cookie-targets.pcap.gz"


def opened() -> Source:
    source: Source = open_capture([str(CAPTURE)], rows=64, recognition=recognition())
    return source


def drained(source: Source) -> list[Batch]:
    batches = []
    while (batch := source.poll(1.0)) is not None:
        batches.append(batch)
        if batch.final:
            break
    return batches


def test_all_of_a_small_source_is_kept_and_can_be_read_again() -> None:
    recent = Recent(opened())
    whole = diagnose(recent)
    again = diagnose(recent.again())
    assert not recent.forgot
    assert [(t.target, t.connections, t.requests) for s in again.services for t in s.targets] == [
        (t.target, t.connections, t.requests) for s in whole.services for t in s.targets
    ]


def test_the_oldest_go_first() -> None:
    recent = Recent(opened(), most_bytes=50_000)
    batches = drained(recent)
    kept = drained(recent.again())
    assert recent.forgot and 1 < len(kept) < len(batches)
    assert sum(rows.nbytes for batch in kept for rows in batch.tables.values()) <= 50_000
    assert recent.since_ns == min(int(rows["at_ns"][0]) for rows in kept[0].tables.values() if len(rows))


def test_one_connection_also_while_it_is_open() -> None:
    recent = Recent(opened())
    for _ in range(4):
        recent.poll(1.0)
    now = recent.live()
    assert len(now)
    number = int(now["conn"][0])
    found = list(recent.connection(number))
    rows = [row for batch in found for table in batch.tables.values() for row in table]
    assert rows and all(int(row["conn"]) == number for row in rows)
    assert np.array_equal(found[-1]["connections"], now[:1])


def test_whoever_waits_is_attended_to_at_every_poll() -> None:
    asked = []
    recent = Recent(opened())
    recent.attend = lambda: asked.append(1)
    drained(recent)
    assert len(asked) > 4
