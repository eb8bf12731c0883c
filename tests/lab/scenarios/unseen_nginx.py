"""Unseen: nginx over HTTP, by its documented methods, with the headers that deployment guides tell people to set."""

from __future__ import annotations

from tests.lab import balancer
from tests.lab.balancer import Balancer
from tests.lab.client import BROWSERS, PAGES, browse, together, users
from tests.lab.net import BALANCER, VIP
from tests.lab.programs import h2load, node
from tests.lab.scenario import Run, scenario
from tests.lab.scenarios.common import HTTPS, MIXED, OFFLOAD, SESSION
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
from tests.lab.target import Application, Target

NGINX = ("nginx", "unknown")
GUIDE = (
    "proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $host; proxy_set_header X-Real-IP "
    "$remote_addr; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;"
)


@scenario(
    "unseen-nginx-consistent",
    "nginx with `hash $remote_addr consistent`, kept-alive upstream connections, the usual headers, HTTPS to HTTP",
    [
        offloaded(
            "nginx-consistent-targets",
            "all_targets",
            "source_ip",
            "addresses keep their target",
            product=NGINX,
            may=("hot-target",),
        ),
        offloaded(
            "nginx-consistent-one", "one_target", shows="sessions stay", really="source_ip", product=NGINX, target=1, **ONE_PIN
        ),
    ],
    networks=6,
    per_network=5,
)
def consistent(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    upstream = "hash $remote_addr consistent; keepalive 16;"
    run.front(balancer.nginx, targets, upstream=upstream, location=GUIDE)
    people = users(run.net, 48, kinds=MIXED, addresses=22)
    note_people(run, people)
    browse(people, PAGES[:4], think=0.2, **HTTPS)


@scenario(
    "unseen-nginx-random-two",
    "nginx with `random two least_conn`; Laravel's encrypted session cookie is new in every answer, HTTPS to HTTP",
    [
        offloaded("nginx-random-two-targets", "all_targets", "none", "addresses go everywhere", product=NGINX),
        offloaded(
            "nginx-random-two-balancer",
            "load_balancer",
            "none",
            "both sides",
            product=NGINX,
            committed=False,
        ),
    ],
    networks=5,
    per_network=5,
)
def random_two(run: Run) -> None:
    app = Application(
        cookie="laravel_session", sessions="shared", rolling=True, shape=lambda index, token: f"eyJpdiI6{token}IiwibWFj"
    )
    targets = run.serve(app)
    upstream = "zone pool 64k; random two least_conn; keepalive 8;"
    run.front(balancer.nginx, targets, upstream=upstream, location=GUIDE)
    browse(users(run.net, 16, kinds=(*BROWSERS[:3], "requests")), think=0.2, **HTTPS)


@scenario(
    "unseen-nginx-real-ip",
    "nginx with ip_hash over plain HTTP that tells addresses in X-Real-IP and nothing else",
    [
        output(
            "nginx-real-ip-targets",
            "all_targets",
            mechanism="source_ip",
            shows="X-Real-IP keeps its target; nothing tells of the clients' hop",
            mode_accept=("none",),
            really="none",
            product=NGINX,
            **SESSION,
            **{**NO_HINT, "may": (*NO_HINT["may"], "hot-target")},
        ),
    ],
    networks=8,
    per_network=3,
)
def real_ip(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID", attributes=PLAIN_COOKIE))
    location = "proxy_set_header Host $http_host; proxy_set_header X-Real-IP $remote_addr;"
    run.balance(balancer.nginx(run.net, run.directory, targets, certificate=None, upstream="ip_hash;", location=location))
    people = users(run.net, 40, kinds=("plain-chrome", "plain-firefox", "requests"), addresses=24)
    note_people(run, people)
    browse(people, PAGES[:4], think=0.2)


@scenario(
    "unseen-nginx-session-hash",
    "nginx with `hash $cookie_sessionid`; the application's sessions are shared, HTTPS to HTTP",
    [
        offloaded(
            "nginx-session-hash-targets",
            "all_targets",
            "app_cookie",
            "every user's first request goes to one target, then the cookie's hash decides",
            product=NGINX,
            may=("hot-target", "affinity-remap"),
        ),
    ],
    networks=5,
    per_network=3,
)
def session_hash(run: Run) -> None:
    targets = run.serve(Application(cookie="sessionid", sessions="shared"))
    upstream = "hash $cookie_sessionid; keepalive 8;"
    run.front(balancer.nginx, targets, upstream=upstream, location=GUIDE)
    people = users(run.net, 36, kinds=MIXED, addresses=13)
    note_people(run, people)
    browse(people, repeat=2, think=0.15, **HTTPS)


@scenario(
    "unseen-nginx-map-sticky",
    "nginx with a home-made sticky cookie: a map sends the cookie's holder to its target, HTTPS to HTTP",
    [
        offloaded(
            "nginx-map-sticky-targets",
            "all_targets",
            shows="a cookie nobody knows by name, one value per target, comes back",
            product=NGINX,
            really="lb_cookie",
            **HIDDEN_COOKIE,
        ),
    ],
    networks=4,
    per_network=4,
)
def map_sticky(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    rows = " ".join(f"{place} {target.name};" for place, target in zip("abc", targets, strict=True))
    text = (
        f"split_clients $request_id $drawn {{ 33.3% a; 33.3% b; * c; }}\n"
        f"map $cookie_edge_node $node {{ a a; b b; c c; default $drawn; }}\nmap $node $to {{ {rows} }}\n"
        f"server {{ listen {VIP}:443 ssl http2; ssl_certificate {run.certificate}; ssl_certificate_key {run.certificate};\n"
        f"location / {{ proxy_pass http://$to; proxy_bind {BALANCER}; {GUIDE} "
        "add_header Set-Cookie 'edge_node=$node; Path=/; Secure'; } }\n"
    )
    run.balance(balancer.nginx_conf(run.net, run.directory, text, [443]))
    people = users(run.net, 30, kinds=MIXED, addresses=11)
    note_people(run, people)
    browse(people, think=0.2, **HTTPS)


@scenario(
    "unseen-nginx-grpc",
    "nginx passes gRPC on in clear-text HTTP/2 to stock nginx, round robin; load from h2load",
    [
        output(
            "nginx-grpc-targets",
            "all_targets",
            mechanism="none",
            shows="HTTP/2 with prior knowledge, content-type application/grpc, nothing added",
            mode_accept=("offload",),
            mode_because="grpc_pass adds no header, and programs show no tells",
            really="offload",
            mechanism_accept=("unknown",),
            product=NGINX,
            servers_agree=False,
            count=("connections", "probes", "refused"),
            may=("plaintext-end-to-end", "plaintext-backend-hop"),
        ),
    ],
    networks=3,
    per_network=2,
)
def grpc(run: Run) -> None:
    targets = run.serve_nginx(port=8080, listen="http2", body=120)
    members = "".join(f" server {target.name};" for target in targets)
    text = (
        f"upstream pool {{ {members} keepalive 4; }}\n"
        f"server {{ listen {VIP}:443 ssl http2; ssl_certificate {run.certificate}; ssl_certificate_key {run.certificate};\n"
        f"location / {{ grpc_pass grpc://pool; grpc_socket_keepalive on; }} }}\n"
    )
    run.balance(balancer.nginx_conf(run.net, run.directory, text, [443]))
    options = ("-m", "2", "-H", "content-type: application/grpc", "-H", "te: trailers", "--connect-to", f"{VIP}:443")
    h2load(run.net.clients, url="https://shop.example/inventory.v1.Items/List", requests=24, clients=3, options=options)


@scenario(
    "unseen-hitch-nginx",
    "hitch ends TLS and hands PROXY v2 to nginx, which hashes the client's address consistently, to HTTP",
    [
        offloaded(
            "hitch-nginx-targets", "all_targets", "source_ip", "addresses keep their target", product=NGINX, may=("hot-target",)
        ),
        offloaded("hitch-nginx-one", "one_target", shows="sessions stay", really="source_ip", product=NGINX, target=2, **ONE_PIN),
    ],
    networks=6,
    per_network=4,
)
def hitch_nginx(run: Run) -> None:
    targets = run.serve(Application(cookie="_session_id"))
    members = "".join(f" server {target.name};" for target in targets)
    text = (
        f"upstream pool {{ hash $proxy_protocol_addr consistent; {members} keepalive 8; }}\n"
        "server { listen 127.0.0.1:8081 proxy_protocol; location / { proxy_pass http://pool; "
        f"proxy_bind {BALANCER}; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $host; "
        "proxy_set_header X-Forwarded-For $proxy_protocol_addr; proxy_set_header X-Forwarded-Proto https; } }\n"
    )
    run.balance(balancer.nginx_conf(run.net, run.directory, text, [8081]))
    proxy = "write-proxy-v2 = on"
    run.front(balancer.hitch, "127.0.0.1:8081", proxy=proxy)
    people = users(run.net, 44, kinds=MIXED, addresses=22)
    note_people(run, people)
    browse(people, PAGES[:4], think=0.2, **HTTPS)


def both_ports(run: Run, targets: list[Target]) -> Balancer:
    """nginx that listens on 80 and on 443 and tells the scheme."""
    members = "".join(f" server {target.name};" for target in targets)
    text = (
        f"upstream pool {{ {members} keepalive 8; }}\n"
        f"server {{ listen {VIP}:80; listen {VIP}:443 ssl; ssl_certificate {run.certificate};\n"
        f"ssl_certificate_key {run.certificate}; location / {{ proxy_pass http://pool; proxy_bind {BALANCER}; {GUIDE} }} }}\n"
    )
    return balancer.nginx_conf(run.net, run.directory, text, [80, 443])


@scenario(
    "unseen-nginx-both-schemes",
    "nginx serves the same pool over HTTP and over HTTPS; a third of the users never got redirected",
    [
        offloaded(
            "nginx-both-schemes-targets",
            "all_targets",
            "none",
            "X-Forwarded-Proto says https for most, http for the rest",
            product=NGINX,
            mode_accept=("unknown",),
            must=(),
            may=(*OFFLOAD, "mixed-termination", "plaintext-end-to-end", "session-cookie-in-plaintext"),
        ),
    ],
    networks=5,
    per_network=6,
)
def both_schemes(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared", attributes=PLAIN_COOKIE + "; Secure"))
    run.balance(both_ports(run, targets))
    secure, plain = users(run.net, 20, kinds=BROWSERS[:5]), users(run.net, 10, kinds=("plain-chrome", "requests"), seed=12)
    some = [
        (secure[0].ns, lambda: browse(secure, think=0.2, **HTTPS)),
        (plain[0].ns, lambda: browse(plain, think=0.2)),
    ]
    together(some)


@scenario(
    "unseen-nginx-bridging-hash",
    "nginx with `hash $remote_addr` and HTTPS to its targets, sessions resumed",
    [
        output(
            "nginx-bridging-hash-one",
            "one_target",
            "bridging",
            shows="one TLS stack from one address",
            healthy=True,
            really="source_ip",
            product=NGINX,
            mode_accept=("unknown",),
            **INSIDE_TLS,
        ),
        output(
            "nginx-bridging-hash-targets",
            "all_targets",
            "bridging",
            shows="one TLS stack from one address",
            healthy=True,
            really="source_ip",
            product=NGINX,
            **INSIDE_TLS,
        ),
    ],
    networks=4,
    per_network=4,
)
def bridging_hash(run: Run) -> None:
    targets = run.serve(Application(cookie="sid"), port=8443, tls=True)
    run.front(
        balancer.nginx,
        targets,
        target_tls=True,
        upstream="hash $remote_addr; keepalive 6;",
        location=GUIDE + "proxy_ssl_session_reuse on;",
    )
    people = users(run.net, 11)
    node(people, scheme="https", port=443)
