"""TLS or plain HTTP that reaches the targets untouched: TCP proxies, address translation, no balancer at all."""

from __future__ import annotations

from tests.lab import balancer
from tests.lab.client import BROWSERS, HOST, PAGES, browse, users
from tests.lab.scenario import Output, Run, scenario
from tests.lab.scenarios.common import HTTPS, MIXED, SOCKETS
from tests.lab.target import Application


@scenario(
    "tcp-passthrough",
    "HAProxy in TCP mode, round robin, no PROXY header: the clients' own TLS reaches 3 targets",
    [
        Output(
            "passthrough-proxy-targets.pcap.gz",
            "all_targets",
            "passthrough",
            "none",
            healthy=True,
            product=("haproxy", "unknown"),
            seen="tls",
            shows="one address and one TCP stack with many TLS stacks; of the tickets offered, two in three are refused",
        ),
        Output(
            "passthrough-proxy-balancer.pcapng.gz",
            "load_balancer",
            "passthrough",
            "none",
            healthy=True,
            product=("haproxy", "unknown"),
            seen="tls",
            shows="every client hello stands on both legs with the same random",
        ),
    ],
    networks=5,
    per_network=4,
)
def tcp_passthrough(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), port=8443, tls=True)
    run.balance(balancer.haproxy_tcp(run.net, run.directory, targets))
    browse(users(run.net, 12, kinds=(*BROWSERS[:7], "requests", "okhttp", "go")), PAGES[:4], scheme="https", port=443, fresh=True)


@scenario(
    "proxy-v2-passthrough",
    "HAProxy in TCP mode with PROXY v2, target by hash of the client address: TLS untouched",
    [
        Output(
            "passthrough-proxy-v2-targets.pcap.gz",
            "all_targets",
            "passthrough",
            "source_ip",
            healthy=True,
            seen="tls",
            product=("haproxy", "unknown"),
            shows="a PROXY v2 header before each client hello; its address always meets the same target",
        ),
        Output(
            "passthrough-proxy-v2-one.pcap",
            "one_target",
            "passthrough",
            "unknown",
            healthy=True,
            seen="tls",
            product=("haproxy", "unknown"),
            mechanism_because="one target sees hits only, and sessions are inside TLS",
            mechanism_candidates=("source_ip", "none"),
            mechanism_accept=("source_ip",),
            really="source_ip",
            shows="PROXY v2 addresses that come back; tickets are accepted",
        ),
    ],
    networks=6,
    per_network=4,
)
def proxy_v2_passthrough(run: Run) -> None:
    targets = run.serve(Application(), port=8443, tls=True, proxy=True)
    run.balance(balancer.haproxy_tcp(run.net, run.directory, targets, proxy="send-proxy-v2", algorithm="source"))
    browse(
        users(run.net, 18, kinds=("requests", "okhttp", "go", "chrome124", "firefox133", "safari17_0")),
        PAGES[:4],
        scheme="https",
        port=443,
        fresh=True,
    )


@scenario(
    "tcp-passthrough-source",
    "HAProxy in TCP mode, hash of the client address, no PROXY header: TLS untouched",
    [
        Output(
            "passthrough-proxy-source-targets.pcap.gz",
            "all_targets",
            "passthrough",
            "unknown",
            committed=False,
            healthy=True,
            product=("haproxy", "unknown"),
            seen="tls",
            really="source_ip",
            mechanism_because="one address stands for all clients; tickets are always accepted",
            mechanism_candidates=("source_ip", "none"),
            mechanism_accept=("source_ip",),
            shows="one address and one TCP stack with many TLS stacks; every ticket that comes back is accepted",
        ),
        Output(
            "passthrough-proxy-source-one.pcap.gz",
            "one_target",
            "passthrough",
            "unknown",
            healthy=True,
            product=("haproxy", "unknown"),
            seen="tls",
            really="source_ip",
            mechanism_because="one address stands for all clients",
            mechanism_accept=("source_ip",),
            mechanism_candidates=("source_ip", "none"),
            shows="as on all targets",
        ),
    ],
    networks=8,
    per_network=3,
)
def tcp_passthrough_source(run: Run) -> None:
    targets = run.serve(Application(), port=8443, tls=True)
    run.balance(balancer.haproxy_tcp(run.net, run.directory, targets, algorithm="source"))
    browse(users(run.net, 14, kinds=(*BROWSERS[:4], "requests", "okhttp", "go")), PAGES[:4], fresh=True, **HTTPS)


@scenario(
    "nlb-tls-source-ip",
    "Kernel NAT as an NLB's TCP listener: TLS untouched, target by hash of the client address",
    [
        Output(
            "passthrough-nlb-source-ip-targets.pcapng.gz",
            "all_targets",
            "passthrough",
            "source_ip",
            healthy=True,
            seen="tls",
            product=("nlb", "none", "unknown"),
            shows=f"{SOCKETS} under their own TLS; each address always at the same target",
        ),
        Output(
            "passthrough-nlb-source-ip-one.pcap",
            "one_target",
            "passthrough",
            "unknown",
            healthy=True,
            seen="tls",
            product=("nlb", "none", "unknown"),
            mechanism_because="one target sees hits only, and sessions are inside TLS",
            mechanism_candidates=("source_ip", "none"),
            mechanism_accept=("source_ip",),
            really="source_ip",
            shows=f"{SOCKETS} under their own TLS; tickets are accepted",
        ),
    ],
    networks=6,
    per_network=4,
)
def nlb_tls_source_ip(run: Run) -> None:
    targets = run.serve(Application(), port=8443, tls=True)
    run.balance(balancer.Nlb(run.net, targets, by="source_ip", port=443))
    browse(
        users(run.net, 18, kinds=("requests", "okhttp", "go", "chrome124", "firefox133", "safari17_0")),
        PAGES[:4],
        scheme="https",
        port=443,
        fresh=True,
    )


@scenario(
    "nlb-tls-five-tuple",
    "Kernel NAT as an NLB's TCP listener without stickiness: TLS untouched, target by hash of address and port",
    [
        Output(
            "passthrough-nlb-five-tuple-targets.pcap.gz",
            "all_targets",
            "passthrough",
            "none",
            healthy=True,
            seen="tls",
            product=("nlb", "none", "unknown"),
            shows=f"{SOCKETS} under their own TLS; an address's connections are spread",
        ),
        Output(
            "passthrough-nlb-five-tuple-one.pcap.gz",
            "one_target",
            "passthrough",
            "none",
            healthy=True,
            seen="tls",
            product=("nlb", "none", "unknown"),
            shows="two in three of the tickets offered here were issued elsewhere and are refused",
        ),
    ],
    networks=6,
    per_network=5,
)
def nlb_tls_five_tuple(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), port=8443, tls=True)
    run.balance(balancer.Nlb(run.net, targets, by="five_tuple", port=443))
    browse(
        users(run.net, 20, kinds=("requests", "okhttp", "go", "requests", "chrome124", "firefox133")),
        PAGES[:4],
        scheme="https",
        port=443,
        fresh=True,
    )


@scenario(
    "nlb-plain-source-ip",
    "Kernel NAT as an NLB: plain HTTP, target by hash of the client address",
    [
        Output(
            "plain-nlb-source-ip-targets.pcap.gz",
            "all_targets",
            "none",
            "source_ip",
            product=("nlb", "unknown"),
            must=("plaintext-end-to-end", "session-cookie-in-plaintext"),
            kinds=("session_cookie",),
            shows="the clients' own TCP stacks under readable requests; each address always at the same target",
        ),
    ],
    networks=6,
    per_network=5,
)
def nlb_plain_source_ip(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", attributes="Path=/; HttpOnly"))
    run.balance(balancer.Nlb(run.net, targets, by="source_ip", port=80))
    browse(users(run.net, 40, kinds=("requests", "plain-chrome", "plain-firefox"), addresses=28), PAGES[:5], fresh=True)


SOCKETS = "the clients' own TCP stacks"
NO_ADDED = "nothing is added to the requests"


@scenario(
    "nlb-plain-five-tuple",
    "Kernel NAT as an NLB without stickiness: plain HTTP, sessions shared by the targets",
    [
        Output(
            "plain-nlb-five-tuple-targets.pcap.gz",
            "all_targets",
            "none",
            "none",
            product=("nlb", "none", "unknown"),
            must=("plaintext-end-to-end", "session-cookie-in-plaintext"),
            kinds=("session_cookie",),
            shows=f"{SOCKETS} under readable requests; a session's connections are spread over the targets, which all know it",
        ),
        Output(
            "plain-nlb-five-tuple-one.pcap.gz",
            "one_target",
            "none",
            "none",
            product=("nlb", "none", "unknown"),
            must=("plaintext-end-to-end", "session-cookie-in-plaintext"),
            kinds=("session_cookie",),
            shows="two in three of the sessions that come here were issued elsewhere",
        ),
    ],
    networks=6,
    per_network=5,
)
def nlb_plain_five_tuple(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared", attributes="Path=/; HttpOnly"))
    run.balance(balancer.Nlb(run.net, targets, by="five_tuple", port=80))
    browse(users(run.net, 36, kinds=("requests", "plain-chrome", "plain-firefox")), PAGES[:5], fresh=True)


@scenario(
    "direct-tls",
    "no balancer: clients reach one TLS server directly",
    [
        Output(
            "direct-tls-one.pcap.gz",
            "one_target",
            "passthrough",
            "unknown",
            healthy=True,
            product=("none", "unknown"),
            seen="tls",
            mechanism_because="a single target",
            mechanism_candidates=("none", "source_ip"),
            mechanism_accept=("none",),
            shows=f"{SOCKETS} and TLS stacks; tickets are accepted",
        ),
    ],
    networks=6,
    per_network=3,
    targets=1,
)
def direct_tls(run: Run) -> None:
    target = run.serve(Application(), port=443, tls=True)[0]
    browse(users(run.net, 10, kinds=MIXED), PAGES[:4], scheme="https", port=443, fresh=True, vip=target.address)


@scenario(
    "direct-plain",
    "no balancer: clients reach one plain HTTP server directly",
    [
        Output(
            "direct-plain-one.pcap.gz",
            "one_target",
            "none",
            "unknown",
            product=("none", "unknown"),
            kinds=("session_cookie",),
            must=("plaintext-end-to-end", "session-cookie-in-plaintext"),
            mechanism_because="a single target",
            mechanism_candidates=("none", "source_ip"),
            mechanism_accept=("none", "source_ip"),
            shows=f"{SOCKETS}, readable requests",
        ),
    ],
    networks=6,
    per_network=3,
    targets=1,
)
def direct_plain(run: Run) -> None:
    target = run.serve(Application(attributes="Path=/; HttpOnly"), port=80)[0]
    browse(users(run.net, 18, kinds=("requests", "plain-chrome", "plain-firefox")), vip=target.address, host=HOST)
