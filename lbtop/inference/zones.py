"""Balancer nodes that each serve targets of their own (cross-zone balancing is off)."""

from __future__ import annotations

import numpy as np

from lbtop.inference.statistics import Floats
from lbtop.reconstruct.facts import ServiceFacts

STRAY = 0.03
"""Share of a node's connections that may go elsewhere without making it a node of that zone, too."""


def zones(facts: ServiceFacts) -> Floats | None:
    """Requests, or else connections, [node, target]. None unless there are several nodes and each target is fed by only one."""
    load = facts.ledgers.load
    tally = load.requests_by_node if len(load.requests_by_node) else load.by_node
    nodes = [node for node in dict.fromkeys(tally.high().tolist()) if node in facts.balancers]
    if len(nodes) < 2:
        return None
    table = np.zeros((len(nodes), max(len(facts.targets), int(tally.low().max(initial=0)) + 1)))
    for node, target, count in zip(tally.high().tolist(), tally.low().tolist(), tally.counts.tolist(), strict=True):
        if node in nodes:
            table[nodes.index(node), target] = count
    owned = table > STRAY * table.sum(1, keepdims=True)
    return None if (owned.sum(0) > 1).any() else np.where(owned, table, 0.0)
