"""Rows collected as dictionaries, strings and addresses numbered, secrets hashed."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import numpy as np

from lbtop.model.observation import TABLES, Batch

SHOWN = 256


class Numbering:
    """Byte strings numbered in order of first appearance. 0 is the empty string, 1 is kept for ``(more)``."""

    def __init__(self) -> None:
        self._strings = [b"", b"(more)"]
        self._numbers = {b"": 0}

    def __getitem__(self, number: int) -> bytes:
        return self._strings[number]

    def __len__(self) -> int:
        return len(self._strings)

    def number(self, string: bytes) -> int:
        if string not in self._numbers:
            self._numbers[string] = len(self._strings)
            self._strings.append(string)
        return self._numbers[string]


class Recorder:
    """Takes rows in the order in which they are observed and hands them out as batches."""

    def __init__(self) -> None:
        self.strings = Numbering()
        self.addresses = Numbering()
        self.requests = 0
        self.servers: set[tuple[bytes, int]] = set()  # where requests went whose cookies may be digests of a target
        self.digests: dict[bytes, tuple[bytes, int, int]] = {}
        self._seq = 0
        self._key = os.urandom(16)
        self._rows: dict[str, list[dict[str, int]]] = {table: [] for table in TABLES}

    def text(self, value: bytes, limit: int = SHOWN) -> int:
        return self.strings.number(value.strip()[:limit])

    def hash(self, value: bytes) -> int:
        """64 bits that stand for a secret in this run, never 0; 0 for an empty one."""
        if not value:
            return 0
        return int.from_bytes(hashlib.blake2b(value, key=self._key, digest_size=8).digest(), "little") or 1

    def add(self, table: str, **columns: int) -> dict[str, int]:
        """The row, which may still be amended until the batch is taken."""
        self._seq += 1
        row = {"seq": self._seq, **columns}
        self._rows[table].append(row)
        return row

    def take(self, final: bool) -> Batch:
        tables: dict[str, Any] = {}
        for table, rows in self._rows.items():
            array = np.zeros(len(rows), TABLES[table])
            for at, row in enumerate(rows):
                for column, value in row.items():
                    array[column][at] = value
            tables[table] = array
        self._rows = {table: [] for table in TABLES}
        return Batch(tables, self.strings, self.addresses, final)
