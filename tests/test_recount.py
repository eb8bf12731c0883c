"""The truth about every committed capture, counted again by tshark, which knows nothing of the lab's servers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.corpus import Capture, committed, sampled
from tests.lab.truth import COUNTS, Counts, recount

Counted = dict[str, Future[dict[str, Counts]]]


def countable(capture: Capture) -> bool:
    """Rewritten recordings are left out: their truth speaks of what the servers saw."""
    rows = [row for service in capture.truth["service"] for row in service.get("target", ())]
    return not capture.truth.get("defect") and any("connections" in row for row in rows)


SAMPLE = set(sampled([capture.name for capture in committed()], 5))
CAPTURES = [capture for capture in committed() if capture.name in SAMPLE and countable(capture)]


@pytest.fixture(scope="module")
def counted(tshark: str) -> Iterator[Counted]:
    """One tshark per capture, a few at a time: starting it takes longer than counting."""
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        yield {capture.name: pool.submit(count, capture) for capture in CAPTURES}


def count(capture: Capture) -> dict[str, Counts]:
    servers = [row["target"] for service in capture.truth["service"] for row in service["target"]]
    readable = any(service["requests_readable"] for service in capture.truth["service"])
    return recount(capture.path, servers, {int(name.rpartition(":")[2]) for name in servers} if readable else ())


@pytest.mark.parametrize("capture", CAPTURES, ids=str)
def test_tshark_counts_the_same(capture: Capture, counted: Counted) -> None:
    """Per target: connections, requests, health checks, probes and refused attempts."""
    seen = counted[capture.name].result()
    for service in capture.truth["service"]:
        for row in service["target"]:
            wire = vars(seen.get(row["target"], Counts()))
            assert {key: wire[key] for key in COUNTS if key in row} == {key: row[key] for key in COUNTS if key in row}, row[
                "target"
            ]
