"""Where TLS ends: the same shop behind balancers that end, renew or forward it."""

from __future__ import annotations

import ssl

from tests.lab import balancer
from tests.lab.client import BROWSERS, HOST, PAGES, browse, users
from tests.lab.scenario import Output, Run, scenario
from tests.lab.target import Application

MIXED = (*BROWSERS[:5], "requests", "okhttp", "go")


@scenario(
    "alb-offload",
    "HAProxy as an ALB: HTTPS from clients, plain HTTP to 3 targets, duration-based stickiness (AWSALB)",
    [
        Output(
            "offload-lb-cookie-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            product=("alb",),
            cookie="AWSALB",
            must=("plaintext-backend-hop",),
            kinds=("session_cookie",),
            shows="X-Forwarded-Proto https with the other ALB headers on every request; AWSALB echoed, never set; several users "
            "behind one address land apart, one user stays",
        ),
        Output(
            "offload-lb-cookie-one.pcap",
            "one_target",
            "offload",
            "lb_cookie",
            product=("alb",),
            cookie="AWSALB",
            must=("plaintext-backend-hop",),
            kinds=("session_cookie",),
            shows="one target of the three: AWSALB comes back, and no session value appears that this target did not issue",
        ),
        Output(
            "offload-lb-cookie-balancer.pcapng.gz",
            "load_balancer",
            "offload",
            "lb_cookie",
            product=("alb",),
            cookie="AWSALB",
            must=("plaintext-backend-hop",),
            kinds=("session_cookie",),
            shows="client hellos on the front legs, readable requests on the back legs",
        ),
    ],
    networks=5,
    per_network=6,
)
def alb_offload(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    run.balance(balancer.alb(run.net, run.directory, targets, certificate=run.certificate))
    browse(users(run.net, 24, kinds=MIXED, addresses=18), (*PAGES, *PAGES[1:2]), scheme="https", port=443)


@scenario(
    "alb-bridging",
    "HAProxy as an ALB: HTTPS from clients, HTTPS again to 3 targets, duration-based stickiness",
    [
        Output(
            "bridging-targets.pcapng",
            "all_targets",
            "bridging",
            "unknown",
            healthy=True,
            product=("haproxy", "unknown"),
            seen="tls",
            mechanism_because="requests cannot be read inside TLS and users share the balancer's connections",
            mechanism_candidates=("lb_cookie", "app_cookie", "none"),
            really="lb_cookie",
            shows="one TLS stack and one TCP stack from one address, sessions resumed, many requests' worth of records each",
        ),
        Output(
            "bridging-one.pcap.gz",
            "one_target",
            "bridging",
            "unknown",
            healthy=True,
            product=("haproxy", "unknown"),
            seen="tls",
            mechanism_because="requests cannot be read inside TLS and users share the balancer's connections",
            mechanism_candidates=("lb_cookie", "app_cookie", "none"),
            really="lb_cookie",
            shows="as on all targets, from one of them",
        ),
        Output(
            "bridging-balancer.pcap.gz",
            "load_balancer",
            "bridging",
            "unknown",
            healthy=True,
            product=("haproxy", "unknown"),
            seen="tls",
            mechanism_because="requests cannot be read inside TLS",
            really="lb_cookie",
            mechanism_candidates=("lb_cookie", "app_cookie", "none"),
            shows="client hellos on both legs, none of whose randoms are the same",
        ),
    ],
    networks=5,
    per_network=6,
)
def alb_bridging(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"), port=8443, tls=True)
    run.balance(balancer.alb(run.net, run.directory, targets, certificate=run.certificate, target_tls=True, reuse="safe"))
    browse(users(run.net, 20, kinds=MIXED, addresses=12), PAGES[:5], scheme="https", port=443)


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
    browse(users(run.net, 16, kinds=(*BROWSERS[:7], "requests", "okhttp", "go")), PAGES[:4], scheme="https", port=443, fresh=True)


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
        users(run.net, 24, kinds=("requests", "okhttp", "go", "requests", "chrome124", "firefox133")),
        PAGES[:4],
        scheme="https",
        port=443,
        fresh=True,
    )


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
            "plain-nlb-five-tuple-one.pcap",
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
            shows=f"one TCP stack, {NO_ADDED}, connections are one browser's each; browsers send what they only send over TLS, "
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
    run.balance(balancer.haproxy_tcp(run.net, run.directory, targets, certificate=run.certificate))
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
            shows=f"one address, one TCP stack, {NO_ADDED}; no client sends anything that only goes over TLS",
        ),
    ],
    networks=5,
    per_network=6,
)
def l4_tls_scripts(run: Run) -> None:
    targets = run.serve(Application(sessions="shared", attributes="Path=/; HttpOnly"))
    run.balance(balancer.haproxy_tcp(run.net, run.directory, targets, certificate=run.certificate))
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
            "l4-tls-addresses-kept-one.pcap",
            "one_target",
            "l4_tls",
            "source_ip",
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
    run.balance(
        balancer.haproxy_tcp(run.net, run.directory, targets, certificate=run.certificate, keep_address=True, algorithm="source")
    )
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
    run.balance(balancer.haproxy_tcp(run.net, run.directory, targets, certificate=run.certificate, proxy="send-proxy-v2-ssl"))
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
    run.balance(balancer.haproxy_tcp(run.net, run.directory, targets, certificate=run.certificate, target_tls=True))
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
    run.balance(
        balancer.haproxy_tcp(
            run.net, run.directory, targets, certificate=run.certificate, target_tls=True, keep_address=True, algorithm="source"
        )
    )
    browse(users(run.net, 18, kinds=MIXED), PAGES[:4], scheme="https", port=443, fresh=True)


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
    browse(users(run.net, 14, kinds=MIXED), PAGES[:4], scheme="https", port=443, fresh=True, vip=target.address)


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


@scenario(
    "alb-plain",
    "HAProxy as an ALB with an HTTP listener: plain on both sides, duration-based stickiness",
    [
        Output(
            "plain-alb-lb-cookie-targets.pcap.gz",
            "all_targets",
            "none",
            "lb_cookie",
            product=("alb",),
            cookie="AWSALB",
            must=("plaintext-end-to-end", "session-cookie-in-plaintext"),
            kinds=("session_cookie",),
            shows="X-Forwarded-Proto http on every request with the other ALB headers",
        ),
    ],
    networks=5,
    per_network=5,
)
def alb_plain(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID", attributes="Path=/; HttpOnly"))
    run.balance(balancer.alb(run.net, run.directory, targets, certificate=None))
    browse(users(run.net, 30, kinds=("requests", "plain-chrome", "plain-firefox"), addresses=18))


@scenario(
    "alb-bridging-keyed",
    "HAProxy as an ALB, few long connections to the targets inside TLS 1.2",
    [
        Output(
            "bridging-tls12-targets.pcap.gz",
            "all_targets",
            "bridging",
            "unknown",
            healthy=True,
            product=("haproxy", "unknown"),
            seen="tls",
            mechanism_because="requests cannot be read inside TLS and users share the balancer's connections",
            really="none",
            mechanism_candidates=("lb_cookie", "app_cookie", "none"),
            shows="TLS 1.2 with the certificate in view; one stack from one address, resumed",
        ),
    ],
    networks=4,
    per_network=5,
)
def bridging_tls12(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), port=8443, tls={"maximum": ssl.TLSVersion.TLSv1_2})
    run.balance(balancer.alb(run.net, run.directory, targets, certificate=run.certificate, target_tls=True, sticky=None))
    browse(users(run.net, 15, kinds=MIXED), scheme="https", port=443)
