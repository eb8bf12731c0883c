"""Captures with their truth, and what lbtop says of each."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lbtop.probes.files import open_capture

from lbtop.catalog.recognition import recognition
from lbtop.engine import diagnose
from lbtop.faces.json import render
from lbtop.inference import weighing
from scripts.fit_weights import balancer_of
from tests.corpus import CAPTURES, Capture, committed

UNSEEN = CAPTURES / "unseen"
MODES = ("bridging", "passthrough", "offload", "l4_tls", "none")
MECHANISMS = ("lb_cookie", "app_cookie", "weighted_target_group", "source_ip", "none")
OTHERS = ("lighttpd", "squid")
GROUPS = ("second wave", "first wave", "committed")
Weights = Mapping[tuple[str, str], float]


@dataclass(frozen=True, slots=True)
class Answer:
    """One question about one service: what is true, what was said."""

    truth: str  # unknown where this capture cannot show it
    accepted: frozenset[str]
    really: str | None  # what the lab did, where it is one of the answers
    said: str
    candidates: Mapping[str, float]

    @property
    def observable(self) -> bool:
        """Whether an abstention is an error."""
        return self.truth != "unknown" and "unknown" not in self.accepted

    @property
    def right(self) -> bool:
        return self.said == self.truth or self.said in self.accepted

    @property
    def true_values(self) -> frozenset[str]:
        """The answers that name what was set up; empty where the truth file does not say."""
        named = {self.really} if self.really else {self.truth, *self.accepted}
        return frozenset(value for value in named if value != "unknown")


@dataclass(frozen=True, slots=True)
class Sight:
    """One capture, judged."""

    name: str
    group: str  # of GROUPS: the waves of the unseen set, or the captures that rules were written with
    scenario: str
    family: str
    truth: Mapping[str, Any]
    said: Mapping[str, Any]
    answers: Mapping[str, tuple[Answer, ...]]  # mode, mechanism: one per service of the truth

    @property
    def rewritten(self) -> bool:
        return bool(self.truth.get("defect"))


def unseen() -> tuple[Capture, ...]:
    """The captures of the unseen set, by name."""
    truths = {path: tomllib.loads(path.read_text()) for path in sorted(UNSEEN.glob("*.toml"))}
    return tuple(Capture(path.stem, UNSEEN / truth["file"], truth) for path, truth in truths.items())


def everything() -> tuple[Capture, ...]:
    return (*committed(), *unseen())


def family_of(scenario: str) -> str:
    """The program that balances: HAProxy is one balancer, whatever it stands in for."""
    other = next((name for name in OTHERS if name in scenario.lower()), None)
    name = other or balancer_of(scenario)
    return "haproxy" if name.startswith("haproxy") else name


def by_family(captures: Iterable[Capture]) -> dict[str, list[Capture]]:
    families: dict[str, list[Capture]] = {}
    for capture in captures:
        families.setdefault(family_of(capture.truth["scenario"]), []).append(capture)
    return families


def judged(capture: Capture) -> Sight:
    """What ``lbtop diagnose --json`` says of it, beside the truth."""
    source = open_capture(str(capture.path), recognition=recognition())
    try:
        said = json.loads(render(diagnose(source)))
    finally:
        source.close()
    return sight(capture, said)


def sight(capture: Capture, said: Mapping[str, Any]) -> Sight:
    services = [(expected, service_of(expected, said)) for expected in capture.truth["service"]]
    answers = {
        question: tuple(_answer(question, expected, service) for expected, service in services)
        for question in ("mode", "mechanism")
    }
    scenario = capture.truth["scenario"]
    group = {1: "first wave", 2: "second wave"}.get(capture.truth.get("wave", 0), "committed")
    return Sight(capture.name, group, scenario, family_of(scenario), capture.truth, said, answers)


def service_of(expected: Mapping[str, Any], said: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The service found that has the targets of the truth."""
    names = {row["target"] for row in expected.get("target", ())}
    matches = [service for service in said["services"] if names & {target["target"] for target in service["targets"]}]
    return max(matches, key=lambda service: len(service["targets"]), default=None)


def _answer(question: str, expected: Mapping[str, Any], service: Mapping[str, Any] | None) -> Answer:
    verdict = (service or {}).get("termination" if question == "mode" else "stickiness") or {}
    return Answer(
        truth=expected[question],
        accepted=frozenset(expected.get(f"{question}_accept", ())),
        really=expected.get("really") if _is_about(question, expected) else None,
        said=verdict.get(question, "unknown"),
        candidates=verdict.get("candidates", {}),
    )


def _is_about(question: str, expected: Mapping[str, Any]) -> bool:
    """Whether ``really`` says what was set up for this question: the one that this capture leaves open, the mode if both."""
    return expected[question] == "unknown" and (question == "mode" or expected["mode"] != "unknown")


@contextmanager
def weighed(weights: Weights) -> Iterator[None]:
    """Judge with other weights of the termination question."""
    rows = [(*key, weighing.groups()[key], value) for key, value in weights.items()]
    lines = [
        "question\tgroup\tsignal\tprior\tweight",
        *(f"{q}\t{group}\t{signal}\t0\t{value}" for q, signal, group, value in rows),
    ]
    kept = weighing._WEIGHTS
    with TemporaryDirectory(prefix="lbtop-weights-") as folder:
        path = Path(folder) / "weights.tsv"
        path.write_text("\n".join(lines) + "\n")
        try:
            _use(path)
            yield
        finally:
            _use(kept)


def _use(path: Path) -> None:
    weighing._WEIGHTS = path
    for known in (weighing._rows, weighing.weights, weighing.groups):
        known.cache_clear()
