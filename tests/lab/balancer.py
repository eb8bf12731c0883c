"""Real load balancers, started in the balancer's namespace with a configuration of the lab's own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.net import BALANCER, SECOND_NODE, VIP, Net
from tests.lab.net_base import Namespace, stop
from tests.lab.target import Target

ALB_CASE = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Amzn-Trace-Id", "Host", "Connection", "Upgrade")
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


class Balancer:
    """A running balancer process."""

    def __init__(self, ns: Namespace, command: Sequence[str], directory: Path, ports: Sequence[int], label: str) -> None:
        self.ns, self.directory, self.log = ns, directory, directory / f"{label}.log"
        self._process = ns.start(*command, log=self.log, cwd=directory)
        wait_listening(ns, ports, self._process, self.log)

    def admin(self, command: str) -> str:
        """The answer of HAProxy's run-time interface."""
        import socket

        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.directory / "haproxy.sock"))
            sock.sendall(command.encode() + b"\n")
            answer = b""
            while part := sock.recv(65536):
                answer += part
        return answer.decode()

    def finish(self) -> None:
        stop(self._process)


def wait_listening(ns: Namespace, ports: Sequence[int], process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when every port listens inside ``ns``; raise with the process's own words when it does not come up."""
    deadline = time.monotonic() + 15
    while True:
        listening = {line.split()[3].rpartition(":")[2] for line in ns.run("ss", "-Hltn").splitlines()}
        if all(str(port) in listening for port in ports):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"balancer did not start: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)


@dataclass
class Timeouts:
    """HAProxy's timeouts, in its own notation."""

    client: str = "60s"
    server: str = "60s"
    keepalive: str = "60s"
    tunnel: str = "1h"


def _haproxy(
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


def _servers(
    targets: Sequence[Target], options: str, source: str = BALANCER, weights: Sequence[int] | None = None, cookies: bool = False
) -> str:
    return "".join(
        f"  server t{i} {target.name} source {source} {options}"
        f"{f' weight {weights[i]}' if weights else ''}{f' cookie s{i}' if cookies else ''}\n"
        for i, target in enumerate(targets)
    )


def alb(
    net: Net,
    directory: Path,
    targets: Sequence[Target],
    *,
    certificate: Path | None,
    target_tls: bool = False,
    sticky: str | None = "lb_cookie",
    app_cookie: str = "session",
    port: int = 0,
    checks: bool = True,
    algorithm: str = "roundrobin",
    expire: str = "1h",
    interval: str = "2s",
    weights: Sequence[int] | None = None,
    nodes: int = 1,
    timeouts: Timeouts | None = None,
    health_path: str = "/health",
    alpn: str = "h2,http/1.1",
    reuse: str = "always",
    server_options: str = "",
    trace: bool = True,
    honour: bool = True,
    zones: Sequence[Sequence[Target]] | None = None,
) -> Balancer:
    """HAProxy standing in for an ALB: its cookies, headers with their case, and health checks.

    The cookie's value is new on every response, as an ALB's is; a table remembers which target each value stands for.
    Without ``honour`` the cookie is handed out but not looked at when it comes back.
    """
    port = port or (443 if certificate else 80)
    scheme = "https" if certificate else "http"
    bind = f"ssl crt {certificate} alpn {alpn}" if certificate else ""
    lines = [f"frontend public\n  mode http\n  bind {VIP}:{port} {bind}"]
    if nodes == 2:
        lines.append("  use_backend node1 if { src,crc32,mod(2) -m int 1 }")
    lines.append("  default_backend node0\n")
    table = f"  stick-table type string len 160 size 200k expire {expire}\n"
    for node in range(nodes):
        lines.append(
            f"backend node{node}\n  mode http\n  balance {algorithm}\n  http-reuse {reuse}\n  option h1-case-adjust-bogus-server"
        )
        if sticky:
            lines.append(table if node == 0 else "")
            name = {"lb_cookie": "AWSALB", "app_cookie": "AWSALBAPP-0"}[sticky]
            lines += [
                "  http-request set-var(txn.a) uuid,sha2(512),bytes(0,63),base64",
                "  http-request set-var(txn.b) uuid,sha2(256),bytes(0,30),base64",
                "  http-request set-var(txn.ticket) var(txn.a),concat(,txn.b,)",
                f"  stick match req.cook({name}) table node0" if honour else "",
                "  stick store-response var(txn.ticket) table node0",
            ]
            expires = "Expires=%[date(604800),http_date]"
            if sticky == "lb_cookie":
                lines += [
                    f"  http-response add-header Set-Cookie AWSALB=%[var(txn.ticket)];\\ {expires};\\ Path=/",
                    f"  http-response add-header Set-Cookie AWSALBCORS=%[var(txn.ticket)];\\ {expires};\\ Path=/;"
                    "\\ SameSite=None;\\ Secure",
                ]
            else:
                lines += [
                    "  http-request set-var(txn.had) req.cook(AWSALBAPP-0)",
                    f"  acl follows res.cook({app_cookie}) -m found",
                    "  acl held var(txn.had) -m found",
                    "  http-response add-header Set-Cookie AWSALBAPP-0=%[var(txn.ticket)];\\ "
                    f"{expires};\\ Path=/ if follows or held",
                ]
        lines += [
            "  http-request set-header X-Forwarded-For %[req.hdr(x-forwarded-for)],\\ %[src] "
            "if { req.hdr(x-forwarded-for) -m found }",
            "  http-request set-header X-Forwarded-For %[src] unless { req.hdr(x-forwarded-for) -m found }",
            f"  http-request set-header X-Forwarded-Proto {scheme}",
            f"  http-request set-header X-Forwarded-Port {port}",
        ]
        if trace:
            lines += [
                "  http-request set-var(txn.second) date,hex,bytes(8,8),lower",
                "  http-request set-var(txn.root) uuid,sha2(256),hex,bytes(0,24),lower",
                "  http-request set-header X-Amzn-Trace-Id Root=1-%[var(txn.second)]-%[var(txn.root)]",
            ]
        options = server_options
        if checks:
            lines += [
                "  option httpchk",
                f"  http-check send meth GET uri {health_path} ver HTTP/1.1 hdr Host {targets[0].name} "
                "hdr User-Agent ELB-HealthChecker/2.0 hdr Accept-Encoding gzip,\\ compressed hdr Connection close",
            ]
            options += f" check inter {interval} fall 2 rise 2"
        if target_tls:
            options += " ssl verify none"
        members = zones[node] if zones else targets
        lines.append(_servers(members, options, (BALANCER, SECOND_NODE)[node], weights))
    return _haproxy(net, directory, "\n".join(lines) + "\n", [port], timeouts=timeouts, adjust=ALB_CASE)


def alb_groups(
    net: Net, directory: Path, groups: Sequence[Sequence[Target]], *, certificate: Path, timeouts: Timeouts | None = None
) -> Balancer:
    """HAProxy standing in for an ALB's weighted forward action: AWSALBTG picks the group, nothing picks the target in it."""
    draws = "".join(
        f"  http-request set-var(txn.d{i}) uuid,sha2(512),bytes(0,63),base64\n"
        f"  http-request set-var(txn.g{i}) var(txn.d{i}),crc32,mod(2)\n"
        for i in range(6)
    )
    pick = "".join(
        f"  http-request set-var(txn.ticket) var(txn.d{i}) if !{{ var(txn.ticket) -m found }} "
        f"{{ var(txn.g{i}),sub(txn.group) -m int 0 }}\n"
        for i in range(6)
    )
    body = (
        f"frontend public\n  mode http\n  bind {VIP}:443 ssl crt {certificate} alpn h2,http/1.1\n{draws}"
        "  http-request set-var(txn.group) req.cook(AWSALBTG),crc32,mod(2) if { req.cook(AWSALBTG) -m found }\n"
        "  http-request set-var(txn.group) var(txn.g0) unless { req.cook(AWSALBTG) -m found }\n"
        f"{pick}"
        "  http-request set-var(txn.ticket) req.cook(AWSALBTG) unless { var(txn.ticket) -m found }\n"
        "  http-request set-header X-Forwarded-For %[src]\n  http-request set-header X-Forwarded-Proto https\n"
        "  http-request set-header X-Forwarded-Port 443\n"
        "  http-request set-var(txn.second) date,hex,bytes(8,8),lower\n"
        "  http-request set-var(txn.root) uuid,sha2(256),hex,bytes(0,24),lower\n"
        "  http-request set-header X-Amzn-Trace-Id Root=1-%[var(txn.second)]-%[var(txn.root)]\n"
        "  http-response add-header Set-Cookie AWSALBTG=%[var(txn.ticket)];\\ Path=/\n"
        "  http-response add-header Set-Cookie AWSALBTGCORS=%[var(txn.ticket)];\\ Path=/;\\ SameSite=None;\\ Secure\n"
        "  use_backend group1 if { var(txn.group) -m int 1 }\n  default_backend group0\n"
    )
    for index, members in enumerate(groups):
        body += (
            f"backend group{index}\n  mode http\n  balance roundrobin\n  http-reuse always\n"
            "  option h1-case-adjust-bogus-server\n" + _servers(members, "").replace("server t", f"server g{index}t")
        )
    return _haproxy(net, directory, body, [443], timeouts=timeouts, adjust=ALB_CASE)


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
    lines.append(_servers(targets, options, weights=weights, cookies=bool(cookie)))
    return _haproxy(net, directory, "\n".join(lines) + "\n", [port], timeouts=timeouts)


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
) -> Balancer:
    """HAProxy in TCP mode: a proxy that leaves TLS alone, or (with a certificate) ends it and adds nothing."""
    bind = f"ssl crt {certificate}{f' alpn {alpn}' if alpn else ''}" if certificate else ""
    options = f"{proxy} " + ("check inter 2s " if checks else "") + ("ssl verify none" if target_tls else "")
    source = "0.0.0.0 usesrc clientip" if keep_address else BALANCER
    body = (
        f"frontend public\n  mode tcp\n  bind {VIP}:{port} {bind}\n  default_backend pool\n"
        f"backend pool\n  mode tcp\n  balance {algorithm}\n" + _servers(targets, options, source)
    )
    if keep_address:
        capture_returns(net)
    return _haproxy(net, directory, body, [port], timeouts=timeouts)


def capture_returns(net: Net) -> None:
    """Bring packets for addresses that the balancer borrowed from its clients back into the balancer."""
    net.lb.run("nft", "add table ip borrowed")
    net.lb.run("nft", "add chain ip borrowed pre { type filter hook prerouting priority -150 ; }")
    net.lb.run("nft", "add rule ip borrowed pre iifname back socket transparent 1 meta mark set 1 accept")
    net.lb.run("ip", "rule", "add", "fwmark", "1", "lookup", "100")
    net.lb.run("ip", "route", "add", "local", "0.0.0.0/0", "dev", "lo", "table", "100")


class Nlb:
    """A network load balancer of the kernel's: destination NAT, client addresses preserved, chosen by ``by``.

    source_ip hashes the address, five_tuple address and port, round_robin counts connections.
    """

    RULES = {
        "source_ip": "jhash ip saddr",
        "five_tuple": "jhash ip saddr . tcp sport",
        "round_robin": "numgen inc",
        "random": "numgen random",
    }

    def __init__(self, net: Net, targets: Sequence[Target], *, by: str, port: int, snat: bool = False, seed: int = 7) -> None:
        self.net, self.by, self.port, self.seed = net, by, port, seed
        net.lb.run("nft", "add table ip nlb")
        net.lb.run("nft", "add chain ip nlb pre { type nat hook prerouting priority -100 ; }")
        if snat:
            net.lb.run("nft", "add chain ip nlb post { type nat hook postrouting priority 100 ; }")
            net.lb.run("nft", f"add rule ip nlb post oifname back ct status dnat snat to {BALANCER}")
        self.use(targets)

    def use(self, targets: Sequence[Target]) -> None:
        """Send new connections to these targets from now on; connections that exist stay where they are."""
        seed = f" seed {self.seed}" if "jhash" in self.RULES[self.by] else ""
        choices = ", ".join(f"{i} : {target.address}" for i, target in enumerate(targets))
        self.net.lb.run("nft", "flush chain ip nlb pre")
        port = targets[0].port
        choose = f"{self.RULES[self.by]} mod {len(targets)}{seed} map {{ {choices} }}" if len(targets) > 1 else targets[0].address
        self.net.lb.run("nft", f"add rule ip nlb pre ip daddr {VIP} tcp dport {self.port} dnat to {choose}:{port}")

    def forget_idle(self, seconds: int) -> None:
        """Forget established connections that idle this long, and answer what then comes with a reset."""
        self.net.lb.sysctl(net__netfilter__nf_conntrack_tcp_timeout_established=seconds, net__netfilter__nf_conntrack_tcp_loose=0)

    def finish(self) -> None:
        self.net.lb.run("nft", "delete table ip nlb")


def nginx(
    net: Net,
    directory: Path,
    targets: Sequence[Target],
    *,
    certificate: Path | None,
    upstream: str = "",
    target_tls: bool = False,
    location: str = "",
    port: int = 0,
    server: str = "",
    server_options: Sequence[str] = (),
) -> Balancer:
    """nginx; stock unless told otherwise: HTTP/1.0 towards the targets, a connection per request, nothing added."""
    port = port or (443 if certificate else 80)
    scheme = "https" if target_tls else "http"
    servers = "".join(
        f"    server {target.name} {server_options[i] if server_options else ''};\n" for i, target in enumerate(targets)
    )
    tls = f"ssl_certificate {certificate}; ssl_certificate_key {certificate};" if certificate else ""
    text = (
        f"daemon off; pid {directory}/nginx.pid; error_log {directory}/nginx-error.log;\nuser root; worker_processes 1;\n"
        f"events {{ worker_connections 2000; }}\nhttp {{ access_log off; client_body_temp_path {directory}/b;\n"
        f"  proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f; scgi_temp_path {directory}/s;\n"
        f"  uwsgi_temp_path {directory}/u; keepalive_requests 100000;\n"
        f"  upstream backend {{ {upstream}\n{servers}  }}\n"
        f"  server {{ listen {VIP}:{port}{' ssl http2' if certificate else ''}; {tls} {server}\n"
        f"    location / {{ proxy_pass {scheme}://backend; proxy_bind {BALANCER}; {location} }}\n  }}\n}}\n"
    )
    path = directory / "nginx.conf"
    path.write_text(text)
    return Balancer(net.lb, ("nginx", "-c", str(path)), directory, [port], "nginx")


def nginx_stream(net: Net, directory: Path, targets: Sequence[Target], *, port: int = 443, upstream: str = "") -> Balancer:
    """nginx as a TCP proxy that leaves TLS alone."""
    servers = "".join(f"server {target.name}; " for target in targets)
    path = directory / "nginx.conf"
    path.write_text(
        "include /usr/share/nginx/modules-available/mod-stream.conf;\n"
        f"daemon off; pid {directory}/nginx.pid; error_log {directory}/nginx-error.log;\nuser root; worker_processes 1;\n"
        f"events {{ worker_connections 2000; }}\nstream {{ upstream backend {{ {upstream} {servers} }}\n"
        f"  server {{ listen {VIP}:{port}; proxy_bind {BALANCER}; proxy_pass backend; }} }}\n"
    )
    return Balancer(net.lb, ("nginx", "-c", str(path)), directory, [port], "nginx")


def caddy(
    net: Net,
    directory: Path,
    targets: Sequence[Target],
    *,
    certificate: Path | None,
    policy: str = "round_robin",
    target_tls: bool = False,
    port: int = 0,
) -> Balancer:
    """Caddy's reverse proxy."""
    port = port or (443 if certificate else 80)
    to = " ".join(f"{'https' if target_tls else 'http'}://{target.name}" for target in targets)
    transport = (
        f"transport http {{\n tls_insecure_skip_verify\n local_address {BALANCER}\n}}"
        if target_tls
        else f"transport http {{\n local_address {BALANCER}\n}}"
    )
    if certificate:
        _split(certificate, directory)
    tls = f"tls {directory}/only.crt {directory}/only.key" if certificate else ""
    path = directory / "Caddyfile"
    path.write_text(
        "{\n admin off\n auto_https off\n}\n"
        f"{'https' if certificate else 'http'}://shop.example:{port} {{\n bind {VIP}\n {tls}\n"
        f" reverse_proxy {to} {{\n lb_policy {policy}\n {transport}\n }}\n}}\n"
    )
    return Balancer(
        net.lb,
        ("env", f"HOME={directory}", "caddy", "run", "--config", str(path), "--adapter", "caddyfile"),
        directory,
        [port],
        "caddy",
    )


def apache(
    net: Net,
    directory: Path,
    targets: Sequence[Target],
    *,
    certificate: Path | None,
    method: str = "byrequests",
    sticky: str | None = None,
    target_tls: bool = False,
    port: int = 0,
) -> Balancer:
    """Apache's mod_proxy_balancer; ``sticky`` names the cookie that carries its route."""
    port = port or (443 if certificate else 80)
    scheme = "https" if target_tls else "http"
    modules = (
        "mpm_event",
        "authz_core",
        "proxy",
        "proxy_http",
        "proxy_balancer",
        "slotmem_shm",
        "headers",
        "ssl",
        f"lbmethod_{method}",
        "socache_shmcb",
    )
    members = "\n".join(f"  BalancerMember {scheme}://{target.name} route=r{i}" for i, target in enumerate(targets))
    tls = f"SSLEngine on\nSSLCertificateFile {certificate}\nSSLCertificateKeyFile {certificate}" if certificate else ""
    upstream_tls = "SSLProxyEngine on\nSSLProxyVerify none\nSSLProxyCheckPeerName off" if target_tls else ""
    route = (
        f'Header add Set-Cookie "{sticky}=.%{{BALANCER_WORKER_ROUTE}}e; path=/; Secure" env=BALANCER_ROUTE_CHANGED\n'
        if sticky
        else ""
    )
    path = directory / "apache.conf"
    path.write_text(
        "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in modules)
        + f"ServerName shop.example\nServerRoot {directory}\nPidFile {directory}/apache.pid\nErrorLog {directory}/apache-err.log\n"
        f"DefaultRuntimeDir {directory}\nUser daemon\nGroup daemon\nListen {VIP}:{port}\nKeepAlive On\nMaxKeepAliveRequests 0\n"
        f"KeepAliveTimeout 30\nThreadsPerChild 64\nStartServers 1\nMaxRequestWorkers 256\nThreadLimit 64\n"
        f"<VirtualHost {VIP}:{port}>\n{tls}\n{upstream_tls}\n{route}"
        f"<Proxy balancer://pool>\n{members}\n  ProxySet lbmethod={method}{f' stickysession={sticky}' if sticky else ''}\n"
        "</Proxy>\nProxyPass / balancer://pool/\n</VirtualHost>\n"
    )
    return Balancer(net.lb, ("apache2", "-d", str(directory), "-f", str(path), "-DFOREGROUND"), directory, [port], "apache")


def hitch(net: Net, directory: Path, target: str, *, certificate: Path, proxy: str = "", port: int = 443) -> Balancer:
    """hitch ends TLS and passes the bytes on to one backend; ``proxy`` is e.g. ``--write-proxy-v2``."""
    path = directory / "hitch.conf"
    path.write_text(
        f'frontend = "[{VIP}]:{port}"\nbackend = "[{target.rpartition(":")[0]}]:{target.rpartition(":")[2]}"\n'
        f'pem-file = "{certificate}"\nuser = "nobody"\nworkers = 1\ndaemon = off\n'
        f'alpn-protos = "http/1.1"\n{proxy}\n'
    )
    return Balancer(net.lb, ("hitch", f"--config={path}"), directory, [port], "hitch")


def stunnel(
    net: Net,
    directory: Path,
    targets: Sequence[Target],
    *,
    certificate: Path,
    port: int = 443,
    proxy: bool = False,
    sticky: bool = False,
) -> Balancer:
    """stunnel ends TLS and spreads connections over the targets itself (round robin, or by address)."""
    connects = "\n".join(f"connect = {target.name}" for target in targets)
    path = directory / "stunnel.conf"
    path.write_text(
        f"foreground = yes\npid =\n[web]\naccept = {VIP}:{port}\ncert = {certificate}\n{connects}\n"
        f"failover = rr\nlocal = {BALANCER}\n{'protocol = proxy' if proxy else ''}\n"
    )
    return Balancer(net.lb, ("stunnel4", str(path)), directory, [port], "stunnel")


def _split(certificate: Path, directory: Path) -> None:
    text = certificate.read_text()
    cut = text.index("-----BEGIN CERTIFICATE-----")
    (directory / "only.key").write_text(text[:cut])
    (directory / "only.crt").write_text(text[cut:])
