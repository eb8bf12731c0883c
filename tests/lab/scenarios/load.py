"""Why one target is hotter than the others."""

from __future__ import annotations

import time

from tests.lab import balancer
from tests.lab.client import PAGES, Browsing, Upgraded, User, browse, together, users
from tests.lab.scenario import Output, Run, scenario
from tests.lab.scenarios.common import ALB, HTTPS, MIXED, OFFLOAD
from tests.lab.target import Application


@scenario(
    "heavy-client",
    "HAProxy as an ALB with AWSALB; one client makes as many requests as all others together",
    [
        Output(
            "offload-heavy-client-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            must=(*OFFLOAD, "heavy-client"),
            **ALB,
            extra={"skew": {"cause": "heavy_client"}},
            shows="one session at one target makes the skew; without it the load is even",
        ),
    ],
    networks=5,
    per_network=6,
)
def heavy_client(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    run.front(balancer.alb, targets)
    heavy, *others = users(run.net, 61, kinds=("requests", "okhttp", "go"))
    rush = [(heavy.ns, lambda: browse([heavy], repeat=60, think=0.01, **HTTPS))]
    together([*rush, (others[0].ns, lambda: browse(others, **HTTPS))])


@scenario(
    "long-sessions",
    "HAProxy as an ALB: WebSockets; new ones are spread evenly, every third lives long and talks much",
    [
        Output(
            "offload-long-sessions-targets.pcap.gz",
            "all_targets",
            "offload",
            "unknown",
            must=(*OFFLOAD, "long-session-skew"),
            product=("alb",),
            kinds=("session_cookie",),
            mechanism_accept=("none",),
            really="none",
            mechanism_because="each user opens one WebSocket: nothing ever returns",
            extra={"skew": {"cause": "long_sessions"}},
            may=("insecure-session-cookie",),
            shows="upgrades are even over the targets, the live ones and their bytes are all at one",
        ),
    ],
    networks=5,
    per_network=12,
)
def long_sessions(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID", sessions="shared"))
    run.front(balancer.alb, targets, sticky=None, checks=False)
    people = users(run.net, 60)

    def talk(index: int, user: User) -> None:
        time.sleep(index * 0.05)
        channel = Upgraded(user, port=443, tls=True)
        for turn in range(40 if index % 3 == 0 else 2):
            channel.say(b"%05d" % turn + b"tick " * (20 if index % 3 == 0 else 2))
            time.sleep(0.15)
        channel.close()

    together([(user.ns, lambda i=i, user=user: talk(i, user)) for i, user in enumerate(people)])


@scenario(
    "zone-imbalance",
    "two balancer nodes with an even share of clients each: one feeds one target, the other feeds three",
    [
        Output(
            "offload-zones-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            must=(*OFFLOAD, "zone-imbalance"),
            **ALB,
            extra={"skew": {"cause": "zone"}},
            shows="each node is even over its own targets, the nodes are not",
        ),
    ],
    networks=5,
    per_network=6,
    targets=4,
)
def zone_imbalance(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    run.front(balancer.alb, targets, nodes=2, zones=(targets[:1], targets[1:]), check_all=True)
    browse(users(run.net, 64, kinds=MIXED), **HTTPS)


@scenario(
    "first-request-split",
    "HAProxy as an ALB with AWSALB; browsers open a page with four requests at once before they have a cookie",
    [
        Output(
            "offload-first-split-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            must=(*OFFLOAD, "first-request-split"),
            **ALB,
            extra={"breaks": {"causes": ["first_request_split"]}},
            shows="a client's first, parallel requests land on several targets, later ones on one",
        ),
    ],
    networks=5,
    per_network=6,
)
def first_request_split(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID", sessions="shared"))
    run.front(balancer.alb, targets)
    people = users(run.net, 30)

    def page(user: User) -> None:
        time.sleep(user.random.random() * 2)
        together([(user.ns, lambda step=step: once(user, step)) for step in PAGES[:4]])
        browse([user], think=0.1, start_within=0, **HTTPS)

    def once(user: User, step: tuple[str, str, bytes | None]) -> None:
        browsing = Browsing(user, fresh=True, **HTTPS)  # type: ignore[arg-type]
        browsing.do(step)

    together([(user.ns, lambda user=user: page(user)) for user in people])


@scenario(
    "least-connections",
    "HAProxy as an ALB with least outstanding requests; one target is slower and so gets fewer",
    [
        Output(
            "offload-leastconn-targets.pcap.gz",
            "all_targets",
            "offload",
            "none",
            must=OFFLOAD,
            product=("alb",),
            may=("slow-target", "hot-target"),
            kinds=("session_cookie",),
            shows="a slower target gets fewer requests",
        ),
    ],
    networks=5,
    per_network=6,
)
def least_connections(run: Run) -> None:
    app = Application(cookie="JSESSIONID", sessions="shared", delay=lambda index, path: 0.09 if index == 2 else 0.03)
    targets = run.serve(app)
    run.front(balancer.alb, targets, sticky=None, algorithm="leastconn")
    browse(users(run.net, 30, kinds=MIXED), repeat=2, think=0.05, **HTTPS)


@scenario(
    "hot-target",
    "HAProxy as an ALB with AWSALB; half-way somebody gives two targets a tenth of their weight",
    [
        Output(
            "offload-hot-target-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            must=(*OFFLOAD, "hot-target"),
            may=("affinity-remap",),
            **ALB,
            shows="for the second half of the run most new sessions go to one target",
        ),
    ],
    networks=5,
    per_network=14,
)
def hot_target(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    alb = run.front(balancer.alb, targets)
    browse(users(run.net, 24, kinds=MIXED), **HTTPS)
    for index in (1, 2):
        alb.admin(f"set weight node0/t{index} 10%")
    browse(users(run.net, 60, kinds=MIXED, seed=31), **HTTPS)
