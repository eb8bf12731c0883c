"""Targets that falter: slow, refusing, resetting, unhealthy, badly connected; TLS and certificates that are too old."""

from __future__ import annotations

import ssl
from datetime import timedelta

from tests.lab import balancer
from tests.lab.certs import expired
from tests.lab.client import PAGES, browse, users
from tests.lab.scenario import Output, Run, scenario
from tests.lab.scenarios.common import ALB, HTTPS, INSIDE, MIXED, NLB, OFFLOAD, PLAIN
from tests.lab.target import Application, server_context


@scenario(
    "alb-health-failing",
    "HAProxy as an ALB; one target answers every health check with 503 and gets no traffic",
    [
        Output(
            "offload-health-failing-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            must=(*OFFLOAD, "health-check-failing"),
            may=("target-gone",),
            **ALB,
            shows="health checks to one target are answered with 503, and no request goes there",
        ),
    ],
    networks=5,
    per_network=6,
)
def alb_health_failing(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID", health_status=lambda index: 503 if index == 2 else 200))
    run.balance(balancer.alb(run.net, run.directory, targets, certificate=run.certificate, interval="500ms"), settle=1.5)
    browse(users(run.net, 30, kinds=MIXED), **HTTPS)


@scenario(
    "alb-slow-target",
    "HAProxy as an ALB without stickiness; one target answers ten times slower than the others",
    [
        Output(
            "offload-slow-target-targets.pcap.gz",
            "all_targets",
            "offload",
            "none",
            must=(*OFFLOAD, "slow-target"),
            product=("alb",),
            kinds=("session_cookie",),
            shows="response times of one target stand apart from its peers'",
        ),
    ],
    networks=5,
    per_network=6,
)
def alb_slow_target(run: Run) -> None:
    app = Application(cookie="JSESSIONID", sessions="shared", delay=lambda index, path: 0.08 if index == 1 else 0.008)
    targets = run.serve(app)
    run.front(balancer.alb, targets, sticky=None)
    browse(users(run.net, 30, kinds=MIXED), **HTTPS)


@scenario(
    "alb-target-errors",
    "HAProxy as an ALB; one target resets a tenth of its connections",
    [
        Output(
            "offload-resets-targets.pcap.gz",
            "all_targets",
            "offload",
            "none",
            must=(*OFFLOAD, "resets"),
            product=("alb",),
            kinds=("session_cookie",),
            shows="one target answers some requests with RST",
        ),
    ],
    networks=5,
    per_network=6,
)
def alb_target_errors(run: Run) -> None:
    app = Application(cookie="JSESSIONID", sessions="shared")
    app.reset = lambda index, path: index == 1 and app.random.random() < 0.3
    targets = run.serve(app)
    run.front(balancer.alb, targets, sticky=None)
    browse(users(run.net, 30, kinds=MIXED), repeat=2, think=0.1, **HTTPS)


@scenario(
    "nlb-refused",
    "kernel NAT as an NLB; nothing listens on one of three targets",
    [
        Output(
            "plain-nlb-refused-targets.pcap.gz",
            "all_targets",
            "none",
            "none",
            must=(*PLAIN, "refused"),
            product=NLB,
            kinds=("session_cookie",),
            shows="one target answers every SYN with RST",
        ),
    ],
    networks=6,
    per_network=6,
)
def nlb_refused(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", sessions="shared", attributes="Path=/; HttpOnly"))
    run.balance(balancer.Nlb(run.net, targets, by="five_tuple", port=80))
    people = users(run.net, 36, kinds=("requests", "plain-chrome"))
    browse(people, PAGES[:3], fresh=True)
    targets[2].stop()
    browse(people, PAGES[:4], fresh=True)


@scenario(
    "lossy-target",
    "HAProxy as an ALB; the link to one target loses packets",
    [
        Output(
            "offload-retransmits-targets.pcap.gz",
            "all_targets",
            "offload",
            "none",
            must=(*OFFLOAD, "retransmits"),
            product=("alb",),
            may=("slow-target",),
            kinds=("session_cookie",),
            shows="retransmits at one target only",
        ),
    ],
    networks=5,
    per_network=6,
)
def lossy_target(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID", sessions="shared", body=6000))
    lossy = run.net.target_ns[0]
    lossy.run("nft", "add table ip loss")
    lossy.run("nft", "add chain ip loss input { type filter hook input priority 0 ; }")
    lossy.run("nft", "add rule ip loss input tcp dport 8080 numgen random mod 100 < 8 drop")
    run.front(balancer.alb, targets, sticky=None, checks=False)
    browse(users(run.net, 30, kinds=MIXED), **HTTPS)


@scenario(
    "upstream-timeout",
    "HAProxy as an ALB that waits 1 s for an answer; some pages take longer",
    [
        Output(
            "offload-upstream-timeout-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            must=(*OFFLOAD, "upstream-timeout"),
            may=("resets", "slow-target"),
            **ALB,
            shows="the balancer closes 1 s after a request while its answer is due",
        ),
    ],
    networks=5,
    per_network=6,
)
def upstream_timeout(run: Run) -> None:
    app = Application(cookie="JSESSIONID", delay=lambda index, path: 2.5 if path.startswith("/report") else 0.005)
    targets = run.serve(app)
    run.front(balancer.alb, targets, timeouts=balancer.Timeouts(server="1s"))
    steps = [*PAGES[:3], ("GET", "/report/monthly", None), *PAGES[3:5]]
    browse(users(run.net, 30, kinds=MIXED), steps, **HTTPS)


@scenario(
    "weak-tls",
    "HAProxy as an ALB that speaks TLS 1.0 to its targets",
    [
        Output(
            "bridging-weak-tls-targets.pcap.gz",
            "all_targets",
            "bridging",
            "unknown",
            product=("haproxy", "unknown"),
            must=("weak-tls",),
            **INSIDE,
            really="none",
            shows="TLS 1.0 is negotiated on the second hop",
        ),
    ],
    networks=4,
    per_network=4,
)
def weak_tls(run: Run) -> None:
    targets = run.serve(
        Application(sessions="shared"),
        port=8443,
        tls={"minimum": ssl.TLSVersion.TLSv1, "maximum": ssl.TLSVersion.TLSv1, "ciphers": "DEFAULT:@SECLEVEL=0"},
    )
    run.front(
        balancer.alb,
        targets,
        target_tls=True,
        sticky=None,
        server_options=" ssl-min-ver TLSv1.0 ciphers DEFAULT:@SECLEVEL=0",
    )
    browse(users(run.net, 16, kinds=MIXED), PAGES[:4], **HTTPS)


@scenario(
    "weak-cipher",
    "clients and targets agree on TLS 1.2 with CBC and SHA-1 over kernel NAT: old, not broken",
    [
        Output(
            "passthrough-old-cipher-targets.pcap.gz",
            "all_targets",
            "passthrough",
            "source_ip",
            product=("nlb", "none", "unknown"),
            seen="tls",
            may=("weak-tls",),
            shows="ECDHE with AES-CBC and SHA-1",
            committed=True,
        ),
    ],
    networks=4,
    per_network=3,
)
def weak_cipher(run: Run) -> None:
    targets = run.serve(Application(), port=8443, tls={"maximum": ssl.TLSVersion.TLSv1_2, "ciphers": "ECDHE-ECDSA-AES128-SHA"})
    run.balance(balancer.Nlb(run.net, targets, by="source_ip", port=443))
    browse(users(run.net, 12, kinds=("requests",)), PAGES[:4], fresh=True, **HTTPS)


@scenario(
    "certificate-differs",
    "HAProxy as an ALB over TLS 1.2 to its targets, one of which has an expired certificate of its own",
    [
        Output(
            "bridging-certificate-targets.pcap.gz",
            "all_targets",
            "bridging",
            "unknown",
            product=("haproxy", "unknown"),
            must=("certificate-problem",),
            **INSIDE,
            really="none",
            shows="one target's certificate is another one, and expired",
        ),
    ],
    networks=4,
    per_network=4,
)
def certificate_differs(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), port=8443, tls={"maximum": ssl.TLSVersion.TLSv1_2})
    stale = expired(run.directory, "old.shop.example", timedelta(days=20))
    targets[2].tls = server_context(stale, maximum=ssl.TLSVersion.TLSv1_2)
    run.front(balancer.alb, targets, target_tls=True, sticky=None)
    browse(users(run.net, 16, kinds=MIXED), PAGES[:4], **HTTPS)
