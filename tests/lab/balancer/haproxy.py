"""HAProxy as itself, over HTTP and over TCP, and what its configurations share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.balancer.kernel import capture_returns
from tests.lab.balancer.process import Balancer
from tests.lab.net import BALANCER, VIP, Net
from tests.lab.target import Target

HAPROXY_GLOBAL = """global
  maxconn 4000
  nbthread 1
  stats socket {socket} mode 600 level admin
  tune.ssl.default-dh-param 2048
{adjust}
defaults
  timeout connect 5s
  timeout client {client}
  timeout server {server}
  timeout http-keep-alive {keepalive}
  timeout tunnel {tunnel}
"""


@dataclass
class Timeouts:
    """HAProxy's timeouts, in its own notation."""

    client: str = "60s"
    server: str = "60s"
    keepalive: str = "60s"
    tunnel: str = "1h"


def start(
    net: Net, directory: Path, body: str, ports: Sequence[int], *, timeouts: Timeouts | None = None, adjust: Sequence[str] = ()
) -> Balancer:
    t = timeouts or Timeouts()
    text = HAPROXY_GLOBAL.format(
        socket=directory / "haproxy.sock",
        client=t.client,
        server=t.server,
        tunnel=t.tunnel,
        keepalive=t.keepalive,
        adjust="\n".join(f"  h1-case-adjust {name.lower()} {name}" for name in adjust),
    )
    path = directory / "haproxy.cfg"
    path.write_text(text + body)
    return Balancer(net.lb, ("haproxy", "-db", "-f", str(path)), directory, ports, "haproxy")


def servers(
    targets: Sequence[Target], options: str, source: str = BALANCER, weights: Sequence[int] | None = None, cookies: bool = False
) -> str:
    return "".join(
        f"  server t{i} {target.name} source {source} {options}"
        f"{f' weight {weights[i]}' if weights else ''}{f' cookie s{i}' if cookies else ''}\n"
        for i, target in enumerate(targets)
    )


def haproxy_http(
    net: Net,
    directory: Path,
    targets: Sequence[Target],
    *,
    certificate: Path | None,
    target_tls: bool = False,
    algorithm: str = "roundrobin",
    cookie: str = "",
    extra: str = "",
    port: int = 0,
    checks: bool = True,
    forward: bool = True,
    weights: Sequence[int] | None = None,
    timeouts: Timeouts | None = None,
    interval: str = "2s",
    server_options: str = "",
) -> Balancer:
    """HAProxy as itself: ``cookie`` is the argument of its `cookie` directive, such as ``SRV insert``."""
    port = port or (443 if certificate else 80)
    bind = f"ssl crt {certificate} alpn h2,http/1.1" if certificate else ""
    lines = [
        "frontend public\n  mode http",
        f"  bind {VIP}:{port} {bind}",
        "  default_backend pool\n",
        f"backend pool\n  mode http\n  balance {algorithm}",
    ]
    lines += ["  option forwardfor"] if forward else []
    lines += [f"  cookie {cookie}"] if cookie else []
    lines += [extra] if extra else []
    options = server_options + (" ssl verify none" if target_tls else "")
    if checks:
        lines += ["  option httpchk GET /health"]
        options += f" check inter {interval} fall 2 rise 2"
    lines.append(servers(targets, options, weights=weights, cookies=bool(cookie)))
    return start(net, directory, "\n".join(lines) + "\n", [port], timeouts=timeouts)


def haproxy_tcp(
    net: Net,
    directory: Path,
    targets: Sequence[Target],
    *,
    port: int = 443,
    certificate: Path | None = None,
    target_tls: bool = False,
    proxy: str = "",
    algorithm: str = "roundrobin",
    checks: bool = False,
    keep_address: bool = False,
    timeouts: Timeouts | None = None,
    alpn: str = "",
    extra: str = "",
    also: tuple[int, Path] | None = None,
) -> Balancer:
    """HAProxy in TCP mode: a proxy that leaves TLS alone, or (with a certificate) ends it and adds nothing.

    ``also`` is a second listener, port and certificate, that ends TLS.
    """
    bind = f"ssl crt {certificate}{f' alpn {alpn}' if alpn else ''}" if certificate else ""
    options = f"{proxy} " + ("check inter 2s " if checks else "") + ("ssl verify none" if target_tls else "")
    source = "0.0.0.0 usesrc clientip" if keep_address else BALANCER
    second = f"  bind {VIP}:{also[0]} ssl crt {also[1]}\n" if also else ""
    body = (
        f"frontend public\n  mode tcp\n  bind {VIP}:{port} {bind}\n{second}  default_backend pool\n"
        f"backend pool\n  mode tcp\n  balance {algorithm}\n"
        + (f"  {extra}\n" if extra else "")
        + servers(targets, options, source)
    )
    if keep_address:
        capture_returns(net)
    return start(net, directory, body, [port], timeouts=timeouts)
