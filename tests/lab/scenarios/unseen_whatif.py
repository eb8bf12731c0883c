"""Unseen: the same clients through one balancer, recorded, and then through others, counted: what a what-if must foresee."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from tests.lab import balancer
from tests.lab.client import Browsing, User, together, users
from tests.lab.scenario import Run, scenario
from tests.lab.scenarios.unseen_common import NO_HINT, PLAIN_COOKIE, output
from tests.lab.target import Application, Target

FORWARD = "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;"
BY_ADDRESS: dict[str, Any] = {"connection_properties": {"source_ip": True}}
Start = Callable[[list[Target]], "balancer.Balancer | balancer.Nlb"]


def walk_all(people: Sequence[User], spacing: float, *, fresh: bool = False, **where: Any) -> None:
    """Every user's own number of requests, the users one after the other by ``spacing`` seconds, always in the same order."""
    began = time.monotonic()

    def walk(place: int, user: User) -> None:
        time.sleep(max(0.0, began + place * spacing - time.monotonic()))
        browsing = Browsing(user, **{"scheme": "http", "port": 80, "fresh": fresh, **where})
        for turn in range(2 + place * 5 % 8):
            browsing.do(("GET", f"/goods/{place}/{turn}", None))
            time.sleep(0.02)
        browsing.close()

    together([(user.ns, lambda place=place, user=user: walk(place, user)) for place, user in enumerate(people)])


def afterwards(
    run: Run, people: Callable[[], list[User]], runs: Sequence[tuple[str, str, int, Start, dict[str, Any]]], spacing: float
) -> None:
    """Run the same clients through each of ``runs`` (algorithm, the real balancer, targets, its start, how clients ask)."""
    run.stop_recording()
    rows: list[dict[str, object]] = []
    for algorithm, real, number, start, how in runs:
        pool = run.targets[:number]
        before = [target.seen.requests for target in pool]
        running = start(pool)
        time.sleep(0.4)
        try:
            walk_all(people(), spacing, **how)
        finally:
            running.finish()
        time.sleep(0.3)
        got = [target.seen.requests - count for target, count in zip(pool, before, strict=True)]
        peak = max(got) * len(got) / sum(got)
        rows.append({"algorithm": algorithm, "real": real, "targets": number, "requests": got, "peak_to_mean": round(peak, 6)})
    run.facts["whatif"] = rows


@scenario(
    "unseen-whatif-addresses",
    "HAProxy, round robin over three targets, plain HTTP, clients without cookies; then the same clients through others",
    [
        output(
            "whatif-addresses",
            "all_targets",
            mechanism="none",
            shows="requests in turn",
            mode_accept=("none",),
            really="none",
            product=("haproxy", "unknown"),
            servers_agree=False,
            extra={"recorded_with": "HAProxy, round robin"},
            **NO_HINT,
        ),
    ],
    networks=9,
    per_network=3,
    targets=4,
)
def whatif_addresses(run: Run) -> None:
    run.serve(Application(cookie=None))
    net, directory, pem = run.net, run.directory, run.certificate

    def people() -> list[User]:
        return users(net, 40, addresses=24, seed=17)

    def haproxy(algorithm: str, extra: str = "") -> Start:
        return lambda pool: balancer.haproxy_http(
            net, directory, pool, certificate=None, algorithm=algorithm, extra=extra, checks=False
        )

    def nginx(upstream: str) -> Start:
        return lambda pool: balancer.nginx(net, directory, pool, certificate=None, upstream=upstream, location=FORWARD)

    def envoy(policy: str) -> Start:
        return lambda pool: balancer.envoy(net, directory, pool, certificate=pem, policy=policy, hash_by=BY_ADDRESS)

    def nat(by: str, seed: int) -> Start:
        return lambda pool: balancer.Nlb(net, pool, by=by, port=80, seed=seed)

    first = haproxy("roundrobin")(run.targets[:3])
    walk_all(people(), 0.05)
    first.finish()
    tls = {"scheme": "https", "port": 443}
    consistent = "  hash-type consistent\n"
    afterwards(
        run,
        people,
        [
            ("round_robin", "HAProxy `balance roundrobin`", 4, haproxy("roundrobin"), {}),
            ("haproxy_source", "HAProxy `balance source`", 3, haproxy("source"), {}),
            ("haproxy_source", "HAProxy `balance source`", 4, haproxy("source"), {}),
            ("ip_hash", "nginx `ip_hash`", 3, nginx("ip_hash;"), {}),
            ("ip_hash", "nginx `ip_hash`", 4, nginx("ip_hash;"), {}),
            ("source_ip", "HAProxy `balance source`, `hash-type consistent`", 3, haproxy("source", consistent), {}),
            ("source_ip", "nginx `hash $remote_addr`", 4, nginx("hash $remote_addr;"), {}),
            *[("source_ip", f"nftables jhash, seed {seed}", 3, nat("source_ip", seed), {}) for seed in range(201, 209)],
            *[("source_ip", f"nftables jhash, seed {seed}", 4, nat("source_ip", seed), {}) for seed in range(301, 307)],
            ("random", "HAProxy `balance random(1)`", 3, haproxy("random(1)"), {}),
            ("random", "HAProxy `balance random(1)`", 4, haproxy("random(1)"), {}),
            ("ring_hash", "nginx `hash $remote_addr consistent`", 3, nginx("hash $remote_addr consistent;"), {}),
            ("ring_hash", "nginx `hash $remote_addr consistent`", 4, nginx("hash $remote_addr consistent;"), {}),
            ("ring_hash", "Envoy RING_HASH by source address", 3, envoy("RING_HASH"), tls),
            ("ring_hash", "Envoy RING_HASH by source address", 4, envoy("RING_HASH"), tls),
            ("maglev", "Envoy MAGLEV by source address", 3, envoy("MAGLEV"), tls),
            ("maglev", "Envoy MAGLEV by source address", 4, envoy("MAGLEV"), tls),
        ],
        0.05,
    )


@scenario(
    "unseen-whatif-connections",
    "kernel NAT by source address over three targets, plain HTTP, a connection per request; then the same clients through others",
    [
        output(
            "whatif-connections",
            "all_targets",
            "none",
            "source_ip",
            "the clients' own TCP stacks",
            must=("plaintext-end-to-end",),
            may=("hot-target",),
            product=("nlb", "none", "unknown"),
            servers_agree=False,
            extra={"recorded_with": "nftables, jhash of the address"},
        ),
    ],
    networks=9,
    per_network=3,
    targets=4,
)
def whatif_connections(run: Run) -> None:
    run.serve(Application(cookie=None))
    net, directory = run.net, run.directory

    def people() -> list[User]:
        return users(net, 32, addresses=26, seed=11)

    def nat(by: str, seed: int = 7) -> Start:
        return lambda pool: balancer.Nlb(net, pool, by=by, port=80, seed=seed)

    def tcp(algorithm: str) -> Start:
        return lambda pool: balancer.haproxy_tcp(net, directory, pool, port=80, algorithm=algorithm)

    first = nat("source_ip", 3)(run.targets[:3])
    walk_all(people(), 0.05, fresh=True)
    first.finish()
    one = {"fresh": True}
    afterwards(
        run,
        people,
        [
            ("round_robin", "nftables numgen inc", 3, nat("round_robin"), one),
            ("round_robin", "HAProxy TCP `balance roundrobin`", 4, tcp("roundrobin"), one),
            ("haproxy_source", "HAProxy TCP `balance source`", 3, tcp("source"), one),
            ("haproxy_source", "HAProxy TCP `balance source`", 4, tcp("source"), one),
            ("least_connections", "HAProxy TCP `balance leastconn`", 3, tcp("leastconn"), one),
            *[("five_tuple", f"nftables jhash of address and port, seed {s}", 3, nat("five_tuple", s), one) for s in (31, 32)],
            *[("five_tuple", f"nftables jhash of address and port, seed {s}", 4, nat("five_tuple", s), one) for s in (33, 34)],
            ("random", "nftables numgen random", 3, nat("random"), one),
            ("random", "nftables numgen random", 4, nat("random"), one),
            *[("source_ip", f"nftables jhash, seed {seed}", 4, nat("source_ip", seed), one) for seed in range(401, 409)],
        ],
        0.05,
    )


@scenario(
    "unseen-whatif-sessions",
    "HAProxy, round robin over three targets, plain HTTP, sessions shared; then the same clients through others",
    [
        output(
            "whatif-sessions",
            "all_targets",
            mechanism="none",
            shows="sessions go everywhere",
            mode_accept=("none",),
            really="none",
            product=("haproxy", "unknown"),
            servers_agree=False,
            kinds=("session_cookie",),
            extra={"recorded_with": "HAProxy, round robin"},
            **NO_HINT,
        ),
    ],
    networks=9,
    per_network=3,
    targets=4,
)
def whatif_sessions(run: Run) -> None:
    run.serve(Application(cookie="sid", sessions="shared", attributes=PLAIN_COOKIE))
    net, directory = run.net, run.directory

    def people() -> list[User]:
        return users(net, 36, addresses=20, seed=5)

    def sticky(pool: list[Target]) -> balancer.Balancer:
        return balancer.haproxy_http(net, directory, pool, certificate=None, cookie="SRV insert nocache", checks=False)

    def nginx(upstream: str) -> Start:
        return lambda pool: balancer.nginx(net, directory, pool, certificate=None, upstream=upstream, location=FORWARD)

    first = balancer.haproxy_http(net, directory, run.targets[:3], certificate=None, checks=False)
    walk_all(people(), 0.12)
    first.finish()
    afterwards(
        run,
        people,
        [
            ("cookie", "HAProxy `cookie SRV insert`, round robin", 3, sticky, {}),
            ("cookie", "HAProxy `cookie SRV insert`, round robin", 4, sticky, {}),
            ("ip_hash", "nginx `ip_hash`", 3, nginx("ip_hash;"), {}),
            ("ring_hash", "nginx `hash $cookie_sid consistent`", 3, nginx("hash $cookie_sid consistent;"), {}),
            ("ring_hash", "nginx `hash $cookie_sid consistent`", 4, nginx("hash $cookie_sid consistent;"), {}),
        ],
        0.12,
    )
