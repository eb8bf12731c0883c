"""Every committed capture against its truth, and the scoreboard of it: run with ``-s`` to see it.

The verdict must be the truth's, or ``unknown`` exactly where the truth says this capture cannot show it; counts are exact;
nothing above info on healthy captures; what must be found is found and nothing else above info is.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from lbtop.cli import main
from tests.corpus import CAPTURES, Capture, committed
from tests.lab import table
from tests.lab.truth import COUNTS

FLOOR = 0.001  # the least probability the log score gives the truth, so that one miss does not drown all others


@dataclass
class Score:
    """What one question came to over all captures."""

    right: int = 0
    wrong: list[str] = field(default_factory=list)
    abstained: list[str] = field(default_factory=list)
    logs: list[float] = field(default_factory=list)

    def line(self, name: str) -> str:
        asked = self.right + len(self.wrong) + len(self.abstained)
        mean = sum(self.logs) / len(self.logs) if self.logs else 0.0
        return (
            f"{name:<12} {self.right}/{asked} right, {len(self.wrong)} wrong, {len(self.abstained)} abstained although it "
            f"could be seen, log score {mean:.3f}"
        )


@dataclass
class Board:
    """The scores of this session."""

    mode: Score = field(default_factory=Score)
    mechanism: Score = field(default_factory=Score)
    false_findings: list[str] = field(default_factory=list)
    missed_findings: list[str] = field(default_factory=list)
    captures: int = 0

    def text(self) -> str:
        lines = [f"scoreboard over {self.captures} captures", self.mode.line("termination"), self.mechanism.line("mechanism")]
        for title, rows in (
            ("wrong", [*self.mode.wrong, *self.mechanism.wrong]),
            ("abstained", [*self.mode.abstained, *self.mechanism.abstained]),
            ("false findings above info", self.false_findings),
            ("missed findings", self.missed_findings),
        ):
            lines += [f"{title}: {len(rows)}", *(f"    {row}" for row in rows)]
        return "\n".join(lines)


@pytest.fixture(scope="module")
def board() -> Iterator[Board]:
    scores = Board()
    yield scores
    print("\n" + scores.text())


@pytest.mark.parametrize("capture", committed(), ids=str)
def test_agrees_with_truth(capture: Capture, board: Board) -> None:
    """Verdicts, counts and findings of one capture, all of what differs at once."""
    said = diagnosis(capture)
    board.captures += 1
    problems = [*verdicts(said, capture, board), *counts(said, capture), *findings(said, capture, board)]
    if problems:
        pytest.fail("\n".join([f"{capture.name}: {capture.truth['shows']}", *problems]), pytrace=False)


def test_the_table_is_of_these_captures() -> None:
    """captures/README.md lists what the truth files say."""
    assert table.table(CAPTURES) in (CAPTURES / "README.md").read_text(), "run python -m tests.lab --table"


def diagnosis(capture: Capture) -> dict[str, Any]:
    """What ``lbtop diagnose --json`` says about it; in this process, because a hundred starts of Python take their time."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        status = main(["diagnose", "--json", str(capture.path)])
    if status not in (0, 1):
        pytest.fail(f"exit status {status}: {errors.getvalue().strip()[-600:]}", pytrace=False)
    return dict(json.loads(out.getvalue()))


def verdicts(said: dict[str, Any], capture: Capture, board: Board) -> Iterator[str]:
    """Differences in mode and mechanism, scored on the way."""
    for expected, service in pairs(said, capture):
        if service is None:
            yield f"no service with the targets {[row['target'] for row in expected.get('target', ())]}"
            board.mode.wrong.append(f"{capture.name}: no such service")
            continue
        stickiness = service["stickiness"] or {"mechanism": "unknown", "candidates": {}, "cookie": None}
        yield from judged(
            board.mode, capture, "mode", expected, service["termination"]["mode"], service["termination"]["candidates"]
        )
        yield from judged(board.mechanism, capture, "mechanism", expected, stickiness["mechanism"], stickiness["candidates"])
        product = service["load_balancer"]["product"]
        if expected.get("product") and product not in expected["product"]:
            yield f"product {product}, expected {' or '.join(expected['product'])}"


def judged(
    score: Score, capture: Capture, question: str, expected: dict[str, Any], answer: str, candidates: dict[str, float]
) -> Iterator[str]:
    """One verdict against the truth; what the lab really did gives the log score."""
    right = [expected[question], *expected.get(f"{question}_accept", ())]
    if expected[question] != "unknown":
        score.logs.append(math.log(max(FLOOR, sum(candidates.get(value, 0.0) for value in right))))
    if answer in right:
        score.right += 1
        return
    readings = ", ".join(f"{name} {probability:.2f}" for name, probability in candidates.items())
    row = f"{capture.name}: {question} {answer} ({readings}), truth {' or '.join(right)}"
    (score.abstained if answer == "unknown" else score.wrong).append(row)
    yield row


def counts(said: dict[str, Any], capture: Capture) -> Iterator[str]:
    """Differences in what is counted."""
    known = {target["target"]: target for service in said["services"] for target in service["targets"]}
    for service in capture.truth["service"]:
        for row in service.get("target", ()):
            target = known.get(row["target"])
            if target is None:
                yield f"target {row['target']} is missing"
                continue
            wrong = {key: (target[key], row[key]) for key in COUNTS if key in row and target[key] != row[key]}
            if wrong:
                yield f"{row['target']}: " + ", ".join(f"{key} {got}, truth {want}" for key, (got, want) in wrong.items())
    expected = capture.truth.get("source", {}).get("connections")
    if expected is not None and said["source"]["connections"] != expected:
        yield f"source.connections {said['source']['connections']}, truth {expected}"


def findings(said: dict[str, Any], capture: Capture, board: Board) -> Iterator[str]:
    """Findings that are missing, and those above info that should not be there."""
    found = {finding["id"]: finding["severity"] for finding in said["findings"]}
    must, may = capture.truth["findings"]["must"], capture.truth["findings"]["may"]
    for missing in sorted(set(must) - set(found)):
        board.missed_findings.append(f"{capture.name}: {missing}")
        yield f"finding {missing} is missing"
    allowed = set() if capture.truth["healthy"] else {*must, *may}
    for name, severity in sorted(found.items()):
        if severity != "info" and name not in allowed:
            board.false_findings.append(f"{capture.name}: {name} ({severity})")
            yield f"finding {name} ({severity}) should not be there"


def pairs(said: dict[str, Any], capture: Capture) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Each service of the truth with the one found that has its targets."""
    for expected in capture.truth["service"]:
        names = {row["target"] for row in expected.get("target", ())}
        matches = [service for service in said["services"] if names & {target["target"] for target in service["targets"]}]
        yield expected, max(matches, key=lambda service: len(service["targets"]), default=None)
