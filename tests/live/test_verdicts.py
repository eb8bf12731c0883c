"""The live verdict is the verdict on a simultaneous tcpdump capture, whatever the probe, against real balancers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.lab import scenario
from tests.lab.net import Net
from tests.lab.net_base import Namespace
from tests.lab.record import Recorder
from tests.live.beside import PROBES, Beside, essence

SCENARIOS = {
    "alb-offload": ("offload", "lb_cookie"),
    "alb-app-cookie": ("offload", "app_cookie"),
    "alb-bridging": (None, None),
    "nlb-tls-source-ip": ("passthrough", None),
    "l4-tls-browsers": ("l4_tls", None),
    "direct-plain": ("none", None),
    "ipv6": ("offload", None),
    "h2c-targets": (None, None),
}
"""By the lab's name: mode and mechanism, where one target of several always shows them."""


@pytest.mark.parametrize("name", SCENARIOS)
def test_live_is_what_the_capture_says(name: str, root: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched: list[Beside] = []

    def recorder(ns: Namespace, interface: str, path: Path, **settings: Any) -> Recorder:
        if path.stem != "t0":
            return Recorder(ns, interface, path, **settings)
        watched.append(Beside(ns, interface, path))
        return watched[0]

    monkeypatch.setattr(scenario, "Recorder", recorder)
    spec = scenario.load_all()[name]
    tmp_path.chmod(0o755)
    with Net(**spec.net) as net:
        run = scenario.Run(spec, net, tmp_path)
        try:
            spec.work(run)
            run.finish()
        except BaseException:
            run.abandon()
            raise
    verdicts = watched[0].verdicts
    expected = essence(verdicts["file"])
    for probe in PROBES:
        assert verdicts[probe]["source"]["kind"] == probe
        assert essence(verdicts[probe]) == expected, f"{probe}: {watched[0].probes[probe].said()}"
    mode, mechanism = SCENARIOS[name]
    judged = [(row["mode"], row["mechanism"]) for row in expected["services"].values()]
    assert expected["connections"] > 0 and judged
    if mode is not None:
        assert mode in {row[0] for row in judged}
    if mechanism is not None:
        assert mechanism in {row[1] for row in judged}
