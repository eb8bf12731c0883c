"""HAProxy standing in for an Application Load Balancer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.lab.balancer.haproxy import Timeouts, servers, start
from tests.lab.balancer.process import Balancer
from tests.lab.net import BALANCER, BALANCER6, SECOND_NODE, VIP, VIP6, Net
from tests.lab.target import Target

ALB_CASE = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Amzn-Trace-Id", "Host", "Connection", "Upgrade")


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
    check_all: bool = False,
    six: bool = False,
    backend_extra: str = "",
) -> Balancer:
    """HAProxy standing in for an ALB: its cookies, headers with their case, and health checks.

    The cookie's value is new on every response, as an ALB's is; a table remembers which target each value stands for.
    Without ``honour`` the cookie is handed out but not looked at when it comes back.
    """
    port = port or (443 if certificate else 80)
    scheme = "https" if certificate else "http"
    bind = f"ssl crt {certificate} alpn {alpn}" if certificate else ""
    public = f"[{VIP6}]" if six else VIP
    lines = [f"frontend public\n  mode http\n  bind {public}:{port} {bind}"]
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
        lines += [backend_extra] if backend_extra else []
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
        members = zones[node] if zones and not check_all else targets
        if zones and check_all:
            weights = [100 if target in zones[node] else 0 for target in targets]
        source = f"[{BALANCER6}]" if six else (BALANCER, SECOND_NODE)[node]
        lines.append(servers(members, options, source, weights))
    return start(net, directory, "\n".join(lines) + "\n", [port], timeouts=timeouts, adjust=ALB_CASE)


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
            "  option h1-case-adjust-bogus-server\n" + servers(members, "").replace("server t", f"server g{index}t")
        )
    return start(net, directory, body, [443], timeouts=timeouts, adjust=ALB_CASE)
