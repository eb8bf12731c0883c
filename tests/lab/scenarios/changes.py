"""Targets that leave, come, or are replaced while clients are pinned to them."""

from __future__ import annotations

from functools import partial

from tests.lab import balancer
from tests.lab.client import PAGES, browse, users
from tests.lab.scenario import Output, Run, during, scenario
from tests.lab.scenarios.common import ALB, HTTPS, MIXED, NLB, OFFLOAD, PLAIN
from tests.lab.target import Application


@scenario(
    "alb-target-removed",
    "HAProxy as an ALB with AWSALB; one of three targets stops half-way, sessions shared",
    [
        Output(
            "offload-target-removed-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            must=(*OFFLOAD, "target-gone"),
            may=("health-check-failing", "refused", "resets", "affinity-remap"),
            **ALB,
            extra={"breaks": {"causes": ["target_gone"]}},
            shows="a target's answers end, its sessions continue at the other two and stay there",
        ),
        Output(
            "offload-target-removed-one.pcap.gz",
            "one_target",
            "offload",
            "lb_cookie",
            must=OFFLOAD,
            target=1,
            **ALB,
            may=("affinity-remap", "session-lost"),
            mechanism_accept=("unknown",),
            shows="from a target that stays: sessions arrive that were issued elsewhere, all at once",
        ),
    ],
    networks=5,
    per_network=6,
)
def alb_target_removed(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID", sessions="shared"))
    run.front(balancer.alb, targets, interval="500ms", server_options=" on-marked-down shutdown-sessions")
    people = users(run.net, 32, kinds=MIXED, addresses=20)
    during(lambda: browse(people, repeat=4, think=0.25, **HTTPS), (4.0, targets[0].stop))


@scenario(
    "alb-target-removed-lost",
    "HAProxy as an ALB with AWSALB; one of three targets stops half-way and its sessions are lost",
    [
        Output(
            "offload-target-removed-lost-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            must=(*OFFLOAD, "target-gone", "session-lost"),
            may=("health-check-failing", "refused", "resets", "affinity-remap"),
            **ALB,
            extra={"breaks": {"causes": ["target_gone"]}},
            shows="sessions of the target that stopped are answered as new by the others",
        ),
    ],
    networks=5,
    per_network=6,
)
def alb_target_removed_lost(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    run.front(balancer.alb, targets, interval="500ms", server_options=" on-marked-down shutdown-sessions")
    people = users(run.net, 32, kinds=MIXED, addresses=20)
    during(lambda: browse(people, repeat=4, think=0.25, **HTTPS), (4.0, targets[0].stop))


@scenario(
    "alb-draining",
    "HAProxy as an ALB with AWSALB; one target is drained half-way: returning sessions stay, new ones go elsewhere",
    [
        Output(
            "offload-draining-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            must=(*OFFLOAD, "draining-target"),
            may=("hot-target",),
            **ALB,
            shows="a target gets returning sessions and no new ones",
        ),
    ],
    networks=5,
    per_network=10,
)
def alb_draining(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    alb = run.front(balancer.alb, targets)
    early, late = users(run.net, 24, kinds=MIXED), users(run.net, 36, kinds=MIXED, seed=23)
    during(
        lambda: browse(early, repeat=4, think=0.35, **HTTPS),
        (3.0, partial(alb.admin, "set server node0/t2 state drain")),
        (3.1, lambda: browse(late, PAGES[:4], think=0.2, start_within=4, **HTTPS)),
    )


@scenario(
    "nlb-target-added",
    "kernel NAT as an NLB with source-address hashing; a third target is added half-way",
    [
        Output(
            "plain-nlb-target-added-targets.pcap.gz",
            "all_targets",
            "none",
            "source_ip",
            product=NLB,
            kinds=("session_cookie",),
            must=(*PLAIN, "affinity-remap"),
            extra={"breaks": {"causes": ["target_added", "remap"]}},
            shows="at one moment two thirds of the addresses change target, all sessions are known everywhere",
        ),
    ],
    networks=6,
    per_network=6,
)
def nlb_target_added(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID", sessions="shared", attributes="Path=/; HttpOnly"))
    nlb = run.balance(balancer.Nlb(run.net, targets[:2], by="source_ip", port=80))
    people = users(run.net, 30, kinds=("requests", "plain-chrome", "plain-firefox"))
    during(lambda: browse(people, repeat=3, think=0.4, fresh=True), (4.0, partial(nlb.use, targets)))


@scenario(
    "nlb-target-added-tls",
    "kernel NAT as an NLB with source-address hashing, TLS untouched; a third target is added half-way",
    [
        Output(
            "passthrough-target-added-targets.pcap.gz",
            "all_targets",
            "passthrough",
            "source_ip",
            product=NLB,
            seen="tls",
            must=("affinity-remap",),
            extra={"breaks": {"causes": ["target_added", "remap"]}},
            committed=False,
            shows="at one moment two thirds of the addresses change target; their tickets are refused",
        ),
    ],
    networks=6,
    per_network=4,
)
def nlb_target_added_tls(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), port=8443, tls=True)
    nlb = run.balance(balancer.Nlb(run.net, targets[:2], by="source_ip", port=443))
    people = users(run.net, 24, kinds=("requests", "okhttp", "go"))
    during(lambda: browse(people, repeat=3, think=0.4, fresh=True, **HTTPS), (4.0, partial(nlb.use, targets)))


@scenario(
    "nlb-targets-replaced",
    "kernel NAT as an NLB with source-address hashing; a deploy replaces three targets by three others",
    [
        Output(
            "plain-nlb-targets-replaced-targets.pcap.gz",
            "all_targets",
            "none",
            "source_ip",
            product=NLB,
            kinds=("session_cookie",),
            must=PLAIN,
            may=("affinity-remap", "target-gone"),
            extra={"breaks": {"causes": ["targets_replaced"]}},
            shows="three targets receive nothing more, three others take over at the same moment",
        ),
    ],
    networks=6,
    per_network=6,
    targets=6,
)
def nlb_targets_replaced(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID", sessions="shared", attributes="Path=/; HttpOnly"))
    nlb = run.balance(balancer.Nlb(run.net, targets[:3], by="source_ip", port=80))
    people = users(run.net, 30, kinds=("requests", "plain-chrome", "plain-firefox"))
    during(lambda: browse(people, repeat=3, think=0.4, fresh=True), (4.0, partial(nlb.use, targets[3:])))


@scenario(
    "alb-deploy-random",
    "HAProxy as an ALB without stickiness; a deploy replaces three targets by three others",
    [
        Output(
            "offload-deploy-none-targets.pcap.gz",
            "all_targets",
            "offload",
            "none",
            product=("alb",),
            kinds=("session_cookie",),
            must=OFFLOAD,
            may=("target-gone", "affinity-remap"),
            shows="chance before and after, over different targets",
        ),
    ],
    networks=5,
    per_network=6,
    targets=6,
)
def alb_deploy_random(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID", sessions="shared"))
    alb = run.front(balancer.alb, targets, sticky=None, checks=False, algorithm="random")
    for index in (3, 4, 5):
        alb.admin(f"set server node0/t{index} state maint")

    def deploy() -> None:
        for index in (3, 4, 5):
            alb.admin(f"set server node0/t{index} state ready")
        for index in (0, 1, 2):
            alb.admin(f"set server node0/t{index} state maint")

    people = users(run.net, 30, kinds=MIXED)
    during(lambda: browse(people, repeat=3, think=0.3, **HTTPS), (3.5, deploy))


@scenario(
    "alb-deploy-logged-out",
    "HAProxy as an ALB with AWSALB; a deploy replaces the targets one by one and logs everybody out",
    [
        Output(
            "offload-deploy-lost-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            must=(*OFFLOAD, "session-lost"),
            may=("target-gone", "affinity-remap", "resets"),
            **ALB,
            extra={"breaks": {"causes": ["targets_replaced", "target_gone"]}},
            shows="three targets are replaced in turn; each time their sessions are answered as new",
        ),
    ],
    networks=5,
    per_network=6,
    targets=6,
)
def alb_deploy_logged_out(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID", unknown="redirect"))
    alb = run.front(balancer.alb, targets, checks=False)
    for index in (3, 4, 5):
        alb.admin(f"set server node0/t{index} state maint")

    def replace(index: int) -> None:
        alb.admin(f"set server node0/t{index + 3} state ready")
        alb.admin(f"set server node0/t{index} state maint")

    people = users(run.net, 28, kinds=MIXED)
    during(lambda: browse(people, repeat=4, think=0.3, **HTTPS), *((3.0 + 1.5 * i, partial(replace, i)) for i in range(3)))


@scenario(
    "alb-flapping",
    "HAProxy as an ALB with AWSALB; one target's health check fails and recovers again and again",
    [
        Output(
            "offload-flapping-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            must=(*OFFLOAD, "target-flapping"),
            may=("health-check-failing", "target-gone", "affinity-remap", "resets"),
            **ALB,
            extra={"breaks": {"causes": ["target_gone"]}},
            shows="a target answers health checks with 503 for two seconds, three times, and gets nothing meanwhile",
        ),
    ],
    networks=5,
    per_network=6,
)
def alb_flapping(run: Run) -> None:
    sick: set[int] = set()
    app = Application(cookie="JSESSIONID", sessions="shared", health_status=lambda index: 503 if index in sick else 200)
    targets = run.serve(app)
    run.front(balancer.alb, targets, interval="300ms")
    people = users(run.net, 24, kinds=("requests", "okhttp", "chrome124", "go"))
    during(
        lambda: browse(people, repeat=7, think=0.35, **HTTPS),
        *((2.0 * i, partial(sick.add if i % 2 else sick.discard, 1)) for i in range(1, 7)),
    )
