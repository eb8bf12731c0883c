"""Where TLS ends, behind balancers that read HTTP: the same shop offloaded, bridged and plain."""

from __future__ import annotations

import ssl

from tests.lab import balancer
from tests.lab.client import PAGES, browse, users
from tests.lab.scenario import Output, Run, scenario
from tests.lab.scenarios.common import HTTPS, INSIDE, MIXED, OFFLOAD, SESSION
from tests.lab.target import Application


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
    run.front(balancer.alb, targets)
    browse(users(run.net, 20, kinds=MIXED, addresses=18), (*PAGES, *PAGES[1:2]), scheme="https", port=443)


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
    run.front(balancer.alb, targets, target_tls=True, reuse="safe")
    browse(users(run.net, 14, kinds=MIXED, addresses=12), PAGES[:5], scheme="https", port=443)


@scenario(
    "alb-bridging-tls12",
    "HAProxy as an ALB, few long connections to the targets inside TLS 1.2",
    [
        Output(
            "bridging-tls12-targets.pcap.gz",
            "all_targets",
            "bridging",
            "unknown",
            committed=False,
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
    run.front(balancer.alb, targets, target_tls=True, sticky=None)
    browse(users(run.net, 15, kinds=MIXED), scheme="https", port=443)


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
    "insecure-cookie",
    "HAProxy as an ALB, HTTPS to plain HTTP; the application sets its cookie without Secure and HttpOnly",
    [
        Output(
            "offload-insecure-cookie-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            product=("alb",),
            cookie="AWSALB",
            must=(*OFFLOAD, "insecure-session-cookie"),
            **SESSION,
            shows="Set-Cookie without Secure behind X-Forwarded-Proto https",
        ),
    ],
    networks=4,
    per_network=5,
)
def insecure_cookie(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID", attributes="Path=/"))
    run.front(balancer.alb, targets)
    browse(users(run.net, 24, kinds=MIXED, addresses=15), **HTTPS)


@scenario(
    "ipv6",
    "HAProxy as an ALB over IPv6 on both sides, HTTPS to plain HTTP, AWSALB",
    [
        Output(
            "offload-ipv6-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            product=("alb",),
            cookie="AWSALB",
            must=OFFLOAD,
            **SESSION,
            shows="IPv6 addresses in packets and in X-Forwarded-For",
        ),
    ],
    networks=4,
    per_network=5,
    ipv6=True,
)
def ipv6(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"), ipv6=True)
    run.front(balancer.alb, targets, six=True)
    browse(users(run.net, 24, kinds=MIXED, addresses=16, ipv6=True), **HTTPS)


@scenario(
    "h2c-targets",
    "HAProxy speaks clear-text HTTP/2 to stock nginx: an ALB's HTTP2 target group",
    [
        Output(
            "offload-h2c-targets.pcap.gz",
            "all_targets",
            "offload",
            "none",
            product=("alb", "haproxy", "unknown"),
            must=OFFLOAD,
            servers_agree=False,
            count=("connections", "probes", "refused"),
            mechanism_accept=("unknown",),
            shows="HTTP/2 with prior knowledge, forwarded headers inside HPACK",
        ),
    ],
    networks=5,
    per_network=5,
)
def h2c_targets(run: Run) -> None:
    targets = run.serve_nginx(port=8080, listen="http2")
    run.front(balancer.alb, targets, sticky=None, checks=False, server_options=" proto h2")
    browse(users(run.net, 24, kinds=MIXED), **HTTPS)


@scenario(
    "nginx-targets",
    "HAProxy as an ALB in front of stock nginx without an application: no sessions at all",
    [
        Output(
            "offload-stateless-targets.pcap.gz",
            "all_targets",
            "offload",
            "none",
            product=("alb",),
            must=OFFLOAD,
            servers_agree=False,
            shows="forwarded addresses only; requests of one address go round the targets",
        ),
        Output(
            "offload-stateless-one.pcap.gz",
            "one_target",
            "offload",
            "unknown",
            product=("alb",),
            must=OFFLOAD,
            servers_agree=False,
            mechanism_because="no session tells what the other targets got",
            really="none",
            mechanism_accept=("none",),
            mechanism_candidates=("none", "source_ip"),
            shows="one target's share of it",
        ),
    ],
    networks=5,
    per_network=5,
)
def nginx_targets(run: Run) -> None:
    targets = run.serve_nginx(port=8080)
    run.front(balancer.alb, targets, sticky=None)
    browse(users(run.net, 24, kinds=MIXED), **HTTPS)


@scenario(
    "bridging-close",
    "HAProxy as an ALB in front of stock nginx over TLS, a connection per request",
    [
        Output(
            "bridging-close-targets.pcap.gz",
            "all_targets",
            "bridging",
            "unknown",
            healthy=True,
            product=("haproxy", "unknown"),
            really="none",
            **INSIDE,
            servers_agree=False,
            committed=False,
            shows="the balancer's closing alert comes after the target's FIN and draws RST: no lost request",
        ),
    ],
    networks=4,
    per_network=4,
)
def bridging_close(run: Run) -> None:
    targets = run.serve_nginx(port=8443, tls=True)
    run.front(balancer.alb, targets, target_tls=True, sticky=None, reuse="never", backend_extra="  option httpclose")
    browse(users(run.net, 16, kinds=MIXED), PAGES[:4], think=0.1, **HTTPS)
