"""What no other scenario shows: digests of targets, listeners that cannot pin, clients that stay by habit, QUIC that moves."""

from __future__ import annotations

import hashlib
import time

from tests.lab import balancer, datagrams
from tests.lab.balancer.others import split_certificate
from tests.lab.client import BROWSERS, PAGES, User, browse, together, users
from tests.lab.scenario import Output, Run, scenario
from tests.lab.scenarios.common import HTTPS, MIXED, NLB, OFFLOAD, SESSION, SOCKETS
from tests.lab.target import Application

ADDED = (
    'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; '
    "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;"
)


def _sticky(run: Run, honoured: bool) -> None:
    """nginx with its `sticky cookie` written out in maps (the module came with 1.29.6): MD5 of the server's name."""
    targets = run.serve(Application(cookie="PHPSESSID", sessions="shared"))
    digests = {target.name: hashlib.md5(target.name.encode()).hexdigest() for target in targets}
    names = "".join(f'    "{digest}" {name};\n' for name, digest in digests.items()) if honoured else ""
    values = "".join(f'    "{name}" {digest};\n' for name, digest in digests.items())
    run.front(
        balancer.nginx,
        targets,
        http=f"  map $cookie_srv_id $chosen {{\n    default backend;\n{names}  }}\n"
        f"  map $upstream_addr $digest {{\n{values}  }}\n",
        to="$chosen",
        location=f'{ADDED} add_header Set-Cookie "srv_id=$digest; Path=/; Secure";',
    )
    browse(users(run.net, 24, kinds=MIXED, addresses=12), PAGES[:5], **HTTPS)


@scenario(
    "nginx-sticky",
    "nginx, `sticky cookie srv_id`: MD5 of the target's address and port",
    [
        Output(
            "offload-nginx-sticky-targets.pcap.gz",
            "all_targets",
            "offload",
            "lb_cookie",
            product=("nginx",),
            cookie="srv_id",
            must=(*OFFLOAD, "cookie-discloses-target"),
            **SESSION,
            shows="srv_id holds a digest of the target's address, and requests that bring it go there",
        ),
        Output(
            "offload-nginx-sticky-one.pcap.gz",
            "one_target",
            "offload",
            "lb_cookie",
            product=("nginx",),
            cookie="srv_id",
            must=(*OFFLOAD, "cookie-discloses-target"),
            **SESSION,
            shows="every request that brings srv_id names this target in it",
        ),
    ],
    networks=5,
    per_network=5,
)
def nginx_sticky(run: Run) -> None:
    _sticky(run, honoured=True)


@scenario(
    "nginx-sticky-ignored",
    "nginx sets srv_id, MD5 of the target's address and port, and does not look at it",
    [
        Output(
            "offload-nginx-sticky-ignored-one.pcap.gz",
            "one_target",
            "offload",
            "none",
            product=("nginx",),
            cookie="srv_id",
            must=(*OFFLOAD, "cookie-discloses-target", "stickiness-not-working"),
            **SESSION,
            shows="requests bring the digests of other targets: the cookie decides nothing, which one target alone can tell",
        ),
    ],
    networks=5,
    per_network=5,
)
def nginx_sticky_ignored(run: Run) -> None:
    _sticky(run, honoured=False)


def _tls_listener(run: Run, sessions: str) -> None:
    """HAProxy in the place of a Network Load Balancer's TLS listener: nothing added, health checks with ELB's User-Agent."""
    targets = run.serve(Application(cookie="JSESSIONID", sessions=sessions))
    run.front(
        balancer.haproxy_tcp,
        targets,
        algorithm="random",
        checks=True,
        extra="option httpchk\n  http-check send meth GET uri /health hdr User-Agent ELB-HealthChecker/2.0 hdr Host 10.0.1.5:443",
    )
    browse(users(run.net, 18, kinds=BROWSERS), PAGES[:5], fresh=True, **HTTPS)


@scenario(
    "nlb-tls-lost",
    "HAProxy as an NLB's TLS listener: nothing pins, sessions live in one target's memory",
    [
        Output(
            "l4-tls-nlb-lost-targets.pcap.gz",
            "all_targets",
            "l4_tls",
            "none",
            product=("nlb",),
            must=(*OFFLOAD, "session-lost", "stickiness-unsupported"),
            **SESSION,
            shows="health checks of ELB, nothing added, sessions answered as new: this listener cannot pin",
        ),
    ],
    networks=5,
    per_network=5,
)
def nlb_tls_lost(run: Run) -> None:
    _tls_listener(run, "local")


@scenario(
    "nlb-tls-shared",
    "HAProxy as an NLB's TLS listener: nothing pins, every target knows every session",
    [
        Output(
            "l4-tls-nlb-shared-targets.pcap.gz",
            "all_targets",
            "l4_tls",
            "none",
            product=("nlb",),
            must=OFFLOAD,
            **SESSION,
            shows="as where sessions are lost, and none is",
        ),
    ],
    networks=5,
    per_network=5,
)
def nlb_tls_shared(run: Run) -> None:
    _tls_listener(run, "shared")


@scenario(
    "names-cached",
    "no balancer: three addresses under one name, each client keeps what it resolved for a few connections",
    [
        Output(
            "plain-names-cached-targets.pcap.gz",
            "all_targets",
            "none",
            "unknown",
            product=("none", "unknown"),
            must=("plaintext-end-to-end", "emergent-affinity"),
            may=("session-cookie-in-plaintext",),
            mechanism_because="clients return more often than chance and less than anything that pins would make them",
            mechanism_candidates=("none", "source_ip"),
            mechanism_accept=("none",),
            kinds=("session_cookie",),
            really="none",
            shows=f"{SOCKETS}; a client stays for one to four connections",
        ),
    ],
    networks=6,
    per_network=4,
)
def names_cached(run: Run) -> None:
    targets = run.serve(Application(attributes="Path=/; HttpOnly", sessions="shared"), port=80)

    def walk(user: User) -> None:
        for _ in range(6):
            server = user.random.choice(targets)
            steps = PAGES[: user.random.randint(1, 4)]
            browse([user], steps, fresh=True, vip=server.address, start_within=0, think=0.1)

    together([(user.ns, lambda user=user: walk(user)) for user in users(run.net, 24, kinds=("requests", "go", "okhttp"))])


@scenario(
    "fleet-far",
    "HAProxy in TCP mode, TLS ends at the targets; a fleet of one program, 30 to 90 ms away",
    [
        Output(
            "passthrough-fleet-far-one.pcap.gz",
            "one_target",
            "passthrough",
            "none",
            product=("haproxy", "nlb", "unknown"),
            mechanism_accept=("unknown",),
            seen="tls",
            healthy=True,
            shows="one TLS stack and one TCP stack; the handshake takes the client's round trip, the connection does not",
        ),
    ],
    networks=4,
    per_network=5,
    client_delay=(0.015, 0.02, 0.03, 0.045),
)
def fleet_far(run: Run) -> None:
    targets = run.serve(Application(), port=443, tls=True)
    run.balance(balancer.haproxy_tcp(run.net, run.directory, targets))
    browse(users(run.net, 20, kinds=("okhttp",)), PAGES[:4], fresh=True, **HTTPS)


@scenario(
    "quic-moves",
    "kernel NAT as an NLB for QUIC, target by hash of address and port; a NAT in front gives connections a new port",
    [
        Output(
            "passthrough-quic-moves-targets.pcap.gz",
            "all_targets",
            "passthrough",
            "none",
            product=NLB,
            seen="tls",
            must=("quic-migration-lost",),
            mechanism_accept=("unknown",),
            servers_agree=False,
            count=("connections",),
            shows="flows without a handshake that nobody answers: connections that went on from another port",
        ),
    ],
    networks=6,
    per_network=3,
)
def quic_moves(run: Run) -> None:
    key, chain = split_certificate(run.certificate, run.directory)
    targets = run.serve_with(
        lambda index, ns, address: datagrams.caddy_http3(ns, address, run.directory / f"caddy{index}", key, chain), 443
    )
    run.balance(balancer.Nlb(run.net, targets, by="five_tuple", port=443, protocol="udp"))

    def walk(user: User) -> None:
        time.sleep(user.random.random() * 2)
        datagrams.move_http3(user, 1)

    together([(user.ns, lambda user=user: walk(user)) for user in users(run.net, 14)])
