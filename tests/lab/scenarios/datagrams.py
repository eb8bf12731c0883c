"""Services over datagrams behind the kernel as a network load balancer."""

from __future__ import annotations

import time

from tests.lab import balancer, datagrams
from tests.lab.balancer.others import split_certificate
from tests.lab.client import PAGES, User, browse, together, users
from tests.lab.scenario import Output, Run, scenario
from tests.lab.scenarios.common import HTTPS, MIXED, NLB, SOCKETS
from tests.lab.target import Application

COUNT = ("connections",)


def _quic(run: Run, by: str) -> None:
    key, chain = split_certificate(run.certificate, run.directory)
    targets = run.serve_with(
        lambda index, ns, address: datagrams.caddy_http3(ns, address, run.directory / f"caddy{index}", key, chain), 443
    )
    run.balance(balancer.Nlb(run.net, targets, by=by, port=443, protocol="udp"))

    def walk(user: User) -> None:
        time.sleep(user.random.random() * 2)
        datagrams.fetch_http3(user, 3, 0.3, fresh=True)

    people = users(run.net, 8)
    together([(user.ns, lambda user=user: walk(user)) for user in people])
    if sum(len(user.answers) for user in people) < 20:
        raise RuntimeError(f"HTTP/3 failed: {people[0].failures[:2]}")


@scenario(
    "quic-source-ip",
    "kernel NAT as an NLB for QUIC, target by hash of the client address; Caddy answers over HTTP/3",
    [
        Output(
            "passthrough-quic-source-ip-targets.pcap.gz",
            "all_targets",
            "passthrough",
            "source_ip",
            product=NLB,
            seen="tls",
            healthy=True,
            servers_agree=False,
            count=COUNT,
            shows="QUIC long headers; each address always at the same target",
        ),
    ],
    networks=6,
    per_network=3,
)
def quic_source_ip(run: Run) -> None:
    _quic(run, "source_ip")


@scenario(
    "quic-five-tuple",
    "kernel NAT as an NLB for QUIC, target by hash of address and port; Caddy answers over HTTP/3",
    [
        Output(
            "passthrough-quic-five-tuple-targets.pcap.gz",
            "all_targets",
            "passthrough",
            "none",
            product=NLB,
            seen="tls",
            healthy=True,
            servers_agree=False,
            count=COUNT,
            committed=False,
            shows="QUIC long headers; an address's connections are spread",
        ),
    ],
    networks=6,
    per_network=3,
)
def quic_five_tuple(run: Run) -> None:
    _quic(run, "five_tuple")


def _ask(run: Run, kind: str, by: str) -> None:
    port = 53 if kind == "dns" else 9600
    targets = run.serve_with(lambda index, ns, address: datagrams.answering(ns, address, port, kind), port)
    run.balance(balancer.Nlb(run.net, targets, by=by, port=port, protocol="udp"))
    together([(user.ns, lambda user=user: datagrams.ask(user, port, 6, 0.2, dns=kind == "dns")) for user in users(run.net, 30)])


@scenario(
    "dns-source-ip",
    "kernel NAT as an NLB for DNS, target by hash of the client address",
    [
        Output(
            "plain-dns-source-ip-targets.pcap.gz",
            "all_targets",
            "none",
            "source_ip",
            product=NLB,
            seen="tls",
            servers_agree=False,
            must=("udp-affinity",),
            count=COUNT,
            may=("plaintext-end-to-end",),
            shows="DNS questions from new ports; each address at one target",
        ),
    ],
    networks=6,
    per_network=5,
)
def dns_source_ip(run: Run) -> None:
    _ask(run, "dns", "source_ip")


@scenario(
    "dns-five-tuple",
    "kernel NAT as an NLB for DNS, target by hash of address and port",
    [
        Output(
            "plain-dns-five-tuple-targets.pcap",
            "all_targets",
            "none",
            "none",
            product=NLB,
            seen="tls",
            servers_agree=False,
            count=COUNT,
            may=("plaintext-end-to-end",),
            shows="DNS questions from new ports, spread over the targets",
        ),
    ],
    networks=6,
    per_network=5,
)
def dns_five_tuple(run: Run) -> None:
    _ask(run, "dns", "five_tuple")


@scenario(
    "datagrams-unknown",
    "kernel NAT as an NLB for a datagram protocol that nobody knows, target by hash of the client address",
    [
        Output(
            "unknown-datagrams-targets.pcap.gz",
            "all_targets",
            "unknown",
            "source_ip",
            product=NLB,
            healthy=True,
            seen="tls",
            servers_agree=False,
            must=("udp-affinity",),
            count=COUNT,
            mode_because="the datagrams belong to no protocol that can be recognised",
            mode_candidates=("none", "passthrough"),
            really="none",
            shows="datagrams without a known form; each address at one target",
        ),
    ],
    networks=6,
    per_network=5,
)
def datagrams_unknown(run: Run) -> None:
    _ask(run, "unknown", "source_ip")


@scenario(
    "nlb-snat",
    "kernel NAT as an NLB that does not keep client addresses: TLS untouched, one source address",
    [
        Output(
            "passthrough-nlb-snat-targets.pcap.gz",
            "all_targets",
            "passthrough",
            "none",
            product=("nlb", "haproxy", "none", "unknown"),
            seen="tls",
            healthy=True,
            shows=f"one address; {SOCKETS} and TLS stacks",
            mechanism_accept=("unknown",),
        ),
    ],
    networks=6,
    per_network=3,
)
def nlb_snat(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), port=8443, tls=True)
    run.balance(balancer.Nlb(run.net, targets, by="round_robin", port=443, snat=True))
    browse(users(run.net, 10, kinds=MIXED), PAGES[:4], fresh=True, **HTTPS)
