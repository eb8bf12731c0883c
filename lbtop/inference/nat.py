"""Placeholder."""

from lbtop.model.snapshot import Nat
from lbtop.reconstruct.facts import ServiceFacts


def infer_nat(facts: ServiceFacts) -> tuple[Nat, ...]:
    return ()
