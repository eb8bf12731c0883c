"""Placeholder."""

from lbtop.model.snapshot import Stickiness, Termination
from lbtop.reconstruct.facts import ServiceFacts


def infer_stickiness(facts: ServiceFacts, termination: Termination) -> Stickiness | None:
    return None
