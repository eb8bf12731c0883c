"""What silence does: idle limits of balancers and firewalls, keep-alive races, keepalive probes, cookies that expire."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable

from tests.lab import balancer
from tests.lab.client import BROWSERS, PAGES, Browsing, User, browse, together, users
from tests.lab.net import VIP
from tests.lab.scenario import Output, Run, scenario
from tests.lab.scenarios.common import ALB, HTTPS, NLB, OFFLOAD, PLAIN
from tests.lab.target import Application


def pause_between(people: list[User], gaps: Callable[[User, int], float], rounds: int, **where: object) -> None:
    """Each user makes ``rounds`` requests on one connection if it lives, with a pause of ``gaps`` before each."""

    def walk(user: User) -> None:
        time.sleep(user.random.random() * 0.8)
        browsing = Browsing(user, **{"scheme": "http", "port": 80, "fresh": False, **where})  # type: ignore[arg-type]
        for turn in range(rounds):
            if turn:
                time.sleep(gaps(user, turn))
            browsing.do(PAGES[turn % len(PAGES)])
        browsing.close()

    together([(user.ns, lambda user=user: walk(user)) for user in people])


@scenario(
    "nlb-idle-silent",
    "kernel NAT as an NLB that forgets connections after 4 s of silence and answers what follows with RST",
    [
        Output(
            "plain-nlb-idle-reset-balancer.pcap.gz",
            "load_balancer",
            "none",
            "source_ip",
            product=NLB,
            must=(*PLAIN, "idle-reset"),
            kinds=("session_cookie",),
            may=("resets",),
            extra={"idle": {"limit_s": 4.0, "ended_by": "rst"}},
            mechanism_accept=("unknown",),
            shows="after 4 s of silence a client's segment draws a RST on the clients' side; the target sees nothing",
        ),
        Output(
            "plain-nlb-idle-reset-targets.pcap.gz",
            "all_targets",
            "none",
            "source_ip",
            product=NLB,
            must=PLAIN,
            kinds=("session_cookie",),
            may=("idle-reset", "target-closes-first"),
            mechanism_accept=("unknown",),
            extra={"idle": {"limit_s": 4.0, "ended_by": "silence"}},
            shows="connections fall silent and never end: the RST goes to the client only",
        ),
        Output(
            "plain-nlb-idle-reset-client.pcap",
            "client",
            "none",
            "unknown",
            product=NLB,
            must=(*PLAIN, "idle-reset"),
            seen_as=("192.0.2.10:80",),
            kinds=("session_cookie",),
            may=("resets",),
            mechanism_because="one address in front stands for all targets",
            mode_accept=("unknown",),
            extra={"idle": {"limit_s": 4.0, "ended_by": "rst"}},
            shows="a client's own side: RST with window 0 after the pause",
        ),
    ],
    networks=6,
    per_network=4,
)
def nlb_idle_silent(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID", attributes="Path=/; HttpOnly"))
    nlb = run.balance(balancer.Nlb(run.net, targets, by="source_ip", port=80))
    nlb.forget_idle(4)
    people = users(run.net, 24, kinds=("requests", "plain-chrome", "plain-firefox"))
    pause_between(people, lambda user, turn: user.random.choice((0.3, 0.8, 1.5, 2.5, 3.2, 4.8, 5.5)), 7)


@scenario(
    "proxy-idle-fin",
    "HAProxy in TCP mode closes connections in order after 3 s of silence; TLS untouched",
    [
        Output(
            "passthrough-idle-fin-targets.pcap.gz",
            "all_targets",
            "passthrough",
            "none",
            product=("haproxy", "unknown"),
            seen="tls",
            may=("idle-reset",),
            mechanism_accept=("unknown",),
            extra={"idle": {"limit_s": 3.0, "ended_by": "fin"}},
            committed=False,
            shows="the balancer's FIN comes 3 s after the last byte, never sooner",
        ),
    ],
    networks=5,
    per_network=4,
)
def proxy_idle_fin(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), port=8443, tls=True)
    limits = balancer.Timeouts(client="3s", server="3s", tunnel="3s")
    run.balance(balancer.haproxy_tcp(run.net, run.directory, targets, timeouts=limits))
    people = users(run.net, 20, kinds=("requests", "okhttp", "go"))
    pause_between(people, lambda user, turn: user.random.choice((0.3, 0.8, 1.5, 2.5, 3.5, 4.5)), 6, **HTTPS)


@scenario(
    "keepalive-too-long",
    "kernel NAT as an NLB that forgets after 4 s; clients with keepalive on whose first probe comes after 6 s",
    [
        Output(
            "plain-nlb-keepalive-late-balancer.pcap.gz",
            "load_balancer",
            "none",
            "unknown",
            product=NLB,
            must=(*PLAIN, "keepalive-too-long"),
            may=("idle-reset", "resets"),
            kinds=("session_cookie",),
            mechanism_accept=("source_ip",),
            mechanism_because="one connection per client",
            extra={"idle": {"limit_s": 4.0, "ended_by": "rst"}},
            shows="keepalive probes 6 s after the last byte draw a RST",
        ),
    ],
    networks=6,
    per_network=4,
)
def keepalive_too_long(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID", attributes="Path=/; HttpOnly"))
    run.balance(balancer.Nlb(run.net, targets, by="source_ip", port=80)).forget_idle(4)
    together([(user.ns, lambda user=user: _probing(user, 6, (0.5, 2.0, 9.0))) for user in users(run.net, 20)])


@scenario(
    "keepalive-in-time",
    "kernel NAT as an NLB that forgets after 4 s; clients whose keepalive probes come every 2 s, TLS untouched",
    [
        Output(
            "passthrough-keepalive-in-time-balancer.pcap.gz",
            "load_balancer",
            "passthrough",
            "unknown",
            healthy=True,
            product=NLB,
            seen="tls",
            mechanism_because="one connection per client",
            mechanism_accept=("source_ip", "none"),
            shows="pauses of 9 s are survived, because probes come every 2 s",
        ),
    ],
    networks=6,
    per_network=3,
)
def keepalive_in_time(run: Run) -> None:
    targets = run.serve(Application(), port=8443, tls=True)
    run.balance(balancer.Nlb(run.net, targets, by="source_ip", port=443)).forget_idle(4)

    def walk(user: User) -> None:
        browsing = Browsing(user, fresh=False, **HTTPS)  # type: ignore[arg-type]
        browsing.do(PAGES[0])
        assert browsing._connection is not None
        _keepalive(browsing._connection.sock, 2)
        for gap in (1.0, 9.0, 2.0):
            time.sleep(gap)
            browsing.do(PAGES[1])
        browsing.close()

    together([(user.ns, lambda user=user: walk(user)) for user in users(run.net, 18)])


def _keepalive(sock: socket.socket, idle: int) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, idle)


def _probing(user: User, idle: int, gaps: tuple[float, ...]) -> None:
    """Requests on one connection with kernel keepalive on, until it dies."""
    with contextlib.suppress(OSError), socket.create_connection((VIP, 80), 20, (user.address, 0)) as sock:
        _keepalive(sock, idle)
        for gap in (0.0, *gaps):
            time.sleep(gap)
            sock.sendall(b"GET /poll HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: poller/1.0\r\n\r\n")
            sock.recv(65536)


@scenario(
    "target-closes-first",
    "HAProxy as an ALB that keeps connections for 60 s; targets close them after 1.5 s of silence",
    [
        Output(
            "offload-target-closes-first-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            must=(*OFFLOAD, "target-closes-first"),
            may=("keepalive-race",),
            **ALB,
            extra={"idle": {"target_closes_after_s": 1.5}},
            shows="the target's FIN comes 1.5 s after its last answer, the balancer never closes first",
        ),
    ],
    networks=5,
    per_network=6,
)
def target_closes_first(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID", keepalive_s=1.5))
    run.front(balancer.alb, targets, reuse="never")
    people = users(run.net, 30, kinds=("requests", "okhttp", "go", "chrome124"))
    pause_between(people, lambda user, turn: user.random.choice((0.2, 0.4, 0.9, 2.2, 2.8)), 7, **HTTPS)


@scenario(
    "keepalive-race",
    "HAProxy as an ALB, 20 ms from the targets, which close after 1 s of silence just as requests are on their way",
    [
        Output(
            "offload-keepalive-race-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            must=(*OFFLOAD, "keepalive-race"),
            may=("resets",),
            **ALB,
            shows="requests that do not acknowledge the target's FIN arrive after it and are answered by RST",
            extra={"idle": {"target_closes_after_s": 1.0}},
            servers_agree=False,
        ),
        Output(
            "offload-keepalive-race-balancer.pcapng.gz",
            "load_balancer",
            "offload",
            "lb_cookie",
            must=(*OFFLOAD, "keepalive-race"),
            may=("resets",),
            **ALB,
            shows="the same races seen from the other end: request first, then the FIN that crossed it",
            extra={"idle": {"target_closes_after_s": 1.0}},
            servers_agree=False,
            committed=False,
        ),
    ],
    networks=5,
    per_network=6,
    target_delay={0: 0.02, 1: 0.02, 2: 0.02},
)
def keepalive_race(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID", keepalive_s=1.0))
    run.front(balancer.alb, targets, reuse="never")
    people = users(run.net, 24, kinds=("requests", "okhttp", "go"))
    pause_between(people, lambda user, turn: user.random.choice((0.3, 0.5, 0.98, 0.975, 0.985)), 9, **HTTPS)


@scenario(
    "cookie-slides",
    "HAProxy as an ALB whose AWSALB is good for 2 s after the last response",
    [
        Output(
            "offload-cookie-slides-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            must=(*OFFLOAD, "cookie-expired-break"),
            **ALB,
            extra={"lifetime": {"model": "since_last_response", "seconds": 2.0}, "breaks": {"causes": ["cookie_expired"]}},
            shows="sessions change target after pauses of more than 2 s, and only then",
        ),
    ],
    networks=5,
    per_network=6,
)
def cookie_slides(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID", sessions="shared"))
    run.front(balancer.alb, targets, expire="2s")
    people = users(run.net, 40, kinds=("requests", "okhttp", "go", "chrome124"))
    pause_between(people, lambda user, turn: user.random.choice((0.2, 0.4, 0.7, 1.0, 1.4, 1.7, 2.6, 3.1)), 14, **HTTPS)


@scenario(
    "cookie-fixed",
    "HAProxy as itself: `cookie SRV insert maxlife 4s`",
    [
        Output(
            "offload-cookie-fixed-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            must=(*OFFLOAD, "cookie-expired-break"),
            product=("haproxy",),
            cookie="SRV",
            kinds=("session_cookie",),
            may=("insecure-session-cookie",),
            extra={"lifetime": {"model": "since_issue", "seconds": 4.0}, "breaks": {"causes": ["cookie_expired"]}},
            shows="sessions change target 4 s after their cookie was first handed out, however busy they are",
        ),
    ],
    networks=5,
    per_network=8,
)
def cookie_fixed(run: Run) -> None:
    targets = run.serve(Application(cookie="connect.sid", sessions="shared"))
    run.front(balancer.haproxy_http, targets, cookie="SRV insert maxlife 4s", algorithm="random")
    browse(users(run.net, 40, kinds=BROWSERS), repeat=4, think=0.5, start_within=3, **HTTPS)
