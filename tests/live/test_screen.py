"""``sudo lbtop`` on a backend host: the dashboard in a real terminal shows the right verdict within seconds of traffic."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.lab import scenario
from tests.lab.net import Net
from tests.lab.net_base import Namespace
from tests.lab.record import Recorder
from tests.live.screen import Watched


def watched(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """A scenario of the lab with the dashboard at its first target."""
    found: list[Watched] = []

    def recorder(ns: Namespace, interface: str, path: Path, **settings: Any) -> Recorder:
        if path.stem != "t0":
            return Recorder(ns, interface, path, **settings)
        found.append(Watched(ns, interface, path))
        return found[0]

    monkeypatch.setattr(scenario, "Recorder", recorder)
    spec = scenario.load_all()[name]
    folder.chmod(0o755)
    with Net(**spec.net) as net:
        run = scenario.Run(spec, net, folder)
        try:
            spec.work(run)
            run.finish()
        except BaseException:
            run.abandon()
            raise
    return found[0]


def test_the_verdict_is_on_the_screen_within_seconds(root: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = [name for name in ("ip", "tmux", "tcpdump", "haproxy", "nginx") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    seen = watched("alb-offload", tmp_path, monkeypatch)
    assert seen.verdict_s is not None, seen.last
    print(f"offload on the screen {seen.verdict_s:.1f} s after the first packets (goal: 5 s)")
    (tmp_path / "screen.ansi").write_text(seen.last)
    assert "10.0.1.11" in seen.last or "target" in seen.last
