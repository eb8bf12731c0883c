"""Real servers with TLS, in a namespace of their own, and a live probe that reads inside of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from lbtop.probes.ebpf.tcp_events import NAMES

from tests.lab.net_base import Namespace, stop
from tests.live.beside import Listening

NGINX = """
daemon off; worker_processes 2; pid {folder}/nginx.pid; error_log {folder}/error.log; user root;
events {{ worker_connections 1024; }}
http {{
  log_format lines '$server_port $request_method $uri $status';
  access_log {folder}/access.log lines; keepalive_requests 100000;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
  scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:8443 ssl http2; ssl_certificate {folder}/both.pem; ssl_certificate_key {folder}/both.pem;
    root {folder};
    location / {{ add_header Set-Cookie "sid=$request_id; Secure; HttpOnly"; return 200 "hello\\n"; }}
    location /big {{ }}
    location /in {{ client_max_body_size 10m; proxy_pass http://127.0.0.1:8081/; }}
  }}
  server {{ listen 127.0.0.1:8081; location / {{ access_log off; return 204; }} }}
}}
"""
HAPROXY = """
global
  nbthread 2
defaults
  mode http
  timeout client 30s
  timeout server 30s
  timeout connect 5s
frontend front
  bind 127.0.0.1:9443 ssl crt {folder}/both.pem alpn h2,http/1.1
  default_backend back
backend back
  cookie LB insert indirect nocache
  server one 127.0.0.1:8443 ssl verify none cookie one
"""


class Servers:
    """nginx behind HAProxy, TLS on both hops, in a namespace of their own."""

    def __init__(self, ns: Namespace, folder: Path) -> None:
        self.ns, self.folder = ns, folder
        make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out cert -days 9 -subj /CN=x"
        subprocess.run(make.split(), cwd=folder, check=True, capture_output=True)
        (folder / "both.pem").write_text((folder / "cert").read_text() + (folder / "key").read_text())
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder))
        (folder / "haproxy.cfg").write_text(HAPROXY.format(folder=folder))
        (folder / "big").write_bytes(os.urandom(3_000_000))
        self.running = [
            ns.start("nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")),
            ns.start("haproxy", "-f", str(folder / "haproxy.cfg")),
        ]
        deadline = time.monotonic() + 20
        while "hello" not in self.curl("https://127.0.0.1:9443/ready", check=False):
            assert time.monotonic() < deadline, (folder / "error.log").read_text()
            time.sleep(0.1)
        (folder / "access.log").write_text("")

    def curl(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            ("ip", "netns", "exec", self.ns.name, "curl", "-sk", "--max-time", "10", *words), capture_output=True, text=True
        )
        assert not check or done.returncode == 0, done
        return done.stdout

    def logged(self) -> list[str]:
        """``port method path status`` of every request that nginx answered over TLS."""
        time.sleep(0.2)
        return [line for line in (self.folder / "access.log").read_text().splitlines() if line.startswith("8443 ")]

    def listen(self, scope: str, log: Path, probe: str = "ebpf") -> Listening:
        return Listening(self.ns, ("lo",), probe, log, "--tls-plaintext", scope)

    @staticmethod
    def verdict(listening: Listening) -> dict[str, Any]:
        """Ends it once its packets must have reached it: the ring keeps a block for up to 20 ms."""
        time.sleep(0.3)
        return listening.finish()


def attached(listening: Listening) -> None:
    """Waits: packet socket and the kernel's own tracepoints are there first, the probes inside TLS follow, all at once."""
    deadline = time.monotonic() + 30
    while events(listening.process.pid) <= len(NAMES):
        assert time.monotonic() < deadline and listening.process.poll() is None, listening.said()
        time.sleep(0.05)
    time.sleep(0.3)


def events(pid: int) -> int:
    """Attachments that a process holds."""
    found = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found += "perf_event" in os.readlink(entry)
    return found


@pytest.fixture
def servers(root: None, tmp_path: Path) -> Iterator[Servers]:
    missing = [name for name in ("ip", "nginx", "haproxy", "curl", "wrk", "openssl") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    ns = Namespace(f"lbtoptls{os.getpid()}")
    subprocess.run(("ip", "netns", "add", ns.name), check=True)
    found = None
    try:
        ns.run("ip", "link", "set", "lo", "up")
        found = Servers(ns, tmp_path)
        yield found
    finally:
        for process in found.running if found else ():
            stop(process)
        subprocess.run(("ip", "netns", "delete", ns.name), check=True)


def service(verdict: dict[str, Any], port: int) -> dict[str, Any]:
    """The service whose target listens on a port."""
    (found,) = (row for row in verdict["services"] if row["targets"][0]["target"].endswith(f":{port}"))
    return dict(found)


def requests(verdict: dict[str, Any], port: int) -> int:
    return sum(target["requests"] or 0 for target in service(verdict, port)["targets"])
