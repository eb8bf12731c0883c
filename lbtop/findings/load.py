"""Findings about load: why one target is hotter than the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lbtop.findings.commands import tshark
from lbtop.findings.rule import Context, rule
from lbtop.findings.words import count_per_target, share, sticky_setting, target_name, target_text
from lbtop.inference.balance import USERS_OF_A_NAT
from lbtop.model.judgement import Evidence, Finding, Mechanism, Severity
from lbtop.model.snapshot import Skew
from lbtop.reconstruct.ledgers.load import DURATION

HOT = 1.25
"""A significant peak below this much above the mean is not worth waking anybody."""
NAT_SHARE = 0.2
NAT_OVER_FAIR = 1.5


def _hot(context: Context) -> tuple[str, float]:
    """The target with the greatest share, and that share."""
    skew = context.service.skew
    if skew is not None and skew.metric == "active":
        carried = context.facts.ledgers.load.costs[DURATION, :, :, 1].sum(1)
        hot = int(np.argmax(carried))
        return target_name(context, hot), float(carried[hot] / max(carried.sum(), 1e-9))
    target = max(context.service.targets, key=lambda entry: entry.share)
    return (f"{target.name} ({target.target})" if target.name else target.target), target.share


def _hot_in_its_pool(context: Context) -> bool:
    """Whether the hottest target is hot among those that are asked for the same names, and not just one of a pool in demand."""
    shares = {entry.target: entry.share for entry in context.service.targets}
    hot = max(range(len(context.facts.targets)), key=lambda number: shares.get(target_text(context, number), 0.0))
    pool = context.facts.ledgers.names.pool(hot)
    if pool is None:
        return True
    among = [shares.get(target_text(context, number), 0.0) for number in sorted(pool)]
    return max(among) >= HOT * sum(among) / len(among)


def _skew_evidence(skew: Skew) -> Evidence:
    return Evidence(
        "skew", "load",
        f"{skew.metric}: peak to mean {skew.peak_to_mean:.2f}, {skew.expected_peak_to_mean:.2f} expected when the units are "
        f"dealt anew, p = {skew.p_value:.2g}, Gini {skew.gini:.2f}",
    )  # fmt: skip


def _skewed(context: Context, cause: str) -> Skew | None:
    """The skew where it is significant and has this cause."""
    skew = context.service.skew
    if skew is None or skew.cause != cause or not skew.significant or skew.peak_to_mean < HOT:
        return None
    return skew


@rule(
    "nat-concentration", Severity.WARNING,
    "one address holds many users and, pinned by source address, loads one target",
)  # fmt: skip
def nat_concentration(context: Context) -> Iterator[Finding]:
    """Many users share one address, and source-address stickiness sends them all to one target.

    What it means. A company, a school or a carrier behind one NAT lands on one target: it carries their whole load,
    and when it goes, all of them move (or lose their sessions) at once.

    How it is inferred. The mechanism is the source address; an address holds at least five users (by sessions in
    use at the same time, User-Agents, TCP or TLS stacks, or timestamp clocks) and a fifth of the load; and one and a
    half fair shares are its own, or its target's and would not be without it. Addresses of CDNs and other proxies are
    not counted.

    How to confirm. Count connections per client address and target.

    How to mend. Pin by cookie where the balancer reads requests, hash over address and port where it need not pin
    at all, or give the targets room for the largest NAT.
    """
    service = context.service
    sticky = service.stickiness
    if sticky is None or sticky.verdict.value is not Mechanism.SOURCE_IP or len(service.targets) < 2:
        return
    fair = 1.0 / len(service.targets)
    for nat in service.nat:
        if nat.users_low < USERS_OF_A_NAT or nat.share < NAT_SHARE:
            continue
        if nat.share < NAT_OVER_FAIR * fair and not (nat is service.nat[0] and _heats_its_target(service.skew)):
            continue
        hot, hot_share = _hot(context)
        low, high = nat.users_low, nat.users_high
        users = f"at least {low}" if not high else f"{low} to {high}" if high > low else f"{low}"
        yield Finding(
            id="nat-concentration",
            severity=Severity.WARNING,
            title=f"{nat.address} holds {users} users and {share(nat.share, 1)} of the load, all pinned to one target",
            detail=f"Stickiness follows the source address, so everyone behind {nat.address} goes to the same target; {hot} "
            f"carries {share(hot_share, 1)} where {share(fair, 1)} would be fair. If it goes, they all move at once.",
            service=service.service,
            evidence=(
                Evidence("users", "nat", f"{nat.address}: {nat.basis}"),
                *((_skew_evidence(service.skew),) if service.skew else ()),
            ),
            advice=(
                f"pin by cookie instead of by address where requests can be read ({sticky_setting(context)})",
                "at layer 4 switch stickiness off if sessions are kept outside the targets (stickiness.enabled=false)",
            ),
            confirm=(_per_pair(context),),
            subject=nat.address,
        )


def _heats_its_target(skew: Skew | None) -> bool:
    return skew is not None and skew.cause == "nat_concentration" and skew.peak_to_mean >= NAT_OVER_FAIR


def _per_pair(context: Context) -> str:
    flags = f"tcp.dstport == {context.service.port} && tcp.flags.syn == 1"
    return tshark(context, flags, ("ip.src", "ip.dst")) + " | sort | uniq -c | sort -rn | head"


@rule("hot-target", Severity.WARNING, "skew is significant and no more specific finding explains it")
def hot_target(context: Context) -> Iterator[Finding]:
    """One target carries more than chance explains.

    What it means. The hot target is slow or full first, while others idle.

    How it is inferred. The units that the balancer deals (keys where it pins, else connections or requests) are
    dealt anew thousands of times, each with its cost, over the targets in service at its time. It fires where the
    seen peak is rarer than 1 in 100 (corrected for the number of metrics and services) and at least 1.25 times the
    mean, of the targets that are asked for the same names.

    How to confirm. Count requests or connections per target over another period.

    How to mend. Compare the targets' weights and the algorithm; a hash over few keys, an unequal ring or a target
    that fails fast (and so always looks idle) are the usual causes.
    """
    skew = context.service.skew
    if skew is None or not skew.significant or skew.peak_to_mean < HOT:
        return
    if not _hot_in_its_pool(context):
        return
    hot, hot_share = _hot(context)
    cause = f"; cause: {skew.cause.replace('_', ' ')}" if skew.cause not in (None, "unknown") else ""
    yield Finding(
        id="hot-target",
        severity=Severity.WARNING,
        title=f"{hot} carries {share(hot_share, 1)} of the {_metric(skew)}: {skew.peak_to_mean:.2f} times the mean, "
        f"{skew.expected_peak_to_mean:.2f} expected by chance",
        detail=f"Dealt at random, a peak as high comes once in {max(1, round(1 / max(skew.p_value, 1e-9))):,} times{cause}.",
        service=context.service.service,
        evidence=(_skew_evidence(skew),),
        advice=("compare weights, algorithm and health of the targets; a target that fails fast attracts requests",),
        confirm=(count_per_target(context),),
        subject=hot,
    )


def _metric(skew: Skew) -> str:
    return {"active": "time connections are open"}.get(skew.metric, skew.metric)


@rule("heavy-client", Severity.INFO, "one client that is not many makes the skew")
def heavy_client(context: Context) -> Iterator[Finding]:
    """One client costs so much that its target stands out.

    What it means. A crawler, a batch job or a monitoring system makes one target hot; the balancer is not at fault.

    How it is inferred. The skew disappears when the costliest client address of the hot target is taken away, it costs
    more than three times what others do at the median, and nothing says that several users are behind it.

    How to confirm. Count requests or bytes per client.

    How to mend. Limit the client's rate, or spread it (several connections, no cookie) if it may use every target.
    """
    skew = context.service.skew
    if skew is None or skew.cause != "heavy_client" or skew.peak_to_mean < HOT:
        return
    hot, hot_share = _hot(context)
    yield Finding(
        id="heavy-client",
        severity=Severity.INFO,
        title=f"One client makes {hot} hot: {share(hot_share, 1)} of the {_metric(skew)}, which are even without it",
        detail=f"Without the costliest client of {hot} the load is even; nothing says that it is more than one user.",
        service=context.service.service,
        evidence=(_skew_evidence(skew),),
        advice=("limit the client's rate, or let it use every target",),
        confirm=(_per_pair(context),),
        subject=hot,
    )


@rule("long-session-skew", Severity.WARNING, "new assignments are spread evenly, live ones or their cost are not")
def long_session_skew(context: Context) -> Iterator[Finding]:
    """New connections are spread evenly, but long-lived ones have piled up.

    What it means. WebSockets, streams and database-like sessions stay where they were put. After a deploy or a
    scale-out the old targets keep them, and the new ones idle, for as long as sessions last.

    How it is inferred. Connections per target are as even as chance; the time they are open, or their bytes, are
    not.

    How to confirm. `ss -Htn state established` on each target.

    How to mend. Balance by live connections (least_outstanding_requests, leastconn), and close sessions after a
    maximum age.
    """
    skew = _skewed(context, "long_sessions")
    if skew is None:
        return
    hot, hot_share = _hot(context)
    yield Finding(
        id="long-session-skew",
        severity=Severity.WARNING,
        title=f"Long sessions pile up on {hot}: {share(hot_share, 1)} of the {_metric(skew)}, new connections are even",
        detail=f"Peak to mean {skew.peak_to_mean:.2f}, {skew.expected_peak_to_mean:.2f} expected by chance.",
        service=context.service.service,
        evidence=(_skew_evidence(skew),),
        advice=("balance by live connections (leastconn, least_outstanding_requests); give sessions a maximum age",),
        confirm=(f"ss -Htn state established '( sport = :{context.service.port} )' | wc -l",),
        subject=hot,
    )


@rule("zone-imbalance", Severity.INFO, "each balancer node is even over its own targets, the nodes are not")
def zone_imbalance(context: Context) -> Iterator[Finding]:
    """Zones differ in load or in targets, and no node balances across zones.

    What it means. With cross-zone balancing off each node serves the targets of its own zone; clients choose the
    node by DNS.

    How it is inferred. Every target is fed by one balancer node, each node is even over its own, and targets differ
    significantly.

    How to confirm. Count connections per balancer node and target.

    How to mend. Switch cross-zone balancing on, or give zones targets in proportion to their clients.
    """
    skew = _skewed(context, "zone")
    if skew is None:
        return
    hot, hot_share = _hot(context)
    yield Finding(
        id="zone-imbalance",
        severity=Severity.INFO,
        title=f"Zones are uneven: {hot} carries {share(hot_share, 1)}, each node is even over its own",
        detail=f"Peak to mean {skew.peak_to_mean:.2f}, {skew.expected_peak_to_mean:.2f} expected by chance.",
        service=context.service.service,
        evidence=(_skew_evidence(skew),),
        advice=("switch cross-zone balancing on (load_balancing.cross_zone.enabled), or size zones by their clients",),
        confirm=(_per_pair(context),),
        subject=hot,
    )
