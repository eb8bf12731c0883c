"""The keyed hash is SipHash-1-3: what CPython uses for bytes, whose key is known under PYTHONHASHSEED=0."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from lbtop.probes.wire.buffer import Buffer
from lbtop.probes.wire.siphash import SipHash

SAMPLES = [bytes(range(length)) for length in range(1, 70)] + [b"\xff" * 500]


@pytest.mark.skipif(sys.hash_info.algorithm != "siphash13", reason="this interpreter hashes bytes in another way")
def test_equal_to_the_interpreters() -> None:
    """Seed 0 means a key of zeros."""
    program = f"print([hash(value) & (1 << 64) - 1 for value in {SAMPLES!r}])"
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    told = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    hasher, buffer = SipHash(bytes(16)), Buffer()
    assert [hasher.number(buffer, value) for value in SAMPLES] == eval(told.stdout)


def test_keys_make_different_numbers() -> None:
    buffer = Buffer()
    numbers = {SipHash(bytes([first]) + bytes(15)).number(buffer, b"secret") for first in range(100)}
    assert len(numbers) == 100 and 0 not in numbers
    assert SipHash().number(buffer, b"secret") != SipHash().number(buffer, b"secret")


def test_a_key_has_sixteen_bytes() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        SipHash(b"short")
