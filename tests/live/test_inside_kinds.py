"""Other programs and other libraries inside TLS, and those that cannot be read."""

from __future__ import annotations

import re
import shutil
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.lab.net_base import stop
from tests.live.inside import Servers, attached, requests, servers, service  # noqa: F401  a fixture

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


def test_what_cannot_be_read_is_named(servers: Servers, tmp_path: Path) -> None:  # noqa: F811
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


@pytest.mark.parametrize("contained", [False, True], ids=["of the host", "of a container"])
def test_another_program_chosen_by_its_number(servers: Servers, tmp_path: Path, contained: bool) -> None:  # noqa: F811
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


def test_gnutls_is_read_as_well(servers: Servers, tmp_path: Path) -> None:  # noqa: F811
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


def asked(servers: Servers, pid: int, port: int, folder: Path) -> dict[str, Any]:  # noqa: F811
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
