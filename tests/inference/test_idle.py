"""Silences: the interval between what was survived and what killed."""

from __future__ import annotations

import numpy as np
import pytest

from lbtop.inference.idle import closes_after, infer_idle
from lbtop.model.observation import TABLES, ConnFlag, End, RespFlag, Side, SourceStats, empty
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.window import ServiceWindow
from lbtop.testing import START_NS
from tests.inference.simulated import interners

SECOND = 1_000_000_000


def facts_of(connections: np.ndarray, **tables: np.ndarray) -> ServiceFacts:
    strings, addresses = interners(50)
    back = {name: tables.get(name, empty(name)) for name in TABLES} | {"connections": connections}
    window = ServiceWindow(
        back=back, front={name: empty(name) for name in TABLES},
        target={name: np.zeros(len(rows), np.uint16) for name, rows in back.items()},
        health={name: np.zeros(len(rows), bool) for name, rows in back.items()},
        strings=strings, addresses=addresses,
    )  # fmt: skip
    facts = ServiceFacts(80, [(2, 80)], [], [], True, strings, addresses, SourceStats("capture"), "target")
    facts.ledgers.idle.fold(window)
    return facts


def connections(count: int) -> np.ndarray:
    rows = np.zeros(count, TABLES["connections"])
    rows["conn"] = np.arange(1, count + 1)
    rows["opened_ns"] = rows["first_data_ns"] = START_NS
    rows["at_ns"] = START_NS + np.arange(count) * 7 * SECOND
    rows["last_ns"] = rows["at_ns"]
    rows["end"] = End.FIN
    return rows


def test_the_cliff_lies_between_the_longest_survived_and_the_shortest_that_killed() -> None:
    rows = connections(30)
    rows["idle_survived_ns"][:20] = np.linspace(5, 340, 20) * SECOND
    rows["idle_before_end_ns"][20:] = np.linspace(352, 900, 10) * SECOND
    rows["flags"][20:] = ConnFlag.RST_AFTER_IDLE | ConnFlag.RST_BARE
    rows["end"][20:] = End.RST
    idle = infer_idle(facts_of(rows))
    assert idle is not None and idle.ended_by == "rst" and idle.resets_after_idle == 10
    assert idle.interval == (340.0, 352.0)
    assert idle.matches is not None and idle.matches.startswith("350 s")


def test_a_wide_interval_matches_nothing() -> None:
    rows = connections(10)
    rows["idle_survived_ns"][:5] = 3 * SECOND
    rows["idle_before_end_ns"][5:] = 4000 * SECOND
    rows["flags"][5:] = ConnFlag.RST_AFTER_IDLE
    idle = infer_idle(facts_of(rows))
    assert idle is not None and idle.interval == (3.0, 4000.0) and idle.matches is None


def test_resets_after_pauses_that_others_survive_are_no_cliff() -> None:
    rows = connections(60)
    rows["idle_survived_ns"][:50] = np.linspace(5, 600, 50) * SECOND
    rows["idle_before_end_ns"][50:] = np.linspace(2, 60, 10) * SECOND
    rows["flags"][50:] = ConnFlag.RST_AFTER_IDLE
    idle = infer_idle(facts_of(rows))
    assert idle is not None and idle.cliff_s is None


def test_a_target_that_closes_after_a_constant_silence() -> None:
    rows = connections(20)
    rows["idle_before_end_ns"] = (75 + np.linspace(0, 0.3, 20)) * SECOND
    rows["first_closer"] = Side.SERVER
    idle = infer_idle(facts_of(rows))
    assert idle is not None and idle.target_closes_after_s == pytest.approx(75.15, abs=0.2)


def test_connections_closed_at_one_moment_say_nothing_about_a_limit() -> None:
    """Somebody was stopped: alike silences by coincidence."""
    rows = connections(12)
    rows["at_ns"] = START_NS + 100 * SECOND
    rows["idle_before_end_ns"] = np.linspace(10.0, 10.4, 12) * SECOND
    rows["first_closer"] = Side.CLIENT
    assert closes_after(facts_of(rows).ledgers.idle, Side.CLIENT) is None


def test_nothing_silent_is_nothing_to_say() -> None:
    assert infer_idle(facts_of(connections(5))) is None


def test_requests_that_were_cut_off_know_their_age() -> None:
    rows = connections(4)
    rows["first_closer"], rows["requests"] = Side.CLIENT, 1
    asked = np.zeros(4, TABLES["requests"])
    asked["conn"] = asked["request"] = np.arange(1, 5)
    asked["at_ns"] = START_NS
    cut = np.zeros(4, TABLES["responses"])
    cut["conn"] = cut["request"] = np.arange(1, 5)
    cut["at_ns"], cut["flags"] = START_NS + 30 * SECOND, RespFlag.UNANSWERED
    waiting = facts_of(rows, requests=asked, responses=cut).ledgers.idle.waiting
    assert len(waiting) == 4 and (waiting["age_ns"] == 30 * SECOND).all() and (waiting["closer"] == Side.CLIENT).all()
