"""What reading inside TLS adds to a verdict: cookies and sessions that no packet shows; where TLS ends stays what it was."""

from __future__ import annotations

import os
import shutil
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from tests.lab.net_base import Namespace
from tests.lab.record import Recorder
from tests.live.beside import Listening, judged
from tests.live.inside import attached
from tests.live.played import played


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
    watched = played(name, "back", Inside, tmp_path, monkeypatch, vantage="load_balancer")
    packets, live = judged(tmp_path / "back.pcap"), watched.verdict
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
