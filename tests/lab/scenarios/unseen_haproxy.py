"""Unseen: HAProxy as itself, with the stickiness its manual describes beyond a plain inserted cookie."""

from __future__ import annotations

from tests.lab import balancer
from tests.lab.balancer.haproxy import servers, start
from tests.lab.client import BROWSERS, PAGES, browse, users
from tests.lab.net import SECOND_NODE
from tests.lab.programs import aiohttp, curl, node
from tests.lab.scenario import Run, scenario
from tests.lab.scenarios.common import HTTPS, MIXED, OFFLOAD, PLAIN, SESSION
from tests.lab.scenarios.unseen_common import (
    HIDDEN_COOKIE,
    INSIDE_TLS,
    ONE_PIN,
    PLAIN_COOKIE,
    note_people,
    offloaded,
    output,
    with_bearer,
)
from tests.lab.target import Application, Target

PROTO = "  http-request set-header X-Forwarded-Proto https if { ssl_fc }\n"
HAPROXY = ("haproxy", "unknown")


@scenario(
    "unseen-haproxy-stick-src",
    "HAProxy, least connections with a stick table on the source address, HTTPS to HTTP",
    [
        offloaded(
            "haproxy-stick-src-targets", "all_targets", "source_ip", "all users of an address meet one target", product=HAPROXY
        ),
        offloaded("haproxy-stick-src-one", "one_target", shows="sessions stay", really="source_ip", product=HAPROXY, **ONE_PIN),
    ],
    networks=5,
    per_network=4,
)
def stick_src(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID"))
    table = "  stick-table type ip size 10k expire 30m\n  stick on src\n"
    run.front(balancer.haproxy_http, targets, algorithm="leastconn", extra=PROTO + table)
    people = users(run.net, 40, kinds=(*BROWSERS[3:7], "requests"), addresses=16)
    note_people(run, people)
    browse(people, PAGES[:5], think=0.25, start_within=3, **HTTPS)


@scenario(
    "unseen-haproxy-stick-session",
    "HAProxy with a stick table that learns the application's PHPSESSID, HTTPS to HTTP",
    [
        offloaded(
            "haproxy-stick-session-targets",
            "all_targets",
            shows="sessions stay, addresses do not",
            really="app_cookie",
            product=HAPROXY,
            **HIDDEN_COOKIE,
        ),
        offloaded(
            "haproxy-stick-session-two",
            "two_targets",
            shows="two of three targets",
            really="app_cookie",
            product=HAPROXY,
            **{**HIDDEN_COOKIE, "mechanism_accept": ("app_cookie", "lb_cookie", "source_ip")},
        ),
    ],
    networks=4,
    per_network=3,
)
def stick_session(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID"))
    table = "  stick-table type string len 64 size 10k expire 30m\n"
    table += "  stick on req.cook(PHPSESSID)\n  stick store-response res.cook(PHPSESSID)\n"
    run.front(balancer.haproxy_http, targets, algorithm="random", extra=PROTO + table)
    people = users(run.net, 36, kinds=MIXED, addresses=12)
    note_people(run, people)
    browse(people, think=0.2, **HTTPS)


@scenario(
    "unseen-haproxy-prefix",
    "HAProxy that prefixes the application's connect.sid with the server's name and takes it off again, HTTPS to HTTP",
    [
        offloaded(
            "haproxy-prefix-targets", "all_targets", shows="sessions stay", really="app_cookie", product=HAPROXY, **HIDDEN_COOKIE
        ),
    ],
    networks=4,
    per_network=3,
)
def prefix(run: Run) -> None:
    targets = run.serve(Application(cookie="connect.sid", shape=lambda index, token: f"s%3A{token}.c2lnbmF0dXJl"))
    run.front(balancer.haproxy_http, targets, cookie="connect.sid prefix nocache", extra=PROTO)
    people = users(run.net, 26, addresses=10)
    node(people, scheme="https", port=443, rounds=1)


@scenario(
    "unseen-haproxy-api",
    "HAProxy, random of two, in front of an API whose clients bring bearer tokens and no cookie, HTTPS to HTTP",
    [
        offloaded(
            "haproxy-api-targets",
            "all_targets",
            "none",
            "requests of one address go everywhere",
            kinds=("bearer_token",),
            must=(*OFFLOAD, "credentials-in-plaintext"),
            product=HAPROXY,
        ),
        offloaded(
            "haproxy-api-one",
            "one_target",
            "unknown",
            "no session tells what the others got",
            kinds=("bearer_token",),
            must=(*OFFLOAD, "credentials-in-plaintext"),
            product=HAPROXY,
            really="none",
            mechanism_accept=("none",),
            mechanism_because="nothing at one target tells what the others got",
        ),
    ],
    networks=5,
    per_network=5,
)
def api(run: Run) -> None:
    targets = run.serve(Application(cookie=None))
    run.front(balancer.haproxy_http, targets, algorithm="random(2)", extra=PROTO)
    browse(with_bearer(users(run.net, 24, kinds=("okhttp", "go", "requests")), run), repeat=2, think=0.2, **HTTPS)


@scenario(
    "unseen-haproxy-random-django",
    "HAProxy, random, Django's sessionid and csrftoken kept in a shared database, HTTPS to HTTP",
    [
        offloaded("haproxy-django-targets", "all_targets", "none", "sessions go round", product=HAPROXY),
        offloaded(
            "haproxy-django-one", "one_target", "none", "two in three sessions were issued elsewhere", product=HAPROXY, target=2
        ),
    ],
    networks=6,
    per_network=4,
)
def random_django(run: Run) -> None:
    also = ("csrftoken=Zr0c2l1aW5kZXBlbmRlbnQwMTIzNDU2Nzg5; Path=/; SameSite=Lax; Secure",)
    targets = run.serve(Application(cookie="sessionid", sessions="shared", also=also))
    run.front(balancer.haproxy_http, targets, algorithm="random", extra=PROTO)
    browse(users(run.net, 30, kinds=(*BROWSERS[5:], "requests")), think=0.2, **HTTPS)


@scenario(
    "unseen-haproxy-tenant",
    "HAProxy that hashes the header X-Tenant, eight tenants with several users each, HTTPS to HTTP",
    [
        offloaded(
            "haproxy-tenant-targets",
            "all_targets",
            "none",
            "tenants stay; addresses and sessions follow their tenants",
            mechanism_accept=("unknown",),
            may=("hot-target",),
            product=HAPROXY,
        ),
    ],
    networks=5,
    per_network=5,
)
def tenant(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared"))
    run.front(balancer.haproxy_http, targets, algorithm="hdr(x-tenant)", extra=PROTO)
    people = users(run.net, 32, kinds=MIXED, addresses=20)
    for index, user in enumerate(people):
        user.headers["X-Tenant"] = f"tenant-{index % 8}"
    browse(people, PAGES[:5], think=0.2, **HTTPS)


@scenario(
    "unseen-haproxy-dynamic-cookie",
    "HAProxy that inserts a cookie with dynamic values (a hash of key and server address), HTTPS to HTTP",
    [
        offloaded(
            "haproxy-dynamic-targets", "all_targets", "lb_cookie", "one value per target", product=HAPROXY, cookie="srv_id"
        ),
        offloaded(
            "haproxy-dynamic-one",
            "one_target",
            "lb_cookie",
            "one value for all",
            product=HAPROXY,
            cookie="srv_id",
            mechanism_accept=("unknown",),
        ),
        offloaded(
            "haproxy-dynamic-balancer",
            "load_balancer",
            "lb_cookie",
            "Set-Cookie inside TLS, its echo behind",
            product=HAPROXY,
            cookie="srv_id",
            committed=False,
        ),
    ],
    networks=5,
    per_network=4,
)
def dynamic_cookie(run: Run) -> None:
    targets = run.serve(Application(cookie="ASP.NET_SessionId"))
    run.front(
        balancer.haproxy_http,
        targets,
        algorithm="leastconn",
        cookie="srv_id insert dynamic",
        extra=PROTO + "  dynamic-cookie-key correcthorse\n",
    )
    people = users(run.net, 18, kinds=MIXED, addresses=9)
    note_people(run, people)
    browse(people, think=0.2, **HTTPS)


@scenario(
    "unseen-haproxy-plain",
    "HAProxy over plain HTTP with an inserted cookie; its clients are Python's aiohttp and curl",
    [
        output(
            "haproxy-plain-targets",
            "all_targets",
            "none",
            "lb_cookie",
            "X-Forwarded-Proto http on every request",
            must=PLAIN,
            product=HAPROXY,
            cookie="backend",
            **SESSION,
        ),
        output(
            "haproxy-plain-one",
            "one_target",
            "none",
            "lb_cookie",
            "one value of the cookie",
            must=PLAIN,
            product=HAPROXY,
            cookie="backend",
            mechanism_accept=("unknown",),
            target=1,
            **SESSION,
        ),
    ],
    networks=5,
    per_network=5,
)
def plain(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID", attributes=PLAIN_COOKIE))
    proto = "  http-request set-header X-Forwarded-Proto http\n"
    run.balance(
        balancer.haproxy_http(
            run.net, run.directory, targets, certificate=None, cookie="backend insert nocache httponly", extra=proto
        )
    )
    people = users(run.net, 24, kinds=("requests",), addresses=14)
    aiohttp(people[:14], scheme="http", port=80, rounds=1)
    curl(people[14:], run.directory, scheme="http", port=80)


@scenario(
    "unseen-haproxy-h2-bridging",
    "HAProxy that speaks HTTP/2 over TLS to stock nginx",
    [
        output(
            "haproxy-h2-bridging-one",
            "one_target",
            "bridging",
            shows="few TLS connections with ALPN h2 from one address",
            healthy=True,
            really="none",
            servers_agree=False,
            product=HAPROXY,
            mode_accept=("unknown",),
            **INSIDE_TLS,
        ),
        output(
            "haproxy-h2-bridging-balancer",
            "load_balancer",
            "bridging",
            shows="hellos on both sides, all different",
            healthy=True,
            really="none",
            servers_agree=False,
            product=HAPROXY,
            committed=False,
            **INSIDE_TLS,
        ),
    ],
    networks=4,
    per_network=4,
)
def h2_bridging(run: Run) -> None:
    targets = run.serve_nginx(port=8443, tls=True, listen="http2", body=500)
    run.front(balancer.haproxy_http, targets, target_tls=True, checks=False, server_options=" alpn h2")
    browse(users(run.net, 9, kinds=BROWSERS), PAGES[:4], **HTTPS)


@scenario(
    "unseen-stunnel-haproxy",
    "stunnel ends TLS and hands over PROXY headers to HAProxy, which inserts a cookie, to HTTP",
    [
        offloaded(
            "stunnel-haproxy-targets",
            "all_targets",
            "lb_cookie",
            "X-Forwarded-For of the clients, a cookie of the balancer",
            product=HAPROXY,
            cookie="LBROUTE",
        ),
        offloaded(
            "stunnel-haproxy-one",
            "one_target",
            "lb_cookie",
            "as on all, from one",
            product=HAPROXY,
            cookie="LBROUTE",
            mechanism_accept=("unknown",),
        ),
    ],
    networks=5,
    per_network=4,
)
def stunnel_haproxy(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    body = (
        f"frontend in\n  mode http\n  bind {SECOND_NODE}:8000 accept-proxy\n  option forwardfor\n"
        "  http-request set-header X-Forwarded-Proto https\n  default_backend pool\n"
        "backend pool\n  mode http\n  balance roundrobin\n  cookie LBROUTE insert nocache secure\n"
    )
    run.balance(start(run.net, run.directory, body + servers(targets, "check inter 3s", cookies=True), [8000]))
    inner = Target(run.net.lb, 0, SECOND_NODE, 8000, run.app)  # only its name: the balancer listens there
    run.front(balancer.stunnel, [inner], proxy=True)
    people = users(run.net, 26, kinds=BROWSERS[2:], addresses=15)
    note_people(run, people)
    browse(people, think=0.2, **HTTPS)
