"""What pins a client to a target: every mechanism that works, and the same ones broken."""

from __future__ import annotations

from tests.lab import balancer
from tests.lab.client import BROWSERS, PAGES, browse, users
from tests.lab.scenario import Output, Run, scenario
from tests.lab.target import Application

MIXED = (*BROWSERS[:5], "requests", "okhttp", "go")
OFFLOAD = ("plaintext-backend-hop",)
PLAIN = ("plaintext-end-to-end", "session-cookie-in-plaintext")
HTTPS = {"scheme": "https", "port": 443}


@scenario(
    "alb-app-cookie",
    "HAProxy as an ALB that follows the application's cookie (AWSALBAPP-0), HTTPS to plain HTTP",
    [
        Output(
            "offload-app-cookie-targets.pcap.gz",
            "all_targets",
            "offload",
            "app_cookie",
            product=("alb",),
            cookie="AWSALBAPP-0",
            must=OFFLOAD,
            kinds=("session_cookie",),
            shows="AWSALBAPP-0 and the application's cookie come back together, and always to the target that issued the latter",
        ),
        Output(
            "offload-app-cookie-one.pcap.gz",
            "one_target",
            "offload",
            "app_cookie",
            product=("alb",),
            cookie="AWSALBAPP-0",
            must=OFFLOAD,
            kinds=("session_cookie",),
            shows="as on all targets; no session value that was issued elsewhere",
            target=1,
        ),
    ],
    networks=5,
    per_network=6,
)
def alb_app_cookie(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    run.balance(
        balancer.alb(run.net, run.directory, targets, certificate=run.certificate, sticky="app_cookie", app_cookie="JSESSIONID")
    )
    browse(users(run.net, 30, kinds=MIXED, addresses=17), repeat=2, **HTTPS)


@scenario(
    "alb-no-stickiness",
    "HAProxy as an ALB without stickiness, HTTPS to plain HTTP, sessions shared by the targets",
    [
        Output(
            "offload-none-targets.pcap.gz",
            "all_targets",
            "offload",
            "none",
            product=("alb",),
            must=OFFLOAD,
            kinds=("session_cookie",),
            shows="requests of one session go round the targets, which all know it",
        ),
        Output(
            "offload-none-one.pcap.gz",
            "one_target",
            "offload",
            "none",
            product=("alb",),
            must=OFFLOAD,
            kinds=("session_cookie",),
            shows="two in three of the sessions that come here were issued elsewhere",
        ),
    ],
    networks=5,
    per_network=6,
)
def alb_no_stickiness(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID", sessions="shared"))
    run.balance(balancer.alb(run.net, run.directory, targets, certificate=run.certificate, sticky=None))
    browse(users(run.net, 30, kinds=MIXED), repeat=1, **HTTPS)


@scenario(
    "alb-broken-shared",
    "HAProxy as an ALB that hands AWSALB out but ignores it; sessions shared by the targets",
    [
        Output(
            "offload-broken-cookie-targets.pcap.gz",
            "all_targets",
            "offload",
            "none",
            product=("alb",),
            cookie="AWSALB",
            must=(*OFFLOAD, "stickiness-not-working"),
            kinds=("session_cookie",),
            shows="AWSALB comes back on every request and the target is chance",
        ),
    ],
    networks=5,
    per_network=6,
)
def alb_broken_shared(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID", sessions="shared"))
    run.balance(balancer.alb(run.net, run.directory, targets, certificate=run.certificate, honour=False, algorithm="random"))
    browse(users(run.net, 30, kinds=MIXED), repeat=2, **HTTPS)


@scenario(
    "alb-broken-local",
    "HAProxy as an ALB that hands AWSALB out but ignores it; each target knows its own sessions only",
    [
        Output(
            "offload-broken-cookie-lost-targets.pcap.gz",
            "all_targets",
            "offload",
            "none",
            product=("alb",),
            cookie="AWSALB",
            must=(*OFFLOAD, "stickiness-not-working", "session-lost"),
            kinds=("session_cookie",),
            shows="AWSALB comes back, the target is chance, and a session is answered as new wherever it was not issued",
        ),
        Output(
            "offload-broken-cookie-lost-one.pcap.gz",
            "one_target",
            "offload",
            "none",
            product=("alb",),
            cookie="AWSALB",
            must=(*OFFLOAD, "session-lost"),
            may=("stickiness-not-working",),
            kinds=("session_cookie",),
            shows="sessions that this target did not issue arrive and are answered as new",
        ),
    ],
    networks=5,
    per_network=6,
)
def alb_broken_local(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    run.balance(balancer.alb(run.net, run.directory, targets, certificate=run.certificate, honour=False, algorithm="random"))
    browse(users(run.net, 30, kinds=MIXED), repeat=2, **HTTPS)


@scenario(
    "alb-cookies-ignored",
    "HAProxy as an ALB with AWSALB; two in five clients never return a cookie",
    [
        Output(
            "offload-cookies-ignored-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            product=("alb",),
            cookie="AWSALB",
            must=(*OFFLOAD, "cookies-ignored"),
            kinds=("session_cookie",),
            shows="clients that return cookies stay; those that never do are spread and get a new session each time",
        ),
    ],
    networks=5,
    per_network=8,
)
def alb_cookies_ignored(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID"))
    run.balance(balancer.alb(run.net, run.directory, targets, certificate=run.certificate))
    people = users(run.net, 35, kinds=("requests", "okhttp", "chrome124", "go", "firefox133"))
    for user in people:
        user.keep_cookies = user.kind not in ("okhttp", "go")
    browse(people, repeat=2, **HTTPS)


@scenario(
    "alb-target-groups",
    "HAProxy as an ALB with two weighted target groups: AWSALBTG picks the group",
    [
        Output(
            "offload-target-group-targets.pcap.gz",
            "all_targets",
            "offload",
            "weighted_target_group",
            product=("alb",),
            cookie="AWSALBTG",
            must=OFFLOAD,
            kinds=("session_cookie",),
            shows="AWSALBTG comes back; a session stays in its pair of targets and changes within it",
        ),
    ],
    networks=5,
    per_network=6,
    targets=4,
)
def alb_target_groups(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID", sessions="shared"))
    run.balance(balancer.alb_groups(run.net, run.directory, (targets[:2], targets[2:]), certificate=run.certificate))
    browse(users(run.net, 32, kinds=MIXED), repeat=2, **HTTPS)


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
            "offload-haproxy-srv-one.pcap",
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
    run.balance(balancer.haproxy_http(run.net, run.directory, targets, certificate=run.certificate, cookie="SRV insert"))
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
    run.balance(
        balancer.haproxy_http(run.net, run.directory, targets, certificate=run.certificate, cookie="SRV insert indirect nocache")
    )
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
    run.balance(balancer.haproxy_http(run.net, run.directory, targets, certificate=run.certificate, algorithm="source"))
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
    run.balance(balancer.haproxy_http(run.net, run.directory, targets, certificate=run.certificate, algorithm="random"))
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
            "offload-nginx-stock-one.pcap",
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
    run.balance(balancer.nginx(run.net, run.directory, targets, certificate=run.certificate))
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
    run.balance(
        balancer.nginx(
            run.net,
            run.directory,
            targets,
            certificate=run.certificate,
            upstream="ip_hash;",
            location="proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr; "
            "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;",
        )
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
    run.balance(
        balancer.nginx(
            run.net,
            run.directory,
            targets,
            certificate=run.certificate,
            upstream="hash $cookie_JSESSIONID consistent; keepalive 8;",
            location='proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; '
            "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;",
        )
    )
    browse(users(run.net, 45, kinds=MIXED, addresses=20), repeat=2, **HTTPS)


@scenario(
    "alb-weights",
    "HAProxy as an ALB without stickiness, targets weighted 6 : 3 : 3",
    [
        Output(
            "offload-weights-targets.pcap.gz",
            "all_targets",
            "offload",
            "none",
            product=("alb",),
            must=OFFLOAD,
            kinds=("session_cookie",),
            shows="one target takes half of everything, steadily",
        ),
    ],
    networks=5,
    per_network=6,
)
def alb_weights(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID", sessions="shared"))
    run.balance(balancer.alb(run.net, run.directory, targets, certificate=run.certificate, sticky=None, weights=(6, 3, 3)))
    browse(users(run.net, 30, kinds=MIXED), repeat=2, **HTTPS)


@scenario(
    "alb-two-nodes",
    "HAProxy as an ALB of two nodes, both feeding all targets and checking them",
    [
        Output(
            "offload-two-nodes-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            product=("alb",),
            cookie="AWSALB",
            must=OFFLOAD,
            kinds=("session_cookie",),
            shows="two addresses of the balancer, health checks from both, one service",
        ),
    ],
    networks=5,
    per_network=6,
)
def alb_two_nodes(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    run.balance(balancer.alb(run.net, run.directory, targets, certificate=run.certificate, nodes=2, interval="1s"))
    browse(users(run.net, 30, kinds=MIXED, addresses=18), repeat=2, **HTTPS)


@scenario(
    "cdn-in-front",
    "a CDN's few addresses in front of HAProxy as an ALB: the last forwarded entries are the CDN's",
    [
        Output(
            "offload-behind-cdn-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            product=("alb",),
            cookie="AWSALB",
            must=OFFLOAD,
            kinds=("session_cookie",),
            shows="three addresses last in X-Forwarded-For with many users before them; Via names the CDN",
        ),
    ],
    networks=1,
    per_network=3,
)
def cdn_in_front(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    run.balance(balancer.alb(run.net, run.directory, targets, certificate=run.certificate))
    people = users(run.net, 36, kinds=("requests",), addresses=3)
    for index, user in enumerate(people):
        user.headers = {
            "X-Forwarded-For": f"203.0.113.{20 + index}",
            "User-Agent": "Amazon CloudFront",
            "Via": "2.0 9c1f0d2f5a1be3f1e0b8e4b4c2f6a7d8.cloudfront.net (CloudFront)",
            "X-Amz-Cf-Id": f"k{index:02d}Q2Zt9mXw1vC7nB4hJ8sL5dF0gR3yT6uP==",
        }
    browse(people, repeat=2, **HTTPS)


@scenario(
    "nlb-nat-300",
    "kernel NAT as an NLB with source-address stickiness; 120 users behind one address, 40 elsewhere",
    [
        Output(
            "plain-nlb-nat-many-targets.pcap.gz",
            "all_targets",
            "none",
            "source_ip",
            product=("nlb", "none", "unknown"),
            kinds=("session_cookie",),
            must=(*PLAIN, "nat-concentration"),
            shows="one address holds three users in four, all of them at one target",
        ),
    ],
    networks=6,
    per_network=8,
)
def nlb_nat_many(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID", attributes="Path=/; HttpOnly"))
    run.balance(balancer.Nlb(run.net, targets, by="source_ip", port=80))
    kinds = ("requests", "plain-chrome", "plain-firefox", "okhttp")
    office = users(run.net, 120, kinds=kinds, addresses=1)
    browse(office + users(run.net, 40, kinds=kinds, seed=9, networks=run.net.clients[1:]), PAGES[:3], fresh=True, start_within=4)


@scenario(
    "nlb-nat-5",
    "kernel NAT as an NLB with source-address stickiness; households of five behind one address each",
    [
        Output(
            "plain-nlb-nat-few-targets.pcap.gz",
            "all_targets",
            "none",
            "source_ip",
            product=("nlb", "none", "unknown"),
            kinds=("session_cookie",),
            must=PLAIN,
            shows="twelve addresses with five users each: nothing is concentrated",
        ),
    ],
    networks=6,
    per_network=4,
)
def nlb_nat_few(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID", attributes="Path=/; HttpOnly"))
    run.balance(balancer.Nlb(run.net, targets, by="source_ip", port=80, seed=11))
    browse(users(run.net, 60, kinds=("requests", "plain-chrome", "plain-firefox", "okhttp"), addresses=18), PAGES[:4], fresh=True)


@scenario(
    "nlb-clients-move",
    "kernel NAT as an NLB with source-address stickiness; a third of the users change address half-way",
    [
        Output(
            "plain-nlb-clients-move-targets.pcap.gz",
            "all_targets",
            "none",
            "source_ip",
            product=("nlb", "none", "unknown"),
            kinds=("session_cookie",),
            must=(*PLAIN, "client-address-changes"),
            shows="sessions that continue from another address, mostly at another target; all targets know them",
        ),
    ],
    networks=6,
    per_network=8,
)
def nlb_clients_move(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID", sessions="shared", attributes="Path=/; HttpOnly"))
    run.balance(balancer.Nlb(run.net, targets, by="source_ip", port=80))
    people = users(run.net, 36, kinds=("requests", "plain-chrome", "plain-firefox"))
    browse(people, PAGES[:4], fresh=True)
    for index, user in enumerate(people[::3]):
        client = run.net.clients[(index + 1) % len(run.net.clients)]
        user.ns, user.address = client.ns, client.addresses[7 - index // 6]
    browse(people, PAGES[:4], fresh=True)


@scenario(
    "nlb-random",
    "kernel NAT as an NLB that picks targets at random: no stickiness, plain HTTP, sessions known to one target only",
    [
        Output(
            "plain-nlb-random-lost-targets.pcap.gz",
            "all_targets",
            "none",
            "none",
            product=("nlb", "none", "unknown"),
            kinds=("session_cookie",),
            must=(*PLAIN, "session-lost"),
            shows="sessions are answered with 401 wherever they were not issued",
        ),
    ],
    networks=6,
    per_network=6,
)
def nlb_random(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", unknown="401", attributes="Path=/; HttpOnly"))
    run.balance(balancer.Nlb(run.net, targets, by="random", port=80))
    browse(users(run.net, 36, kinds=("requests", "plain-chrome", "plain-firefox")), PAGES[:5], fresh=True)


@scenario(
    "secrets-offload",
    "HAProxy as an ALB: passwords, Basic, bearer tokens, API keys and card numbers behind it in clear",
    [
        Output(
            "offload-secrets-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            product=("alb",),
            cookie="AWSALB",
            must=(*OFFLOAD, "credentials-in-plaintext", "card-data-in-plaintext"),
            kinds=("session_cookie", "password", "basic_auth", "bearer_token", "api_key", "card_number"),
            shows="a login form, Basic and bearer authorization, an X-Api-Key header and a payment form, all readable",
        ),
    ],
    networks=5,
    per_network=4,
)
def secrets_offload(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    run.balance(balancer.alb(run.net, run.directory, targets, certificate=run.certificate))
    people = users(run.net, 20, kinds=("requests", "okhttp", "go"))
    _with_secrets(run, people, **HTTPS)


@scenario(
    "secrets-plain",
    "HAProxy as an ALB with an HTTP listener: the same secrets readable on both hops",
    [
        Output(
            "plain-secrets-targets.pcap.gz",
            "all_targets",
            "none",
            "lb_cookie",
            product=("alb",),
            cookie="AWSALB",
            must=(*PLAIN, "credentials-in-plaintext", "card-data-in-plaintext"),
            kinds=("session_cookie", "password", "basic_auth", "bearer_token", "api_key", "card_number"),
            shows="as in offload-secrets-targets, with X-Forwarded-Proto http",
        ),
        Output(
            "plain-secrets-balancer.pcapng.gz",
            "load_balancer",
            "none",
            "lb_cookie",
            product=("alb",),
            cookie="AWSALB",
            must=(*PLAIN, "credentials-in-plaintext", "card-data-in-plaintext"),
            kinds=("session_cookie", "password", "basic_auth", "bearer_token", "api_key", "card_number"),
            shows="the same requests on both sides of the balancer",
        ),
    ],
    networks=5,
    per_network=4,
)
def secrets_plain(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID", attributes="Path=/; HttpOnly"))
    run.balance(balancer.alb(run.net, run.directory, targets, certificate=None))
    _with_secrets(run, users(run.net, 20, kinds=("requests", "okhttp", "go")))


@scenario(
    "numbers-not-cards",
    "HAProxy as an ALB, HTTPS to plain HTTP: order numbers and timestamps that look like cards, no credentials",
    [
        Output(
            "offload-harmless-numbers-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            product=("alb",),
            cookie="AWSALB",
            must=OFFLOAD,
            kinds=("session_cookie",),
            shows="sixteen-digit order numbers, some of which pass Luhn, without a card's context",
        ),
    ],
    networks=5,
    per_network=4,
)
def numbers_not_cards(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    run.balance(balancer.alb(run.net, run.directory, targets, certificate=run.certificate))
    steps = [
        ("GET", "/orders/4000123412341234", None),
        ("GET", "/api/items?since=1795167539583", None),
        ("POST", "/orders", b"order=9000000000000008&quantity=2"),
        ("GET", "/orders?tracking=1234567890123452", None),
    ]
    browse(users(run.net, 20, kinds=MIXED), steps, repeat=2, **HTTPS)


def _with_secrets(run: Run, people: list, **where: object) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    passwords = ("correct-horse-battery", "Tr0ub4dor-and-3", "hunter2hunter2", "s3same-0pen-now")
    cards = ("4111111111111111", "5555555555554444", "378282246310005")
    import base64

    basic = base64.b64encode(b"reporting:9vB-basic-pass-71").decode()
    bearer, key = "mF_9.B5f-4.1JqM-bearer-7c1d9e", "sk_live_51HvLbtopMadeUpKey0001"
    run.secrets |= {*passwords, *cards, basic, "9vB-basic-pass-71", bearer, key}
    for user in people:
        user.headers = {**form}

    def steps(index: int) -> list[tuple[str, str, bytes | None]]:
        return [
            ("GET", "/login", None),
            ("POST", "/login", f"user=u{index}&password={passwords[index % 4]}".encode()),
            ("GET", "/account", None),
            ("POST", "/checkout", f"name=A+Person&card_number={cards[index % 3]}&expiry=12%2F29&cvv=123".encode()),
        ]

    people[0].headers |= {"Authorization": f"Basic {basic}"}
    people[1].headers |= {"Authorization": f"Bearer {bearer}"}
    people[2].headers |= {"X-Api-Key": key}
    import time

    from tests.lab.client import Browsing, together

    def walk(index: int) -> None:
        user = people[index]
        time.sleep(user.random.random())
        browsing = Browsing(user, **{"scheme": "http", "port": 80, "fresh": False, **where})  # type: ignore[arg-type]
        for step in steps(index) + [PAGES[0]]:
            browsing.do(step)
            time.sleep(user.random.expovariate(6))
        browsing.close()

    together([(user.ns, lambda index=index: walk(index)) for index, user in enumerate(people)])
