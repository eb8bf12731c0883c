"""What pins a client to a target behind an ALB: every mechanism that works, and the same ones broken."""

from __future__ import annotations

from tests.lab import balancer
from tests.lab.client import browse, users
from tests.lab.scenario import Output, Run, scenario
from tests.lab.scenarios.common import HTTPS, MIXED, OFFLOAD
from tests.lab.target import Application


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
    run.front(balancer.alb, targets, sticky="app_cookie", app_cookie="JSESSIONID")
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
    run.front(balancer.alb, targets, sticky=None)
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
    run.front(balancer.alb, targets, honour=False, algorithm="random")
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
    run.front(balancer.alb, targets, honour=False, algorithm="random")
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
    run.front(balancer.alb, targets)
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
    run.front(balancer.alb_groups, (targets[:2], targets[2:]))
    browse(users(run.net, 32, kinds=MIXED), repeat=2, **HTTPS)


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
    run.front(balancer.alb, targets, sticky=None, weights=(6, 3, 3))
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
    run.front(balancer.alb, targets, nodes=2, interval="1s")
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
    run.front(balancer.alb, targets)
    people = users(run.net, 36, kinds=("requests",), addresses=3)
    for index, user in enumerate(people):
        user.headers = {
            "X-Forwarded-For": f"203.0.113.{20 + index}",
            "User-Agent": "Amazon CloudFront",
            "Via": "2.0 9c1f0d2f5a1be3f1e0b8e4b4c2f6a7d8.cloudfront.net (CloudFront)",
            "X-Amz-Cf-Id": f"k{index:02d}Q2Zt9mXw1vC7nB4hJ8sL5dF0gR3yT6uP==",
        }
    browse(people, repeat=2, **HTTPS)
