"""Unseen: targets that falter and silences that end connections, behind other balancers and with other limits than elsewhere."""

from __future__ import annotations

import time

from tests.lab import balancer
from tests.lab.client import BROWSERS, PAGES, Upgraded, User, browse, together, users
from tests.lab.scenario import Run, scenario
from tests.lab.scenarios.common import HTTPS, MIXED, NLB, OFFLOAD
from tests.lab.scenarios.idle import pause_between
from tests.lab.scenarios.unseen_common import PLAIN_COOKIE, note_people, offloaded, output
from tests.lab.scenarios.unseen_haproxy import HAPROXY, PROTO
from tests.lab.scenarios.unseen_nginx import GUIDE, NGINX
from tests.lab.target import Application


@scenario(
    "unseen-caddy-slow",
    "Caddy, random; one of four targets takes three times as long, sessions shared, HTTPS to HTTP",
    [
        offloaded(
            "caddy-slow-targets",
            "all_targets",
            "none",
            "response times of one target stand apart",
            product=("caddy", "unknown"),
            must=(*OFFLOAD, "slow-target"),
        ),
    ],
    networks=5,
    per_network=5,
    targets=4,
)
def caddy_slow(run: Run) -> None:
    app = Application(cookie="sid", sessions="shared", delay=lambda index, path: 0.12 if index == 2 else 0.035)
    targets = run.serve(app)
    run.front(balancer.caddy, targets, policy="random")
    browse(users(run.net, 30, kinds=MIXED), repeat=2, think=0.2, **HTTPS)


@scenario(
    "unseen-apache-resets",
    "Apache, by requests; one target resets a quarter of what it is asked, HTTPS to HTTP",
    [
        offloaded(
            "apache-resets-targets",
            "all_targets",
            "none",
            "one target answers some requests with RST",
            product=("apache", "unknown"),
            must=(*OFFLOAD, "resets"),
            may=("hot-target", "refused"),
        ),
    ],
    networks=5,
    per_network=5,
)
def apache_resets(run: Run) -> None:
    app = Application(cookie="PHPSESSID", sessions="shared")
    app.reset = lambda index, path: index == 0 and app.random.random() < 0.25
    targets = run.serve(app)
    run.front(balancer.apache, targets, member="retry=0")
    browse(users(run.net, 30, kinds=BROWSERS[:6]), repeat=2, think=0.15, **HTTPS)


@scenario(
    "unseen-haproxy-sick",
    "HAProxy with an inserted cookie; one target's health check turns to 500 half-way, HTTPS to HTTP",
    [
        offloaded(
            "haproxy-sick-targets",
            "all_targets",
            "lb_cookie",
            "checks answered with 500, sessions of that target move on",
            product=HAPROXY,
            cookie="node",
            must=(*OFFLOAD, "health-check-failing"),
            may=("target-gone", "session-lost", "affinity-remap"),
            extra={"breaks": {"causes": ["target_gone"]}},
        ),
    ],
    networks=5,
    per_network=4,
)
def haproxy_sick(run: Run) -> None:
    began = time.monotonic()
    app = Application(cookie="JSESSIONID", sessions="shared")
    app.health_status = lambda index: 500 if index == 1 and time.monotonic() - began > 6 else 200
    targets = run.serve(app)
    run.front(balancer.haproxy_http, targets, cookie="node insert nocache secure", extra=PROTO, interval="700ms")
    began = time.monotonic()
    people = users(run.net, 30, kinds=MIXED, addresses=18)
    note_people(run, people)
    browse(people, repeat=3, think=0.45, **HTTPS)


@scenario(
    "unseen-nginx-early-close",
    "nginx keeps upstream connections for a minute, the targets close them after 1.2 s, HTTPS to HTTP",
    [
        offloaded(
            "nginx-early-close-targets",
            "all_targets",
            "none",
            "the target's FIN comes 1.2 s after its last answer",
            product=NGINX,
            must=(*OFFLOAD, "target-closes-first"),
            may=("keepalive-race",),
            extra={"idle": {"target_closes_after_s": 1.2}},
        ),
        offloaded(
            "nginx-early-close-one",
            "one_target",
            "none",
            "as on all, from one",
            product=NGINX,
            mechanism_accept=("unknown",),
            must=(*OFFLOAD, "target-closes-first"),
            may=("keepalive-race",),
            extra={"idle": {"target_closes_after_s": 1.2}},
        ),
    ],
    networks=5,
    per_network=5,
)
def nginx_early_close(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared", keepalive_s=1.2))
    run.front(balancer.nginx, targets, upstream="keepalive 32;", location=GUIDE)
    people = users(run.net, 20, kinds=("requests", "chrome131", "go"))
    pause_between(people, lambda user, turn: user.random.choice((0.3, 0.5, 0.9, 3.5, 4.5)), 8, **HTTPS)


@scenario(
    "unseen-haproxy-report",
    "HAProxy gives targets 1.5 s; one path takes three, HTTPS to HTTP, stick table on the source",
    [
        offloaded(
            "haproxy-report-targets",
            "all_targets",
            "source_ip",
            "requests of /report end at 1.5 s with the balancer's close",
            product=HAPROXY,
            must=(*OFFLOAD, "upstream-timeout"),
            may=("resets", "slow-target", "hot-target"),
            mechanism_accept=("unknown",),
        ),
    ],
    networks=5,
    per_network=4,
)
def haproxy_report(run: Run) -> None:
    app = Application(cookie="JSESSIONID", delay=lambda index, path: 3.0 if path.startswith("/report") else 0.005)
    targets = run.serve(app)
    limits = balancer.Timeouts(server="1500ms")
    run.front(
        balancer.haproxy_http,
        targets,
        extra=PROTO + "  stick-table type ip size 10k expire 30m\n  stick on src\n",
        timeouts=limits,
    )
    steps = (*PAGES[:3], ("GET", "/report/monthly", None), *PAGES[3:])
    people = users(run.net, 30, kinds=("requests", "okhttp", "firefox135"), addresses=18)
    note_people(run, people)
    browse(people, steps, think=0.2, **HTTPS)


@scenario(
    "unseen-nat-forgets",
    "kernel NAT by source address that forgets connections after 3 s of silence and answers what follows with RST; WebSockets",
    [
        output(
            "nat-forgets-balancer",
            "load_balancer",
            "none",
            "unknown",
            "after 3 s of silence a client's frame draws a RST on the clients' side",
            product=NLB,
            must=("plaintext-end-to-end", "idle-reset"),
            may=("resets", "session-cookie-in-plaintext"),
            really="source_ip",
            mechanism_accept=("source_ip", "none"),
            mechanism_because="each user opens one connection",
            extra={"idle": {"limit_s": 3.0, "ended_by": "rst"}},
            kinds=("session_cookie",),
        ),
        output(
            "nat-forgets-targets",
            "all_targets",
            "none",
            "unknown",
            "connections fall silent and never end",
            product=NLB,
            must=("plaintext-end-to-end",),
            may=("idle-reset", "resets", "session-cookie-in-plaintext", "target-closes-first"),
            really="source_ip",
            mechanism_accept=("source_ip", "none"),
            mechanism_because="each user opens one connection",
            extra={"idle": {"limit_s": 3.0, "ended_by": "silence"}},
            kinds=("session_cookie",),
        ),
    ],
    networks=6,
    per_network=5,
)
def nat_forgets(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", attributes=PLAIN_COOKIE))
    nlb = run.balance(balancer.Nlb(run.net, targets, by="source_ip", port=80, seed=21))
    nlb.forget_idle(3)
    talk(users(run.net, 28, kinds=("requests",)), port=80, tls=False, gaps=(0.4, 1.1, 1.9, 2.6, 3.9, 4.4))


def talk(people: list[User], *, port: int, tls: bool, gaps: tuple[float, ...]) -> None:
    """WebSockets that fall silent for one of ``gaps`` before each frame, until they are cut."""

    def chat(user: User) -> None:
        time.sleep(user.random.random())
        try:
            socket = Upgraded(user, port=port, tls=tls)
        except OSError:
            return
        socket.sock.settimeout(4)
        try:
            for _ in range(6):
                time.sleep(user.random.choice(gaps))
                socket.say(b"anybody there?")
        except OSError as problem:
            user.failures.append(type(problem).__name__)
        socket.close()

    together([(user.ns, lambda user=user: chat(user)) for user in people])


@scenario(
    "unseen-stream-timeout",
    "nginx's stream module passes TLS on and closes in order after 2.5 s of silence; WebSockets inside",
    [
        output(
            "stream-timeout-targets",
            "all_targets",
            "passthrough",
            "unknown",
            "the balancer's FIN comes 2.5 s after the last byte",
            seen="tls",
            may=("idle-reset",),
            mechanism_accept=("none", "source_ip"),
            mechanism_because="each user opens one connection",
            product=("nginx", "haproxy", "nlb", "unknown"),
            extra={"idle": {"limit_s": 2.5, "ended_by": "fin"}},
        ),
        output(
            "stream-timeout-one",
            "one_target",
            "passthrough",
            "unknown",
            "as on all, from one",
            seen="tls",
            may=("idle-reset",),
            mechanism_accept=("none", "source_ip"),
            mechanism_because="each user opens one connection",
            product=("nginx", "haproxy", "nlb", "unknown"),
            extra={"idle": {"limit_s": 2.5, "ended_by": "fin"}},
        ),
    ],
    networks=6,
    per_network=5,
)
def stream_timeout(run: Run) -> None:
    targets = run.serve(Application(cookie=None), port=8443, tls=True)
    run.balance(balancer.nginx_stream(run.net, run.directory, targets, port=443, timeout="2500ms"))
    talk(users(run.net, 20, kinds=("requests", "okhttp", "go")), port=443, tls=True, gaps=(0.3, 0.9, 1.6, 2.2, 3.1, 3.8))


@scenario(
    "unseen-nginx-heavy",
    "nginx with `hash $remote_addr consistent`; one script makes as many requests as all others together, HTTPS to HTTP",
    [
        offloaded(
            "nginx-heavy-targets",
            "all_targets",
            "source_ip",
            "one address at one target makes the skew",
            product=NGINX,
            must=(*OFFLOAD, "heavy-client"),
            mechanism_accept=("unknown",),
            extra={"skew": {"cause": "heavy_client"}},
        ),
    ],
    networks=6,
    per_network=8,
)
def nginx_heavy(run: Run) -> None:
    targets = run.serve(Application(cookie="sid"))
    upstream = "hash $remote_addr consistent; keepalive 16;"
    run.front(balancer.nginx, targets, upstream=upstream, location=GUIDE)
    heavy, *others = users(run.net, 46, kinds=("requests", "okhttp", "go"))
    rush = [(heavy.ns, lambda: browse([heavy], repeat=40, think=0.01, **HTTPS))]
    together([*rush, (others[0].ns, lambda: browse(others, PAGES[:5], think=0.2, **HTTPS))])


@scenario(
    "unseen-haproxy-office",
    "HAProxy with a stick table on the source address; 45 users of one office behind one address, 25 elsewhere, HTTPS to HTTP",
    [
        offloaded(
            "haproxy-office-targets",
            "all_targets",
            "source_ip",
            "one forwarded address with two thirds of the sessions, all at one target",
            product=HAPROXY,
            must=(*OFFLOAD, "nat-concentration"),
        ),
        offloaded(
            "haproxy-office-balancer",
            "load_balancer",
            "source_ip",
            "both sides",
            product=HAPROXY,
            must=(*OFFLOAD, "nat-concentration"),
            committed=False,
        ),
    ],
    networks=6,
    per_network=6,
)
def haproxy_office(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    run.front(balancer.haproxy_http, targets, extra=PROTO + "  stick-table type ip size 10k expire 30m\n  stick on src\n")
    office = users(run.net, 45, kinds=MIXED, addresses=1)
    others = users(run.net, 25, kinds=MIXED, seed=9, networks=run.net.clients[1:])
    note_people(run, office, others)
    browse(office + others, PAGES[:4], start_within=4, think=0.2, **HTTPS)
