"""The text for a person: what must be on it, what must never be on it, and that it fits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lbtop.faces import paths, text, words
from lbtop.faces.terminal import Terminal, cut, visible
from lbtop.model.judgement import Mode, Verdict
from lbtop.model.snapshot import Hop, Termination
from tests.cli import frames

PLAIN = Terminal(80, color=False, unicode=True)


@pytest.mark.parametrize("width", [40, 80, 110])
@pytest.mark.parametrize("name", frames.ALL)
def test_lines_fit(name: str, width: int) -> None:
    """Commands are there to be copied: they alone are never wrapped."""
    lines = text.render(frames.ALL[name](), Terminal(width)).splitlines()
    if width == 40:  # tables and drawings need their columns; sentences wrap
        lines = [line for line in lines if not any(mark in line for mark in "█┃═─┄━") and "share of" not in line]
    assert [line for line in lines if visible(line) > width and not line.lstrip().startswith("$ ")] == []


@pytest.mark.parametrize("name", frames.ALL)
def test_color_is_never_the_only_carrier(name: str) -> None:
    import re

    colored = text.render(frames.ALL[name](), Terminal(80, color=True))
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == text.render(frames.ALL[name](), PLAIN)


@pytest.mark.parametrize("name", frames.ALL)
def test_nothing_but_printable_characters(name: str) -> None:
    shown = text.render(frames.ALL[name](), PLAIN)
    assert all(char == "\n" or char.isprintable() for char in shown)


def test_a_terminal_without_boxes_gets_ascii() -> None:
    assert text.render(frames.busy(), Terminal(80, unicode=False)).isascii()


def test_the_worst_comes_first() -> None:
    lines = text.render(frames.busy(), PLAIN).splitlines()
    assert lines[0].startswith("1 critical, 1 warning. Passwords reach the targets in clear")


def test_an_accepted_finding_is_listed_and_not_counted() -> None:
    snapshot = frames.busy()
    accepted = replace(snapshot, findings=tuple(replace(finding, accepted=True) for finding in snapshot.findings))
    shown = text.render(accepted, PLAIN)
    assert shown.startswith("Nothing above info.")
    assert "credentials-in-plaintext@shop.example.com" in shown


def test_unknown_says_why_and_what_would_settle_it() -> None:
    shown = text.render(frames.unknown(), PLAIN)
    assert "unknown, because what is in view fits" in shown
    assert "To settle it: a capture on the client's side" in " ".join(shown.split())


def test_no_packets_no_verdict() -> None:
    assert text.render(frames.empty(), PLAIN).startswith("Nothing to judge: there is no packet in it.")


def test_everything_is_shown_on_demand() -> None:
    brief, full = (text.render(frames.busy(), PLAIN, all_evidence=everything) for everything in (False, True))
    assert "forwarded_for" not in brief
    assert "forwarded_for" in full and "[tcp-stack +1.2]" in full


def test_the_drawing_marks_where_protection_ends() -> None:
    top, under = paths.draw(frames.service(), PLAIN)
    assert top.index("┊") == under.index("┊")
    assert top.index("TLS") < top.index("┊") < top.index("plain")


def test_bridging_draws_a_second_session_and_passthrough_the_same() -> None:
    assert "new TLS 1.2" in paths.draw(frames.bridging(), PLAIN)[0]
    hops = (Hop("client", "load_balancer", "tls", False), Hop("load_balancer", "target", "tls", True, ("1.3",)))
    through = frames.service(termination=Termination(Verdict({Mode.PASSTHROUGH: 1.0}), hops))
    assert "the same TLS" in paths.draw(through, PLAIN)[0]


def test_many_targets_are_summed_up() -> None:
    many = frames.service(targets=tuple(frames.target(f"10.0.{i}.1", 0.005) for i in range(200)))
    shown = text.render(frames.snapshot(many), PLAIN)
    assert "and 188 targets more" in shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.0, "0 %"), (0.0004, "<0.1 %"), (0.021, "2.1 %"), (0.333, "33 %"), (0.998, "99.8 %"), (0.9999, ">99.9 %"), (1.0, "100 %")],
)
def test_percent(share: float, shown: str) -> None:
    assert words.percent(share) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0012, "1.2 ms"), (0.25, "250 ms"), (9.5, "9.5 s"), (61, "61 s"), (300, "5 min"), (3700, "1 h 1 min"), (90000, "1 d 1 h")],
)
def test_length(seconds: float, shown: str) -> None:
    assert words.length(seconds) == shown


@pytest.mark.parametrize("count", [0, 999, 1000, 99_949, 99_950, 10**9, 10**15])
def test_size_stays_short(count: int) -> None:
    assert len(words.size(count)) <= 9


def test_cut_counts_columns() -> None:
    assert visible(cut("世界" * 30, 20)) <= 20
    assert cut("a" * 5 + "b" * 5, 5) == "aa…bb"


@pytest.mark.parametrize("share", [0.0, 0.1, 1 / 3, 0.99, 1.0, 7.0])
def test_a_bar_is_as_wide_as_it_should_be(share: float) -> None:
    for unicode in (True, False):
        assert len(Terminal(unicode=unicode).bar(share, 1.0, 0.5, 17)) == 17
