"""Captures that lie: recordings begun in the middle, one direction only, cut, doubled, wrapped, thinned out."""

from __future__ import annotations

from tests.lab import balancer, rewrite
from tests.lab.client import PAGES, browse, users
from tests.lab.scenario import Output, Run, scenario
from tests.lab.scenarios.common import ALB, HTTPS, MIXED, OFFLOAD, PLAIN
from tests.lab.target import Application

WHOLE = {"must": OFFLOAD, **ALB}
PARTIAL = {"must": (*OFFLOAD, "partial-capture"), **ALB}
FEW = ("connections", "refused")
UNREADABLE = ("haproxy", "nlb", "alb", "unknown")


@scenario(
    "defects-offload",
    "HAProxy as an ALB, HTTPS to plain HTTP, AWSALB: one recording with every defect a recording can have",
    [
        Output(
            "defect-middle-offload.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            **WHOLE,
            rewrite=rewrite.from_the_middle,
            count=(),
            defect="begins in the middle",
            mechanism_accept=("unknown",),
            shows="connections without their start, sessions without their issue",
        ),
        Output(
            "defect-towards-offload.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            **PARTIAL,
            rewrite=rewrite.towards_targets,
            count=FEW,
            recount=False,
            defect="one direction only",
            mechanism_accept=("unknown", "app_cookie"),
            shows="requests without answers, sessions without their issue",
        ),
        Output(
            "defect-from-offload.pcap.gz",
            "all_targets",
            "unknown",
            "unknown",
            must=("partial-capture",),
            may=(*OFFLOAD, "session-cookie-in-plaintext"),
            product=("alb", "unknown"),
            rewrite=rewrite.from_targets,
            count=(),
            defect="one direction only",
            mode_because="no request is in view",
            mode_candidates=("offload", "l4_tls", "none"),
            mode_accept=("offload",),
            mechanism_because="no request is in view",
            kinds=("session_cookie",),
            really="offload",
            shows="answers without requests",
        ),
        Output(
            "defect-snap-offload.pcap.gz",
            "all_targets",
            "unknown",
            "unknown",
            must=("partial-capture",),
            product=UNREADABLE,
            may=("plaintext-end-to-end", "plaintext-backend-hop", "session-cookie-in-plaintext"),
            rewrite=rewrite.cut_packets,
            count=FEW,
            recount=False,
            defect="snap length 96",
            mode_because="heads are cut after 30 bytes",
            mode_candidates=("offload", "l4_tls", "none"),
            mechanism_because="cookies are cut off",
            really="offload",
            shows="the first line of each request, no header",
        ),
        Output(
            "defect-twice-offload.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            **WHOLE,
            rewrite=rewrite.twice,
            recount=False,
            defect="every packet twice",
            shows="each packet a second time 3 microseconds later with one less to live",
        ),
        Output(
            "defect-vxlan-offload.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            **WHOLE,
            rewrite=rewrite.mirrored_in_vxlan,
            recount=False,
            defect="wrapped in VXLAN",
            shows="the same frames inside VXLAN",
        ),
        Output(
            "defect-vlan-offload.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            **WHOLE,
            rewrite=rewrite.in_vlan,
            recount=False,
            defect="VLAN tags, big-endian, nanoseconds",
            shows="the same frames tagged",
        ),
        Output(
            "defect-raw-offload.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            **WHOLE,
            rewrite=rewrite.without_link_layer,
            recount=False,
            defect="no link layer",
            shows="the same packets as raw IP",
        ),
        Output(
            "defect-thinned-offload.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            **PARTIAL,
            rewrite=rewrite.thinned,
            count=(),
            may=("retransmits", "resets", "session-lost"),
            defect="one packet in ten is missing",
            mechanism_accept=("unknown",),
            shows="holes in every connection",
        ),
        Output(
            "defect-torn-offload.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            **PARTIAL,
            rewrite=rewrite.torn,
            count=(),
            defect="the file ends inside a record",
            mechanism_accept=("unknown",),
            shows="the first two thirds",
        ),
    ],
    networks=5,
    per_network=5,
)
def defects_offload(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    run.front(balancer.alb, targets)
    browse(users(run.net, 25, kinds=MIXED, addresses=15), think=0.25, **HTTPS)


@scenario(
    "defects-passthrough",
    "kernel NAT as an NLB with source-address stickiness, TLS untouched: recordings with defects",
    [
        Output(
            "defect-middle-passthrough.pcap.gz",
            "all_targets",
            "passthrough",
            "source_ip",
            seen="tls",
            product=("nlb", "none", "unknown"),
            rewrite=rewrite.from_the_middle,
            count=(),
            defect="begins in the middle",
            mechanism_accept=("unknown",),
            shows="most of the later connections whole",
        ),
        Output(
            "defect-snap-passthrough.pcap.gz",
            "all_targets",
            "passthrough",
            "source_ip",
            must=("partial-capture",),
            seen="tls",
            product=("nlb", "none", "unknown"),
            rewrite=rewrite.cut_packets,
            count=FEW,
            recount=False,
            defect="snap length 96",
            mode_accept=("unknown",),
            mechanism_accept=("unknown",),
            shows="TLS records whose hellos are cut; the clients' own TCP stacks",
        ),
    ],
    networks=6,
    per_network=3,
)
def defects_passthrough(run: Run) -> None:
    targets = run.serve(Application(), port=8443, tls=True)
    run.balance(balancer.Nlb(run.net, targets, by="source_ip", port=443))
    browse(users(run.net, 12, kinds=("requests", "okhttp", "go", "chrome124")), PAGES[:4], fresh=True, **HTTPS)


@scenario(
    "any-interface",
    "kernel NAT as an NLB recorded with `-i any` on the balancer: every packet several times, both legs",
    [
        Output(
            "plain-nlb-any-interface.pcap.gz",
            "load_balancer_any",
            "none",
            "source_ip",
            product=("nlb", "none", "unknown"),
            must=PLAIN,
            kinds=("session_cookie",),
            shows="Linux cooked frames; each packet on bridge and port, before and after translation",
        ),
    ],
    networks=6,
    per_network=4,
)
def any_interface(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID", attributes="Path=/; HttpOnly"))
    run.balance(balancer.Nlb(run.net, targets, by="source_ip", port=80))
    browse(users(run.net, 24, kinds=("requests", "plain-chrome", "plain-firefox")), PAGES[:4], fresh=True)
