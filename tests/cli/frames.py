"""Hand-made snapshots: what the faces must be able to show, before and beyond what any capture shows."""

from __future__ import annotations

from dataclasses import replace

from lbtop.model.judgement import Evidence, Finding, Mechanism, Mode, Severity, Verdict
from lbtop.model.snapshot import (
    Break,
    CookieLifetime,
    Dependency,
    Exposure,
    Hop,
    Idle,
    KeyAffinity,
    LoadBalancer,
    Nat,
    Percentiles,
    Sensitive,
    Service,
    Skew,
    Snapshot,
    SourceFrame,
    Stickiness,
    Target,
    Termination,
    TlsFacts,
)
from lbtop.model.text import safe_text

START = 1_772_366_400_000_000_000
MINUTE = 60_000_000_000

PROTO = Evidence("x-forwarded-proto", "http-headers", "all 2,430 requests carry X-Forwarded-Proto: https", "offload", 3.1)
TRACE = Evidence("trace-id", "http-headers", "all 2,430 requests carry a well-formed X-Amzn-Trace-Id", "offload", None)
STACK = Evidence("one-tcp-stack", "tcp-stack", "2 source addresses, one TCP stack", "offload", 1.2)
AGAINST = Evidence("h1-only", "http-headers", "no request has a browser's header set", "none", -0.4)


def source(**changes: object) -> SourceFrame:
    frame = SourceFrame(
        kind="capture",
        inputs=("shop.pcap",),
        started_ns=START,
        ended_ns=START + 5 * MINUTE,
        packets=123_456,
        bytes=98_765_432,
        undecoded_packets=3,
        truncated_packets=0,
        dropped_packets=None,
        connections=420,
        connections_seen_from_start=412,
        caps_reached=(),
        vantage="mirror",
        vantage_evidence=(Evidence("ends", "addresses", "packets of 3 hosts on port 8080"),),
    )
    return replace(frame, **changes)  # type: ignore[arg-type]


def target(ip: str, share: float, requests: int | None = 810, **changes: object) -> Target:
    row = Target(
        target=f"{ip}:8080" if ":" not in ip else f"[{ip}]:8080",
        connections=140,
        requests=requests,
        health_checks=20,
        probes=3,
        refused=0,
        bytes_in=1_200_000,
        bytes_out=8_400_000,
        clients=60,
        share=share,
        state="serving",
        first_seen_ns=START,
        last_seen_ns=START + 5 * MINUTE,
        connect_ms=Percentiles(0.21, 0.9),
        response_ms=Percentiles(12.3, 181.25),
        resets=1,
        retransmits=4,
        status={"2xx": 790, "3xx": 12, "4xx": 8},
    )
    return replace(row, **changes)  # type: ignore[arg-type]


def no_exposure() -> Exposure:
    return Exposure(0, 0, 0, 0, (), TlsFacts({}, {}, {}, {}, 0, 0, {}))


def service(**changes: object) -> Service:
    """A busy web shop behind an ALB: offload, cookie stickiness that works, one hot target."""
    row = Service(
        service=safe_text("shop.example.com"),
        port=8080,
        load_balancer=LoadBalancer(("10.0.0.5", "10.0.1.5"), "alb", 0.99, (TRACE,)),
        termination=Termination(
            Verdict({Mode.OFFLOAD: 0.97, Mode.NONE: 0.02, Mode.L4_TLS: 0.01}, (PROTO, TRACE, STACK, AGAINST)),
            (Hop("client", "load_balancer", "tls", False, ("1.3", "1.2")), Hop("load_balancer", "target", "plain", True)),
        ),
        stickiness=Stickiness(
            Verdict(
                {Mechanism.LB_COOKIE: 0.96, Mechanism.APP_COOKIE: 0.02, Mechanism.SOURCE_IP: 0.01, Mechanism.NONE: 0.01},
                (Evidence("cookie-returns", "cookies", "AWSALB comes back on 2,211 of 2,430 requests", "lb_cookie", None),),
            ),
            cookie=safe_text("AWSALB"),
            balancing="round_robin",
            key="cookie:session",
            affinity=0.982,
            affinity_interval=(0.961, 0.998),
            keys=180,
            returns=2031,
            by_key=(
                KeyAffinity("cookie:session", 0.982, (0.961, 0.998), 180, 2031),
                KeyAffinity("forwarded_for", 0.71, (0.64, 0.77), 150, 2100),
            ),
            breaks=(Break(START + MINUTE, 12, "10.0.0.11:8080", "10.0.0.12:8080", "target_gone"),),
            cookie_lifetime=CookieLifetime("since_last_response", 300.0, (290.0, 312.5)),
            sessions=180,
            sessions_lost=3,
            orphan_requests=0,
        ),
        targets=(
            target("10.0.0.11", 0.61, 1482, name="web1"),
            target("10.0.0.12", 0.23, 559),
            target("10.0.0.13", 0.16, 389, state="draining"),
        ),
        dependencies=(Dependency("10.0.0.20:6379", 6, "plain"),),
        skew=Skew("requests", 1.83, 1.09, 0.3, 0.0004, True, "nat_concentration"),
        exposure=Exposure(
            9_800_000,
            0,
            420,
            0,
            (
                Sensitive("password", 4, 3, "load_balancer->target", START, START + MINUTE),
                Sensitive("session_cookie", 2211, 180, "load_balancer->target", START, START + 5 * MINUTE),
            ),
            TlsFacts({}, {}, {}, {}, 0, 0, {}),
        ),
        nat=(Nat("203.0.113.7", 41, 60, 0.48, "distinct session cookies"),),
        idle=Idle(60.0, (58.2, 61.0), "fin", 0, "ALB idle timeout 60 s", 75.0, 0),
    )
    return replace(row, **changes)  # type: ignore[arg-type]


def bridging() -> Service:
    return service(
        service=safe_text("api.example.com"),
        port=8443,
        stickiness=None,
        skew=None,
        nat=(),
        idle=None,
        dependencies=(),
        load_balancer=LoadBalancer(("10.0.0.6",), "unknown", 0.4),
        termination=Termination(
            Verdict(
                {Mode.BRIDGING: 0.93, Mode.PASSTHROUGH: 0.07},
                (Evidence("one-family", "tls-stack", "one client hello family over 300 hellos", "bridging", 2.7),),
            ),
            (Hop("client", "load_balancer", "tls", False), Hop("load_balancer", "target", "tls", True, ("1.2",))),
        ),
        targets=(
            target("10.0.0.21", 0.5, None, clients=None, response_ms=None, status=None),
            target("2001:db8::22", 0.5, None, clients=None, response_ms=None, status=None),
        ),
        exposure=Exposure(
            0,
            5_000_000,
            0,
            280,
            (),
            TlsFacts({"1.2": 280}, {safe_text("t12i200600_aaaaaaaaaaaa_bbbbbbbbbbbb"): 280}, {}, {}, 200, 10, {}),
        ),
    )


def undecided() -> Service:
    return service(
        service=safe_text("10.0.0.11:8080"),
        targets=(target("10.0.0.11", 1.0),),
        skew=None,
        nat=(),
        idle=None,
        load_balancer=LoadBalancer(("10.0.0.5",), "unknown", 0.3),
        termination=Termination(
            Verdict(
                {Mode.L4_TLS: 0.49, Mode.NONE: 0.48, Mode.OFFLOAD: 0.03},
                (Evidence("nothing-added", "http-headers", "no proxy added a header to any of 810 requests"),),
                settled_by="a capture on the client's side of the load balancer, or its listener's protocol",
            ),
            (Hop("client", "load_balancer", "unknown", False), Hop("load_balancer", "target", "plain", True)),
        ),
        stickiness=Stickiness(
            Verdict({Mechanism.SOURCE_IP: 0.5, Mechanism.NONE: 0.5}, (), "a capture of all targets, or of the load balancer"),
            None,
            "unknown",
            None,
            None,
            None,
            12,
            0,
            (),
        ),
        exposure=no_exposure(),
    )


FINDINGS = (
    Finding(
        "credentials-in-plaintext",
        Severity.CRITICAL,
        "Passwords reach the targets in clear: 3 different ones, 4 times",
        "POST /login carries a form field named password over the hop alb to 10.0.0.11:8080, which is not encrypted.",
        "shop.example.com",
        (Evidence("form-password", "secrets", "4 form passwords on load_balancer->target"),),
        (
            "Give the target group an HTTPS protocol and the targets a certificate.",
            "Until then keep this hop inside one security group.",
        ),
        ("sudo tcpdump -A -c 20 -i any 'tcp dst port 8080' | grep -c 'password='",),
    ),
    Finding(
        "nat-concentration",
        Severity.WARNING,
        "One address, 203.0.113.7, holds 41 to 60 users and 48 % of the load",
        "All of them are pinned to 10.0.0.11:8080.",
        "shop.example.com",
        (),
        ("Pin by cookie instead of by source address.",),
        (),
    ),
    Finding(
        "cookie-discloses-target",
        Severity.INFO,
        "A cookie names the target's internal address",
        "",
        "shop.example.com",
        accepted=True,
    ),
)


def snapshot(*services: Service, findings: tuple[Finding, ...] = (), **changes: object) -> Snapshot:
    return Snapshot(START + 5 * MINUTE, source(**changes), services, findings, final=True)


def busy() -> Snapshot:
    return snapshot(service(), bridging(), findings=FINDINGS)


def unknown() -> Snapshot:
    return snapshot(
        undecided(),
        vantage="target",
        truncated_packets=12,
        connections_seen_from_start=100,
        notes=("the file ends in the middle of a packet, at byte 4,096",),
    )


def empty() -> Snapshot:
    return snapshot(
        packets=0,
        bytes=0,
        started_ns=0,
        ended_ns=0,
        connections=0,
        connections_seen_from_start=0,
        vantage="unknown",
        undecoded_packets=0,
    )


HOSTILE = b"\x1b]0;owned\x07[bold red]\x1b[31m" + "\u202eevil\u05d0\u05d1 \u4e16\u754c".encode() + b"\xff" + b"A" * 400


def hostile() -> Snapshot:
    name = safe_text(HOSTILE)
    sticky = service().stickiness
    assert sticky is not None
    return snapshot(
        service(
            service=name,
            stickiness=replace(sticky, cookie=name, key=f"cookie:{name}"),
            targets=(target("2001:db8:ffff:ffff:ffff:ffff:ffff:1234", 1.0),),
        ),
        findings=(
            Finding(
                "hot-target",
                Severity.WARNING,
                f"title {name}",
                f"detail {name}",
                name,
                (Evidence("s", "g", f"evidence {name}"),),
                (f"advice {name}",),
                (f"confirm {name}",),
            ),
        ),
        inputs=("[/red]\u202e.pcap",),
    )


ALL = {"busy": busy, "unknown": unknown, "empty": empty, "hostile": hostile}
