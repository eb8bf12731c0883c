"""HAProxy and nginx as themselves: cookies, hashes and neither."""

from __future__ import annotations

from tests.lab import balancer
from tests.lab.client import BROWSERS, PAGES, browse, users
from tests.lab.scenario import Output, Run, scenario
from tests.lab.scenarios.common import HTTPS, INSIDE, MIXED, OFFLOAD
from tests.lab.target import Application


@scenario(
    "haproxy-cookie",
    "HAProxy as itself: `cookie SRV insert` (not indirect), X-Forwarded-For, HTTPS to plain HTTP",
    [
        Output(
            "offload-haproxy-srv-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            product=("haproxy",),
            cookie="SRV",
            must=OFFLOAD,
            may=("insecure-session-cookie",),
            kinds=("session_cookie",),
            shows="SRV comes back and names the target; lower-case x-forwarded-for; browsers send what they only send over TLS",
        ),
        Output(
            "offload-haproxy-srv-one.pcap.gz",
            "one_target",
            "offload",
            "lb_cookie",
            product=("haproxy",),
            cookie="SRV",
            must=OFFLOAD,
            may=("insecure-session-cookie",),
            kinds=("session_cookie",),
            shows="one value of SRV only, and no session that was issued elsewhere",
        ),
    ],
    networks=5,
    per_network=6,
)
def haproxy_cookie(run: Run) -> None:
    targets = run.serve(Application(cookie="connect.sid"))
    run.front(balancer.haproxy_http, targets, cookie="SRV insert")
    browse(users(run.net, 30, kinds=BROWSERS, addresses=18), repeat=1, **HTTPS)


@scenario(
    "haproxy-indirect",
    "HAProxy as itself: `cookie SRV insert indirect`, which hides the cookie from the targets",
    [
        Output(
            "offload-haproxy-indirect-targets.pcap.gz",
            "all_targets",
            "offload",
            "unknown",
            product=("haproxy",),
            must=OFFLOAD,
            kinds=("session_cookie",),
            really="lb_cookie",
            mechanism_candidates=("lb_cookie", "app_cookie"),
            mechanism_because="no balancer's cookie is in view, and a hidden one cannot be told from following the session's",
            mechanism_accept=("app_cookie",),
            shows="sessions stay, users behind one address land apart, and no cookie of a balancer is in view",
        ),
    ],
    networks=5,
    per_network=6,
)
def haproxy_indirect(run: Run) -> None:
    targets = run.serve(Application(cookie="connect.sid"))
    run.front(balancer.haproxy_http, targets, cookie="SRV insert indirect nocache")
    browse(users(run.net, 30, kinds=BROWSERS, addresses=12), repeat=1, **HTTPS)


@scenario(
    "haproxy-source",
    "HAProxy as itself: `balance source`, X-Forwarded-For, several users behind one address",
    [
        Output(
            "offload-haproxy-source-targets.pcap.gz",
            "all_targets",
            "offload",
            "source_ip",
            product=("haproxy",),
            must=OFFLOAD,
            kinds=("session_cookie",),
            may=("hot-target",),
            shows="all users behind one forwarded address meet the same target, also before they have a session",
        ),
    ],
    networks=6,
    per_network=6,
)
def haproxy_source(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    run.front(balancer.haproxy_http, targets, algorithm="source")
    browse(users(run.net, 60, kinds=MIXED, addresses=30), PAGES[:4], **HTTPS)


@scenario(
    "haproxy-roundrobin-scripts",
    "HAProxy as itself: round robin, X-Forwarded-For only; scripts as clients, cookies without Secure",
    [
        Output(
            "offload-haproxy-scripts-targets.pcap.gz",
            "all_targets",
            "unknown",
            "none",
            product=("haproxy",),
            really="offload",
            mode_because="X-Forwarded-For says a proxy read the requests, nothing says whether the clients' hop was encrypted",
            mode_candidates=("offload", "none"),
            kinds=("session_cookie",),
            may=("plaintext-backend-hop", "plaintext-end-to-end", "session-cookie-in-plaintext"),
            shows="lower-case x-forwarded-for, HAProxy's health checks; no hint of the clients' hop",
        ),
    ],
    networks=5,
    per_network=6,
)
def haproxy_scripts(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared", attributes="Path=/; HttpOnly"))
    run.front(balancer.haproxy_http, targets, algorithm="random")
    browse(users(run.net, 30, kinds=("requests", "okhttp", "go")), **HTTPS)


@scenario(
    "nginx-stock",
    "stock nginx: round robin, HTTP/1.0 and a connection per request, HTTPS to plain HTTP, browsers",
    [
        Output(
            "offload-nginx-stock-targets.pcap.gz",
            "all_targets",
            "offload",
            "none",
            product=("nginx",),
            must=OFFLOAD,
            kinds=("session_cookie",),
            shows="HTTP/1.0, Host is the upstream's name, nothing forwarded; browsers' tells of TLS",
        ),
        Output(
            "offload-nginx-stock-one.pcap.gz",
            "one_target",
            "offload",
            "none",
            product=("nginx",),
            must=OFFLOAD,
            kinds=("session_cookie",),
            shows="as on all targets; two in three sessions that come here were issued elsewhere",
        ),
    ],
    networks=5,
    per_network=5,
)
def nginx_stock(run: Run) -> None:
    targets = run.serve(Application(cookie="sessionid", sessions="shared"))
    run.front(balancer.nginx, targets)
    browse(users(run.net, 25, kinds=BROWSERS), PAGES[:5], **HTTPS)


@scenario(
    "nginx-ip-hash",
    "nginx with ip_hash and the usual proxy headers: whole /24 networks move together",
    [
        Output(
            "offload-nginx-ip-hash-targets.pcap.gz",
            "all_targets",
            "offload",
            "source_ip",
            product=("nginx",),
            must=OFFLOAD,
            kinds=("session_cookie",),
            may=("hot-target",),
            shows="X-Forwarded-For and X-Forwarded-Proto https; every /24 network meets one target",
        ),
        Output(
            "offload-nginx-ip-hash-one.pcap.gz",
            "one_target",
            "offload",
            "unknown",
            product=("nginx",),
            must=OFFLOAD,
            kinds=("session_cookie",),
            really="source_ip",
            mechanism_candidates=("source_ip", "app_cookie", "lb_cookie"),
            mechanism_accept=("source_ip",),
            mechanism_because="a session and its address both always come here; nothing separates them at one target",
            shows="no session that was issued elsewhere",
        ),
    ],
    networks=16,
    per_network=3,
)
def nginx_ip_hash(run: Run) -> None:
    targets = run.serve(Application(cookie="sessionid"))
    run.front(
        balancer.nginx,
        targets,
        upstream="ip_hash;",
        location="proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr; "
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;",
    )
    browse(users(run.net, 64, kinds=MIXED, addresses=40), PAGES[:4], **HTTPS)


@scenario(
    "nginx-keepalive",
    "nginx with HTTP/1.1 keep-alive to the targets, forwarded headers, cookie hash of its own",
    [
        Output(
            "offload-nginx-cookie-hash-targets.pcap.gz",
            "all_targets",
            "offload",
            "app_cookie",
            product=("nginx",),
            must=OFFLOAD,
            kinds=("session_cookie",),
            mechanism_accept=("unknown",),
            may=("session-lost", "affinity-remap", "hot-target"),
            shows="a session's cookie decides: users behind one address land apart, each new session moves once",
        ),
    ],
    networks=5,
    per_network=6,
)
def nginx_cookie_hash(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID", sessions="shared"))
    run.front(
        balancer.nginx,
        targets,
        upstream="hash $cookie_JSESSIONID consistent; keepalive 8;",
        location='proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; '
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;",
    )
    browse(users(run.net, 45, kinds=MIXED, addresses=20), repeat=2, **HTTPS)


@scenario(
    "url-hash",
    "HAProxy as itself: `balance uri`; the path decides, not the client",
    [
        Output(
            "offload-url-hash-targets.pcap.gz",
            "all_targets",
            "offload",
            "none",
            must=OFFLOAD,
            product=("haproxy",),
            may=("hot-target",),
            kinds=("session_cookie",),
            shows="a session's target changes with the path, the same for everybody",
        ),
    ],
    networks=5,
    per_network=6,
)
def url_hash(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID", sessions="shared"))
    run.front(balancer.haproxy_http, targets, algorithm="uri")
    steps = [("GET", f"/goods/{number}", None) for number in range(12)]
    browse(users(run.net, 30, kinds=BROWSERS), steps, **HTTPS)


@scenario(
    "nginx-bridging",
    "nginx, round robin, HTTPS to HTTPS, a TLS connection per request",
    [
        Output(
            "bridging-nginx-targets.pcap.gz",
            "all_targets",
            "bridging",
            "unknown",
            committed=False,
            healthy=True,
            product=("nginx", "unknown"),
            really="none",
            **INSIDE,
            shows="one TLS stack from one address, as many connections as requests",
        ),
        Output(
            "bridging-nginx-balancer.pcap.gz",
            "load_balancer",
            "bridging",
            "unknown",
            healthy=True,
            product=("nginx", "unknown"),
            really="none",
            **INSIDE,
            shows="TLS on both legs, no random in common",
            committed=False,
        ),
    ],
    networks=4,
    per_network=5,
)
def nginx_bridging(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), port=8443, tls=True)
    run.front(balancer.nginx, targets, target_tls=True)
    browse(users(run.net, 15, kinds=MIXED), PAGES[:4], **HTTPS)
