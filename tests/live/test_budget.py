"""--max-cpu on the installed command: under a load beyond its share it reads less, says so, and loses no count."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import pytest

from tests.lab.net_base import Namespace, stop
from tests.live.beside import Listening
from tests.live.test_leftovers import namespace  # noqa: F401  a fixture

SERVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = bytes(3000)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
"""


def test_less_is_read_where_it_must(namespace: Namespace, tmp_path: Path) -> None:  # noqa: F811
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed")
    server = namespace.start(sys.executable, "-c", SERVER)
    listening = Listening(namespace, ("lo",), "ebpf", tmp_path / "lbtop.log", "--max-cpu", "0.2%")
    try:
        time.sleep(0.5)
        namespace.run("wrk", "-t", "1", "-c", "4", "-d", "6s", "http://127.0.0.1:8080/")
        time.sleep(0.2)
    finally:
        stop(server)
    verdict = listening.finish()
    source = verdict["source"]
    assert any("--max-cpu" in cap for cap in source["caps_reached"]), source
    assert source["truncated_packets"] > 0 and source["dropped_packets"] == 0
    (service,) = verdict["services"]
    (target,) = service["targets"]
    # The bodies were left in the kernel; that they were there is known from the headers.
    assert target["bytes_out"] > 3000 * 0.9 * target["requests"] > 0
    assert "partial-capture" in {finding["id"] for finding in verdict["findings"]}
