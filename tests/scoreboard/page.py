"""The scoreboard as Markdown: what ``make scoreboard`` prints and docs/scoreboard.md holds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from tests.lab.table import VANTAGES
from tests.scoreboard import claims, figures
from tests.scoreboard.board import Board
from tests.scoreboard.claims import Claim
from tests.scoreboard.figures import Bin
from tests.scoreboard.heldout import scenarios
from tests.scoreboard.prefixes import Settling, quantiles
from tests.scoreboard.sights import GROUPS, MECHANISMS, MODES, Sight

QUESTIONS = {"mode": ("termination", MODES), "mechanism": ("mechanism", MECHANISMS)}
AIMS = {"mode": "0.97", "mechanism": "0.95"}
HEAD = """# Scoreboard: how far the judgements can be trusted

Written by `make scoreboard ARGS=--write`; the same tables are printed by `make scoreboard`.

Captures of three kinds, all judged with weights that were fitted without the balancer in question:

- **second wave**: `captures/unseen`, scenarios of `tests/lab/scenarios/unseen_second*.py`. Drawn from products' documentation,
  their truth written from configurations before lbtop saw them; none of its captures was reported, so this is the figure to
  trust. Causes of error that both waves share were mended from reports of the first. One truth was corrected, from the servers'
  logs (Envoy keeps sending pinned sessions to a target that stopped: none is lost), and one empty recording made again.
- **first wave**: the other unseen scenarios. No weight, threshold or rule is fitted or tuned on them either. When they were
  first run (termination 0.973, mechanism 0.943, 4 of 7 causes of breaks) the causes of errors were reported and some have been
  mended since; five truths turned out to claim more than packets can show (a hash of addresses where every user has one of
  their own) and were corrected.
- **committed**: the captures that rules were written with. Only their weights are held out.

A scenario counts once, however many vantages and rewrites of its recording there are; intervals (95 %) come from drawing
scenarios with replacement; where nothing is wrong they say nothing, and the exact binomial interval of the scenarios without
error says what that still allows. An abstention (`unknown`) where the packets show the truth is an error. The termination
question has fitted weights ([termination-weights.md](termination-weights.md)); the mechanism follows from measured affinities
and has none, so there is nothing to leave out of it.
"""


def text(board: Board) -> str:
    """The whole page."""
    parts = [
        HEAD,
        *_headline(board),
        *_left_out(board),
        *_confusions(board),
        *_calibration(board),
        *_coverage(board),
        *_time(board),
    ]
    return "\n".join([*parts, *_whatif(board), *_short(board)]).rstrip() + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return [*lines, ""]


def _headline(board: Board) -> Iterator[str]:
    rows: list[list[object]] = [["captures, scenarios", "", *(f"{len(s)}, {len(scenarios(s))}" for s in _each(board))]]
    for question, (name, _) in QUESTIONS.items():
        rows.append([f"{name}: macro-F1", AIMS[question], *(figures.f1(s, question) for s in _each(board))])
        rows.append([f"{name}: scenarios without error", "", *(figures.without_error(s, question) for s in _each(board))])
        rows.append([f"{name}: right, wrong, abstained", "", *(_counts(s, question) for s in _each(board))])
        rows.append([f"{name}: log score (nats)", "", *(f"{figures.log_score(s, question):.3f}" for s in _each(board))])
    measures = (
        ("causes of breaks", "0.9", claims.break_causes),
        ("causes of skew", "", claims.skew_causes),
        ("findings that must be found", "", claims.missed_findings),
    )
    for name, aim, claim in measures:
        rows.append([name, aim, *(_claimed(list(claim(s))) for s in _each(board))])
    for kind, aim in (("healthy", "0"), ("faulty", "")):
        cells = []
        for s in _each(board):
            mine = [row for row in claims.false_findings(s) if row.what == kind]
            cells.append(f"{sum(not row.right for row in mine)} of {len(mine)} captures")
        rows.append([f"false findings above info, {kind}", aim, *cells])
    yield "## Headline\n"
    yield from table(["", "aim", *GROUPS], rows)


def _each(board: Board) -> list[list[Sight]]:
    return [board.of(title) for title in GROUPS]


def _counts(sights: Sequence[Sight], question: str) -> str:
    answers = [answer for sight in sights for answer in sight.answers[question]]
    wrong = sum(not answer.right and answer.said != "unknown" for answer in answers)
    silent = sum(not answer.right and answer.said == "unknown" for answer in answers)
    return f"{len(answers) - wrong - silent}, {wrong}, {silent}"


def _claimed(rows: list[Claim]) -> str:
    if not rows:
        return "none in the set"
    right = sum(row.right for row in rows)
    return f"{figures.share(claims.by_scenario(rows))}; {right} of {len(rows)}"


def _left_out(board: Board) -> Iterator[str]:
    """Right answers by the balancer whose captures the weights did not know, and by where the capture was taken."""
    cuts: tuple[tuple[str, str, Callable[[Sight], str]], ...] = (
        ("Balancer left out", "balancer", lambda sight: sight.family),
        ("Seen from", "vantage", lambda sight: VANTAGES[sight.truth["vantage"]]),
    )
    for title, head, key in cuts:
        yield f"## {title}\n"
        rows: list[list[object]] = []
        for name in sorted({key(sight) for sight in board.sights}):
            mine = [sight for sight in board.sights if key(sight) == name]
            cells = [_right(mine, question) for question in QUESTIONS]
            rows.append([name, len(scenarios(mine)), sum(sight.group != "committed" for sight in mine), len(mine), *cells])
        head_row = [
            head,
            "scenarios",
            "unseen captures",
            "captures",
            "termination right; log score",
            "mechanism right; log score",
        ]
        yield from table(head_row, rows)


def _right(sights: Sequence[Sight], question: str) -> str:
    answers = [answer for sight in sights for answer in sight.answers[question]]
    nats = figures.log_score(sights, question)
    return f"{sum(answer.right for answer in answers)} of {len(answers)}" + ("" if math.isnan(nats) else f"; {nats:.3f}")


def _confusions(board: Board) -> Iterator[str]:
    yield "## Confusion, in captures\n"
    yield "Rows are the truth, columns what was said. `unknown` as a truth: the packets cannot show it."
    yield "An accepted second answer stands where the truth stands.\n"
    for question, (name, values) in QUESTIONS.items():
        for title in GROUPS:
            said = figures.confusion(board.of(title), question)
            columns = [*values, "unknown"]
            yield f"{name}, {title}:\n"
            rows = [[truth, *(said[truth][column] or "" for column in columns)] for truth in columns if truth in said]
            yield from table(["truth", *columns], rows)


def _calibration(board: Board) -> Iterator[str]:
    yield "## Calibration\n"
    yield "The best candidate's probability against how often it was the truth, over all captures:\n"
    for question, (name, _) in QUESTIONS.items():
        yield f"{name}:\n"
        yield from _reliability(figures.reliability(figures.best_candidates(board.sights, question)))
    yield f"Every candidate of {board.services} made-up services each (`tests/scoreboard/made_up.py`):\n"
    for name, bins in board.calibration.items():
        yield f"{name}:\n"
        yield from _reliability(bins)


def _reliability(bins: Iterable[Bin]) -> list[str]:
    head = ["probability", "cases", "mean said", "were true"]
    return table(head, [[f"{b.low:g} to {b.high:g}", b.count, f"{b.said:.3f}", f"{b.right:.3f}"] for b in bins])


def _coverage(board: Board) -> Iterator[str]:
    yield "## Coverage of intervals\n"
    yield "How often the truth lay in what was said; the aim is nine in ten.\n"
    rows = [[name, said, f"{held / said:.3f}" if said else ""] for name, (held, said) in board.covered.items()]
    yield from table(["interval", "cases", "held the truth"], rows)


def _time(board: Board) -> Iterator[str]:
    yield "## Time to verdict\n"
    yield "Prefixes that grow by a third: from which on the verdict is right and stays so, in captures that can show the truth.\n"
    rows = []
    for question, (name, _) in QUESTIONS.items():
        for title in GROUPS:
            mine = [row for row in board.settlings if row.question == question and row.group == title]
            rows.append([name, title, len(mine), *(_reached(cell) for cell in quantiles(mine)), _never(mine)])
    yield from table(["question", "set", "captures", "half of them", "nine in ten", "never"], rows)


def _reached(cell: tuple[int, float] | None) -> str:
    return f"{cell[0]:,} packets, {cell[1]:.1f} s" if cell else "never"


def _never(rows: Iterable[Settling]) -> int:
    return sum(row.packets is None for row in rows)


def _whatif(board: Board) -> Iterator[str]:
    yield "## What-if against real balancers\n"
    yield "Traffic recorded behind one algorithm, predicted for another, then run through it: the same clients ask the same."
    yield "Peak to mean of requests per target: deterministic algorithms must be hit, hashes must lie inside nine times in ten.\n"
    head = ["recorded with", "predicted", "real balancer", "targets", "predicted peak to mean", "really", "holds"]
    rows = [
        [o.recorded, f"`{o.algorithm}`", o.real, o.targets, o.span, f"{o.happened:.3f}", "yes" if o.right else "**no**"]
        for o in board.outcomes
    ]
    yield from table(head, rows)
    exact = [o for o in board.outcomes if o.exact]
    hashed = [o for o in board.outcomes if not o.exact]
    for name, mine in (("deterministic", exact), ("drawn or hashed", hashed)):
        if mine:
            yield f"{name}: {sum(o.right for o in mine)} of {len(mine)} hold.\n"


def _short(board: Board) -> Iterator[str]:
    yield "## What falls short\n"
    for title in GROUPS:
        rows = list(_failures(board, board.of(title)))
        yield f"{title}: {len(rows)}\n"
        if rows:
            yield from table(["capture", "question", "said", "reason"], rows)
    late = [row for row in board.settlings if row.packets is None]
    if late:
        names = Counter(row.capture for row in late)
        yield f"Verdicts that no prefix settles, the whole capture included: {', '.join(f'`{name}`' for name in names)}.\n"


def _failures(board: Board, sights: Sequence[Sight]) -> Iterator[list[str]]:
    for sight in sights:
        for question in QUESTIONS:
            for answer in sight.answers[question]:
                if not answer.right:
                    readings = ", ".join(f"{name} {p:.2f}" for name, p in answer.candidates.items() if p >= 0.02)
                    truth = " or ".join([answer.truth, *sorted(answer.accepted)])
                    yield _row(board, sight.name, question, f"{answer.said} ({readings}); truth {truth}")
    for claim in (
        *claims.break_causes(sights),
        *claims.skew_causes(sights),
        *claims.idle_intervals(sights),
        *claims.users_behind(sights),
        *claims.affinity_intervals(sights),
    ):
        if not claim.right:
            yield _row(board, claim.capture, claim.what, claim.detail)
    for claim in claims.missed_findings(sights):
        if not claim.right:
            yield _row(board, claim.capture, "missed finding", claim.detail)
    for claim in claims.false_findings(sights):
        if not claim.right:
            yield _row(board, claim.capture, "false finding", claim.detail)


def _row(board: Board, capture: str, question: str, said: str) -> list[str]:
    return [f"`{capture}`", question, said.replace("|", "\\|"), board.reasons.get(f"{capture}: {question}", "open")]
