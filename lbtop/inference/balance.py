"""Is one target hotter than chance explains, and why: skew against its null hypothesis.

The null hypothesis deals the units of assignment out anew: a key where the balancer pins keys, else a connection or a
request, each keeping its cost, over the targets that were in service at its time, in proportion to their recognised weights.
A few users with many requests each make a peak by chance alone; counting their requests as if each had been dealt would
call it skew.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lbtop.inference.dealing import Dice
from lbtop.inference.nat import infer_nat
from lbtop.inference.serving import epoch_at, service_epochs
from lbtop.inference.statistics import Floats, chi_square_tail, gini, holm
from lbtop.inference.view import balancer_layer
from lbtop.inference.zones import zones
from lbtop.model.address import ip_text
from lbtop.model.judgement import Mechanism
from lbtop.model.record import dataclass, field
from lbtop.model.snapshot import Skew, Stickiness
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.ledgers.load import BYTES, DURATION, OPENED, REQUESTS
from lbtop.reconstruct.ledgers.tally import Tally

SIGNIFICANT = 0.01
EFFECT = 1.1
"""A peak less than this above what chance gives is none, however many units prove it."""
RESAMPLES = 400
MORE_RESAMPLES = 4000
COST_CLASSES = 48
WEIGHTS_P = 1e-4
STEADY_P = 1e-3
BUNDLE = 8
"""Arrivals that go together where clients may be pinned and nothing in view tells one from another."""
USERS_OF_A_NAT = 5
FAR_ABOVE = 3.0
"""So many times what the others cost at the median makes a client heavy: where all are alike, taking away any of them evens the
load."""


@dataclass(slots=True)
class Units:
    """What was dealt out: epochs of service, and in each how many units of which cost."""

    serving: npt.NDArray[np.bool_]  # [epoch, target]
    classes: list[tuple[int, int, float]]  # (epoch, units, cost of each)

    def without(self, epoch: int, cost: float) -> Units:
        """The same without one unit of this cost (the class next to it loses one, and the rest of the cost)."""
        left = list(self.classes)
        near = min(range(len(left)), key=lambda i: (left[i][0] != epoch, abs(left[i][2] - cost)))
        where, count, mean = left[near]
        left[near] = (where, count - 1, max(mean * count - cost, 0.0) / max(count - 1, 1))
        return Units(self.serving, [entry for entry in left if entry[1] > 0])

    def bundled(self, many: int) -> Units:
        """The same cost in so many times fewer and larger units."""
        return Units(
            self.serving, [(epoch, max(count // many, 1), cost * min(count, many)) for epoch, count, cost in self.classes]
        )


@dataclass(slots=True)
class Test:
    """One metric: what each target carried, and how that compares with dealing."""

    metric: str
    loads: Floats
    units: Units
    peak: float
    expected_peak: float
    p_value: float
    corrected: float = field(default=1.0)


def infer_skew(facts: ServiceFacts, stickiness: Stickiness | None) -> Skew | None:
    """The most telling metric of the service; None with fewer than two targets in view."""
    series = facts.ledgers.load.series
    if series.start_ns < 0:
        return None
    active = series.counts[OPENED].sum(0) + series.counts[REQUESTS].sum(0)
    targets = np.flatnonzero(active > 0)
    if len(targets) < 2:
        return None
    layer, _ = balancer_layer(facts, None)
    key = sticky_key(stickiness)
    serving, epoch_of_bin = service_epochs(facts, targets)
    weights = recognised_weights(facts, key, layer, targets, serving, stickiness)
    hidden = key is None and _may_be_pinned(facts, stickiness)
    tests = []
    for metric, loads, units in _metrics(facts, key, layer, targets, serving, epoch_of_bin):
        if loads.sum() > 0 and units.classes:
            tests.append(_test(metric, loads, units.bundled(BUNDLE) if hidden else units, weights))
    if not tests:
        return None
    for test, corrected in zip(tests, holm([test.p_value for test in tests]), strict=True):
        test.corrected = corrected
    chosen = tests[0]
    telling = [test for test in tests if _significant(test)]
    if telling and chosen not in telling:
        chosen = min(telling, key=lambda test: (test.corrected, -test.peak / test.expected_peak))
    significant = _significant(chosen)
    cause = _cause(facts, stickiness, key, chosen, tests, targets, weights, significant)
    return Skew(
        chosen.metric, chosen.peak, chosen.expected_peak, gini(chosen.loads), chosen.corrected, significant,
        cause or ("unknown" if significant else None),
    )  # fmt: skip


def _significant(test: Test) -> bool:
    return test.corrected < SIGNIFICANT and test.peak > EFFECT * test.expected_peak


def _may_be_pinned(facts: ServiceFacts, stickiness: Stickiness | None) -> bool:
    """Something may pin clients, and nothing in view tells one of them from another."""
    told_apart = facts.clients_preserved or facts.ledgers.affinity.session_names
    named = facts.ledgers.heads.forwarded or facts.ledgers.heads.proxies
    return stickiness is not None and stickiness.verdict.value is None and not (told_apart or named)


def sticky_key(stickiness: Stickiness | None) -> str | None:
    """The key that keeps its target, where one does (also where the mechanism behind it is undecided)."""
    if stickiness is None or stickiness.verdict.value is Mechanism.NONE:
        return None
    if stickiness.affinity is None or stickiness.affinity < 0.5:
        return None
    if stickiness.key is not None:
        return stickiness.key
    best = [entry for entry in stickiness.by_key if entry.affinity == stickiness.affinity and entry.keys >= stickiness.keys]
    return best[0].key if best else None


# -- units and costs ---------------------------------------------------------------------------------------------------------


def _metrics(
    facts: ServiceFacts,
    key: str | None,
    layer: int | None,
    targets: npt.NDArray[np.intp],
    serving: npt.NDArray[np.bool_],
    epoch_of_bin: npt.NDArray[np.intp],
) -> list[tuple[str, Floats, Units]]:
    """Every metric with each target's load and the units that were dealt; the usual one first."""
    load, affinity = facts.ledgers.load, facts.ledgers.affinity
    per_bin = load.series.counts[:, : len(epoch_of_bin)][:, :, targets]
    requests, opened = per_bin[REQUESTS], per_bin[OPENED]
    found: list[tuple[str, Floats, Units]] = []
    if requests.sum() and (layer == 7 or not opened.sum()):
        found.append(("requests", requests.sum(0).astype(float), _dealt(facts, key, "request", requests, serving, epoch_of_bin)))
    elif opened.sum():
        unit = "connection" if key in affinity.connections.tables else "request"
        found.append(("connections", opened.sum(0).astype(float), _dealt(facts, key, unit, opened, serving, epoch_of_bin)))
    if layer == 7 and affinity.several_clients + affinity.several_users:
        return found  # connections are shared by many: their bytes and ages belong to nobody
    for metric, kind in (("bytes", BYTES), ("active", DURATION)):
        costs = load.costs[kind]
        if len(costs) <= int(targets.max()):
            continue
        loads = costs[targets, :, 1].sum(1)
        if key in ("source_ip", "source_net") and load.by_client.overflow == 0:
            column = 1 if kind == BYTES else 2
            clients = load.by_client.high()
            owners, inverse = np.unique(clients, return_inverse=True)
            each = np.bincount(inverse, load.by_client.sums[:, column], len(owners)) / (1.0 if kind == BYTES else 1e3)
            classes = _cost_classes(each[each > 0])
        else:
            classes = [(int(n), total / n) for n, total in costs[targets].sum(0) if n]
            if key is not None:
                # a key's connections go together: dealt one by one, a few keys' costs would even out as they never do
                together = _together(facts, key, loads)
                if together and _spread(together) > _spread(classes):
                    classes = together
        dealt = np.bincount(epoch_of_bin, opened.sum(1), len(serving)).astype(np.float64)
        found.append((metric, loads, Units(serving, _over_epochs(classes, dealt))))
    return found


def _together(facts: ServiceFacts, key: str, loads: Floats) -> list[tuple[int, float]]:
    """The load split among the values of a key by their arrivals: what each value costs is not counted by itself."""
    affinity = facts.ledgers.affinity
    table = affinity.requests.tables.get(key) or affinity.connections.tables.get(key)
    if table is None or not len(table):
        return []
    arrivals = table.slot_rows[: len(table)]["arrivals"].astype(np.float64)
    return _cost_classes(arrivals * (float(loads.sum()) / max(float(arrivals.sum()), 1.0)))


def _spread(classes: list[tuple[int, float]]) -> float:
    """How unevenly dealing such units loads targets by chance: the sum of their squared costs."""
    return sum(count * cost * cost for count, cost in classes)


def _over_epochs(classes: list[tuple[int, float]], dealt: Floats) -> list[tuple[int, int, float]]:
    """Units whose cost is known but not their time, spread over the epochs as new connections were."""
    upto = np.cumsum(dealt) / max(float(dealt.sum()), 1.0)
    found = []
    for count, cost in classes:
        parts = np.diff(np.round(np.concatenate(([0.0], upto)) * count)).astype(int)
        found += [(epoch, part, cost) for epoch, part in enumerate(parts.tolist()) if part]
    return found


def _dealt(
    facts: ServiceFacts,
    key: str | None,
    unit: str,
    counts: npt.NDArray[np.int64],
    serving: npt.NDArray[np.bool_],
    epoch_of_bin: npt.NDArray[np.intp],
) -> Units:
    """Arrivals dealt by key where there is one, singly otherwise (and what no key accounts for)."""
    by_epoch = np.bincount(epoch_of_bin, counts.sum(1), len(serving))
    classes: list[tuple[int, int, float]] = []
    affinity = facts.ledgers.affinity
    tables = (affinity.connections if unit == "connection" else affinity.requests).tables
    if key is not None and key in tables:
        table = tables[key]
        slots = table.slot_rows[: len(table)]
        epochs = epoch_at(facts, epoch_of_bin, slots["first_ns"])
        cost = slots["connections"] if unit == "request" and key not in affinity.requests.tables else slots["arrivals"]
        for epoch in range(len(serving)):
            mine = cost[epochs == epoch].astype(np.float64)
            classes += [(epoch, count, mean) for count, mean in _cost_classes(mine)]
            by_epoch[epoch] -= mine.sum()
        rest = int(max(by_epoch.sum(), 0))
        if rest:
            classes.append((int(np.argmax(by_epoch)), rest, 1.0))
        return Units(serving, classes)
    return Units(serving, [(epoch, int(count), 1.0) for epoch, count in enumerate(by_epoch) if count])


def _cost_classes(costs: Floats) -> list[tuple[int, float]]:
    """(units, mean cost) of units with about the same cost: exact where there are few different ones."""
    if not len(costs):
        return []
    values, counts = np.unique(costs, return_counts=True)
    if len(values) > COST_CLASSES:
        bins = np.floor(np.log2(np.maximum(values, 1e-3)) * 4)
        starts = np.concatenate(([0], np.flatnonzero(np.diff(bins)) + 1))
        sums = np.add.reduceat(values * counts, starts)
        counts = np.add.reduceat(counts, starts)
        values = sums / counts
    return list(zip(counts.tolist(), values.tolist(), strict=True))


# -- the test ------------------------------------------------------------------------------------------------------------------


def _test(metric: str, loads: Floats, units: Units, weights: Floats) -> Test:
    peak, expected_peak, p_value = _compare(loads, units, weights, RESAMPLES)
    if p_value < 0.05:
        peak, expected_peak, p_value = _compare(loads, units, weights, MORE_RESAMPLES)
    return Test(metric, loads, units, peak, expected_peak, p_value)


def _compare(loads: Floats, units: Units, weights: Floats, resamples: int) -> tuple[float, float, float]:
    """Peak to mean, its mean when the units are dealt anew, and how often dealing gives as high a peak."""
    dice = Dice()
    dealt = np.zeros((resamples, len(loads)))
    for epoch, count, cost in units.classes:
        share = np.where(units.serving[epoch], weights, 0.0)
        dealt += dice.multinomial(count, share / share.sum(), resamples) * cost
    peaks = dealt.max(1) / np.maximum(dealt.mean(1), 1e-12)
    observed = float(loads.max() / max(float(loads.mean()), 1e-12))
    p_value = float((1 + (peaks >= observed - 1e-9).sum()) / (resamples + 1))
    return observed, float(peaks.mean()), p_value


def recognised_weights(
    facts: ServiceFacts,
    key: str | None,
    layer: int | None,
    targets: npt.NDArray[np.intp],
    serving: npt.NDArray[np.bool_],
    stickiness: Stickiness | None,
) -> Floats:
    """Weights of the targets: 1 each, or the shares of new assignments where these differ by far more than chance and steadily.

    Of assignments by hashing, unequal shares are no decision of anybody's, so they are no weights.
    """
    equal = np.ones(len(targets))
    if len(serving) > 1 or (stickiness is not None and stickiness.balancing == "hash"):
        return equal
    quarters = _assignments_by_quarter(facts, key, layer, targets)
    counts = quarters.sum(0)
    total = counts.sum()
    if total < 20 * len(targets) or counts.min() < 5:
        return equal
    even = chi_square_tail(float(((counts - total / len(counts)) ** 2 / (total / len(counts))).sum()), len(counts) - 1)
    if even > WEIGHTS_P or counts.max() / counts.mean() < 1.15:
        return equal
    quarters = quarters[quarters.sum(1) > 0]
    due = quarters.sum(1)[:, None] * counts[None, :] / total
    steady = chi_square_tail(float(((quarters - due) ** 2 / due).sum()), (len(quarters) - 1) * (len(counts) - 1))
    return counts / counts.mean() if steady > STEADY_P else equal


def _assignments_by_quarter(facts: ServiceFacts, key: str | None, layer: int | None, targets: npt.NDArray[np.intp]) -> Floats:
    """New assignments per quarter of the time and target."""
    series, affinity = facts.ledgers.load.series, facts.ledgers.affinity
    place = np.full(int(targets.max()) + 1, -1)
    place[targets] = np.arange(len(targets))
    table = affinity.requests.tables.get(key or "") or affinity.connections.tables.get(key or "")
    if table is not None:
        slots = table.slot_rows[: len(table)]
        slots = slots[slots["first"] <= targets.max()]
        order = np.argsort(slots["first_ns"], kind="stable")
        quarter = np.minimum(np.arange(len(order)) * 4 // max(len(order), 1), 3)
        flat = quarter * len(targets) + place[slots["first"][order]]
        return np.bincount(flat, minlength=4 * len(targets)).reshape(4, -1).astype(np.float64)
    counts = series.counts[REQUESTS if layer == 7 and series.counts[REQUESTS].any() else OPENED][:, targets]
    done = np.cumsum(counts.sum(1))
    quarter = np.minimum((done - counts.sum(1)) * 4 // max(int(done[-1]), 1), 3)
    return np.stack([counts[quarter == q].sum(0) for q in range(4)]).astype(np.float64)


# -- why ----------------------------------------------------------------------------------------------------


def _cause(
    facts: ServiceFacts,
    stickiness: Stickiness | None,
    key: str | None,
    chosen: Test,
    tests: list[Test],
    targets: npt.NDArray[np.intp],
    weights: Floats,
    significant: bool,
) -> str | None:
    """What makes the peak: found by taking it away. None where there is no peak worth a cause."""
    if weights.max() > 1.0 and not significant:
        # where the least loaded target is chosen, the faster ones get more, whatever the weights
        return None if stickiness is not None and stickiness.balancing == "least_loaded" else "weights"
    if chosen.peak < 1.2:
        return None
    hot = int(targets[int(np.argmax(chosen.loads))])
    client, cost = _heaviest_client(facts, chosen.metric, hot)
    if client and cost > 0.1 * chosen.loads.sum() and cost > FAR_ABOVE * _usual_client(facts, chosen.metric, client):
        left = chosen.loads.copy()
        left[int(np.argmax(chosen.loads))] -= cost
        rest = chosen.units.without(0, cost)
        if rest.classes:
            peak, _, p_value = _compare(left, rest, weights, RESAMPLES)
            if p_value > 0.05 or peak - 1.0 < 0.4 * (chosen.peak - 1.0):
                users = {nat.address: nat.users_low for nat in infer_nat(facts)}.get(ip_text(facts.addresses[client]), 1)
                return "nat_concentration" if users >= USERS_OF_A_NAT else "heavy_client"
    if not significant:
        return None
    if chosen.metric in ("active", "bytes") and not _significant(tests[0]) and tests[0].metric not in ("active", "bytes"):
        return "long_sessions"
    if _remapped(facts, key, hot, chosen, targets):
        return "sticky_remap"
    return "zone" if _by_zone(facts) else None


def _costs_by_client(facts: ServiceFacts, metric: str) -> tuple[Tally, int, float]:
    """Where the metric is counted by client address and target: the tally, its column and what one unit of the metric is."""
    load = facts.ledgers.load
    return {
        "requests": (load.requests_by_client, 0, 1.0),
        "bytes": (load.by_client, 1, 1.0),
        "active": (load.by_client, 2, 1e3),
    }.get(metric, (load.by_client, 0, 1.0))


def _heaviest_client(facts: ServiceFacts, metric: str, hot: int) -> tuple[int, float]:
    """The client address that costs the hot target most, and how much."""
    tally, column, unit = _costs_by_client(facts, metric)
    mine = np.flatnonzero(tally.low() == hot)
    if not len(mine):
        return 0, 0.0
    best = mine[int(np.argmax(tally.sums[mine, column]))]
    client = int(tally.high()[best])
    if metric != "requests" and client in facts.balancers:
        return 0, 0.0
    return client, float(tally.sums[best, column]) / unit


def _usual_client(facts: ServiceFacts, metric: str, but: int) -> float:
    """What another client address than this costs at the median; infinite where there is none."""
    tally, column, unit = _costs_by_client(facts, metric)
    owners, inverse = np.unique(tally.high(), return_inverse=True)
    others = np.bincount(inverse, tally.sums[:, column])[owners != but] if len(owners) else np.zeros(0)
    return float(np.median(others)) / unit if len(others) else float("inf")


def _remapped(facts: ServiceFacts, key: str | None, hot: int, chosen: Test, targets: npt.NDArray[np.intp]) -> bool:
    """Whether keys that once moved to the hot target, taken away, leave no peak."""
    affinity = facts.ledgers.affinity
    table = affinity.requests.tables.get(key or "") or affinity.connections.tables.get(key or "")
    if table is None:
        return False
    slots = table.slot_rows[: len(table)]
    moved = slots[(slots["first"] != slots["last"]) & (slots["last"] == hot)]
    if len(moved) < 5:
        return False
    left = chosen.loads.copy()
    left[int(np.argmax(chosen.loads))] -= float(moved["arrivals"].sum())
    return bool(left.max() / left.mean() - 1.0 < 0.4 * (chosen.peak - 1.0))


def _by_zone(facts: ServiceFacts) -> bool:
    """Whether every balancer node is even over targets of its own: then it is the nodes that are not alike."""
    table = zones(facts)
    if table is None:
        return False
    for row in table:
        counts = row[row > 0]
        if len(counts) > 1:
            mean = counts.mean()
            if chi_square_tail(float(((counts - mean) ** 2 / mean).sum()), len(counts) - 1) < SIGNIFICANT:
                return False
    return True
