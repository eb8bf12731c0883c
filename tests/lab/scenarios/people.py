"""Who the clients are: many behind one address, users who move, sessions that are lost."""

from __future__ import annotations

from tests.lab import balancer
from tests.lab.client import PAGES, browse, together, users
from tests.lab.scenario import Output, Run, scenario
from tests.lab.scenarios.common import ALB, HTTPS, MIXED, OFFLOAD, PLAIN
from tests.lab.target import Application


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
    "nat-with-cookie",
    "HAProxy as an ALB with AWSALB; 60 users behind one address: the cookie spreads them",
    [
        Output(
            "offload-nat-cookie-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            must=OFFLOAD,
            **ALB,
            shows="one forwarded address with many sessions, spread evenly",
        ),
    ],
    networks=5,
    per_network=6,
)
def nat_with_cookie(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    run.front(balancer.alb, targets)
    browse(users(run.net, 60, kinds=MIXED, addresses=1) + users(run.net, 20, kinds=MIXED, seed=5), PAGES[:4], **HTTPS)


@scenario(
    "few-sessions",
    "HAProxy as an ALB with AWSALB and few users: uneven by chance alone",
    [
        Output(
            "offload-few-sessions-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            must=OFFLOAD,
            **ALB,
            shows="eight sessions of uneven length on three targets: no more uneven than chance",
        ),
    ],
    networks=4,
    per_network=2,
)
def few_sessions(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    run.front(balancer.alb, targets, algorithm="random")
    people = users(run.net, 8, kinds=("requests", "okhttp", "chrome124"))
    together(
        [(user.ns, lambda user=user, i=i: browse([user], repeat=2 + i % 4, think=0.1, **HTTPS)) for i, user in enumerate(people)]
    )
