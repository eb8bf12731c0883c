"""Unseen: Caddy's and Apache's other policies, lighttpd and Squid in front of targets."""

from __future__ import annotations

from tests.lab import balancer
from tests.lab.client import BROWSERS, PAGES, browse, users
from tests.lab.programs import curl, node
from tests.lab.scenario import Run, scenario
from tests.lab.scenarios.common import HTTPS, MIXED, PLAIN, SESSION
from tests.lab.scenarios.unseen_common import NO_HINT, ONE_PIN, PLAIN_COOKIE, note_people, offloaded, output
from tests.lab.target import Application

CADDY = ("caddy", "unknown")
APACHE = ("apache", "unknown")


@scenario(
    "unseen-caddy-cookie-secret",
    "Caddy with lb_policy cookie, a name and a secret of the operator's, HTTPS to HTTP",
    [
        offloaded(
            "caddy-cookie-secret-targets", "all_targets", "lb_cookie", "one value per target", product=CADDY, cookie="sticky_node"
        ),
        offloaded(
            "caddy-cookie-secret-one",
            "one_target",
            "lb_cookie",
            "one value for all",
            product=CADDY,
            cookie="sticky_node",
            mechanism_accept=("unknown",),
        ),
    ],
    networks=5,
    per_network=4,
)
def caddy_cookie_secret(run: Run) -> None:
    targets = run.serve(Application(cookie="connect.sid", shape=lambda index, token: f"s%3A{token}.c2ln"))
    run.front(balancer.caddy, targets, policy="cookie sticky_node hunter2hunter2")
    people = users(run.net, 28, kinds=BROWSERS, addresses=14)
    note_people(run, people)
    browse(people, think=0.2, **HTTPS)


@scenario(
    "unseen-caddy-header",
    "Caddy with lb_policy header X-Account: nine accounts of several users each, HTTPS to HTTP",
    [
        offloaded(
            "caddy-header-targets",
            "all_targets",
            "none",
            "accounts stay; addresses and sessions follow them",
            mechanism_accept=("unknown",),
            product=CADDY,
            may=("hot-target",),
        ),
    ],
    networks=5,
    per_network=5,
)
def caddy_header(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared"))
    run.front(balancer.caddy, targets, policy="header X-Account")
    people = users(run.net, 36, kinds=("requests", "okhttp", "chrome131"), addresses=25)
    for index, user in enumerate(people):
        user.headers["X-Account"] = f"{7000 + index % 9}"
    browse(people, PAGES[:5], think=0.2, **HTTPS)


@scenario(
    "unseen-caddy-uri",
    "Caddy with lb_policy uri_hash, sessions shared, HTTPS to HTTP",
    [
        offloaded(
            "caddy-uri-targets",
            "all_targets",
            "none",
            "paths keep their target, sessions do not",
            mechanism_accept=("unknown",),
            product=CADDY,
            may=("hot-target",),
        ),
    ],
    networks=5,
    per_network=5,
)
def caddy_uri(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared"))
    run.front(balancer.caddy, targets, policy="uri_hash")
    steps = tuple(("GET", f"/goods/{number}", None) for number in (3, 5, 8, 13, 21, 34, 55))
    browse(users(run.net, 24, kinds=MIXED), steps, think=0.2, **HTTPS)


@scenario(
    "unseen-caddy-choose",
    "Caddy with lb_policy random_choose 2; Rails' encrypted session cookie is new in every answer, HTTPS to HTTP",
    [
        offloaded("caddy-choose-targets", "all_targets", "none", "addresses go everywhere", product=CADDY, may=("hot-target",)),
        offloaded(
            "caddy-choose-one",
            "one_target",
            "none",
            "session values that were issued elsewhere arrive",
            product=CADDY,
            mechanism_accept=("unknown",),
        ),
    ],
    networks=5,
    per_network=5,
)
def caddy_choose(run: Run) -> None:
    app = Application(
        cookie="_store_session", sessions="shared", rolling=True, shape=lambda index, token: f"{token}%3D--{token[:9]}"
    )
    targets = run.serve(app)
    run.front(balancer.caddy, targets, policy="random_choose 2")
    browse(users(run.net, 25, kinds=BROWSERS[4:]), think=0.2, **HTTPS)


@scenario(
    "unseen-apache-jsessionid",
    "Apache with stickysession=JSESSIONID|jsessionid: Tomcat's route at the end of its cookie, HTTPS to HTTP",
    [
        offloaded(
            "apache-jsessionid-targets",
            "all_targets",
            "app_cookie",
            "sessions end in their target's route and stay",
            product=APACHE,
            mechanism_accept=("unknown", "lb_cookie"),
            mechanism_because="the route is part of the application's own cookie",
        ),
        offloaded(
            "apache-jsessionid-one",
            "one_target",
            shows="all sessions end in one route",
            really="app_cookie",
            product=APACHE,
            mechanism_accept=("app_cookie", "lb_cookie"),
            mechanism_because="one target sees hits only",
        ),
    ],
    networks=5,
    per_network=3,
)
def apache_jsessionid(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID", shape=lambda index, token: f"{token}.r{index}"))
    run.front(balancer.apache, targets, app_sticky="JSESSIONID|jsessionid", extra="RequestHeader set X-Forwarded-Proto https")
    people = users(run.net, 32, kinds=MIXED, addresses=14)
    note_people(run, people)
    browse(people, think=0.2, **HTTPS)


@scenario(
    "unseen-apache-traffic",
    "Apache with lbmethod=bytraffic, PHP sessions in shared storage, HTTPS to HTTP, browsers",
    [
        offloaded("apache-traffic-targets", "all_targets", "none", "sessions go everywhere", product=APACHE),
        offloaded("apache-traffic-two", "two_targets", "none", "two of three targets", product=APACHE),
    ],
    networks=5,
    per_network=5,
)
def apache_traffic(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID", sessions="shared"))
    run.front(balancer.apache, targets, method="bytraffic")
    browse(users(run.net, 24, kinds=BROWSERS[1:]), think=0.2, **HTTPS)


@scenario(
    "unseen-apache-busyness",
    "Apache with lbmethod=bybusyness over plain HTTP, nothing told of the scheme",
    [
        output(
            "apache-busyness-targets",
            "all_targets",
            mechanism="none",
            shows="X-Forwarded-For, -Host and -Server, sessions go everywhere",
            mode_accept=("none",),
            really="none",
            product=APACHE,
            **SESSION,
            **NO_HINT,
        ),
        output(
            "apache-busyness-balancer",
            "load_balancer",
            "none",
            "none",
            "both sides in clear",
            must=PLAIN,
            product=APACHE,
            **SESSION,
        ),
    ],
    networks=5,
    per_network=5,
)
def apache_busyness(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared", attributes=PLAIN_COOKIE))
    run.balance(balancer.apache(run.net, run.directory, targets, certificate=None, method="bybusyness"))
    node(users(run.net, 20), scheme="http", port=80, rounds=1)


@scenario(
    "unseen-lighttpd-sticky",
    "lighttpd with proxy.balance sticky (by source address) over plain HTTP",
    [
        output(
            "lighttpd-sticky-targets",
            "all_targets",
            "none",
            "source_ip",
            "X-Forwarded-Proto http beside X-Forwarded-For on every request; addresses keep their target",
            must=PLAIN,
            product=("lighttpd", "unknown"),
            may=("hot-target",),
            **SESSION,
        ),
        output(
            "lighttpd-sticky-one",
            "one_target",
            "none",
            shows="sessions stay",
            must=PLAIN,
            product=("lighttpd", "unknown"),
            really="source_ip",
            **ONE_PIN,
            **SESSION,
        ),
    ],
    networks=6,
    per_network=4,
)
def lighttpd_sticky(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID", attributes=PLAIN_COOKIE))
    run.balance(balancer.lighttpd(run.net, run.directory, targets, balance="sticky"))
    people = users(run.net, 42, kinds=("plain-chrome", "requests", "plain-firefox"), addresses=20)
    note_people(run, people)
    browse(people, PAGES[:4], think=0.2)


@scenario(
    "unseen-lighttpd-rounds",
    "lighttpd with proxy.balance round-robin over plain HTTP, sessions shared; curl",
    [
        output(
            "lighttpd-rounds-targets",
            "all_targets",
            "none",
            "none",
            "sessions go everywhere",
            must=PLAIN,
            product=("lighttpd", "unknown"),
            may=("hot-target",),
            **SESSION,
        ),
    ],
    networks=5,
    per_network=5,
)
def lighttpd_rounds(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared", attributes=PLAIN_COOKIE))
    run.balance(balancer.lighttpd(run.net, run.directory, targets, balance="round-robin"))
    curl(users(run.net, 14), run.directory, scheme="http", port=80)


@scenario(
    "unseen-squid-sourcehash",
    "Squid as an accelerator with sourcehash peers over plain HTTP",
    [
        output(
            "squid-sourcehash-targets",
            "all_targets",
            mechanism="source_ip",
            shows="Via and X-Forwarded-For on every request, addresses keep their target; nothing tells of the clients' hop",
            mode_accept=("none",),
            really="none",
            product=("squid", "unknown"),
            **SESSION,
            **{**NO_HINT, "may": (*NO_HINT["may"], "hot-target")},
        ),
    ],
    networks=6,
    per_network=4,
)
def squid_sourcehash(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID", attributes=PLAIN_COOKIE))
    run.balance(balancer.squid(run.net, run.directory, targets, select="sourcehash"), settle=1.5)
    people = users(run.net, 40, kinds=("requests", "plain-chrome"), addresses=20)
    note_people(run, people)
    browse(people, PAGES[:4], think=0.2)
