"""What fuzzing once found stays found, and every seed passes: the same targets, without sanitizers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

CRASHES = sorted(path for path in (Path(__file__).parent / "fuzz" / "crashes").iterdir() if path.suffix != ".md")
SEEDS = 40
"""Of each target: all of them take minutes."""


@pytest.mark.parametrize("path", CRASHES, ids=lambda path: path.name)
def test_what_once_failed_passes(path: Path) -> None:
    TARGETS[path.name.rpartition("-")[0]](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_pass(name: str) -> None:
    found = list(seeds(name))
    assert found
    for data in found[:: max(len(found) // SEEDS, 1)]:
        TARGETS[name](data)
