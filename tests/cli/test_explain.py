"""Every mode and every finding has a page that stands alone."""

from __future__ import annotations

import pytest

from lbtop.cli import main
from lbtop.faces import explain
from lbtop.faces.terminal import Terminal, visible
from lbtop.findings import RULES
from lbtop.model.judgement import Mode

TOPICS = [*(mode.value for mode in Mode), "unknown", *sorted(RULES)]


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_has_a_page(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", topic]) == 0
    page = capsys.readouterr().out
    assert len(page) > 200
    assert [line for line in page.splitlines() if visible(line) > 80 and "$ " not in line and not line.startswith("    ")] == []


def test_without_a_topic_everything_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 0
    shown = capsys.readouterr().out
    assert [topic for topic in TOPICS if topic not in shown] == []


def test_an_unknown_topic_names_a_close_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "ofload"]) == 2
    streams = capsys.readouterr()
    assert streams.out == "" and "did you mean 'offload'?" in streams.err and streams.err.count("\n") == 1


def test_every_mode_says_who_can_read_what_at_each_step() -> None:
    assert set(explain.PAGES) == set(Mode)
    for mode, page in explain.PAGES.items():
        shown = explain.mode_page(mode, [], Terminal())
        assert shown.count("who can read it:") == len(page.steps) >= 3
