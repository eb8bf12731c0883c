"""When keys changed their target, why, and how long a cookie lived."""

from __future__ import annotations

from dataclasses import dataclass

from lbtop.model.judgement import Mechanism
from lbtop.model.snapshot import Break, CookieLifetime
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.ledgers.affinity import Measure


@dataclass(slots=True)
class Breaks:
    breaks: tuple[Break, ...] = ()
    lifetime: CookieLifetime | None = None


def find_breaks(
    facts: ServiceFacts, measured: tuple[Measure, int] | None, mechanism: Mechanism | None, layer: int | None
) -> Breaks:
    return Breaks()
