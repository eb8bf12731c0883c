"""Every finding of the catalogue has a committed capture that fires it, and a near miss that does not."""

from __future__ import annotations

import contextlib
import io
import json
from functools import cache
from pathlib import Path

import pytest

from lbtop.cli import main
from lbtop.findings import RULES
from tests.corpus import committed

TABLE = Path(__file__).parent / "captures.tsv"
ROWS = [line.split("\t") for line in TABLE.read_text("utf-8").splitlines() if not line.startswith("#")][1:]


@cache
def fired(name: str) -> frozenset[str]:
    """The ids of what ``lbtop diagnose --json`` finds in a capture."""
    (capture,) = (capture for capture in committed() if capture.name == name)
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        assert main(["diagnose", "--json", str(capture.path)]) in (0, 1)
    return frozenset(finding["id"] for finding in json.loads(out.getvalue())["findings"])


def test_the_table_has_every_finding_once() -> None:
    assert sorted(row[0] for row in ROWS) == sorted(RULES)


@pytest.mark.parametrize(("finding", "fires", "near_miss"), [row[:3] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_finding_fires_where_it_should_and_not_beside_it(finding: str, fires: str, near_miss: str) -> None:
    assert finding in fired(fires)
    assert finding not in fired(near_miss)
