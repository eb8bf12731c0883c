"""Placeholder."""

from lbtop.model.snapshot import Idle
from lbtop.reconstruct.facts import ServiceFacts


def infer_idle(facts: ServiceFacts) -> Idle | None:
    return None
