"""Twins in which every hop is encrypted and nothing is wrong: whatever is found above info here is a false alarm."""

from __future__ import annotations

import ssl
from functools import partial

from tests.lab import balancer
from tests.lab.client import PAGES, browse, users
from tests.lab.scenario import Output, Run, during, scenario
from tests.lab.scenarios.common import HTTPS, INSIDE, MIXED, NLB, SOCKETS
from tests.lab.target import Application

SCRIPTS = ("requests", "okhttp", "go")
HIT = {
    "mechanism_because": "one target sees hits only, and sessions are inside TLS",
    "mechanism_candidates": ("source_ip", "none"),
}


def bridging(name: str, shows: str, product: tuple[str, ...] = ("haproxy", "unknown"), really: str = "none") -> list[Output]:
    """The same expectation from all targets and from one."""
    return [
        Output(
            f"{name}-{place}.pcap.gz",
            vantage,
            "bridging",
            "unknown",
            healthy=True,
            product=product,
            really=really,
            shows=shows,
            mode_accept=("unknown",) if place == "one" else None,
            committed=place == "one",
            **INSIDE,
        )
        for place, vantage in (("targets", "all_targets"), ("one", "one_target"))
    ]


@scenario(
    "haproxy-bridging",
    "HAProxy as itself with a cookie of its own, least connections, HTTPS to HTTPS",
    bridging("bridging-haproxy", "one TLS stack from one address, health checks inside TLS", really="lb_cookie"),
    networks=4,
    per_network=4,
)
def haproxy_bridging(run: Run) -> None:
    targets = run.serve(Application(), port=8443, tls=True)
    run.front(balancer.haproxy_http, targets, target_tls=True, cookie="SRV insert", algorithm="leastconn")
    browse(users(run.net, 14, kinds=MIXED), PAGES[:4], **HTTPS)


@scenario(
    "nginx-bridging-keepalive",
    "nginx with ip_hash and kept-alive TLS to its targets",
    bridging("bridging-nginx-keepalive", "one TLS stack from one address, long connections", ("nginx", "unknown"), "source_ip"),
    networks=6,
    per_network=3,
)
def nginx_bridging_keepalive(run: Run) -> None:
    targets = run.serve(Application(), port=8443, tls=True)
    run.front(
        balancer.nginx,
        targets,
        target_tls=True,
        upstream="ip_hash; keepalive 8;",
        location='proxy_http_version 1.1; proxy_set_header Connection "";',
    )
    browse(users(run.net, 18, kinds=MIXED), PAGES[:4], **HTTPS)


@scenario(
    "alb-bridging-two-nodes",
    "HAProxy as an ALB of two nodes, HTTPS to HTTPS, AWSALB",
    bridging("bridging-two-nodes", "one TLS stack from two addresses, both check all targets", really="lb_cookie"),
    networks=4,
    per_network=4,
)
def alb_bridging_two_nodes(run: Run) -> None:
    targets = run.serve(Application(), port=8443, tls=True)
    run.front(balancer.alb, targets, target_tls=True, nodes=2, interval="1s")
    browse(users(run.net, 14, kinds=MIXED), PAGES[:4], **HTTPS)


@scenario(
    "alb-bridging-ipv6",
    "HAProxy as an ALB over IPv6 on both sides, HTTPS to HTTPS",
    bridging("bridging-ipv6", "one TLS stack from one IPv6 address"),
    networks=4,
    per_network=4,
    ipv6=True,
)
def alb_bridging_ipv6(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), port=8443, tls=True, ipv6=True)
    run.front(balancer.alb, targets, target_tls=True, six=True, sticky=None)
    browse(users(run.net, 14, kinds=MIXED, ipv6=True), PAGES[:4], **HTTPS)


@scenario(
    "alb-bridging-drained",
    "HAProxy as an ALB, HTTPS to HTTPS, AWSALB; one target is drained half-way",
    bridging("bridging-drained", "one target gets less and less, and nothing breaks", really="lb_cookie"),
    networks=4,
    per_network=5,
)
def alb_bridging_drained(run: Run) -> None:
    targets = run.serve(Application(), port=8443, tls=True)
    alb = run.front(balancer.alb, targets, target_tls=True)
    people = users(run.net, 18, kinds=SCRIPTS)
    during(
        lambda: browse(people, PAGES[:5], think=0.4, start_within=4, **HTTPS),
        (2.5, partial(alb.admin, "set server node0/t1 state drain")),
    )


@scenario(
    "proxy-v1-passthrough",
    "HAProxy in TCP mode with PROXY v1, least connections: TLS untouched",
    [
        Output(
            "passthrough-proxy-v1-targets.pcap.gz",
            "all_targets",
            "passthrough",
            "none",
            committed=False,
            healthy=True,
            seen="tls",
            product=("haproxy", "unknown"),
            shows="a PROXY v1 line before each client hello; an address's connections are spread",
        ),
        Output(
            "passthrough-proxy-v1-one.pcap.gz",
            "one_target",
            "passthrough",
            "none",
            healthy=True,
            seen="tls",
            product=("haproxy", "unknown"),
            mechanism_accept=("unknown",),
            shows="two in three of the tickets offered here were issued elsewhere and are refused",
        ),
    ],
    networks=6,
    per_network=3,
)
def proxy_v1_passthrough(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), port=8443, tls=True, proxy=True)
    run.balance(balancer.haproxy_tcp(run.net, run.directory, targets, proxy="send-proxy", algorithm="leastconn"))
    browse(users(run.net, 14, kinds=SCRIPTS), PAGES[:4], fresh=True, **HTTPS)


@scenario(
    "nlb-tls12-source-ip",
    "kernel NAT as an NLB, source-address stickiness, TLS 1.2 untouched: the certificate is in view",
    [
        Output(
            "passthrough-nlb-tls12-targets.pcap.gz",
            "all_targets",
            "passthrough",
            "source_ip",
            healthy=True,
            seen="tls",
            product=NLB,
            shows=f"{SOCKETS}, one certificate at all targets, tickets accepted",
        ),
        Output(
            "passthrough-nlb-tls12-one.pcap.gz",
            "one_target",
            "passthrough",
            "unknown",
            healthy=True,
            seen="tls",
            product=NLB,
            really="source_ip",
            mechanism_accept=("source_ip",),
            shows=f"{SOCKETS}, tickets accepted",
            **HIT,
        ),
    ],
    networks=6,
    per_network=3,
)
def nlb_tls12_source_ip(run: Run) -> None:
    targets = run.serve(Application(), port=8443, tls={"maximum": ssl.TLSVersion.TLSv1_2})
    run.balance(balancer.Nlb(run.net, targets, by="source_ip", port=443))
    browse(users(run.net, 15, kinds=SCRIPTS), PAGES[:4], fresh=True, **HTTPS)


@scenario(
    "nlb-tls-long",
    "kernel NAT as an NLB, TLS untouched, each client on one long connection",
    [
        Output(
            "passthrough-nlb-long-targets.pcap.gz",
            "all_targets",
            "passthrough",
            "unknown",
            committed=False,
            healthy=True,
            seen="tls",
            product=NLB,
            really="none",
            mechanism_because="each client opens one connection: nothing returns",
            mechanism_accept=("none", "source_ip"),
            shows=f"{SOCKETS}, one connection each",
        ),
        Output(
            "passthrough-nlb-long-one.pcap.gz",
            "one_target",
            "passthrough",
            "unknown",
            healthy=True,
            seen="tls",
            product=NLB,
            really="none",
            mechanism_because="each client opens one connection: nothing returns",
            mechanism_accept=("none", "source_ip"),
            shows=f"{SOCKETS}, one connection each",
        ),
    ],
    networks=6,
    per_network=4,
)
def nlb_tls_long(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), port=8443, tls=True)
    run.balance(balancer.Nlb(run.net, targets, by="five_tuple", port=443))
    browse(users(run.net, 20, kinds=SCRIPTS), PAGES[:5], think=0.5, **HTTPS)


@scenario(
    "direct-tls-ipv6",
    "no balancer: clients reach one TLS server directly over IPv6",
    [
        Output(
            "direct-tls-ipv6-one.pcap.gz",
            "one_target",
            "passthrough",
            "unknown",
            healthy=True,
            seen="tls",
            product=("none", "unknown"),
            mechanism_because="a single target",
            mechanism_accept=("none",),
            shows=f"{SOCKETS} and TLS stacks over IPv6",
        ),
    ],
    networks=6,
    per_network=2,
    targets=1,
    ipv6=True,
)
def direct_tls_ipv6(run: Run) -> None:
    target = run.serve(Application(), port=443, tls=True, ipv6=True)[0]
    browse(users(run.net, 10, kinds=SCRIPTS, ipv6=True), PAGES[:4], fresh=True, vip=target.address, **HTTPS)
