"""Other balancers: Caddy, Apache, Varnish, Envoy."""

from __future__ import annotations

from tests.lab import balancer
from tests.lab.client import BROWSERS, PAGES, browse, users
from tests.lab.scenario import Output, Run, scenario
from tests.lab.scenarios.common import HTTPS, INSIDE, MIXED, OFFLOAD, SESSION
from tests.lab.target import Application


@scenario(
    "caddy-cookie",
    "Caddy with `lb_policy cookie`, HTTPS to plain HTTP",
    [
        Output(
            "offload-caddy-cookie-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            product=("caddy",),
            cookie="lb",
            must=OFFLOAD,
            **SESSION,
            shows="Go's header case; the cookie `lb` comes back and goes with the target",
        ),
        Output(
            "offload-caddy-cookie-one.pcap.gz",
            "one_target",
            "offload",
            "lb_cookie",
            product=("caddy",),
            cookie="lb",
            must=OFFLOAD,
            **SESSION,
            shows="one value of `lb` only",
        ),
    ],
    networks=5,
    per_network=5,
)
def caddy_cookie(run: Run) -> None:
    targets = run.serve(Application(cookie="sessionid"))
    run.front(balancer.caddy, targets, policy="cookie")
    browse(users(run.net, 28, kinds=MIXED, addresses=18), **HTTPS)


@scenario(
    "caddy-ip-hash",
    "Caddy with `lb_policy ip_hash`, HTTPS to plain HTTP",
    [
        Output(
            "offload-caddy-ip-hash-targets.pcap.gz",
            "all_targets",
            "offload",
            "source_ip",
            product=("caddy", "unknown"),
            must=OFFLOAD,
            **SESSION,
            may=("hot-target",),
            shows="all users behind one forwarded address meet one target",
        ),
    ],
    networks=6,
    per_network=6,
)
def caddy_ip_hash(run: Run) -> None:
    targets = run.serve(Application(cookie="sessionid"))
    run.front(balancer.caddy, targets, policy="ip_hash")
    browse(users(run.net, 56, kinds=MIXED, addresses=28), PAGES[:4], **HTTPS)


@scenario(
    "caddy-bridging",
    "Caddy, round robin, HTTPS to HTTPS",
    [
        Output(
            "bridging-caddy-targets.pcap.gz",
            "all_targets",
            "bridging",
            "unknown",
            committed=False,
            healthy=True,
            product=("caddy", "unknown"),
            really="none",
            **INSIDE,
            shows="Go's TLS stack from one address",
        ),
        Output(
            "bridging-caddy-one.pcap.gz",
            "one_target",
            "bridging",
            "unknown",
            healthy=True,
            product=("caddy", "unknown"),
            really="none",
            **INSIDE,
            shows="Go's TLS stack from one address",
            committed=True,
        ),
    ],
    networks=4,
    per_network=5,
)
def caddy_bridging(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), port=8443, tls=True)
    run.front(balancer.caddy, targets, target_tls=True)
    browse(users(run.net, 15, kinds=MIXED), PAGES[:5], **HTTPS)


@scenario(
    "apache-route",
    "Apache's mod_proxy_balancer with a ROUTEID cookie, HTTPS to plain HTTP",
    [
        Output(
            "offload-apache-route-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            product=("apache",),
            cookie="ROUTEID",
            must=OFFLOAD,
            **SESSION,
            shows="X-Forwarded-Host and -Server; ROUTEID comes back and names the route",
        ),
        Output(
            "offload-apache-route-one.pcap.gz",
            "one_target",
            "offload",
            "lb_cookie",
            product=("apache",),
            cookie="ROUTEID",
            must=OFFLOAD,
            **SESSION,
            shows="one route only",
        ),
    ],
    networks=5,
    per_network=5,
)
def apache_route(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    run.front(balancer.apache, targets, sticky="ROUTEID")
    browse(users(run.net, 28, kinds=BROWSERS, addresses=18), **HTTPS)


@scenario(
    "apache-bridging",
    "Apache's mod_proxy_balancer, by requests, HTTPS to HTTPS",
    [
        Output(
            "bridging-apache-targets.pcap.gz",
            "all_targets",
            "bridging",
            "unknown",
            committed=False,
            healthy=True,
            product=("apache", "unknown"),
            really="none",
            **INSIDE,
            shows="one TLS stack from one address",
        ),
    ],
    networks=4,
    per_network=5,
)
def apache_bridging(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), port=8443, tls=True)
    run.front(balancer.apache, targets, target_tls=True)
    browse(users(run.net, 12, kinds=MIXED), PAGES[:4], **HTTPS)


@scenario(
    "hitch-varnish",
    "hitch ends TLS in front of Varnish, which spreads requests over three targets",
    [
        Output(
            "offload-varnish-targets.pcap.gz",
            "all_targets",
            "offload",
            "none",
            product=("varnish",),
            must=OFFLOAD,
            **SESSION,
            shows="X-Varnish, Via and X-Forwarded-For on every request; browsers' tells of TLS",
        ),
    ],
    networks=4,
    per_network=5,
)
def hitch_varnish(run: Run) -> None:
    targets = run.serve(Application(cookie="sessionid", sessions="shared"))
    run.balance(balancer.varnish(run.net, run.directory, targets))
    run.front(balancer.hitch, "127.0.0.1:6086", proxy="write-proxy-v2 = on")
    browse(users(run.net, 24, kinds=BROWSERS), **HTTPS)


@scenario(
    "envoy-cookie",
    "Envoy with its stateful session cookie, HTTPS to plain HTTP (needs an Envoy: see `ENVOY`)",
    [
        Output(
            "offload-envoy-cookie-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            product=("envoy",),
            cookie="node",
            must=OFFLOAD,
            **SESSION,
            shows="lower-case x-forwarded-* and x-request-id; a cookie that names the target's address",
        ),
        Output(
            "offload-envoy-cookie-one.pcap.gz",
            "one_target",
            "offload",
            "lb_cookie",
            product=("envoy",),
            cookie="node",
            must=OFFLOAD,
            **SESSION,
            shows="one value of the cookie",
        ),
    ],
    networks=5,
    per_network=5,
)
def envoy_cookie(run: Run) -> None:
    targets = run.serve(Application(cookie="sessionid"))
    run.front(balancer.envoy, targets, cookie="node")
    browse(users(run.net, 28, kinds=MIXED, addresses=18), **HTTPS)


@scenario(
    "envoy-ring",
    "Envoy with a ring hash of the forwarded address, HTTPS to plain HTTP",
    [
        Output(
            "offload-envoy-ring-targets.pcap.gz",
            "all_targets",
            "offload",
            "source_ip",
            product=("envoy",),
            must=OFFLOAD,
            **SESSION,
            may=("hot-target",),
            shows="all users behind one forwarded address meet one target",
        ),
    ],
    networks=6,
    per_network=6,
)
def envoy_ring(run: Run) -> None:
    targets = run.serve(Application(cookie="sessionid"))
    run.front(balancer.envoy, targets, policy="RING_HASH", ring_by="x-forwarded-for")
    browse(users(run.net, 56, kinds=MIXED, addresses=28), PAGES[:4], **HTTPS)


@scenario(
    "envoy-bridging",
    "Envoy, round robin, HTTPS to HTTPS: few long connections",
    [
        Output(
            "bridging-envoy-targets.pcap.gz",
            "all_targets",
            "bridging",
            "unknown",
            committed=False,
            healthy=True,
            product=("envoy", "unknown"),
            really="none",
            **INSIDE,
            shows="few connections with many requests' worth of records each, one TLS stack (BoringSSL)",
        ),
        Output(
            "bridging-envoy-one.pcap",
            "one_target",
            "bridging",
            "unknown",
            healthy=True,
            product=("envoy", "unknown"),
            really="none",
            **INSIDE,
            shows="as on all targets, from one of them",
        ),
    ],
    networks=4,
    per_network=5,
)
def envoy_bridging(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), port=8443, tls=True)
    run.front(balancer.envoy, targets, target_tls=True)
    browse(users(run.net, 15, kinds=MIXED), **HTTPS)
