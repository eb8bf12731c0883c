"""Balancers that end TLS without reading what is inside, and their plain twins."""

from __future__ import annotations

from tests.lab import balancer
from tests.lab.client import BROWSERS, PAGES, browse, users
from tests.lab.scenario import Output, Run, scenario
from tests.lab.scenarios.common import HTTPS, MIXED, OFFLOAD, SESSION
from tests.lab.target import Application


@scenario(
    "l4-tls-browsers",
    "HAProxy in TCP mode ends TLS and adds nothing: an NLB's TLS listener, browsers as clients",
    [
        Output(
            "l4-tls-browsers-targets.pcap.gz",
            "all_targets",
            "l4_tls",
            "none",
            product=("haproxy", "nlb", "unknown"),
            must=("plaintext-backend-hop",),
            may=("stickiness-unsupported",),
            kinds=("session_cookie",),
            shows="one TCP stack, nothing added, connections are one browser's each; browsers send what they only send over TLS, "
            "session cookies are Secure",
        ),
        Output(
            "l4-tls-browsers-balancer.pcap.gz",
            "load_balancer",
            "l4_tls",
            "none",
            product=("haproxy", "nlb", "unknown"),
            must=("plaintext-backend-hop",),
            may=("stickiness-unsupported",),
            kinds=("session_cookie",),
            shows="client hellos in front, the same connections' requests behind, nothing added",
        ),
    ],
    networks=5,
    per_network=4,
)
def l4_tls_browsers(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"))
    run.front(balancer.haproxy_tcp, targets)
    browse(users(run.net, 15, kinds=BROWSERS), PAGES[:4], scheme="https", port=443, fresh=True)


@scenario(
    "l4-tls-scripts",
    "HAProxy in TCP mode ends TLS and adds nothing; only scripts as clients, cookies without Secure",
    [
        Output(
            "l4-tls-scripts-targets.pcap.gz",
            "all_targets",
            "unknown",
            "none",
            product=("haproxy", "nlb", "unknown"),
            really="l4_tls",
            mode_because="nothing on this side tells whether the clients' hop was encrypted",
            mode_candidates=("l4_tls", "none"),
            may=("session-cookie-in-plaintext", "plaintext-backend-hop", "plaintext-end-to-end"),
            kinds=("session_cookie",),
            shows="one address, one TCP stack, nothing added; no client sends anything that only goes over TLS",
        ),
    ],
    networks=5,
    per_network=6,
)
def l4_tls_scripts(run: Run) -> None:
    targets = run.serve(Application(sessions="shared", attributes="Path=/; HttpOnly"))
    run.front(balancer.haproxy_tcp, targets)
    browse(users(run.net, 30, kinds=("requests", "okhttp", "go")), PAGES[:5], scheme="https", port=443, fresh=True)


@scenario(
    "tcp-plain-scripts",
    "HAProxy in TCP mode, plain HTTP on both sides: the twin of l4-tls-scripts",
    [
        Output(
            "plain-tcp-proxy-scripts-targets.pcap.gz",
            "all_targets",
            "unknown",
            "none",
            product=("haproxy", "nlb", "unknown"),
            really="none",
            mode_because="nothing on this side tells whether the clients' hop was encrypted",
            mode_candidates=("l4_tls", "none"),
            may=("session-cookie-in-plaintext", "plaintext-backend-hop", "plaintext-end-to-end"),
            kinds=("session_cookie",),
            shows="as behind a balancer that ends TLS and adds nothing",
        ),
        Output(
            "plain-tcp-proxy-scripts-balancer.pcap.gz",
            "load_balancer",
            "none",
            "none",
            product=("haproxy", "nlb", "unknown"),
            must=("plaintext-end-to-end", "session-cookie-in-plaintext"),
            kinds=("session_cookie",),
            shows="readable requests on both sides",
        ),
    ],
    networks=5,
    per_network=6,
)
def tcp_plain_scripts(run: Run) -> None:
    targets = run.serve(Application(sessions="shared", attributes="Path=/; HttpOnly"))
    run.balance(balancer.haproxy_tcp(run.net, run.directory, targets, port=80))
    browse(users(run.net, 30, kinds=("requests", "okhttp", "go")), PAGES[:5], fresh=True)


@scenario(
    "l4-tls-addresses-kept",
    "HAProxy in TCP mode ends TLS and connects with the client's address; target by hash of it",
    [
        Output(
            "l4-tls-addresses-kept-targets.pcap.gz",
            "all_targets",
            "l4_tls",
            "source_ip",
            product=("haproxy", "nlb", "unknown"),
            must=("plaintext-backend-hop",),
            may=("stickiness-unsupported",),
            kinds=("session_cookie",),
            shows="many addresses and one TCP stack; browsers send what they only send over TLS",
        ),
        Output(
            "l4-tls-addresses-kept-one.pcap.gz",
            "one_target",
            "l4_tls",
            "source_ip",
            mechanism_accept=("unknown",),
            product=("haproxy", "nlb", "unknown"),
            must=("plaintext-backend-hop",),
            may=("stickiness-unsupported",),
            kinds=("session_cookie",),
            shows="as on all targets; no session value that was issued elsewhere; a layer-4 balancer cannot follow cookies",
        ),
    ],
    networks=6,
    per_network=5,
)
def l4_tls_addresses_kept(run: Run) -> None:
    targets = run.serve(Application())
    run.front(balancer.haproxy_tcp, targets, keep_address=True, algorithm="source")
    browse(users(run.net, 36, kinds=BROWSERS, addresses=24), PAGES[:4], scheme="https", port=443, fresh=True)


@scenario(
    "l4-tls-proxy-ssl",
    "HAProxy in TCP mode ends TLS and tells so in PROXY v2 (SSL TLV)",
    [
        Output(
            "l4-tls-proxy-v2-ssl-targets.pcapng.gz",
            "all_targets",
            "l4_tls",
            "none",
            product=("haproxy", "unknown"),
            must=("plaintext-backend-hop",),
            may=("stickiness-unsupported",),
            kinds=("session_cookie",),
            shows="PROXY v2 with the SSL TLV whose client field has bit 0x01; only scripts as clients",
        ),
    ],
    networks=5,
    per_network=5,
)
def l4_tls_proxy_ssl(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), proxy=True)
    run.front(balancer.haproxy_tcp, targets, proxy="send-proxy-v2-ssl")
    browse(users(run.net, 25, kinds=("requests", "okhttp", "go")), PAGES[:4], scheme="https", port=443, fresh=True)


@scenario(
    "l4-bridging",
    "HAProxy in TCP mode ends TLS and opens its own to the targets",
    [
        Output(
            "bridging-l4-targets.pcap.gz",
            "all_targets",
            "bridging",
            "unknown",
            committed=False,
            healthy=True,
            product=("haproxy", "nlb", "unknown"),
            seen="tls",
            mechanism_because="one address, one TLS stack: nothing in view tells the users apart",
            mechanism_candidates=("source_ip", "none"),
            really="none",
            shows="one TLS stack from one address, resumed; as many connections as clients open",
        ),
    ],
    networks=5,
    per_network=5,
)
def l4_bridging(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), port=8443, tls=True)
    run.front(balancer.haproxy_tcp, targets, target_tls=True)
    browse(users(run.net, 18, kinds=MIXED), PAGES[:4], scheme="https", port=443, fresh=True)


@scenario(
    "l4-bridging-addresses-kept",
    "HAProxy in TCP mode opens its own TLS to the targets with the client's address",
    [
        Output(
            "bridging-addresses-kept-targets.pcap.gz",
            "all_targets",
            "bridging",
            "source_ip",
            healthy=True,
            product=("haproxy", "nlb", "unknown"),
            seen="tls",
            committed=False,
            shows="many addresses, one TLS stack and one TCP stack; one TLS session is resumed from many addresses",
        ),
        Output(
            "bridging-addresses-kept-one.pcap.gz",
            "one_target",
            "bridging",
            "unknown",
            healthy=True,
            product=("haproxy", "nlb", "unknown"),
            seen="tls",
            really="source_ip",
            mechanism_because="one target sees hits only, and tickets are the balancer's",
            mechanism_candidates=("source_ip", "none"),
            mechanism_accept=("source_ip",),
            shows="as on all targets",
        ),
    ],
    networks=6,
    per_network=4,
)
def l4_bridging_kept(run: Run) -> None:
    targets = run.serve(Application(), port=8443, tls=True)
    run.front(balancer.haproxy_tcp, targets, target_tls=True, keep_address=True, algorithm="source")
    browse(users(run.net, 18, kinds=MIXED), PAGES[:4], scheme="https", port=443, fresh=True)


@scenario(
    "stunnel",
    "stunnel ends TLS and adds nothing; browsers as clients",
    [
        Output(
            "l4-tls-stunnel-targets.pcap.gz",
            "all_targets",
            "l4_tls",
            "none",
            product=("stunnel", "nlb", "haproxy", "unknown"),
            must=OFFLOAD,
            may=("stickiness-unsupported",),
            **SESSION,
            shows="one TCP stack, nothing added, browsers' tells of TLS",
        ),
    ],
    networks=4,
    per_network=5,
)
def stunnel(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"))
    run.front(balancer.stunnel, targets)
    browse(users(run.net, 20, kinds=BROWSERS), PAGES[:4], fresh=True, **HTTPS)


@scenario(
    "hitch-proxy",
    "hitch ends TLS and tells so in PROXY v2, one target",
    [
        Output(
            "l4-tls-hitch-one.pcap.gz",
            "one_target",
            "l4_tls",
            "unknown",
            product=("hitch", "haproxy", "nlb", "unknown"),
            must=OFFLOAD,
            may=("stickiness-unsupported",),
            **SESSION,
            mechanism_because="a single target",
            mechanism_accept=("none", "source_ip"),
            shows="PROXY v2 with TLS details before each connection's requests",
        ),
    ],
    networks=4,
    per_network=5,
    targets=1,
)
def hitch_proxy(run: Run) -> None:
    targets = run.serve(Application(), proxy=True)
    run.front(balancer.hitch, targets[0].name, proxy="write-proxy-v2 = on\nproxy-tlv = on")
    browse(users(run.net, 20, kinds=("requests", "okhttp", "go")), PAGES[:4], fresh=True, **HTTPS)


@scenario(
    "mixed-termination",
    "HAProxy in TCP mode: most clients' TLS is forwarded, one listener in five ends it; one port at the targets",
    [
        Output(
            "mixed-termination-targets.pcap.gz",
            "all_targets",
            "passthrough",
            "none",
            product=("haproxy", "nlb", "unknown"),
            must=("mixed-termination",),
            may=("plaintext-backend-hop", "plaintext-end-to-end", "session-cookie-in-plaintext"),
            seen="plain",
            mechanism_accept=("unknown",),
            kinds=("session_cookie",),
            count=("connections", "probes", "refused"),
            servers_agree=False,
            shows="TLS of many stacks and readable requests from the same address on the same port",
        ),
    ],
    networks=4,
    per_network=6,
)
def mixed_termination(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), tls=True, sniff=True)
    run.balance(balancer.haproxy_tcp(run.net, run.directory, targets, also=(8000, run.certificate)))
    people = users(run.net, 16, kinds=MIXED)
    browse(people[:12], PAGES[:4], fresh=True, **HTTPS)
    browse(people[12:], PAGES[:4], fresh=True, scheme="https", port=8000)
