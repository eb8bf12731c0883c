"""Fits the weights of the termination inference to the committed captures, leaving one balancer out at a time.

    python scripts/fit_weights.py            figures only
    python scripts/fit_weights.py --write    and lbtop/inference/weights.tsv, and the figures into docs/termination-weights.md

The model is the one the inference uses: a log-odds per question, the sum of strength times weight. The fit is a penalised
logistic regression: every weight is drawn towards the expert's value (column `prior` of the file; a signal that no
capture shows stays there), every balancer counts alike however many captures there are of it. Captures that hold a
proof say nothing about weights and are left out. The figure that matters is the held-out one: a balancer's captures
are judged by weights fitted without it.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lbtop.probes.files import open_capture  # noqa: E402

from lbtop.catalog.recognition import recognition  # noqa: E402
from lbtop.engine import Engine  # noqa: E402
from lbtop.inference.arriving import arrivals  # noqa: E402
from lbtop.inference.identity import product_marks  # noqa: E402
from lbtop.inference.termination import bridging_question, plain_questions  # noqa: E402
from lbtop.inference.weighing import Question  # noqa: E402
from lbtop.model.judgement import Mode  # noqa: E402
from lbtop.model.observation import Source  # noqa: E402
from lbtop.reconstruct.facts import ServiceFacts  # noqa: E402
from tests.corpus import committed  # noqa: E402
from tests.inference.deployments import random_deployment, traffic_of  # noqa: E402

WEIGHTS = ROOT / "lbtop" / "inference" / "weights.tsv"
PAGE = ROOT / "docs" / "termination-weights.md"
SPREAD = 0.7
"""How far (standard deviation, log-odds) the data may move a weight from the expert's. A question's prior stays: how many
captures there are of each answer is our doing."""
EACH = 4.0
"""Captures of one balancer and answer count as this many together, at most."""
MADE_UP = 120
"""Random deployments of the tests, taken as one more balancer: the lab has few fleets of one program."""

ANSWERS = {
    "bridging": {Mode.BRIDGING: True, Mode.PASSTHROUGH: False},
    "tls_front": {Mode.OFFLOAD: True, Mode.L4_TLS: True, Mode.NONE: False},
    "layer7": {Mode.OFFLOAD: True, Mode.L4_TLS: False},
}

BALANCERS = (
    ("nginx", "nginx"), ("caddy", "caddy"), ("apache", "apache"), ("envoy", "envoy"), ("hitch", "hitch"),
    ("stunnel", "stunnel"), ("varnish", "varnish"), ("nghttpx", "nghttpx"), (r"\bpen\b", "pen"),
    ("haproxy as an alb", "haproxy-alb"), ("tcp mode", "haproxy-tcp"), ("haproxy", "haproxy"),
    ("kernel nat", "kernel-nat"), ("no balancer|direct", "direct"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    capture: str
    balancer: str
    question: str
    answer: bool
    strengths: dict[str, float]


def balancer_of(scenario: str) -> str:
    return next((name for pattern, name in BALANCERS if re.search(pattern, scenario.lower())), "other")


def mode_of(service: dict[str, object]) -> Mode | None:
    for key in ("mode", "really"):
        if service.get(key) in [mode.value for mode in Mode]:
            return Mode(str(service[key]))
    return None


def facts_of(source: Source) -> list[ServiceFacts]:
    engine = Engine(source)
    while not engine.finished:
        engine.step(1.0)
    return list(engine._reconstructor.facts(source.stats()).services)


def cases() -> list[Case]:
    found = []
    for capture in committed():
        services = capture.truth.get("service", [])
        facts = facts_of(open_capture(str(capture.path), recognition=recognition()))
        if len(services) != 1 or len(facts) != 1:
            continue
        mode = mode_of(services[0])
        if mode is None:
            continue
        for question in asked(facts[0]):
            answers = ANSWERS[question.name]
            if mode in answers and question.proven is None:
                strengths = {name: strength for name, (strength, _) in question.signals.items()}
                balancer = balancer_of(capture.truth["scenario"])
                found.append(Case(capture.name, balancer, question.name, answers[mode], strengths))
    return found + made_up()


def made_up() -> list[Case]:
    rng = random.Random(1)
    found = []
    for number in range(MADE_UP):
        deployment = random_deployment(rng)
        mode = Mode(deployment.mode)
        for facts in facts_of(traffic_of(rng, deployment).source()):
            for question in asked(facts):
                if mode in ANSWERS[question.name] and question.proven is None:
                    strengths = {name: strength for name, (strength, _) in question.signals.items()}
                    found.append(Case(f"made up {number}", "made-up", question.name, ANSWERS[question.name][mode], strengths))
    return found


def asked(facts: ServiceFacts) -> tuple[Question, ...]:
    seen = arrivals(facts)
    if seen.tls > seen.plain:
        return (bridging_question(facts),)
    return plain_questions(facts, product_marks(facts), seen)


Vector = npt.NDArray[np.float64]


def fitted(chosen: list[Case], names: list[str], prior: Vector) -> Vector:
    """The most probable weights (Newton's method on a convex loss)."""
    if not chosen:
        return prior
    x = np.array([[1.0 if name == "prior" else case.strengths.get(name, 0.0) for name in names] for case in chosen])
    y = np.array([case.answer for case in chosen], float)
    share = defaultdict(int)
    for case in chosen:
        share[case.balancer, case.answer] += 1
    weight = np.array([min(1.0, EACH / share[case.balancer, case.answer]) for case in chosen])
    spread = np.array([1e-3 if name == "prior" else SPREAD for name in names])
    w = prior.copy()
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ w))
        gradient = x.T @ (weight * (p - y)) + (w - prior) / spread**2
        curvature = (x * (weight * p * (1 - p))[:, None]).T @ x + np.diag(1 / spread**2)
        step = np.linalg.solve(curvature, gradient)
        w = w - step
        if np.abs(step).max() < 1e-9:
            break
    return w


def surprise(chosen: list[Case], names: list[str], w: Vector) -> tuple[float, int, int]:
    """(nats, wrong at 0.8 and more, undecided) over the cases."""
    nats, wrong, undecided = 0.0, 0, 0
    for case in chosen:
        odds = sum(w[place] * (1.0 if name == "prior" else case.strengths.get(name, 0.0)) for place, name in enumerate(names))
        right = 1 / (1 + math.exp(-odds if case.answer else odds))
        nats -= math.log(right)
        wrong += right <= 0.2
        undecided += 0.2 < right < 0.8
    return nats, wrong, undecided


def held_out(question: str, chosen: list[Case], names: list[str], prior: Vector) -> list[str]:
    """The figures of one question, a line per balancer that was left out."""
    balancers = sorted({case.balancer for case in chosen})
    lines = [f"{question}: {len(chosen)} captures without proof, {len(balancers)} balancers"]
    lines.append(f"{'left out':14} {'captures':>8} {'expert':>8} {'held out':>8}  wrong  undecided   (nats per capture)")
    totals = np.zeros(4)
    for balancer in balancers:
        held = [case for case in chosen if case.balancer == balancer]
        w = fitted([case for case in chosen if case.balancer != balancer], names, prior)
        before, _, _ = surprise(held, names, prior)
        after, wrong, undecided = surprise(held, names, w)
        totals += (before, after, wrong, undecided)
        lines.append(f"{balancer:14} {len(held):8} {before / len(held):8.3f} {after / len(held):8.3f} {wrong:6} {undecided:10}")
    if chosen:
        before, after = totals[:2] / len(chosen)
        lines.append(f"{'all':14} {len(chosen):8} {before:8.3f} {after:8.3f} {totals[2]:6.0f} {totals[3]:10.0f}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the fitted weights")
    options = parser.parse_args()
    every = cases()
    lines = WEIGHTS.read_text("utf-8").splitlines()
    comments = [line for line in lines if line.startswith("#")]
    rows = [line.split("\t") for line in lines if not line.startswith("#")][1:]
    result: dict[tuple[str, str], float] = {}
    said: list[str] = []
    for question in ANSWERS:
        names = [row[2] for row in rows if row[0] == question]
        prior = np.array([float(row[3]) for row in rows if row[0] == question])
        chosen = [case for case in every if case.question == question]
        said += held_out(question, chosen, names, prior)
        for name, value in zip(names, fitted(chosen, names, prior), strict=True):
            result[question, name] = value
    print("\n".join(said))
    if options.write:
        written = ["\t".join(("question", "group", "signal", "prior", "weight"))]
        written += ["\t".join((*row[:4], f"{round(result[row[0], row[2]], 2) + 0.0:.2f}")) for row in rows]
        WEIGHTS.write_text("\n".join(comments + written) + "\n", "utf-8")
        page = PAGE.read_text("utf-8")
        head, tail = page.index("```\n"), page.rindex("```")
        PAGE.write_text(page[:head] + "```\n" + "\n".join(said) + "\n" + page[tail:], "utf-8")


if __name__ == "__main__":
    main()
