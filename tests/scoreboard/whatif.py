"""``lbtop whatif`` held against what real balancers did with the same clients (tests/lab/scenarios/unseen_whatif.py)."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from typing import Any

from lbtop.cli import main
from tests.corpus import Capture
from tests.scoreboard.sights import unseen

EXACT = 0.005
"""How far a deterministic prediction may be off and still be called hit: peak to mean is printed to two places."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One prediction and what then happened."""

    capture: str
    recorded: str
    algorithm: str
    real: str
    targets: int
    exact: bool
    low: float
    high: float
    happened: float

    @property
    def right(self) -> bool:
        slack = EXACT if self.exact else 1e-6
        return self.low - slack <= self.happened <= self.high + slack

    @property
    def span(self) -> str:
        return f"{self.low:.3f}" if self.exact else f"{self.low:.3f} to {self.high:.3f}"


def outcomes() -> list[Outcome]:
    """One row per balancer that was run after a recording."""
    return [_outcome(capture, row) for capture in unseen() for row in capture.truth.get("whatif", ())]


def _outcome(capture: Capture, row: dict[str, Any]) -> Outcome:
    arguments = ["whatif", str(capture.path), "--balancing", row["algorithm"], "--targets", str(row["targets"]), "--json"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        main(arguments)
    said = json.loads(out.getvalue())
    low, high = said["peak_to_mean"]["interval"]
    recorded = capture.truth["recorded_with"]
    return Outcome(
        capture.name, recorded, row["algorithm"], row["real"], row["targets"], said["exact"], low, high, row["peak_to_mean"]
    )
