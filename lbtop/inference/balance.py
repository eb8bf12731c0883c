"""Placeholder."""

from lbtop.model.snapshot import Skew, Stickiness
from lbtop.reconstruct.facts import ServiceFacts


def infer_skew(facts: ServiceFacts, stickiness: Stickiness | None) -> Skew | None:
    return None
