"""Unseen, second wave: pools that change, pins that end, users who move or never keep a cookie."""

from __future__ import annotations

import signal
from functools import partial

from tests.lab import balancer
from tests.lab.client import PAGES, browse, users
from tests.lab.scenario import Run, during, scenario
from tests.lab.scenarios.common import HTTPS, MIXED, NLB, OFFLOAD, PLAIN, SESSION
from tests.lab.scenarios.idle import pause_between
from tests.lab.scenarios.unseen_changes import MOVED
from tests.lab.scenarios.unseen_common import PLAIN_COOKIE, note_people, offloaded, output
from tests.lab.scenarios.unseen_faults import talk
from tests.lab.scenarios.unseen_haproxy import HAPROXY, PROTO
from tests.lab.scenarios.unseen_nginx import GUIDE, NGINX
from tests.lab.target import Application


@scenario(
    "unseen-caddy-target-stops",
    "Caddy with lb_policy cookie; one of three targets stops half-way, sessions shared, HTTPS to HTTP",
    [
        offloaded(
            "caddy-target-stops-targets",
            "all_targets",
            "lb_cookie",
            "the sessions of one target move to the others",
            product=("caddy", "unknown"),
            cookie="lb",
            must=(*OFFLOAD, "target-gone"),
            may=MOVED,
            extra={"breaks": {"causes": ["target_gone"]}},
        ),
    ],
    networks=5,
    per_network=4,
)
def caddy_target_stops(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared"))
    policy = "cookie\n lb_try_duration 2s\n fail_duration 60s"
    run.front(balancer.caddy, targets, policy=policy)
    people = users(run.net, 30, kinds=MIXED, addresses=16)
    note_people(run, people)
    during(lambda: browse(people, repeat=3, think=0.35, **HTTPS), (5.0, targets[1].stop))


@scenario(
    "unseen-envoy-target-stops",
    "Envoy with its stateful session cookie; one of three targets stops half-way, sessions local, HTTPS to HTTP",
    [
        offloaded(
            "envoy-target-stops-targets",
            "all_targets",
            "lb_cookie",
            "the sessions of one target are refused there and go nowhere else",
            product=("envoy", "unknown"),
            cookie="backend",
            must=(*OFFLOAD, "target-gone"),
            may=MOVED,
            mechanism_accept=("unknown",),
        ),
    ],
    networks=5,
    per_network=4,
)
def envoy_target_stops(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID"))
    run.front(balancer.envoy, targets, cookie="backend")
    people = users(run.net, 30, kinds=MIXED, addresses=16)
    note_people(run, people)
    during(lambda: browse(people, repeat=3, think=0.35, **HTTPS), (5.0, targets[2].stop))


@scenario(
    "unseen-haproxy-source-down",
    "HAProxy, balance source (map-based), households; one of four targets goes into maintenance, sessions shared, HTTPS to HTTP",
    [
        offloaded(
            "haproxy-source-down-targets",
            "all_targets",
            "source_ip",
            "most addresses move when the map changes",
            product=HAPROXY,
            must=OFFLOAD,
            may=MOVED,
            extra={"breaks": {"causes": ["target_gone", "remap"]}},
        ),
    ],
    networks=6,
    per_network=3,
    targets=4,
)
def haproxy_source_down(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared"))
    proxy = run.front(balancer.haproxy_http, targets, algorithm="source", extra=PROTO)
    people = users(run.net, 45, kinds=MIXED, addresses=17)
    note_people(run, people)
    during(
        lambda: browse(people, PAGES[:5], repeat=3, think=0.35, **HTTPS),
        (4.5, partial(proxy.admin, "set server pool/t3 state maint")),
    )


@scenario(
    "unseen-nat-grows",
    "kernel NAT by source address, households; a fourth target is added half-way, plain HTTP, sessions shared",
    [
        output(
            "nat-grows-targets",
            "all_targets",
            "none",
            "source_ip",
            "many addresses change target at one moment",
            must=(*PLAIN, "affinity-remap"),
            may=MOVED,
            product=NLB,
            extra={"breaks": {"causes": ["target_added", "remap"]}},
            **SESSION,
        ),
    ],
    networks=6,
    per_network=3,
    targets=4,
)
def nat_grows(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared", attributes=PLAIN_COOKIE))
    nlb = run.balance(balancer.Nlb(run.net, targets[:3], by="source_ip", port=80, seed=47))
    people = users(run.net, 30, kinds=("requests", "plain-chrome", "okhttp"), addresses=13)
    note_people(run, people)
    during(lambda: browse(people, PAGES[:3], repeat=4, fresh=True, think=0.3), (4.0, lambda: nlb.use(targets)))


@scenario(
    "unseen-nat-moves-over",
    "kernel NAT by source address, households; two targets are replaced by two others half-way, plain HTTP, sessions shared",
    [
        output(
            "nat-moves-over-targets",
            "all_targets",
            "none",
            "source_ip",
            "two targets receive nothing more, two others take over",
            must=PLAIN,
            may=MOVED,
            product=NLB,
            extra={"breaks": {"causes": ["targets_replaced"]}},
            **SESSION,
        ),
    ],
    networks=6,
    per_network=3,
    targets=4,
)
def nat_moves_over(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared", attributes=PLAIN_COOKIE))
    nlb = run.balance(balancer.Nlb(run.net, targets[:2], by="source_ip", port=80, seed=53))
    people = users(run.net, 30, kinds=("requests", "plain-firefox", "go"), addresses=13)
    note_people(run, people)
    during(lambda: browse(people, PAGES[:3], repeat=4, fresh=True, think=0.3), (4.0, lambda: nlb.use(targets[2:])))


@scenario(
    "unseen-haproxy-table-expires",
    "HAProxy, random, a stick table on the source that forgets after 3 s; users pause for 5 s, sessions shared, HTTPS to HTTP",
    [
        offloaded(
            "haproxy-table-expires-targets",
            "all_targets",
            "source_ip",
            "clients change target after pauses, and only then",
            product=HAPROXY,
            must=OFFLOAD,
            may=MOVED,
            mechanism_accept=("unknown",),
            extra={"breaks": {"causes": ["idle"]}},
        ),
    ],
    networks=6,
    per_network=3,
)
def haproxy_table_expires(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared"))
    run.front(
        balancer.haproxy_http,
        targets,
        algorithm="random",
        extra=PROTO + "  stick-table type ip size 10k expire 3s\n  stick on src\n",
    )
    people = users(run.net, 18, kinds=("requests", "okhttp", "go"))
    pause_between(people, lambda user, turn: 5.2 if turn % 4 == 3 else 0.3 + user.random.random(), 12, **HTTPS)


@scenario(
    "unseen-nginx-target-swaps",
    "nginx, ip_hash, three of six targets in use, then the other three (a deploy), sessions local, HTTPS to HTTP",
    [
        offloaded(
            "nginx-target-swaps-targets",
            "all_targets",
            "source_ip",
            "all sessions are answered as new by three others",
            product=NGINX,
            must=(*OFFLOAD, "session-lost"),
            may=MOVED,
            mechanism_accept=("unknown",),
            extra={"breaks": {"causes": ["targets_replaced"]}},
        ),
    ],
    networks=9,
    per_network=2,
    targets=6,
)
def nginx_target_swaps(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))

    def start(half: int) -> balancer.Balancer:
        pool = targets[3 * half : 3 * half + 3]
        upstream = "ip_hash; keepalive 8;"
        return balancer.nginx(run.net, run.directory, pool, certificate=run.certificate, upstream=upstream, location=GUIDE)

    first = run.balance(start(0))

    def swap() -> None:
        path = run.directory / "nginx.conf"
        text = path.read_text()
        for old, new in zip(targets[:3], targets[3:], strict=True):
            text = text.replace(old.name, new.name)
        path.write_text(text)
        first.send(signal.SIGHUP)

    people = users(run.net, 36, kinds=("requests", "okhttp", "go"), addresses=17)
    note_people(run, people)
    during(lambda: browse(people, PAGES[:5], repeat=3, think=0.35, fresh=True, **HTTPS), (4.5, swap))


@scenario(
    "unseen-haproxy-crawlers",
    "HAProxy with an inserted cookie; a third of the clients never return one, HTTPS to HTTP",
    [
        offloaded(
            "haproxy-crawlers-targets",
            "all_targets",
            "lb_cookie",
            "clients that return the cookie stay, the others go round",
            product=HAPROXY,
            cookie="srv",
            must=(*OFFLOAD, "cookies-ignored"),
        ),
    ],
    networks=6,
    per_network=5,
)
def crawlers(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID"))
    run.front(balancer.haproxy_http, targets, cookie="srv insert nocache secure", extra=PROTO)
    people = users(run.net, 30, kinds=("requests", "chrome131", "go"))
    for user in people:
        user.keep_cookies = user.kind != "go"
    browse(people, repeat=2, think=0.2, **HTTPS)


@scenario(
    "unseen-nat-cuts",
    "kernel NAT by source address that forgets after 5 s of silence; TLS WebSockets",
    [
        output(
            "nat-cuts-balancer",
            "load_balancer",
            "passthrough",
            "unknown",
            "RST on the clients' side after 5 s of silence",
            product=NLB,
            seen="tls",
            must=("idle-reset",),
            may=("resets",),
            mechanism_accept=("source_ip", "none"),
            mechanism_because="each user opens one connection",
            extra={"idle": {"limit_s": 5.0, "ended_by": "rst"}},
        ),
    ],
    networks=6,
    per_network=4,
)
def nat_cuts(run: Run) -> None:
    targets = run.serve(Application(cookie=None), port=8443, tls=True)
    nlb = run.balance(balancer.Nlb(run.net, targets, by="source_ip", port=443, seed=61))
    nlb.forget_idle(5)
    talk(users(run.net, 24, kinds=("requests", "okhttp")), port=443, tls=True, gaps=(0.5, 1.5, 3.0, 4.2, 6.3, 7.0))


@scenario(
    "unseen-apache-early-close",
    "Apache keeps connections to targets that close them after 2 s, HTTPS to HTTP",
    [
        offloaded(
            "apache-early-close-targets",
            "all_targets",
            "none",
            "the target's FIN comes 2 s after its last answer",
            product=("apache", "unknown"),
            mechanism_accept=("unknown",),
            must=(*OFFLOAD, "target-closes-first"),
            may=("keepalive-race",),
            extra={"idle": {"target_closes_after_s": 2.0}},
        ),
    ],
    networks=5,
    per_network=5,
)
def apache_early_close(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared", keepalive_s=2.0))
    run.front(balancer.apache, targets)
    people = users(run.net, 24, kinds=("requests", "chrome131", "go"))
    pause_between(people, lambda user, turn: user.random.choice((0.2, 0.6, 1.4, 4.0, 5.0)), 7, **HTTPS)
