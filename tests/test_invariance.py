"""How the bytes of a capture reach the program makes no difference to what it prints, to the byte."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lbtop.engine import diagnose
from lbtop.faces.json import render
from lbtop.model.observation import TABLES, Batch, Rows, Source, SourceStats
from tests.corpus import committed, sampled
from tests.diagnosing import diagnosis_of, parted
from tests.readers import open_decoded, read_all
from tests.reference.files import Record
from tests.tools import writing

CAPTURES = {capture.name: capture.path for capture in committed()}


class Rebatched:
    """Hands a source's rows on in batches of ``size``, in the order in which they were observed."""

    def __init__(self, source: Source, size: int) -> None:
        whole, self._stats = read_all(source)
        self._whole = whole
        self._size = size
        self._order = sorted((int(row["seq"]), table, at) for table in TABLES for at, row in enumerate(whole[table]))
        self._at = 0

    def poll(self, timeout_s: float = 0.0) -> Batch | None:
        if self._at > len(self._order):
            return None
        piece = self._order[self._at : self._at + self._size]
        self._at += self._size
        picked: dict[str, list[int]] = {table: [] for table in TABLES}
        for _, table, row in piece:
            picked[table].append(row)
        final = self._at >= len(self._order)
        if final:
            self._at = len(self._order) + 1
        return Batch({table: self._whole[table][rows] for table, rows in picked.items()}, self._whole.strings,
                     self._whole.addresses, final)  # fmt: skip

    def live(self) -> Rows:
        return self._whole["connections"][:0]

    def stats(self) -> SourceStats:
        return self._stats

    def close(self) -> None:
        pass


@pytest.mark.parametrize("name", sampled(CAPTURES, 3))
def test_rows_one_by_one_are_rows_at_once(name: str) -> None:
    """Windows are cut by what was observed, never by how it was handed over."""
    at_once = render(diagnose(Rebatched(open_decoded(CAPTURES[name]), 10**9)))
    for size in (1, 37):
        assert render(diagnose(Rebatched(open_decoded(CAPTURES[name]), size))) == at_once


@pytest.mark.parametrize("name", sampled(CAPTURES, 12))
def test_standard_input_is_a_file(name: str, lbtop: list[str]) -> None:
    command = [*lbtop, "diagnose", "--json"]
    named = subprocess.run([*command, str(CAPTURES[name])], capture_output=True, timeout=60, check=False)
    with CAPTURES[name].open("rb") as stream:
        piped = subprocess.run([*command, "-"], stdin=stream, capture_output=True, timeout=60, check=False)
    assert named.returncode == piped.returncode in (0, 1), (named.stderr, piped.stderr)
    found, again = (json.loads(done.stdout) for done in (named, piped))
    del found["source"]["inputs"], again["source"]["inputs"]
    assert json.dumps(found) == json.dumps(again)


FORMS: dict[str, Callable[[list[Record]], bytes]] = {
    "pcap, big-endian, ns": lambda records: writing.pcap(records, ">", nanoseconds=True),
    "pcap, little-endian, ns": lambda records: writing.pcap(records, "<", nanoseconds=True),
    "pcapng, little-endian, µs": lambda records: writing.pcapng(records, "<", 6),
    "pcapng, big-endian, ns, with an offset": lambda records: writing.pcapng(records, ">", 9, 1_700_000_000),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", sampled(CAPTURES, 12))
def test_every_form_of_file_tells_the_same(name: str, form: str, tmp_path: Path) -> None:
    records = writing.read(CAPTURES[name])
    if any(record.ts_ns % 1000 for record in records) or len({record.interface for record in records}) > 1:
        pytest.skip("this recording is finer than a microsecond or has several interfaces")
    changed = tmp_path / "changed"
    changed.write_bytes(FORMS[form](records))
    plain = writing.write(tmp_path / "plain.pcap.gz", records)
    assert not parted(diagnosis_of(plain), diagnosis_of(changed))
