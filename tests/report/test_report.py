"""The report is one page that needs nothing from anywhere, says what the diagnosis says, and can be handed on."""

from __future__ import annotations

import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lbtop.engine import Options, frames
from lbtop.faces import text as text_face
from lbtop.faces.report import render
from tests.cli import frames as made_up
from tests.corpus import Capture, committed
from tests.readers import open_decoded

VOID = {"meta", "rect", "line", "circle", "polyline", "br"}


class Balanced(HTMLParser):
    """Every tag closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open and self.open.pop() == tag


def well_formed(page: str) -> None:
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []


SOME = [c for c in committed() if c.name in {"offload-lb-cookie-targets", "bridging-targets", "plain-nlb-source-ip-targets"}]


@pytest.mark.parametrize("capture", SOME, ids=str)
def test_a_capture_as_a_page(capture: Capture) -> None:
    shown = list(frames(open_decoded(capture.path), 60, Options(detail=True)))
    page = render(shown)
    well_formed(page)
    assert escape(text_face.headline(shown[-1])[0]) in page
    for service in shown[-1].services:
        for target in service.targets:
            assert target.target in page
    for finding in shown[-1].findings:
        assert finding.id in page
    for secret in capture.secrets:
        assert secret not in page


@pytest.mark.parametrize("capture", SOME, ids=str)
def test_it_asks_for_nothing_from_anywhere(capture: Capture) -> None:
    page = render(list(frames(open_decoded(capture.path), 10, Options(detail=True))))
    assert not re.search(r"<(script|link|img|iframe)|url\(|@import|\bsrc=", page)
    assert "default-src 'none'" in page


@pytest.mark.parametrize("name", ["busy", "unknown", "hostile", "empty"])
def test_made_up_frames(name: str) -> None:
    page = render([getattr(made_up, name)()])
    well_formed(page)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", page)


def test_markup_from_the_wire_stays_text() -> None:
    page = render([made_up.hostile()])
    assert "<script" not in page


def test_the_style_sheet_is_installed(tmp_path: Path) -> None:
    assert "prefers-color-scheme" in render([made_up.busy()])
