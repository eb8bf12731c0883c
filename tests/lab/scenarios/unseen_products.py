"""Unseen: Envoy's other policies, Varnish's hashing directors, nghttpx, pen, and users behind several chains of them."""

from __future__ import annotations

from tests.lab import balancer
from tests.lab.client import BROWSERS, PAGES, browse, users
from tests.lab.programs import aiohttp, node
from tests.lab.scenario import Run, scenario
from tests.lab.scenarios.common import HTTPS, MIXED, SESSION
from tests.lab.scenarios.unseen_common import (
    HIDDEN_COOKIE,
    INSIDE_TLS,
    NO_HINT,
    ONE_PIN,
    PLAIN_COOKIE,
    note_people,
    offloaded,
    output,
)
from tests.lab.target import Application

ENVOY = ("envoy", "unknown")
VARNISH = ("varnish", "unknown")
NGHTTPX = ("nghttpx", "unknown")


@scenario(
    "unseen-envoy-maglev",
    "Envoy with Maglev over the source address, HTTPS to HTTP",
    [
        offloaded(
            "envoy-maglev-targets", "all_targets", "source_ip", "addresses keep their target", product=ENVOY, may=("hot-target",)
        ),
        offloaded(
            "envoy-maglev-one", "one_target", shows="sessions stay", really="source_ip", product=ENVOY, target=1, **ONE_PIN
        ),
        offloaded(
            "envoy-maglev-two",
            "two_targets",
            "source_ip",
            "two of three targets",
            product=ENVOY,
            mechanism_accept=("unknown",),
            may=("hot-target",),
        ),
    ],
    networks=6,
    per_network=4,
)
def envoy_maglev(run: Run) -> None:
    targets = run.serve(Application(cookie="sessionid"))
    hash_by = {"connection_properties": {"source_ip": True}}
    run.front(balancer.envoy, targets, policy="MAGLEV", hash_by=hash_by)
    people = users(run.net, 44, kinds=MIXED, addresses=22)
    note_people(run, people)
    browse(people, PAGES[:4], think=0.2, **HTTPS)


@scenario(
    "unseen-envoy-generated-cookie",
    "Envoy with a ring hash over a cookie that it hands out itself, HTTPS to HTTP",
    [
        offloaded(
            "envoy-generated-cookie-targets",
            "all_targets",
            shows="a cookie nobody set in view comes back, one value per user, and stays",
            product=ENVOY,
            really="lb_cookie",
            **HIDDEN_COOKIE,
        ),
    ],
    networks=5,
    per_network=3,
)
def envoy_generated_cookie(run: Run) -> None:
    targets = run.serve(Application(cookie="sid"))
    hash_by = {"cookie": {"name": "user-pin", "ttl": "3600s", "path": "/"}}
    run.front(balancer.envoy, targets, policy="RING_HASH", hash_by=hash_by)
    people = users(run.net, 34, kinds=MIXED, addresses=13)
    note_people(run, people)
    browse(people, think=0.2, **HTTPS)


@scenario(
    "unseen-envoy-least",
    "Envoy with LEAST_REQUEST, sessions shared, HTTPS to HTTP",
    [
        offloaded(
            "envoy-least-one", "one_target", "none", "two in three sessions were issued elsewhere", product=ENVOY, target=2
        ),
        offloaded(
            "envoy-least-balancer",
            "load_balancer",
            "none",
            "both sides",
            product=ENVOY,
            committed=False,
        ),
    ],
    networks=5,
    per_network=5,
)
def envoy_least(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID", sessions="shared"))
    run.front(balancer.envoy, targets, policy="LEAST_REQUEST")
    browse(users(run.net, 18, kinds=(*BROWSERS[5:9], "okhttp")), think=0.2, **HTTPS)


@scenario(
    "unseen-envoy-bridging",
    "Envoy with Maglev over the source address and TLS to its targets",
    [
        output(
            "envoy-maglev-bridging-targets",
            "all_targets",
            "bridging",
            shows="few TLS connections of one stack",
            healthy=True,
            really="source_ip",
            product=ENVOY,
            **INSIDE_TLS,
        ),
        output(
            "envoy-maglev-bridging-balancer",
            "load_balancer",
            "bridging",
            shows="hellos on both sides, all different",
            healthy=True,
            really="source_ip",
            product=ENVOY,
            committed=False,
            **INSIDE_TLS,
        ),
    ],
    networks=4,
    per_network=4,
)
def envoy_bridging(run: Run) -> None:
    targets = run.serve(Application(cookie="sid"), port=8443, tls=True)
    hash_by = {"connection_properties": {"source_ip": True}}
    run.front(balancer.envoy, targets, policy="MAGLEV", hash_by=hash_by, target_tls=True)
    browse(users(run.net, 10, kinds=MIXED), PAGES[:4], think=0.2, **HTTPS)


@scenario(
    "unseen-varnish-shard",
    "hitch in front of Varnish with a shard director over the client's address, HTTPS to HTTP",
    [
        offloaded(
            "varnish-shard-targets",
            "all_targets",
            "source_ip",
            "addresses keep their target",
            product=VARNISH,
            may=("hot-target",),
        ),
        offloaded("varnish-shard-one", "one_target", shows="sessions stay", really="source_ip", product=VARNISH, **ONE_PIN),
    ],
    networks=6,
    per_network=4,
)
def varnish_shard(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    choose = "pool.backend(by=KEY, key=pool.key(bereq.http.X-Forwarded-For))"
    run.balance(balancer.varnish_by(run.net, run.directory, targets, choose=choose))
    proxy = "write-proxy-v2 = on"
    run.front(balancer.hitch, "127.0.0.1:6086", proxy=proxy)
    people = users(run.net, 42, kinds=BROWSERS, addresses=21)
    note_people(run, people)
    browse(people, PAGES[:4], think=0.2, **HTTPS)


@scenario(
    "unseen-varnish-random",
    "hitch in front of Varnish with a random director, sessions known to one target only, HTTPS to HTTP",
    [
        offloaded(
            "varnish-random-targets",
            "all_targets",
            "none",
            "sessions are answered as new wherever they were not issued",
            product=VARNISH,
            must=("plaintext-backend-hop", "session-lost"),
        ),
        offloaded(
            "varnish-random-one",
            "one_target",
            "none",
            "sessions arrive that this target did not issue",
            product=VARNISH,
            must=("plaintext-backend-hop", "session-lost"),
        ),
    ],
    networks=5,
    per_network=5,
)
def varnish_random(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID"))
    run.balance(balancer.varnish_by(run.net, run.directory, targets, choose="pool.backend()", director="round_robin"))
    proxy = "write-proxy-v2 = on"
    run.front(balancer.hitch, "127.0.0.1:6086", proxy=proxy)
    browse(users(run.net, 23, kinds=MIXED, seed=41), think=0.25, **HTTPS)


@scenario(
    "unseen-nghttpx-cookie",
    "nghttpx with cookie affinity, HTTPS to HTTP",
    [
        offloaded(
            "nghttpx-cookie-targets",
            "all_targets",
            shows="a cookie nobody knows by name comes back, one value per user or target, and stays",
            product=NGHTTPX,
            really="lb_cookie",
            **HIDDEN_COOKIE,
        ),
    ],
    networks=5,
    per_network=3,
)
def nghttpx_cookie(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    affinity = "affinity=cookie;affinity-cookie-name=stay;affinity-cookie-path=/"
    run.front(balancer.nghttpx, targets, affinity=affinity, add=("--add-x-forwarded-for",))
    people = users(run.net, 34, kinds=MIXED, addresses=13)
    note_people(run, people)
    browse(people, think=0.2, **HTTPS)


@scenario(
    "unseen-nghttpx-ip",
    "nghttpx with affinity by address, HTTPS to HTTP",
    [
        offloaded(
            "nghttpx-ip-targets", "all_targets", "source_ip", "addresses keep their target", product=NGHTTPX, may=("hot-target",)
        ),
        offloaded(
            "nghttpx-ip-one", "one_target", shows="sessions stay", really="source_ip", product=NGHTTPX, target=1, **ONE_PIN
        ),
    ],
    networks=6,
    per_network=4,
)
def nghttpx_ip(run: Run) -> None:
    targets = run.serve(Application(cookie="connect.sid"))
    run.front(balancer.nghttpx, targets, affinity="affinity=ip", add=("--add-x-forwarded-for",))
    people = users(run.net, 42, kinds=BROWSERS[3:], addresses=21)
    note_people(run, people)
    browse(people, PAGES[:4], think=0.2, **HTTPS)


@scenario(
    "unseen-nghttpx-none",
    "nghttpx without affinity, sessions shared, HTTPS to HTTP; Node.js clients",
    [
        offloaded("nghttpx-none-targets", "all_targets", "none", "sessions go everywhere", product=NGHTTPX),
        offloaded("nghttpx-none-one", "one_target", "none", "two in three were issued elsewhere", product=NGHTTPX),
    ],
    networks=5,
    per_network=5,
)
def nghttpx_none(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared"))
    run.front(balancer.nghttpx, targets, add=("--add-x-forwarded-for",))
    node(users(run.net, 25), scheme="https", port=443)


@scenario(
    "unseen-pen-plain",
    "pen, which remembers clients' addresses, over plain HTTP: a TCP proxy that adds nothing",
    [
        output(
            "pen-plain-targets",
            "all_targets",
            shows="one source address, sessions stay",
            mode_accept=("none",),
            really="none",
            mechanism_accept=("source_ip",),
            mechanism_because="no address of the clients' is in view; sessions stay",
            mechanism_candidates=("source_ip", "app_cookie", "lb_cookie"),
            product=("unknown", "nlb"),
            **SESSION,
            **NO_HINT,
        ),
    ],
    networks=5,
    per_network=4,
)
def pen_plain(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID", attributes=PLAIN_COOKIE))
    run.balance(balancer.pen(run.net, run.directory, targets, port=80))
    people = users(run.net, 30, kinds=("requests",), addresses=18)
    aiohttp(people, scheme="http", port=80)


@scenario(
    "unseen-pen-tls",
    "pen, round robin, in front of targets that end TLS themselves",
    [
        output(
            "pen-tls-targets",
            "all_targets",
            "passthrough",
            "none",
            "many TLS stacks from one address; tickets are refused",
            healthy=True,
            seen="tls",
            mechanism_accept=("unknown",),
            product=("unknown", "nlb", "haproxy"),
            committed=False,
        ),
        output(
            "pen-tls-one",
            "one_target",
            "passthrough",
            "none",
            "many TLS stacks from one address; tickets of other targets are refused",
            healthy=True,
            seen="tls",
            mechanism_accept=("unknown",),
            product=("unknown", "nlb", "haproxy"),
        ),
    ],
    networks=5,
    per_network=5,
)
def pen_tls(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared"), port=8443, tls=True)
    run.balance(balancer.pen(run.net, run.directory, targets, port=443, options=("-r",)))
    browse(users(run.net, 14, kinds=MIXED), PAGES[:4], fresh=True, think=0.2, **HTTPS)
