"""Stock nginx as a target: what it saw is known from the wire alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.lab.balancer.process import wait_listening
from tests.lab.net_base import Namespace

CONFIGURATION = """daemon off; pid {at}/nginx.pid; error_log {at}/error.log; user root; worker_processes 1;
events {{ worker_connections 2000; }}
http {{ access_log off; keepalive_requests 1000000; keepalive_timeout 120; etag off; {http}
  client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; scgi_temp_path {at}/s; uwsgi_temp_path {at}/u;
  server {{ listen {listen}; {tls} default_type text/html;
    location / {{ root {at}/www; try_files /page =404; }} location /health {{ return 200 "ok"; }} }} }}
"""


def nginx_target(
    ns: Namespace,
    address: str,
    port: int,
    directory: Path,
    *,
    body: int,
    pem: Path | None = None,
    listen: str = "",
    http: str = "",
) -> subprocess.Popen[bytes]:
    """An nginx that answers every path with ``body`` bytes; the caller ends the process."""
    (directory / "www").mkdir(parents=True)
    (directory / "www" / "page").write_text(("<p>goods and more goods</p>\n" * (body // 20 + 1))[:body])
    tls = f"ssl_certificate {pem}; ssl_certificate_key {pem};" if pem else ""
    where = f"{address}:{port}{' ssl' if pem else ''} {listen}"
    (directory / "nginx.conf").write_text(CONFIGURATION.format(at=directory, listen=where, tls=tls, http=http))
    process = ns.start("nginx", "-c", str(directory / "nginx.conf"), log=directory / "nginx.log")
    wait_listening(ns, [port], process, directory / "nginx.log")
    return process
