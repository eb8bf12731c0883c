"""How a balancer spreads what it does not pin: from the order of new assignments."""

from __future__ import annotations

from lbtop.model.judgement import Mechanism
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.ledgers.affinity import Measure


def balancing_of(
    facts: ServiceFacts,
    measures: dict[str, tuple[Measure, int]],
    key: str | None,
    mechanism: Mechanism | None,
    layer: int | None,
) -> str:
    return "unknown"
