"""Unseen: pools that change while clients are pinned, cookies that end, users who lose their session."""

from __future__ import annotations

import signal
from functools import partial

from tests.lab import balancer
from tests.lab.client import PAGES, browse, users
from tests.lab.scenario import Run, during, scenario
from tests.lab.scenarios.common import HTTPS, MIXED, NLB, OFFLOAD, PLAIN, SESSION
from tests.lab.scenarios.idle import pause_between
from tests.lab.scenarios.unseen_common import PLAIN_COOKIE, note_people, offloaded, output
from tests.lab.scenarios.unseen_haproxy import HAPROXY, PROTO
from tests.lab.scenarios.unseen_nginx import GUIDE, NGINX
from tests.lab.target import Application, Target

MOVED = ("affinity-remap", "target-gone", "hot-target", "resets", "refused", "health-check-failing", "draining-target")


@scenario(
    "unseen-nginx-target-added",
    "nginx with `hash $remote_addr` (not consistent) reloaded with a fourth target half-way, sessions shared, HTTPS to HTTP",
    [
        offloaded(
            "nginx-target-added-targets",
            "all_targets",
            "unknown",
            "three addresses in four change target at one moment",
            product=NGINX,
            mechanism_accept=("source_ip",),
            mechanism_because="every user has an address of their own: a hash of the session looks the same",
            mechanism_candidates=("source_ip", "app_cookie", "lb_cookie"),
            really="source_ip",
            must=(*OFFLOAD, "affinity-remap"),
            may=("hot-target",),
            extra={"breaks": {"causes": ["target_added", "remap"]}},
        ),
    ],
    networks=6,
    per_network=6,
    targets=4,
)
def nginx_target_added(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared"))

    def start(pool: list[Target]) -> balancer.Balancer:
        return balancer.nginx(
            run.net,
            run.directory,
            pool,
            certificate=run.certificate,
            upstream="hash $remote_addr; keepalive 16;",
            location=GUIDE,
        )

    first = run.balance(start(targets[:3]))

    def reload() -> None:
        path = run.directory / "nginx.conf"
        path.write_text(path.read_text().replace(f"{targets[2].name} ;", f"{targets[2].name} ;\n    server {targets[3].name} ;"))
        first.send(signal.SIGHUP)

    people = users(run.net, 24, kinds=("requests", "okhttp", "go"))
    during(lambda: browse(people, repeat=3, think=0.4, fresh=True, **HTTPS), (5.0, reload))


@scenario(
    "unseen-nginx-consistent-removed",
    "nginx with `hash $remote_addr consistent`; one of four targets stops half-way, sessions local, HTTPS to HTTP",
    [
        offloaded(
            "nginx-consistent-removed-targets",
            "all_targets",
            "unknown",
            "the addresses of one target move to the others, and only they",
            product=NGINX,
            mechanism_accept=("source_ip",),
            mechanism_because="every user has an address of their own: a hash of the session looks the same",
            mechanism_candidates=("source_ip", "app_cookie", "lb_cookie"),
            really="source_ip",
            must=(*OFFLOAD, "target-gone", "session-lost"),
            may=MOVED,
            extra={"breaks": {"causes": ["target_gone"]}},
        ),
        offloaded(
            "nginx-consistent-removed-one",
            "one_target",
            "unknown",
            "from a target that stays: sessions issued elsewhere arrive all at once and are answered as new",
            product=NGINX,
            really="source_ip",
            must=(*OFFLOAD, "session-lost"),
            may=MOVED,
            target=2,
            mechanism_accept=("source_ip",),
            mechanism_because="one target sees hits only",
        ),
    ],
    networks=6,
    per_network=6,
    targets=4,
)
def nginx_consistent_removed(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    upstream = "hash $remote_addr consistent; keepalive 16;"
    options = ["max_fails=1 fail_timeout=60s"] * 4
    run.front(balancer.nginx, targets, upstream=upstream, location=GUIDE, server_options=options)
    people = users(run.net, 26, kinds=MIXED)
    during(lambda: browse(people, repeat=3, think=0.4, **HTTPS), (5.0, targets[0].stop))


@scenario(
    "unseen-haproxy-maintenance",
    "HAProxy with an inserted cookie; one target is put into maintenance half-way, sessions local, HTTPS to HTTP",
    [
        offloaded(
            "haproxy-maintenance-targets",
            "all_targets",
            "lb_cookie",
            "the sessions of one target are answered as new by the others",
            product=HAPROXY,
            cookie="SRVNAME",
            must=(*OFFLOAD, "target-gone", "session-lost"),
            may=MOVED,
            extra={"breaks": {"causes": ["target_gone"]}},
        ),
        offloaded(
            "haproxy-maintenance-one",
            "one_target",
            "lb_cookie",
            "from a target that stays",
            product=HAPROXY,
            cookie="SRVNAME",
            must=(*OFFLOAD, "session-lost"),
            may=MOVED,
            target=1,
            mechanism_accept=("unknown",),
        ),
    ],
    networks=5,
    per_network=5,
)
def haproxy_maintenance(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID"))
    proxy = run.front(
        balancer.haproxy_http,
        targets,
        cookie="SRVNAME insert nocache secure",
        extra=PROTO + "  option redispatch\n",
    )
    people = users(run.net, 24, kinds=MIXED, addresses=15)
    note_people(run, people)
    during(
        lambda: browse(people, repeat=3, think=0.4, **HTTPS),
        (5.0, partial(proxy.admin, "set server pool/t2 state maint")),
    )


@scenario(
    "unseen-haproxy-blue-green",
    "HAProxy with an inserted cookie; three targets are replaced by three others half-way, sessions local, HTTPS to HTTP",
    [
        offloaded(
            "haproxy-blue-green-targets",
            "all_targets",
            "lb_cookie",
            "three targets receive nothing more, three others answer their sessions as new",
            product=HAPROXY,
            cookie="node",
            must=(*OFFLOAD, "session-lost"),
            may=MOVED,
            extra={"breaks": {"causes": ["targets_replaced"]}},
        ),
    ],
    networks=5,
    per_network=5,
    targets=6,
)
def haproxy_blue_green(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    proxy = run.front(balancer.haproxy_http, targets, cookie="node insert nocache secure", extra=PROTO, checks=False)

    def serve(active: range) -> None:
        for index in range(6):
            proxy.admin(f"set server pool/t{index} state {'ready' if index in active else 'maint'}")

    serve(range(3))
    people = users(run.net, 24, kinds=MIXED, addresses=15)
    note_people(run, people)
    during(lambda: browse(people, repeat=3, think=0.4, **HTTPS), (5.0, lambda: serve(range(3, 6))))


@scenario(
    "unseen-haproxy-maxlife",
    "HAProxy whose cookie is good for 8 s from its issue (maxlife), random choice, sessions shared, HTTPS to HTTP",
    [
        offloaded(
            "haproxy-maxlife-targets",
            "all_targets",
            "lb_cookie",
            "busy sessions change target some 8 s after they began",
            product=HAPROXY,
            cookie="pin",
            must=OFFLOAD,
            may=("affinity-remap", "stickiness-not-working"),
            mechanism_accept=("unknown",),
            extra={"breaks": {"causes": ["cookie_expired"]}},
        ),
    ],
    networks=5,
    per_network=6,
)
def haproxy_maxlife(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared"))
    run.front(balancer.haproxy_http, targets, algorithm="random", cookie="pin insert nocache secure maxlife 8s", extra=PROTO)
    people = users(run.net, 26, kinds=("requests", "okhttp", "go"))
    pause_between(people, lambda user, turn: 0.6 + user.random.random(), 22, **HTTPS)


@scenario(
    "unseen-haproxy-maxidle",
    "HAProxy whose cookie is good for 4 s after its last use (maxidle), random choice, sessions shared, HTTPS to HTTP",
    [
        offloaded(
            "haproxy-maxidle-targets",
            "all_targets",
            "lb_cookie",
            "sessions change target after pauses of more than some 4 to 8 s, and only then",
            product=HAPROXY,
            cookie="pin",
            must=OFFLOAD,
            may=("affinity-remap",),
            mechanism_accept=("unknown",),
            extra={"breaks": {"causes": ["cookie_expired"]}},
        ),
    ],
    networks=5,
    per_network=6,
)
def haproxy_maxidle(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared"))
    run.front(balancer.haproxy_http, targets, algorithm="random", cookie="pin insert nocache secure maxidle 4s", extra=PROTO)
    people = users(run.net, 28, kinds=("requests", "okhttp", "go"))
    pause_between(people, lambda user, turn: 9.5 if turn % 5 == 4 else 0.3 + user.random.random(), 12, **HTTPS)


@scenario(
    "unseen-caddy-forgotten",
    "Caddy, round robin: somebody forgot stickiness, sessions are known to one target only, 401 elsewhere, HTTPS to HTTP",
    [
        offloaded(
            "caddy-forgotten-targets",
            "all_targets",
            "none",
            "sessions are refused wherever they were not issued",
            product=("caddy", "unknown"),
            must=(*OFFLOAD, "session-lost"),
        ),
        offloaded(
            "caddy-forgotten-one",
            "one_target",
            "none",
            "sessions issued elsewhere arrive and are refused",
            product=("caddy", "unknown"),
            must=(*OFFLOAD, "session-lost"),
            target=1,
        ),
    ],
    networks=5,
    per_network=5,
)
def caddy_forgotten(run: Run) -> None:
    targets = run.serve(Application(cookie="sessionid", unknown="401"))
    run.front(balancer.caddy, targets, policy="round_robin")
    browse(users(run.net, 25, kinds=MIXED, seed=43), think=0.25, **HTTPS)


@scenario(
    "unseen-nat-replaced",
    "kernel NAT by source address; two of four targets are taken out half-way, plain HTTP, sessions shared",
    [
        output(
            "nat-replaced-targets",
            "all_targets",
            "none",
            "source_ip",
            "two targets receive nothing new, half and more of the addresses move at one moment",
            must=PLAIN,
            may=MOVED,
            product=NLB,
            extra={"breaks": {"causes": ["target_gone", "remap", "targets_replaced"]}},
            **SESSION,
        ),
    ],
    networks=6,
    per_network=6,
    targets=4,
)
def nat_replaced(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared", attributes=PLAIN_COOKIE))
    nlb = run.balance(balancer.Nlb(run.net, targets, by="source_ip", port=80, seed=31))
    people = users(run.net, 24, kinds=("requests", "plain-chrome", "okhttp"))
    during(lambda: browse(people, PAGES, fresh=True, think=0.3, repeat=3), (3.5, lambda: nlb.use(targets[:2])))
