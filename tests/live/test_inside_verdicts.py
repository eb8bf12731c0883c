"""What reading inside TLS adds to a verdict: cookies and sessions that no packet shows; where TLS ends stays what it was."""

from __future__ import annotations

import dataclasses
import os
import shutil
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from tests.lab import scenario
from tests.lab.net import Net
from tests.lab.net_base import Namespace
from tests.lab.record import Recorder
from tests.live.beside import Listening, judged
from tests.live.inside import attached


class Inside(Recorder):
    """A recorder with a live probe beside it that reads inside the TLS of the lab: its targets are threads of this process, its
    balancers are started by it later."""

    def __init__(self, ns: Namespace, interface: str, path: Path, **settings: Any) -> None:
        super().__init__(ns, interface, path, **settings)
        scope = f"pid:{os.getpid()}"
        self.listening = Listening(ns, (interface,), "ebpf", path.with_suffix(".log"), "--tls-plaintext", scope)
        attached(self.listening)
        self.verdict: dict[str, Any] = {}

    def finish(self) -> Path:
        if not self.verdict:
            time.sleep(0.3)
            self.verdict = self.listening.finish()
            super().finish()
        return self.path


@pytest.mark.parametrize(
    ("name", "mode", "cookie"),
    [("alb-bridging", "bridging", "AWSALB"), ("tcp-passthrough-source", "passthrough", None)],
)
def test_cookies_and_sessions_show(
    name: str, mode: str, cookie: str | None, root: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = [program for program in ("ip", "tcpdump", "haproxy") if shutil.which(program) is None]
    if missing or not ssl.OPENSSL_VERSION.startswith("OpenSSL"):
        pytest.skip(f"not installed: {', '.join(missing) or 'OpenSSL'}")
    watched: list[Inside] = []

    def recorder(ns: Namespace, interface: str, path: Path, **settings: Any) -> Recorder:
        if path.stem != "back":
            return Recorder(ns, interface, path, **settings)
        watched.append(Inside(ns, interface, path, **settings))
        return watched[0]

    monkeypatch.setattr(scenario, "Recorder", recorder)
    spec = scenario.load_all()[name]
    spec = dataclasses.replace(spec, outputs=[dataclasses.replace(spec.outputs[0], vantage="load_balancer")])
    tmp_path.chmod(0o755)
    with Net(**spec.net) as net:
        run = scenario.Run(spec, net, tmp_path)
        try:
            spec.work(run)
            run.finish()
        except BaseException:
            run.abandon()
            raise
    packets, live = judged(tmp_path / "back.pcap"), watched[0].verdict
    (sealed,), (opened,) = packets["services"], live["services"]
    inside = live["source"]["inside_tls"]
    print(name, opened["termination"]["mode"], opened["stickiness"]["mechanism"], opened["stickiness"]["cookie"], inside)
    assert [target["requests"] for target in sealed["targets"]] == [None] * len(sealed["targets"])
    assert inside["share"] >= 0.99 and sum(target["requests"] for target in opened["targets"]) > 50
    assert opened["termination"]["mode"] == sealed["termination"]["mode"] == mode
    assert opened["exposure"]["plaintext_bytes"] == 0 and opened["exposure"]["sensitive"] == []
    if cookie is not None:
        assert sealed["stickiness"]["cookie"] is None and sealed["stickiness"]["sessions"] is None
        assert opened["stickiness"]["cookie"] == cookie and opened["stickiness"]["sessions"] > 5
        assert any(row["key"].startswith("cookie:") for row in opened["stickiness"]["by_key"])
        assert opened["stickiness"]["sessions_lost"] == 0
