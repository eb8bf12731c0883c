"""Observations with the filter are the observations without it: over every committed capture, and in the cases that bite."""

from __future__ import annotations

import pytest

from tests.corpus import Capture, committed
from tests.live.model import ETHERNET, RAW, Filter, through, unlike
from tests.reference.files import CaptureFile, Record

LIVE = [capture for capture in committed() if "-snap-" not in capture.name]
"""A ring has no snap length: a packet that lacks bytes lacks them because of the filter."""


def records(capture: Capture) -> list[Record]:
    return [record for record in CaptureFile(capture.path) if record.linktype in (ETHERNET, RAW)]


@pytest.mark.parametrize("capture", LIVE, ids=str)
def test_the_filter_changes_no_observation(capture: Capture) -> None:
    packets = records(capture)
    plain, _ = through(packets, None)
    for together in (1, 60):
        model = Filter()
        filtered, blocks = through(packets, model, together=together)
        assert unlike(filtered, plain) == []
        assert blocks.cut == model.cut and blocks.stale == blocks.damaged == 0
