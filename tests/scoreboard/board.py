"""All figures of the scoreboard, computed once."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.scoreboard import claims, made_up
from tests.scoreboard.claims import Claim
from tests.scoreboard.figures import Bin, reliability
from tests.scoreboard.heldout import judge_all
from tests.scoreboard.prefixes import Settling, settling
from tests.scoreboard.sights import Sight, everything
from tests.scoreboard.whatif import Outcome, outcomes

FINE = (0.0, 0.05, 0.2, 0.5, 0.8, 0.9, 0.95, 0.99, 1.0)
REASONS = Path(__file__).with_name("reasons.toml")


@dataclass(slots=True)
class Board:
    """Figures of one run; ``services`` is how many made-up services each claim was held against."""

    sights: list[Sight]
    settlings: list[Settling]
    outcomes: list[Outcome]
    services: int
    calibration: dict[str, list[Bin]] = field(default_factory=dict)  # of made-up services
    covered: dict[str, tuple[int, int]] = field(default_factory=dict)  # (held, said), made-up and captured
    reasons: dict[str, str] = field(default_factory=dict)

    def of(self, group: str) -> list[Sight]:
        return [sight for sight in self.sights if sight.group == group]


def measure(services: int, say: Callable[[str], None]) -> Board:
    """Everything; ``services`` made-up services per simulated claim."""
    say("judging captures, each with weights fitted without its balancer")
    sights = judge_all(everything())
    say("growing prefixes")
    board = Board(sights, [row for capture in everything() for row in settling(capture)], outcomes(), services)
    say(f"{services} made-up services per claim")
    board.calibration = {
        "termination": reliability(made_up.deployments(services), FINE),
        "mechanism": reliability(made_up.services(services), FINE),
    }
    board.covered = {
        "affinity (made up)": _held(made_up.affinities(services)),
        "users behind an address (made up)": _held(made_up.crowds_behind_one(services // 5)),
        "idle cliff (made up)": _held(made_up.cliffs(services)),
        "keep-alive races of the next hour (made up)": _held(made_up.races(services // 10)),
        "affinity of what works undisturbed (captures)": _right(claims.affinity_intervals(sights)),
        "users behind an address (captures)": _right(claims.users_behind(sights)),
        "idle cliff (captures)": _right(row for row in claims.idle_intervals(sights) if row.what == "idle cliff"),
        "after how long the target closes, within 0.25 s (captures)": _right(
            row for row in claims.idle_intervals(sights) if row.what == "target closes after"
        ),
        "peak to mean that a what-if predicts (real balancers)": _right_of([row.right for row in board.outcomes]),
    }
    board.reasons = tomllib.loads(REASONS.read_text()) if REASONS.exists() else {}
    return board


def _held(flags: Iterable[bool]) -> tuple[int, int]:
    return _right_of([bool(flag) for flag in flags])


def _right(rows: Iterable[Claim]) -> tuple[int, int]:
    return _right_of([row.right for row in rows])


def _right_of(flags: Sequence[bool]) -> tuple[int, int]:
    return sum(flags), len(flags)
