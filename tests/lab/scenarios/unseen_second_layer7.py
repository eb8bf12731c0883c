"""Unseen, second wave: balancers that read HTTP, each seen from one target alone, which is how lbtop is used most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tests.lab import balancer
from tests.lab.client import BROWSERS, browse, users
from tests.lab.scenario import Run, scenario
from tests.lab.scenarios.common import HTTPS, MIXED, OFFLOAD, PLAIN, SESSION
from tests.lab.scenarios.unseen_common import HIDDEN_COOKIE, ONE_PIN, PLAIN_COOKIE, note_people, offloaded, output
from tests.lab.scenarios.unseen_haproxy import HAPROXY, PROTO
from tests.lab.scenarios.unseen_nginx import GUIDE, NGINX
from tests.lab.target import Application, Target

Start = Callable[[Run, list[Target]], None]
LOST = (*OFFLOAD, "session-lost")
SOFT = "request headers of the balancer's own, sessions"
NONE: dict[str, Any] = {"mechanism": "none"}
COOKIE: dict[str, Any] = {"mechanism": "lb_cookie"}


def nginx(upstream: str) -> Start:
    def start(run: Run, targets: list[Target]) -> None:
        run.front(balancer.nginx, targets, upstream=upstream, location=GUIDE)

    return start


def haproxy(algorithm: str, cookie: str = "") -> Start:
    def start(run: Run, targets: list[Target]) -> None:
        run.front(balancer.haproxy_http, targets, algorithm=algorithm, cookie=cookie, extra=PROTO)

    return start


def caddy(policy: str) -> Start:
    def start(run: Run, targets: list[Target]) -> None:
        run.front(balancer.caddy, targets, policy=policy)

    return start


def apache(method: str, sticky: str | None = None) -> Start:
    def start(run: Run, targets: list[Target]) -> None:
        run.front(balancer.apache, targets, method=method, sticky=sticky)

    return start


def envoy(**how: Any) -> Start:
    def start(run: Run, targets: list[Target]) -> None:
        run.balance(balancer.envoy(run.net, run.directory, targets, certificate=run.certificate, **how))

    return start


def nghttpx(run: Run, targets: list[Target]) -> None:
    add = ("--add-x-forwarded-for",)
    run.front(balancer.nghttpx, targets, add=add)


def varnish(choose: str, director: str) -> Start:
    def start(run: Run, targets: list[Target]) -> None:
        run.balance(balancer.varnish_by(run.net, run.directory, targets, choose=choose, director=director))
        proxy = "write-proxy-v2 = on"
        run.front(balancer.hitch, "127.0.0.1:6086", proxy=proxy)

    return start


def rails(index: int, token: str) -> str:
    return f"{token}%3D%3D--{token[:10]}"


SHARED = ("sid", {"sessions": "shared"})
LOCAL = ("JSESSIONID", {})
Row = tuple[str, str, Start, tuple[str, dict[str, Any]], Sequence[str], int, dict[str, Any]]
ROWS: tuple[Row, ...] = (
    (
        "haproxy-rails",
        "HAProxy, random, Rails' rolling cookies",
        haproxy("random"),
        ("_app_session", {"sessions": "shared", "rolling": True, "shape": rails}),
        MIXED,
        24,
        {**NONE, "mechanism_accept": ("unknown",), "product": HAPROXY},
    ),
    (
        "nginx-random",
        "nginx, random, sessions shared",
        nginx("random; keepalive 8;"),
        SHARED,
        MIXED,
        24,
        {**NONE, "product": NGINX},
    ),
    (
        "nginx-ip-hash-many",
        "nginx, ip_hash",
        nginx("ip_hash; keepalive 8;"),
        LOCAL,
        MIXED,
        36,
        {**ONE_PIN, "really": "source_ip", "product": NGINX},
    ),
    (
        "nginx-refused",
        "nginx, round robin, sessions local, 401 elsewhere",
        nginx("keepalive 8;"),
        ("sid", {"unknown": "401"}),
        BROWSERS,
        24,
        {**NONE, "must": LOST, "product": NGINX},
    ),
    (
        "caddy-least",
        "Caddy, least_conn, sessions shared",
        caddy("least_conn"),
        SHARED,
        MIXED,
        24,
        {**NONE, "product": ("caddy", "unknown")},
    ),
    (
        "caddy-cookie-default",
        "Caddy, cookie policy with its defaults",
        caddy("cookie"),
        LOCAL,
        BROWSERS,
        24,
        {**COOKIE, "cookie": "lb", "product": ("caddy", "unknown")},
    ),
    (
        "apache-balancer-route",
        "Apache, by traffic, ROUTEID",
        apache("bytraffic", "ROUTEID"),
        LOCAL,
        BROWSERS,
        24,
        {**COOKIE, "cookie": "ROUTEID", "product": ("apache", "unknown")},
    ),
    (
        "apache-busy",
        "Apache, by busyness, sessions shared",
        apache("bybusyness"),
        SHARED,
        BROWSERS,
        24,
        {**NONE, "product": ("apache", "unknown"), "may": ("hot-target",)},
    ),
    (
        "envoy-pin",
        "Envoy, stateful session cookie",
        envoy(cookie="pin"),
        LOCAL,
        MIXED,
        24,
        {**COOKIE, "cookie": "pin", "product": ("envoy", "unknown")},
    ),
    (
        "envoy-ring-forwarded",
        "Envoy, ring hash of the forwarded address",
        envoy(policy="RING_HASH", ring_by="x-forwarded-for"),
        LOCAL,
        MIXED,
        36,
        {**ONE_PIN, "really": "source_ip", "product": ("envoy", "unknown")},
    ),
    (
        "envoy-random-local",
        "Envoy, random, sessions local",
        envoy(policy="RANDOM"),
        LOCAL,
        MIXED,
        24,
        {**NONE, "must": LOST, "product": ("envoy", "unknown")},
    ),
    (
        "varnish-fallback",
        "Varnish behind hitch, random director, sessions shared",
        varnish("pool.backend()", "random"),
        SHARED,
        MIXED,
        24,
        {**NONE, "product": ("varnish", "unknown")},
    ),
    (
        "nghttpx-lost",
        "nghttpx, sessions local",
        nghttpx,
        LOCAL,
        MIXED,
        24,
        {**NONE, "must": LOST, "product": ("nghttpx", "unknown")},
    ),
    (
        "haproxy-insert",
        "HAProxy, least connections, inserted cookie",
        haproxy("leastconn", "SERVERID insert nocache secure"),
        LOCAL,
        MIXED,
        24,
        {**COOKIE, "cookie": "SERVERID", "product": HAPROXY},
    ),
    (
        "haproxy-indirect-again",
        "HAProxy, inserted cookie, indirect",
        haproxy("roundrobin", "SRV insert indirect nocache secure"),
        LOCAL,
        MIXED,
        24,
        {
            **HIDDEN_COOKIE,
            "mechanism_accept": ("app_cookie", "lb_cookie", "source_ip"),
            "really": "lb_cookie",
            "product": HAPROXY,
        },
    ),
)


def register(
    name: str, title: str, start: Start, app: tuple[str, dict[str, Any]], kinds: Sequence[str], count: int, truth: dict[str, Any]
) -> None:
    seen = offloaded(f"{name}-one", "one_target", shows=SOFT, **{"target": len(name) % 3, **truth})

    @scenario(f"unseen-{name}", f"{title}, HTTPS to HTTP", [seen], networks=6, per_network=4)
    def work(run: Run) -> None:
        cookie, how = app
        start(run, run.serve(Application(cookie=cookie, **how)))
        people = users(run.net, count, kinds=kinds, addresses=20, seed=len(title))
        note_people(run, people)
        browse(people, think=0.2, **HTTPS)


for row in ROWS:
    register(*row)


@scenario(
    "unseen-squid-carp",
    "Squid as an accelerator that hashes URLs (carp) over plain HTTP, sessions shared",
    [
        output(
            "squid-carp-one",
            "one_target",
            mechanism="none",
            shows="Via and X-Forwarded-For; some paths only",
            target=2,
            mode="unknown",
            mode_because="nothing tells whether the clients' own hop is TLS",
            mode_accept=("none",),
            really="none",
            mechanism_accept=("unknown",),
            product=("squid", "unknown"),
            may=("session-cookie-in-plaintext", "plaintext-backend-hop", "plaintext-end-to-end"),
            **SESSION,
        ),
    ],
    networks=5,
    per_network=4,
)
def squid_carp(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared", attributes=PLAIN_COOKIE))
    run.balance(balancer.squid(run.net, run.directory, targets, select="carp"), settle=1.5)
    steps = tuple(("GET", f"/goods/{number}", None) for number in (1, 2, 3, 5, 7, 11, 13, 17, 19, 23))
    browse(users(run.net, 20, kinds=("requests", "plain-chrome")), steps, think=0.2)


@scenario(
    "unseen-lighttpd-hash",
    "lighttpd with proxy.balance hash (of the path) over plain HTTP, sessions shared",
    [
        output(
            "lighttpd-hash-one",
            "one_target",
            "none",
            "none",
            "X-Forwarded-Proto http; some paths only",
            must=PLAIN,
            mechanism_accept=("unknown",),
            product=("lighttpd", "unknown"),
            target=1,
            **SESSION,
        ),
    ],
    networks=5,
    per_network=4,
)
def lighttpd_hash(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared", attributes=PLAIN_COOKIE))
    run.balance(balancer.lighttpd(run.net, run.directory, targets, balance="hash"))
    steps = tuple(("GET", f"/goods/{number}", None) for number in (2, 7, 11, 19, 23, 41))
    browse(users(run.net, 18, kinds=("requests", "plain-chrome")), steps, think=0.2)
