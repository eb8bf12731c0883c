"""Which mechanism explains where arrivals went: what each one predicts for each kind of return, weighed against what was seen.

Every mechanism says of every kind of return either *same* (it goes to the key's target, most of the time) or *chance* (it is
assigned anew). The kinds are the strata of :mod:`lbtop.reconstruct.keytable`; the predictions stand in :data:`USER` and
:data:`ADDRESS`. What two mechanisms predict alike does not separate them, so keys that tie stay tied and prior evidence
(a known balancer's cookie that comes back) decides, or nothing does and the verdict is `unknown`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from lbtop.inference.statistics import Floats, log_mean_exp, normalised
from lbtop.model.judgement import Evidence, Mechanism, Verdict
from lbtop.model.record import dataclass, field
from lbtop.reconstruct.keytable import CROSSED, CROSSED_MARKED, FRESH, MARKED, PLAIN

STICKY = np.array([0.4, 0.6, 0.75, 0.85, 0.92, 0.96, 0.985, 0.998])
STICKY_SHARES = np.array([0.03, 0.07, 0.1, 0.13, 0.15, 0.17, 0.17, 0.18])
"""Affinities that count as working, and how often each is met: even a good mechanism loses keys when targets come and go."""
CHANCE = np.array([-0.45, -0.3, -0.15, -0.05, 0.0, 0.05, 0.15, 0.3, 0.45, 0.6])
CHANCE_SHARES = np.array([0.15, 0.15, 0.15, 0.15, 0.15, 0.15, 0.04, 0.03, 0.02, 0.01])
"""Round robin is negative by nature; and sometimes clients tend to return although nothing pins them: names that are cached for
a while, connections that are kept."""
INDEPENDENT = np.array([-0.1, 0.0, 0.1])
INDEPENDENT_SHARES = np.array([1 / 3, 1 / 3, 1 / 3])
"""Different users meet as chance has it, whatever the order in which each is dealt."""
CROSSED_WORTH = 0.75
"""Of users behind one address, each further one is a little less than one more observation: they come in bursts."""
GRID = np.array(sorted({*STICKY.tolist(), *CHANCE.tolist()}))
RETURNS_PER_KEY = 3
"""Returns of one key are anything but independent: beyond this many they add no evidence."""
CAUTION = 0.85
"""Returns are less independent than they look: what a likelihood says is taken for so much (by simulation, see the tests)."""
MOST = 7.0
"""The most one kind of return can say, in nats: whatever the model, a single cause never makes certain."""
UNMARKED_MOST = 3.0
"""The most that an address's requests without the balancer's cookie say, where others bring it."""
REGULAR_MOST = 0.75
"""The most that users sharing an address and a target say where assignments follow a fixed order."""
DOUBT = 0.02
"""Probability left to the mechanisms together that the model itself is wrong."""

SAME, AT_CHANCE, EITHER = "same", "chance", "either"
_LB, _APP, _GROUP, _IP, _NONE = (
    Mechanism.LB_COOKIE, Mechanism.APP_COOKIE, Mechanism.WEIGHTED_TARGET_GROUP, Mechanism.SOURCE_IP, Mechanism.NONE,
)  # fmt: skip

Predictions = dict[int, dict[Mechanism, str]]


def _predict(lb: str, app: str, group: str, ip: str, none: str = AT_CHANCE) -> dict[Mechanism, str]:
    return {_LB: lb, _APP: app, _GROUP: group, _IP: ip, _NONE: none}


USER: Predictions = {
    # returns of one user, told by a session cookie
    PLAIN: _predict(AT_CHANCE, AT_CHANCE, AT_CHANCE, SAME),
    MARKED: _predict(SAME, SAME, EITHER, SAME),
    CROSSED: _predict(AT_CHANCE, AT_CHANCE, AT_CHANCE, AT_CHANCE),
    CROSSED_MARKED: _predict(SAME, SAME, EITHER, AT_CHANCE),
    FRESH: _predict(SAME, EITHER, EITHER, SAME),
}
"""Where a balancer's cookie is in view: without it, its mechanism assigns anew."""
USER_UNMARKED: Predictions = {
    PLAIN: _predict(SAME, SAME, EITHER, SAME),
    CROSSED: _predict(SAME, SAME, EITHER, AT_CHANCE),
    FRESH: _predict(SAME, EITHER, EITHER, SAME),
}
"""Where none is in view: a balancer may strip its cookie, and needs none to follow the application's."""
ADDRESS: Predictions = {
    # returns of one address; PLAIN: the user is the same, or not known
    PLAIN: _predict(AT_CHANCE, AT_CHANCE, AT_CHANCE, SAME),
    MARKED: _predict(SAME, SAME, EITHER, SAME),
    CROSSED: _predict(AT_CHANCE, AT_CHANCE, AT_CHANCE, SAME),
    CROSSED_MARKED: _predict(AT_CHANCE, AT_CHANCE, EITHER, SAME),
}
ADDRESS_UNMARKED: Predictions = {
    PLAIN: _predict(SAME, SAME, EITHER, SAME),
    CROSSED: _predict(AT_CHANCE, AT_CHANCE, EITHER, SAME),
}
LAYER4: Predictions = {
    # connections of one address (or of one session, where addresses are hidden) where the balancer reads no requests
    stratum: _predict(EITHER, EITHER, EITHER, SAME)
    for stratum in (PLAIN, MARKED, CROSSED, CROSSED_MARKED, FRESH)
}

_WORDS = {
    ("user", PLAIN): "returns of one session without a balancer's cookie",
    ("user", MARKED): "returns of one session that bring the balancer's cookie",
    ("user", CROSSED): "returns of one session from another address",
    ("user", CROSSED_MARKED): "returns of one session from another address with the balancer's cookie",
    ("user", FRESH): "first returns of a session that a target issued",
    ("address", PLAIN): "returns of one address",
    ("address", MARKED): "returns of one address with the balancer's cookie",
    ("address", CROSSED): "arrivals of another user behind the same address",
    ("address", CROSSED_MARKED): "arrivals of another user behind the same address, with the balancer's cookie",
}


@dataclass(slots=True)
class Kind:
    """One kind of return, summed over keys."""

    of: str  # user or address
    stratum: int
    keys: int
    returns: float
    same: float
    chance: float
    effective: float  # returns as far as they are independent

    @property
    def expected(self) -> float:
        """Mean chance of the returns."""
        return self.chance / self.returns

    @property
    def rate(self) -> float:
        return self.same / self.returns

    @property
    def affinity(self) -> float | None:
        room = 1.0 - self.expected
        return None if room < 0.02 else (self.rate - self.expected) / room


@dataclass(slots=True)
class Weighing:
    """Log-weights per mechanism, and the evidence they came from."""

    weights: dict[Mechanism, float]
    evidence: list[Evidence] = field(default_factory=list)

    def add(self, signal: str, group: str, detail: str, shift: Mapping[Mechanism, float]) -> None:
        """Adds log-odds; evidence is written for the mechanism it favours most over the next one."""
        centred = {mechanism: shift.get(mechanism, 0.0) for mechanism in self.weights}
        for mechanism, value in centred.items():
            self.weights[mechanism] += value
        ranked = sorted(centred.values(), reverse=True)
        best = [mechanism for mechanism in centred if centred[mechanism] >= ranked[0] - 1e-9]
        spread = ranked[0] - ranked[-1]
        favours = "/".join(mechanism.value for mechanism in best) if spread > 0.1 and len(best) < len(centred) else None
        self.evidence.append(Evidence(signal, group, detail, favours, round(spread, 2) if favours else None))

    def verdict(self, settled_by: str | None) -> Verdict[Mechanism]:
        """Candidates with probabilities that sum to 1; what would settle it only where nothing is settled."""
        raw = normalised({mechanism.value: weight for mechanism, weight in self.weights.items()})
        share = DOUBT / len(raw)
        candidates = {Mechanism(name): (1.0 - DOUBT) * probability + share for name, probability in raw.items()}
        verdict = Verdict(candidates, tuple(self.evidence))
        return Verdict(candidates, tuple(self.evidence), settled_by if verdict.value is None else None)


def kinds_of(
    of: str,
    returns: Floats,
    same: Floats,
    chance: Floats,
    keep: npt.NDArray[np.bool_] | None = None,
    others: Floats | None = None,
) -> dict[int, Kind]:
    """Sums per stratum of arrays [keys, strata]; strata without room for chance to be wrong are left out.

    ``others``: per key, how many further identities were met (users behind an address): as many of its crossed returns
    are independent, for two users alternate between the same two targets however often.
    """
    found = {}
    for stratum in range(returns.shape[1]):
        r, s, c = returns[:, stratum], same[:, stratum], chance[:, stratum]
        if keep is not None:
            r, s, c = r[keep], s[keep], c[keep]
        total = float(r.sum())
        if total <= 0 or float(c.sum()) > 0.98 * total:
            continue
        most = RETURNS_PER_KEY if others is None or not stratum & 1 else others if keep is None else others[keep]
        effective = float(np.minimum(r, most).sum()) * (CROSSED_WORTH if of == "address" and stratum & 1 else 1.0)
        found[stratum] = Kind(of, stratum, int((r > 0).sum()), total, float(s.sum()), float(c.sum()), effective)
    return found


def log_likelihoods(kind: Kind) -> dict[str, float]:
    """How well *same*, *chance* and *either* explain the returns of one kind, relative to the best single affinity."""
    scores = _scores(kind, GRID)
    top = float(scores.max())
    met_by_chance = kind.of == "address" and kind.stratum & 1
    values = {
        SAME: _weighted(kind, STICKY, STICKY_SHARES) - top,
        AT_CHANCE: (_weighted(kind, INDEPENDENT, INDEPENDENT_SHARES) if met_by_chance else _weighted(kind, CHANCE, CHANCE_SHARES))
        - top,
        EITHER: log_mean_exp(scores) - top,
    }
    best = max(values.values())
    return {name: max(CAUTION * (value - best), -MOST) for name, value in values.items()}


def _weighted(kind: Kind, affinities: Floats, shares: Floats) -> float:
    return log_mean_exp(_scores(kind, affinities) + np.log(shares * len(shares)))


def _scores(kind: Kind, affinities: Floats) -> Floats:
    expected = min(max(kind.expected, 0.01), 0.99)
    rate = np.clip(expected + affinities * (1.0 - expected), 0.004, 0.996)
    same = kind.effective * kind.rate
    result: Floats = same * np.log(rate) + (kind.effective - same) * np.log1p(-rate)
    return result


def weigh(
    weighing: Weighing,
    kinds: Mapping[int, Kind],
    predictions: Predictions,
    group: str,
    regular: bool = False,
    marked: bool = False,
) -> None:
    """Adds what the kinds of return say, one group of evidence each.

    ``regular``: new assignments follow a fixed order. Then users who arrive in a fixed order, too, meet by arrangement
    and not by chance, and that users behind one address share a target says little. ``marked``: a balancer's cookie comes
    back; an address's requests without it are few and come when nothing is settled yet.
    """
    for stratum, kind in kinds.items():
        said = predictions.get(stratum)
        if said is None:
            continue
        likelihood = log_likelihoods(kind)
        if regular and kind.of == "address" and (stratum & 1 or said[_LB] == AT_CHANCE):
            likelihood[AT_CHANCE] = max(likelihood[AT_CHANCE], likelihood[SAME] - REGULAR_MOST)
        if marked and kind.of == "address" and stratum == PLAIN:
            likelihood = {word: max(value, -UNMARKED_MOST) for word, value in likelihood.items()}
        affinity = kind.affinity
        detail = (
            f"{_WORDS.get((kind.of, stratum), 'returns of one address')}: {kind.same:.0f} of {kind.returns:.0f} to the same "
            f"target, {kind.chance:.0f} expected by chance ({kind.keys} keys"
            + (f", affinity {affinity:+.2f})" if affinity is not None else ")")
        )
        weighing.add(f"{kind.of}_returns_{stratum}", group, detail, {m: likelihood[word] for m, word in said.items()})


def prior(layer: int | None) -> dict[Mechanism, float]:
    """Before anything was seen. At layer 4 no cookie can be read."""
    weights = {_LB: 0.25, _APP: 0.2, _GROUP: 0.01, _IP: 0.25, _NONE: 0.3}
    if layer == 4:
        weights = {_IP: 0.5, _NONE: 0.5}
    elif layer is None:
        weights = {_LB: 0.2, _APP: 0.15, _GROUP: 0.01, _IP: 0.32, _NONE: 0.32}
    return {mechanism: math.log(weight) for mechanism, weight in weights.items()}
