"""Unseen: balancers of bytes and of packets: nginx's stream module, HAProxy in TCP mode, the kernel's NAT with other settings."""

from __future__ import annotations

from typing import Any

from tests.lab import balancer, rewrite
from tests.lab.client import BROWSERS, PAGES, browse, users
from tests.lab.net import Stack
from tests.lab.scenario import Run, scenario
from tests.lab.scenarios.common import HTTPS, MIXED, NLB, OFFLOAD, PLAIN, SESSION
from tests.lab.scenarios.unseen_common import INSIDE_TLS, PLAIN_COOKIE, note_people, output, with_bearer
from tests.lab.target import Application

STREAM = ("nginx", "haproxy", "nlb", "unknown")
BEHIND_PROXY_V1: dict[str, Any] = {"servers_agree": False, "count": ("connections", "probes", "refused")}
"""tshark reads no requests behind a PROXY v1 header."""
TICKETS = {"mechanism_accept": ("source_ip",), "mechanism_because": "one target sees hits only", "really": "source_ip"}


@scenario(
    "unseen-stream-passthrough",
    "nginx's stream module passes TLS on with PROXY headers, `hash $remote_addr consistent`",
    [
        output(
            "stream-passthrough-targets",
            "all_targets",
            "passthrough",
            "source_ip",
            "PROXY v1 with the clients' addresses, then their own hellos",
            healthy=True,
            seen="tls",
            product=STREAM,
            committed=False,
        ),
        output(
            "stream-passthrough-one",
            "one_target",
            "passthrough",
            shows="as on all, from one",
            healthy=True,
            seen="tls",
            product=STREAM,
            **TICKETS,
        ),
    ],
    networks=6,
    per_network=4,
)
def stream_passthrough(run: Run) -> None:
    targets = run.serve(Application(cookie="sid"), port=8443, tls=True, proxy=True)
    upstream = "hash $remote_addr consistent;"
    run.balance(balancer.nginx_stream(run.net, run.directory, targets, port=443, proxy=True, upstream=upstream))
    browse(users(run.net, 16, kinds=MIXED), PAGES[:4], fresh=True, think=0.2, **HTTPS)


@scenario(
    "unseen-stream-terminates",
    "nginx's stream module ends TLS and passes plain bytes on with PROXY headers, least connections",
    [
        output(
            "stream-terminates-targets",
            "all_targets",
            "l4_tls",
            "none",
            "PROXY v1 to port 443, browsers' tells of HTTPS, no header added",
            must=OFFLOAD,
            may=("stickiness-unsupported",),
            product=STREAM,
            **BEHIND_PROXY_V1,
            **SESSION,
        ),
        output(
            "stream-terminates-one",
            "one_target",
            "l4_tls",
            "none",
            "as on all, from one: sessions that were issued elsewhere",
            must=OFFLOAD,
            may=("stickiness-unsupported",),
            product=STREAM,
            **BEHIND_PROXY_V1,
            target=1,
            **SESSION,
        ),
    ],
    networks=5,
    per_network=5,
)
def stream_terminates(run: Run) -> None:
    targets = run.serve(Application(cookie="connect.sid", sessions="shared"), proxy=True)
    run.front(balancer.nginx_stream, targets, port=443, proxy=True, upstream="least_conn;")
    browse(users(run.net, 22, kinds=BROWSERS), PAGES[:5], fresh=True, think=0.2, **HTTPS)


@scenario(
    "unseen-stream-bridges",
    "nginx's stream module ends TLS and opens its own to the targets",
    [
        output(
            "stream-bridges-targets",
            "all_targets",
            "bridging",
            shows="one TLS stack from one address, a connection per client's connection",
            healthy=True,
            really="none",
            product=STREAM,
            **INSIDE_TLS,
        ),
        output(
            "stream-bridges-balancer",
            "load_balancer",
            "bridging",
            shows="hellos on both sides, all different",
            healthy=True,
            really="none",
            product=STREAM,
            committed=False,
            **INSIDE_TLS,
        ),
    ],
    networks=4,
    per_network=4,
)
def stream_bridges(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared"), port=8443, tls=True)
    run.front(balancer.nginx_stream, targets, port=443, target_tls=True, upstream="random two least_conn;")
    browse(users(run.net, 10, kinds=MIXED), PAGES[:3], fresh=True, think=0.2, **HTTPS)


@scenario(
    "unseen-proxy-v1-leastconn",
    "HAProxy in TCP mode with PROXY v1, least connections; targets end TLS, each with tickets of its own",
    [
        output(
            "proxy-v1-leastconn-targets",
            "all_targets",
            "passthrough",
            "none",
            "PROXY v1 tells the clients' addresses, which go everywhere; tickets are refused",
            healthy=True,
            seen="tls",
            product=("haproxy", "nginx", "nlb", "unknown"),
            committed=False,
        ),
        output(
            "proxy-v1-leastconn-one",
            "one_target",
            "passthrough",
            "none",
            "tickets that were issued elsewhere come and are refused",
            healthy=True,
            seen="tls",
            mechanism_accept=("unknown",),
            target=2,
            product=("haproxy", "nginx", "nlb", "unknown"),
            committed=False,
        ),
    ],
    networks=6,
    per_network=4,
)
def proxy_v1_leastconn(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared"), port=8443, tls=True, proxy=True)
    run.balance(balancer.haproxy_tcp(run.net, run.directory, targets, proxy="send-proxy", algorithm="leastconn"))
    browse(users(run.net, 14, kinds=("requests", "okhttp", "go", *BROWSERS[:3])), PAGES[:4], fresh=True, think=0.2, **HTTPS)


@scenario(
    "unseen-nat-api",
    "kernel NAT that draws targets at random in front of a plain HTTP API with bearer tokens, mirrored in VXLAN",
    [
        output(
            "nat-api-vxlan",
            "all_targets",
            "none",
            "none",
            "the clients' own TCP stacks below plain HTTP, tokens in clear, each frame inside VXLAN",
            must=("plaintext-end-to-end", "credentials-in-plaintext"),
            kinds=("bearer_token",),
            rewrite=rewrite.mirrored_in_vxlan,
            recount=False,
            defect="mirrored in VXLAN",
            product=NLB,
        ),
        output(
            "nat-api-one",
            "one_target",
            "none",
            "unknown",
            "one target's third of it",
            must=("plaintext-end-to-end", "credentials-in-plaintext"),
            kinds=("bearer_token",),
            really="none",
            mechanism_accept=("none",),
            mechanism_because="nothing at one target tells what the others got",
            product=NLB,
        ),
    ],
    networks=6,
    per_network=4,
)
def nat_api(run: Run) -> None:
    targets = run.serve(Application(cookie=None))
    run.balance(balancer.Nlb(run.net, targets, by="random", port=80))
    browse(with_bearer(users(run.net, 24, kinds=("okhttp", "go", "requests")), run), PAGES[:6], fresh=True, think=0.15)


@scenario(
    "unseen-nat-fleet",
    "kernel NAT by source address over five targets; a fleet of one program on one kind of host, TLS to the targets",
    [
        output(
            "nat-fleet-targets",
            "all_targets",
            "passthrough",
            "source_ip",
            "one TLS stack and one TCP stack from many addresses",
            healthy=True,
            seen="tls",
            product=NLB,
            committed=False,
        ),
        output(
            "nat-fleet-one",
            "one_target",
            "passthrough",
            shows="as on all, from one",
            healthy=True,
            seen="tls",
            product=NLB,
            mode_accept=("unknown",),
            target=3,
            **TICKETS,
        ),
    ],
    networks=6,
    per_network=6,
    targets=5,
    stacks=(Stack(57, 1460, True, 6291456),),
)
def nat_fleet(run: Run) -> None:
    targets = run.serve(Application(cookie=None), port=8443, tls=True)
    run.balance(balancer.Nlb(run.net, targets, by="source_ip", port=443, seed=1234))
    browse(users(run.net, 25, kinds=("requests",)), PAGES[:3], fresh=True, think=0.3, **HTTPS)


@scenario(
    "unseen-nat-tuple",
    "kernel NAT by address and port over three targets that end TLS",
    [
        output(
            "nat-tuple-two",
            "two_targets",
            "passthrough",
            "none",
            "two of three targets: addresses come back to either, tickets are refused",
            healthy=True,
            seen="tls",
            product=NLB,
            committed=False,
        ),
        output(
            "nat-tuple-balancer",
            "load_balancer",
            "passthrough",
            "none",
            "the same hellos on both sides",
            healthy=True,
            seen="tls",
            product=NLB,
            committed=False,
        ),
    ],
    networks=6,
    per_network=3,
)
def nat_tuple(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared"), port=8443, tls=True)
    run.balance(balancer.Nlb(run.net, targets, by="five_tuple", port=443, seed=99))
    browse(users(run.net, 12, kinds=(*BROWSERS[5:8], "go", "requests")), PAGES[:4], fresh=True, think=0.2, **HTTPS)


@scenario(
    "unseen-nat-masqueraded",
    "kernel NAT by source address that also hides the clients' addresses; targets end TLS",
    [
        output(
            "nat-masqueraded-targets",
            "all_targets",
            "passthrough",
            shows="one address, many TLS and TCP stacks; tickets are accepted",
            healthy=True,
            seen="tls",
            product=NLB,
            really="source_ip",
            mechanism_accept=("source_ip",),
            mechanism_because="no client's address is in view; accepted tickets say that clients stay",
            mechanism_candidates=("source_ip", "none"),
        ),
    ],
    networks=6,
    per_network=4,
)
def nat_masqueraded(run: Run) -> None:
    targets = run.serve(Application(cookie="sid"), port=8443, tls=True)
    run.balance(balancer.Nlb(run.net, targets, by="source_ip", port=443, snat=True, seed=5))
    browse(users(run.net, 11, kinds=MIXED, seed=23), PAGES[:3], fresh=True, think=0.2, **HTTPS)


@scenario(
    "unseen-nat-households",
    "kernel NAT by source address over plain HTTP; households of three behind one address each",
    [
        output(
            "nat-households-targets",
            "all_targets",
            "none",
            "source_ip",
            "the clients' own TCP stacks, several sessions per address",
            must=PLAIN,
            product=NLB,
            may=("hot-target",),
            **SESSION,
        ),
        output(
            "nat-households-one",
            "one_target",
            "none",
            "source_ip",
            "several sessions per address, all stay",
            must=PLAIN,
            product=NLB,
            mechanism_accept=("unknown",),
            **SESSION,
        ),
    ],
    networks=6,
    per_network=3,
)
def nat_households(run: Run) -> None:
    targets = run.serve(Application(cookie="laravel_session", attributes=PLAIN_COOKIE))
    run.balance(balancer.Nlb(run.net, targets, by="source_ip", port=80, seed=77))
    people = users(run.net, 54, kinds=("plain-chrome", "plain-firefox", "okhttp"), addresses=18)
    note_people(run, people)
    browse(people, PAGES[:4], fresh=True, think=0.2)


@scenario(
    "unseen-direct-tls",
    "no balancer: clients reach one nginx that ends TLS with HTTP/2",
    [
        output(
            "direct-nginx-one",
            "one_target",
            "passthrough",
            shows="the clients' own TLS and TCP stacks",
            healthy=True,
            seen="tls",
            mechanism_accept=("none", "source_ip"),
            mechanism_because="there is one target",
            product=("none", "unknown", "nlb"),
            servers_agree=False,
        ),
    ],
    networks=6,
    per_network=4,
    targets=1,
)
def direct_tls(run: Run) -> None:
    targets = run.serve_nginx(port=443, tls=True, listen="http2", body=400)
    run.balance(balancer.Nlb(run.net, targets, by="source_ip", port=443))
    browse(users(run.net, 9, kinds=BROWSERS), PAGES[:4], think=0.2, **HTTPS)
