"""Unseen, second wave: TLS ended and begun again, untouched, or never there."""

from __future__ import annotations

from typing import Any

from tests.lab import balancer
from tests.lab.client import BROWSERS, PAGES, browse, users
from tests.lab.scenario import Run, scenario
from tests.lab.scenarios.common import HTTPS, MIXED, NLB, PLAIN, SESSION
from tests.lab.scenarios.unseen_common import INSIDE_TLS, NO_HINT, PLAIN_COOKIE, note_people, output
from tests.lab.target import Application

ANY_TCP = ("haproxy", "nginx", "nlb", "unknown")
BRIDGED: dict[str, Any] = {"healthy": True, "really": "none", **INSIDE_TLS}


@scenario(
    "unseen-caddy-bridging",
    "Caddy, random, HTTPS to HTTPS",
    [
        output(
            "caddy-random-bridging-targets",
            "all_targets",
            "bridging",
            shows="Go's stack from one address",
            product=("caddy", "unknown"),
            **BRIDGED,
        ),
    ],
    networks=4,
    per_network=4,
)
def caddy_bridging(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared"), port=8443, tls=True)
    run.front(balancer.caddy, targets, policy="random", target_tls=True)
    browse(users(run.net, 9, kinds=MIXED), PAGES[:4], think=0.2, **HTTPS)


@scenario(
    "unseen-apache-bridging",
    "Apache, by traffic, HTTPS to HTTPS",
    [
        output(
            "apache-traffic-bridging-targets",
            "all_targets",
            "bridging",
            shows="one stack from one address",
            product=("apache", "unknown"),
            **BRIDGED,
        ),
    ],
    networks=4,
    per_network=4,
)
def apache_bridging(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared"), port=8443, tls=True)
    run.front(balancer.apache, targets, method="bytraffic", target_tls=True)
    browse(users(run.net, 9, kinds=MIXED), PAGES[:4], think=0.2, **HTTPS)


@scenario(
    "unseen-nghttpx-bridging",
    "nghttpx, TLS to its targets",
    [
        output(
            "nghttpx-bridging-targets",
            "all_targets",
            "bridging",
            shows="one stack from one address",
            product=("nghttpx", "unknown"),
            **BRIDGED,
        ),
        output(
            "nghttpx-bridging-balancer",
            "load_balancer",
            "bridging",
            shows="hellos on both sides, all different",
            product=("nghttpx", "unknown"),
            committed=False,
            **BRIDGED,
        ),
    ],
    networks=4,
    per_network=3,
)
def nghttpx_bridging(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared"), port=8443, tls=True)
    run.front(balancer.nghttpx, targets, affinity="tls", add=("--insecure",))
    browse(users(run.net, 10, kinds=MIXED), PAGES[:4], think=0.2, **HTTPS)


@scenario(
    "unseen-tcp-reencrypts",
    "HAProxy in TCP mode ends TLS and opens its own to the targets, random",
    [
        output(
            "tcp-reencrypts-targets", "all_targets", "bridging", shows="one stack from one address", product=ANY_TCP, **BRIDGED
        ),
        output(
            "tcp-reencrypts-balancer",
            "load_balancer",
            "bridging",
            shows="hellos on both sides, all different",
            product=ANY_TCP,
            committed=False,
            **BRIDGED,
        ),
    ],
    networks=4,
    per_network=3,
)
def tcp_reencrypts(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared"), port=8443, tls=True)
    run.front(balancer.haproxy_tcp, targets, target_tls=True, algorithm="random")
    browse(users(run.net, 9, kinds=MIXED), PAGES[:3], fresh=True, think=0.2, **HTTPS)


@scenario(
    "unseen-nginx-bridging-browsers",
    "nginx, least_conn, kept-alive HTTPS to the targets, browsers",
    [
        output(
            "nginx-bridging-browsers-targets",
            "all_targets",
            "bridging",
            shows="one stack from one address",
            product=("nginx", "unknown"),
            **BRIDGED,
        ),
    ],
    networks=4,
    per_network=4,
)
def nginx_bridging_browsers(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared"), port=8443, tls=True)
    location = "proxy_http_version 1.1; proxy_set_header Connection '';"
    run.front(balancer.nginx, targets, target_tls=True, upstream="least_conn; keepalive 4;", location=location)
    browse(users(run.net, 9, kinds=BROWSERS), PAGES[:4], think=0.2, **HTTPS)


@scenario(
    "unseen-tcp-passes",
    "HAProxy in TCP mode, round robin; targets end TLS, each with tickets of its own",
    [
        output(
            "tcp-passes-one",
            "one_target",
            "passthrough",
            "none",
            "many stacks from one address; tickets of others are refused",
            healthy=True,
            seen="tls",
            mechanism_accept=("unknown",),
            product=ANY_TCP,
        ),
        output(
            "tcp-passes-targets",
            "all_targets",
            "passthrough",
            "none",
            "many stacks from one address; tickets are refused",
            healthy=True,
            seen="tls",
            mechanism_accept=("unknown",),
            product=ANY_TCP,
            committed=False,
        ),
    ],
    networks=5,
    per_network=3,
)
def tcp_passes(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared"), port=8443, tls=True)
    run.balance(balancer.haproxy_tcp(run.net, run.directory, targets))
    browse(users(run.net, 12, kinds=(*BROWSERS[:5], "requests", "okhttp")), PAGES[:4], fresh=True, think=0.2, **HTTPS)


@scenario(
    "unseen-nat-two",
    "kernel NAT in turn over two targets that end TLS 1.2 and 1.3",
    [
        output(
            "nat-two-targets",
            "all_targets",
            "passthrough",
            "none",
            "the clients' own stacks; addresses come back to either",
            healthy=True,
            seen="tls",
            product=NLB,
        ),
    ],
    networks=6,
    per_network=2,
    targets=2,
)
def nat_two(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared"), port=8443, tls=True)
    run.balance(balancer.Nlb(run.net, targets, by="round_robin", port=443))
    browse(users(run.net, 8, kinds=MIXED), PAGES[:3], fresh=True, think=0.2, **HTTPS)


@scenario(
    "unseen-caddy-plain",
    "Caddy over plain HTTP with lb_policy cookie",
    [
        output(
            "caddy-plain-targets",
            "all_targets",
            "none",
            "lb_cookie",
            "X-Forwarded-Proto http on every request",
            must=PLAIN,
            product=("caddy", "unknown"),
            cookie="lb",
            **SESSION,
        ),
        output(
            "caddy-plain-one",
            "one_target",
            "none",
            "lb_cookie",
            "one value of the cookie",
            must=PLAIN,
            product=("caddy", "unknown"),
            cookie="lb",
            mechanism_accept=("unknown",),
            target=2,
            **SESSION,
        ),
    ],
    networks=5,
    per_network=4,
)
def caddy_plain(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID", attributes=PLAIN_COOKIE))
    run.balance(balancer.caddy(run.net, run.directory, targets, certificate=None, policy="cookie"))
    people = users(run.net, 26, kinds=("plain-chrome", "requests", "plain-firefox"), addresses=14)
    note_people(run, people)
    browse(people, think=0.2)


@scenario(
    "unseen-nat-forged",
    "kernel NAT by address and port over plain HTTP; a fifth of the clients forge X-Forwarded-Proto and -For",
    [
        output(
            "nat-forged-targets",
            "all_targets",
            "none",
            "none",
            "the clients' own TCP stacks below plain HTTP; forged headers on some",
            must=PLAIN,
            product=NLB,
            **SESSION,
        ),
        output(
            "nat-forged-one",
            "one_target",
            "none",
            "none",
            "as on all, from one",
            must=PLAIN,
            product=NLB,
            mechanism_accept=("unknown",),
            **SESSION,
        ),
    ],
    networks=6,
    per_network=4,
)
def nat_forged(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared", attributes=PLAIN_COOKIE))
    run.balance(balancer.Nlb(run.net, targets, by="five_tuple", port=80, seed=3))
    people = users(run.net, 24, kinds=("plain-chrome", "requests", "okhttp", "plain-firefox"))
    for user in people[::5]:
        user.headers |= {"X-Forwarded-Proto": "https", "X-Forwarded-For": "8.8.8.8"}
    browse(people, PAGES[:5], fresh=True, think=0.2)


@scenario(
    "unseen-tcp-fetch",
    "HAProxy in TCP mode over plain HTTP; programs that send Sec-Fetch-Mode and offer br on any scheme",
    [
        output(
            "tcp-fetch-targets",
            "all_targets",
            mechanism="none",
            shows="one address, nothing added; programs with some of browsers' headers",
            mode_accept=("none",),
            really="none",
            product=ANY_TCP,
            **SESSION,
            **NO_HINT,
        ),
    ],
    networks=5,
    per_network=4,
)
def tcp_fetch(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared", attributes=PLAIN_COOKIE))
    run.balance(balancer.haproxy_tcp(run.net, run.directory, targets, port=80))
    people = users(run.net, 20, kinds=("requests",))
    for user in people:
        user.headers |= {
            "User-Agent": "node",
            "Accept-Encoding": "br, gzip, deflate",
            "Sec-Fetch-Mode": "cors",
            "Accept-Language": "*",
        }
    browse(people, PAGES[:5], fresh=True, think=0.2)
