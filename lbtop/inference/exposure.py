"""Placeholder."""

from lbtop.model.snapshot import Exposure, Termination, TlsFacts
from lbtop.reconstruct.facts import ServiceFacts


def infer_exposure(facts: ServiceFacts, termination: Termination) -> Exposure:
    return Exposure(0, 0, 0, 0, (), TlsFacts({}, {}, {}, {}, 0, 0, {}))
