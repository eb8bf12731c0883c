"""Heads inside TLS, from the libraries of real servers: as many as they log, each on its connection, and nothing else."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from lbtop.probes.ebpf.tcp_events import NAMES

from tests.lab.net_base import Namespace, stop
from tests.live import kernel
from tests.live.beside import Listening
from tests.live.test_leftovers import held

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
SECRET = "S3cretValue0fTheCookie7fA91bQ"


@pytest.fixture(autouse=True)
def programs(root: None) -> None:
    missing = [name for name in ("ip", "nginx", "haproxy", "curl", "wrk", "openssl") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


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
def servers(tmp_path: Path) -> Iterator[Servers]:
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


@pytest.mark.parametrize("probe", ["ebpf", "packet"])
def test_every_request_of_both_servers_is_seen(servers: Servers, tmp_path: Path, probe: str) -> None:
    """HAProxy moves the bytes itself and nginx gives its library the socket; the log is the truth."""
    listening = servers.listen("port:9443,port:8443", tmp_path / "lbtop.log", probe)
    attached(listening)
    servers.ns.run("wrk", "-t1", "-c20", "-d4s", "https://127.0.0.1:9443/load")
    for _ in range(3):
        servers.curl("--http2", "https://127.0.0.1:9443/two[1-5]")
        servers.curl("--http2", "--parallel", "--parallel-max", "50", "https://127.0.0.1:9443/streams[1-300]")
    logged = servers.logged()
    verdict = servers.verdict(listening)
    inside = verdict["source"]["inside_tls"]
    for port in (9443, 8443):
        seen = requests(verdict, port)
        print(f"{probe}, port {port}: {seen:,} of {len(logged):,} requests seen inside TLS ({seen / len(logged):.2%})")
        assert 0.99 * len(logged) <= seen <= len(logged)
        assert service(verdict, port)["exposure"]["plaintext_bytes"] == 0
    assert len(logged) > 1000
    assert inside["ports"] == [8443, 9443] and inside["unreadable"] == [] and inside["lost"] == 0
    assert inside["share"] >= 0.99 and inside["connections"] >= 20


def test_bodies_are_passed_over_and_statuses_are_right(servers: Servers, tmp_path: Path) -> None:
    listening = servers.listen("port:8443", tmp_path / "lbtop.log")
    attached(listening)
    upload = tmp_path / "upload"
    # A body whose every line looks like a request: it is as long as its head says.
    upload.write_text("GET /forged HTTP/1.1\r\nHost: x\r\n\r\n" * 20_000)
    for version in ("--http1.1", "--http2"):
        servers.curl(version, "-o", "/dev/null", "https://127.0.0.1:8443/big", "-o", "/dev/null", "https://127.0.0.1:8443/a")
        servers.curl(version, "--data-binary", f"@{upload}", "https://127.0.0.1:8443/in")
        servers.curl(version, "-H", f"X-Long: {'a' * 3000}", "https://127.0.0.1:8443/long")
        servers.curl(version, "-o", "/dev/null", "https://127.0.0.1:8443/big/none")
    logged = servers.logged()
    verdict = servers.verdict(listening)
    assert requests(verdict, 8443) == len(logged) == 10
    status = service(verdict, 8443)["targets"][0]["status"]
    assert {kind: count for kind, count in status.items() if count} == {"2xx": 8, "4xx": 2}


def test_secrets_inside_are_seen_and_do_not_count_as_readable_on_the_wire(servers: Servers, tmp_path: Path) -> None:
    listening = servers.listen("port:9443,port:8443", tmp_path / "lbtop.log")
    attached(listening)
    for _ in range(6):
        servers.curl("-b", f"sessionid={SECRET}", "-u", f"user:{SECRET}", "https://127.0.0.1:9443/x[1-3]")
    verdict = servers.verdict(listening)
    for port, mode in ((9443, "passthrough"), (8443, "bridging")):
        row = service(verdict, port)
        assert requests(verdict, port) == 18
        assert row["exposure"]["sensitive"] == [] and row["exposure"]["plaintext_connections"] == 0
        assert row["termination"]["mode"] in (mode, "bridging", "unknown")
    assert not {"plaintext-backend-hop", "credentials-in-plaintext", "session-cookie-in-plaintext"} & {
        finding["id"] for finding in verdict["findings"]
    }
    said = json.dumps(verdict) + listening.said()
    assert SECRET not in said and "sessionid" in json.dumps(verdict["services"])


def test_only_the_chosen_port_is_read(servers: Servers, tmp_path: Path) -> None:
    listening = servers.listen("port:9443", tmp_path / "lbtop.log")
    attached(listening)
    for number in range(3):
        servers.curl(f"https://127.0.0.1:9443/through{number}")
        servers.curl(f"https://127.0.0.1:8443/direct{number}")
    verdict = servers.verdict(listening)
    assert requests(verdict, 9443) == 3 and requests(verdict, 8443) == 0
    assert verdict["source"]["inside_tls"]["connections"] == 3


def test_workers_started_later_are_read_as_well(servers: Servers, tmp_path: Path) -> None:
    listening = servers.listen(f"pid:{(servers.folder / 'nginx.pid').read_text().strip()}", tmp_path / "lbtop.log")
    attached(listening)
    servers.ns.run("nginx", "-p", str(servers.folder), "-c", str(servers.folder / "nginx.conf"), "-s", "reload")
    time.sleep(1.0)
    for number in range(5):
        servers.curl(f"https://127.0.0.1:8443/{number}")
    verdict = servers.verdict(listening)
    assert requests(verdict, 8443) == 5


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL], ids=lambda s: s.name)
def test_nothing_is_left(servers: Servers, tmp_path: Path, end: signal.Signals) -> None:
    listening = servers.listen("port:8443", tmp_path / "lbtop.log")
    attached(listening)
    programs, maps = held(listening.process.pid)
    assert len(programs) >= 10 and programs <= kernel.loaded_programs()
    stop(listening.process, end)
    deadline = time.monotonic() + 5
    while (programs & kernel.loaded_programs() or maps & kernel.loaded_maps()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not programs & kernel.loaded_programs() and not maps & kernel.loaded_maps()
    for place in (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing")):
        if (place / "uprobe_events").exists():
            assert (place / "uprobe_events").read_text() == ""
    # The library's own code is as it was: no breakpoint is left at the probed functions.
    text = Path(f"/proc/{servers.running[0].pid}/maps").read_text()
    library = re.search(r"(\S+libssl\S+)$", text, re.M)
    assert library
    assert servers.curl("https://127.0.0.1:8443/after") == "hello\n"
    assert breakpoints(servers.running[0].pid, Path(library[1])) == 0


def breakpoints(pid: int, library: Path) -> int:
    """Of the probed functions of a process's libssl, those that begin with a breakpoint (int3)."""
    from lbtop.probes.ebpf import elf, libraries
    from lbtop.probes.ebpf.places import cheapest

    found = 0
    exported = elf.function_offsets(library, libraries.FUNCTIONS)
    offsets = {*exported.values(), *cheapest(library, exported, platform.machine()).values()}
    with open(f"/proc/{pid}/mem", "rb") as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            if not line.endswith(library.name):
                continue
            begin, end = (int(word, 16) for word in line.split()[0].split("-"))
            at = int(line.split()[2], 16)
            for offset in offsets:
                if at <= offset < at + end - begin:
                    memory.seek(begin + offset - at)
                    found += memory.read(1) == b"\xcc"
    return found


def test_what_cannot_be_read_is_named(servers: Servers, tmp_path: Path) -> None:
    """A program without a library that can be read, a port nobody listens on, and packets that go on being judged."""
    caddy = shutil.which("caddy")
    if caddy is None:
        pytest.skip("caddy is not installed")
    (tmp_path / "Caddyfile").write_text(
        "{\n admin off\n auto_https disable_redirects\n skip_install_trust\n storage file_system "
        + str(tmp_path / "caddy")
        + "\n}\n"
        f"https://127.0.0.1:7443 {{\n tls {tmp_path}/cert {tmp_path}/key\n respond hi\n}}\n"
    )
    server = servers.ns.start(
        "env",
        f"XDG_CONFIG_HOME={tmp_path}",
        f"XDG_DATA_HOME={tmp_path}",
        caddy,
        "run",
        "--config",
        str(tmp_path / "Caddyfile"),
        "--adapter",
        "caddyfile",
    )
    try:
        deadline = time.monotonic() + 20
        while "hi" not in servers.curl("https://127.0.0.1:7443/", check=False):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        listening = servers.listen("port:7443,port:8443,port:1", tmp_path / "lbtop.log")
        attached(listening)
        servers.curl("https://127.0.0.1:7443/[1-3]")
        servers.curl("https://127.0.0.1:8443/[1-3]")
        verdict = servers.verdict(listening)
    finally:
        stop(server)
    inside = verdict["source"]["inside_tls"]
    assert sorted(inside["unreadable"]) == ["caddy: Go's own TLS, not readable", "nobody listens on port 1"]
    assert (inside["connections_read"], inside["connections"]) == (1, 2)
    assert requests(verdict, 8443) == 3
    assert service(verdict, 7443)["termination"]["mode"] in ("passthrough", "bridging", "unknown")


PYTHON = """
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        self.send_response(200); self.send_header('Content-Length', '2'); self.end_headers(); self.wfile.write(b'hi')
server = http.server.ThreadingHTTPServer(('127.0.0.1', 6443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


@pytest.mark.parametrize("contained", [False, True], ids=["of the host", "of a container"])
def test_another_program_chosen_by_its_number(servers: Servers, tmp_path: Path, contained: bool) -> None:
    """Python holds the library in another way; also in a mount namespace of its own, where the library is another file."""
    (tmp_path / "serve.py").write_text(PYTHON)
    command = [sys.executable, str(tmp_path / "serve.py"), str(tmp_path / "both.pem")]
    if contained:
        ssl.create_default_context()  # loads it here too
        library = re.search(r"(/\S*libssl\S*)$", Path("/proc/self/maps").read_text(), re.M)
        if library is None:
            pytest.skip("this Python has no libssl of its own")
        shutil.copy(library[1], tmp_path / "library")
        script = 'mount --bind "$0" "$1" && shift && exec "$@"'
        command = ["unshare", "-m", "sh", "-c", script, str(tmp_path / "library"), library[1], *command]
    server = servers.ns.start(*command)
    try:
        verdict = asked(servers, server.pid, 6443, tmp_path)
    finally:
        stop(server)
    assert requests(verdict, 6443) == 4


def test_gnutls_is_read_as_well(servers: Servers, tmp_path: Path) -> None:
    program = shutil.which("gnutls-serv")
    if program is None:
        pytest.skip("gnutls-serv is not installed")
    files = ("--x509certfile", str(tmp_path / "cert"), "--x509keyfile", str(tmp_path / "key"))
    server = servers.ns.start(program, "--http", "--disable-client-cert", "--port", "5556", *files)
    try:
        verdict = asked(servers, server.pid, 5556, tmp_path)
    finally:
        stop(server)
    assert requests(verdict, 5556) == 4


def asked(servers: Servers, pid: int, port: int, folder: Path) -> dict[str, Any]:
    """The verdict after four requests to a server of which everything is read."""
    deadline = time.monotonic() + 20
    while not servers.curl(f"https://127.0.0.1:{port}/", check=False):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    listening = servers.listen(f"pid:{pid}", folder / "lbtop.log")
    attached(listening)
    for number in range(4):
        servers.curl(f"https://127.0.0.1:{port}/{number}", check=False)
    return servers.verdict(listening)
