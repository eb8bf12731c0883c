"""``sudo lbtop`` on a backend host: the dashboard in a real terminal shows the right verdict within seconds of traffic."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.live.played import played
from tests.live.screen import Watched


def watched(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """A scenario of the lab with the dashboard at its first target."""
    return played(name, "t0", lambda ns, interface, path, **_: Watched(ns, interface, path), folder, monkeypatch)


def test_the_verdict_is_on_the_screen_within_seconds(root: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = [name for name in ("ip", "tmux", "tcpdump", "haproxy", "nginx") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    seen = watched("alb-offload", tmp_path, monkeypatch)
    assert seen.verdict_s is not None, seen.last
    print(f"offload on the screen {seen.verdict_s:.1f} s after the first packets (goal: 5 s)")
    (tmp_path / "screen.ansi").write_text(seen.last)
    assert "10.0.1.11" in seen.last or "target" in seen.last
