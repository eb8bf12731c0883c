"""Front and back connections of one balancer, seen together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lbtop.model.judgement import Evidence
from lbtop.model.observation import Rows
from lbtop.reconstruct.census import Endpoint
from lbtop.reconstruct.facts import PairFacts


@dataclass(slots=True, eq=False)
class Links:
    """Which front endpoint was seen to feed which back endpoint, and by what proof."""

    version: int = 0

    def fold(self, window: dict[str, Rows]) -> None:
        pass

    def pairs(self, targets: Iterable[Endpoint]) -> PairFacts:
        return PairFacts()

    def fronts(self) -> Iterable[Endpoint]:
        return ()

    def fronts_of(self, targets: Iterable[Endpoint]) -> list[Endpoint]:
        return []

    def relays(self, legs_are_fronts: set[Endpoint]) -> frozenset[int]:
        return frozenset()

    def evidence(self, vips: Iterable[Endpoint]) -> list[Evidence]:
        return []
