"""The two readers that must agree: the product's decoder and the slow reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lbtop.model.observation import TABLES, Batch, Rows, Source, SourceStats
from tests import reference


def read_all(source: Source) -> tuple[Batch, SourceStats]:
    """Everything a source has to tell, as one batch."""
    parts: dict[str, list[Rows]] = {table: [] for table in TABLES}
    last = None
    try:
        while last is None or not last.final:
            batch = source.poll(0.0)
            if batch is None:
                break
            last = batch
            for table in TABLES:
                parts[table].append(batch[table].copy())
    finally:
        source.close()
    if last is None:
        raise AssertionError("a source must end with a final batch")
    tables = {table: np.concatenate(rows) for table, rows in parts.items()}
    return Batch(tables, last.strings, last.addresses, True), source.stats()


def by_reference(path: Path) -> tuple[Batch, SourceStats]:
    return read_all(reference.open_capture(path))


def open_decoded(path: Path) -> Source:
    """A capture through the product's decoder, opened as the command line does."""
    from lbtop.probes.files import open_capture

    from lbtop.catalog.recognition import recognition

    source: Source = open_capture([str(path)], recognition=recognition())
    return source


def by_decoder(path: Path) -> tuple[Batch, SourceStats]:
    return read_all(open_decoded(path))


READERS = {"reference": by_reference, "decoder": by_decoder}
