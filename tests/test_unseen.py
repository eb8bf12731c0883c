"""The unseen captures: no error, no secret, exact counts; and the figures that are made of them.

Whether verdicts are right is not asked here: that is what ``make scoreboard`` reports. A set that must be right to pass a gate is
soon tuned on.
"""

from __future__ import annotations

import contextlib
import io
import json

import pytest

from lbtop.cli import main
from tests.corpus import Capture, committed
from tests.lab.truth import COUNTS
from tests.scoreboard import figures, heldout
from tests.scoreboard.figures import Tally, macro_f1, reliability
from tests.scoreboard.prefixes import Settling, quantiles
from tests.scoreboard.sights import Answer, Sight, family_of, unseen, weighed


@pytest.mark.parametrize("capture", unseen(), ids=str)
def test_is_read_exactly_and_keeps_its_secrets(capture: Capture) -> None:
    """Counts as of servers and tshark, and no secret value in what is said."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["diagnose", "--json", str(capture.path)]) in (0, 1)
    assert not [value for value in capture.secrets if value in out.getvalue()]
    said = json.loads(out.getvalue())
    known = {target["target"]: target for service in said["services"] for target in service["targets"]}
    for service in capture.truth["service"]:
        for row in service["target"]:
            counts = {key: row[key] for key in COUNTS if key in row}
            if any(counts.values()):
                assert {key: known[row["target"]][key] for key in counts} == counts


def test_there_is_a_recording_for_every_truth_and_no_name_twice() -> None:
    assert [str(capture.path) for capture in unseen() if not capture.path.is_file()] == []
    assert not {capture.name for capture in unseen()} & {capture.name for capture in committed()}
    assert not {capture.truth["scenario"] for capture in unseen()} & {capture.truth["scenario"] for capture in committed()}


def test_nothing_is_fitted_on_the_unseen_set() -> None:
    assert not {case.capture for case in heldout.cases()} & {capture.name for capture in unseen()}


def answer(truth: str, said: str, accepted: tuple[str, ...] = (), really: str | None = None) -> Answer:
    return Answer(truth, frozenset(accepted), really, said, {said: 0.9} if said != "unknown" else {"none": 0.5})


def seen(name: str, scenario: str, *answers: Answer) -> Sight:
    return Sight(name, "first wave", scenario, "nginx", {}, {}, {"mode": answers, "mechanism": ()})


def test_an_abstention_where_the_truth_can_be_seen_is_an_error() -> None:
    silent = figures.tally([seen("a", "s", answer("offload", "unknown"))], "mode")
    assert silent == Tally({}, {}, {"offload": 1.0})
    honest = figures.tally([seen("a", "s", answer("unknown", "unknown"))], "mode")
    assert honest == Tally({}, {}, {})
    rash = figures.tally([seen("a", "s", answer("unknown", "bridging"))], "mode")
    assert rash == Tally({}, {"bridging": 1.0}, {})


def test_macro_f1_by_hand() -> None:
    """offload: 3 right, 1 missed (F1 6/7); none: 1 right, 1 wrongly claimed (F1 2/3)."""
    tallies = [Tally({"offload": 1.0}, {}, {})] * 3 + [Tally({"none": 1.0}, {}, {}), Tally({}, {"none": 1.0}, {"offload": 1.0})]
    assert macro_f1(tallies) == pytest.approx((6 / 7 + 2 / 3) / 2)


def test_a_scenario_counts_once_however_often_it_was_rewritten() -> None:
    good = [seen("a", "one", answer("offload", "offload"))]
    bad = [seen(f"b{i}", "two", answer("none", "unknown")) for i in range(50)]
    found = figures.f1(good + bad, "mode")
    assert found.value == pytest.approx(0.5)
    assert (found.low, found.high) == (0.0, 1.0)  # two scenarios: a draw may hold either of them alone


def test_a_run_without_error_proves_no_perfection() -> None:
    """The exact interval of 26 out of 26 begins at 0.025 to the power of 1/26; that of 8 of 10 is tabulated: 0.444 to 0.975."""
    assert figures.exact(26, 26).low == pytest.approx(0.025 ** (1 / 26))
    found = figures.exact(8, 10)
    assert (found.low, found.high) == (pytest.approx(0.4439, abs=1e-4), pytest.approx(0.9748, abs=1e-4))


def test_reliability_sorts_probabilities_into_bins() -> None:
    pairs = [(0.85, True), (0.85, False), (0.995, True), (1.0, True)]
    bins = reliability(pairs)
    assert [(b.low, b.count, b.right) for b in bins] == [(0.8, 2, 0.5), (0.99, 2, 1.0)]


def test_time_to_verdict_counts_what_never_settles() -> None:
    rows = [Settling(str(i), "s", "first wave", "mode", 10 * i, float(i), 100) for i in range(1, 10)]
    rows.append(Settling("x", "s", "first wave", "mode", None, None, 100))
    assert quantiles(rows) == [(50, 5.0), (90, 9.0)]
    assert quantiles([*rows, rows[-1]], (0.95,)) == [None]


def test_haproxy_is_one_balancer_whatever_it_stands_in_for() -> None:
    assert {family_of(title) for title in ("HAProxy as an ALB: …", "HAProxy in TCP mode", "HAProxy as itself")} == {"haproxy"}
    assert family_of("lighttpd with proxy.balance sticky") == "lighttpd"


def test_weights_are_put_back() -> None:
    from lbtop.inference.weighing import weights

    before = dict(weights())
    with weighed({key: 0.0 for key in before}):
        assert set(weights().values()) == {0.0}
    assert weights() == before
