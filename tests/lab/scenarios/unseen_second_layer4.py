"""Unseen, second wave, nothing of which was ever reported to who writes rules: TLS that ends at layer 4."""

from __future__ import annotations

from typing import Any

from tests.lab import balancer
from tests.lab.client import BROWSERS, PAGES, browse, users
from tests.lab.net import VIP
from tests.lab.scenario import Run, scenario
from tests.lab.scenarios.common import HTTPS, OFFLOAD, SESSION
from tests.lab.scenarios.unseen_common import note_people, output
from tests.lab.scenarios.unseen_layer4 import BEHIND_PROXY_V1, STREAM
from tests.lab.target import Application

L4: dict[str, Any] = {"must": OFFLOAD, **SESSION}
HIDDEN_ADDRESS: dict[str, Any] = {
    "mechanism": "unknown",
    "mechanism_accept": ("source_ip",),
    "mechanism_because": "no client's address is in view; sessions stay",
    "mechanism_candidates": ("source_ip", "app_cookie", "lb_cookie"),
    "really": "source_ip",
}
ANY_TCP = ("haproxy", "nginx", "nlb", "unknown")


@scenario(
    "unseen-tcp-terminates-v2",
    "HAProxy in TCP mode ends TLS and hands PROXY v2 to the targets, least connections",
    [
        output(
            "tcp-terminates-v2-targets",
            "all_targets",
            "l4_tls",
            "none",
            "PROXY v2 to port 443, browsers' tells",
            product=ANY_TCP,
            may=("stickiness-unsupported",),
            **L4,
        ),
        output(
            "tcp-terminates-v2-one",
            "one_target",
            "l4_tls",
            "none",
            "as on all, from one",
            product=ANY_TCP,
            may=("stickiness-unsupported",),
            mechanism_accept=("unknown",),
            **L4,
        ),
    ],
    networks=5,
    per_network=4,
)
def tcp_terminates_v2(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared"), proxy=True)
    run.front(balancer.haproxy_tcp, targets, proxy="send-proxy-v2", algorithm="leastconn")
    browse(users(run.net, 20, kinds=BROWSERS), PAGES[:5], fresh=True, think=0.2, **HTTPS)


@scenario(
    "unseen-hitch-stream",
    "hitch ends TLS in front of nginx's stream module, which spreads the plain bytes, random two",
    [
        output(
            "hitch-stream-targets",
            "all_targets",
            "l4_tls",
            "none",
            "nothing added, browsers' tells of HTTPS",
            product=STREAM,
            may=("stickiness-unsupported",),
            **L4,
        ),
    ],
    networks=5,
    per_network=4,
)
def hitch_stream(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID", sessions="shared"))
    run.balance(balancer.nginx_stream(run.net, run.directory, targets, port=8000, upstream="random two least_conn;"))
    run.front(balancer.hitch, f"{VIP}:8000")
    browse(users(run.net, 18, kinds=BROWSERS[2:]), PAGES[:5], fresh=True, think=0.2, **HTTPS)


@scenario(
    "unseen-stunnel-lost",
    "stunnel ends TLS with PROXY headers, round robin; each target knows its own sessions only",
    [
        output(
            "stunnel-lost-targets",
            "all_targets",
            "l4_tls",
            "none",
            "PROXY v1, sessions answered as new elsewhere",
            product=("stunnel", *STREAM),
            may=("stickiness-unsupported", "session-lost"),
            **BEHIND_PROXY_V1,
            **L4,
        ),
        output(
            "stunnel-lost-one",
            "one_target",
            "l4_tls",
            "none",
            "as on all, from one",
            target=1,
            product=("stunnel", *STREAM),
            may=("stickiness-unsupported", "session-lost"),
            **BEHIND_PROXY_V1,
            **L4,
        ),
    ],
    networks=5,
    per_network=4,
)
def stunnel_lost(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"), proxy=True)
    run.front(balancer.stunnel, targets, proxy=True)
    browse(users(run.net, 20, kinds=BROWSERS[1:]), PAGES[:5], fresh=True, think=0.2, **HTTPS)


@scenario(
    "unseen-stream-hides",
    "nginx's stream module ends TLS, adds nothing, `hash $remote_addr`",
    [
        output(
            "stream-hides-targets",
            "all_targets",
            "l4_tls",
            shows="nothing added, browsers' tells; sessions stay",
            product=STREAM,
            may=("stickiness-unsupported", "hot-target", "long-session-skew"),
            **HIDDEN_ADDRESS,
            **L4,
        ),
    ],
    networks=5,
    per_network=4,
)
def stream_hides(run: Run) -> None:
    targets = run.serve(Application(cookie="connect.sid"))
    run.front(balancer.nginx_stream, targets, port=443, upstream="hash $remote_addr;")
    browse(users(run.net, 20, kinds=BROWSERS), PAGES[:5], fresh=True, think=0.2, **HTTPS)


@scenario(
    "unseen-tcp-keeps-address",
    "HAProxy in TCP mode ends TLS and borrows its clients' addresses, balance source",
    [
        output(
            "tcp-keeps-address-targets",
            "all_targets",
            "l4_tls",
            "source_ip",
            "many addresses, one TCP stack, browsers' tells",
            product=ANY_TCP,
            may=("stickiness-unsupported", "hot-target"),
            **L4,
        ),
        output(
            "tcp-keeps-address-two",
            "two_targets",
            "l4_tls",
            "source_ip",
            "two of three targets",
            product=ANY_TCP,
            may=("stickiness-unsupported", "hot-target"),
            mechanism_accept=("unknown",),
            **L4,
        ),
    ],
    networks=5,
    per_network=3,
)
def tcp_keeps_address(run: Run) -> None:
    targets = run.serve(Application(cookie="sid"))
    run.front(balancer.haproxy_tcp, targets, algorithm="source", keep_address=True)
    people = users(run.net, 28, kinds=BROWSERS[3:], addresses=14)
    note_people(run, people)
    browse(people, PAGES[:4], fresh=True, think=0.2, **HTTPS)


@scenario(
    "unseen-tcp-tells-tls",
    "HAProxy in TCP mode ends TLS and tells so in PROXY v2 (ssl TLV); scripts only",
    [
        output(
            "tcp-tells-tls-one",
            "one_target",
            "l4_tls",
            "none",
            "PROXY v2 with the TLV of TLS",
            product=ANY_TCP,
            may=("stickiness-unsupported",),
            mechanism_accept=("unknown",),
            **L4,
        ),
    ],
    networks=5,
    per_network=4,
)
def tcp_tells_tls(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared"), proxy=True)
    run.front(balancer.haproxy_tcp, targets, proxy="send-proxy-v2-ssl")
    browse(users(run.net, 20, kinds=("requests", "okhttp", "go")), PAGES[:5], fresh=True, think=0.2, **HTTPS)
