"""Findings about targets: those that come and go, that are slow, or unwell."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from lbtop.findings.commands import http, tshark
from lbtop.findings.rule import Context, rule
from lbtop.findings.words import count_per_target, plural, seconds, share, target_name, target_text
from lbtop.inference.peers import differing_rates, slow_targets
from lbtop.inference.presence import Absence, absences
from lbtop.model.judgement import Evidence, Finding, Severity
from lbtop.reconstruct.ledgers.load import CHECK_ERROR, CHECK_OK, CHECK_UNANSWERED, CHECKS, CHECKS_BAD

FLAPS = 2
FEWEST_CHECKS = 3
BAD_SHARE = 0.2
SLOW_CHECK_S = 5.0
DRAINING_RETURNS = 20


def _gone(context: Context) -> list[Absence]:
    return [entry for entry in absences(context.facts) if not entry.leading]


@rule("target-gone", Severity.WARNING, "a target stopped answering or left while clients were pinned to it")
def target_gone(context: Context) -> Iterator[Finding]:
    """A target left while clients were pinned to it.

    What it means. Its clients were moved to other targets; sessions it held in memory are lost.

    How it is inferred. A target with a steady share of arrivals has none any more (at least eight were due), and
    keys that were at home there return to others.

    How to confirm. Ask the balancer for the target's health and its deregistration time.

    How to mend. Drain targets before they leave (deregistration delay), and keep sessions outside them.
    """
    sticky = context.service.stickiness
    if sticky is None:
        return
    gone = {target_text(context, entry.target): entry for entry in _gone(context) if entry.trailing}
    for where, absence in gone.items():
        moved = sum(
            entry.keys for entry in sticky.breaks if entry.cause in ("target_gone", "targets_replaced") and entry.from_ == where
        )
        if moved < 3:
            continue
        yield Finding(
            id="target-gone",
            severity=Severity.WARNING,
            title=f"{target_name(context, absence.target)} left while clients were pinned to it: {plural(moved, 'key')} moved",
            detail=f"No arrivals since then, where about {absence.missed:.0f} were due.",
            service=context.service.service,
            evidence=(Evidence("absence", "targets", f"{where}: {absence.missed:.0f} arrivals missed, {moved} keys moved"),),
            advice=("drain targets before they leave (deregistration_delay.timeout_seconds); keep sessions outside them",),
            confirm=(http(context, f"http.request && ip.dst == {where.rpartition(':')[0]}", ("frame.time_epoch", "ip.dst")),),
            at_ns=absence.start_ns,
            subject=where,
        )


@rule("target-flapping", Severity.WARNING, "a target leaves and returns repeatedly")
def target_flapping(context: Context) -> Iterator[Finding]:
    """A target leaves the service and returns, again and again.

    What it means. Each time its clients are moved away; health checks are too strict, or the target is at its
    limit.

    How it is inferred. Its health checks fail and recover twice or more; or it has two absences or more between
    arrivals, and pinned keys moved away meanwhile.

    How to confirm. Look at the target's health history.

    How to mend. Find out why checks fail; raise the unhealthy threshold if they are too strict.
    """
    for target in range(len(context.facts.targets)):
        times = _outages(context, target)
        away = [entry for entry in _gone(context) if entry.target == target and not entry.trailing]
        displaced = _displaced(context, target)
        if len(times) < FLAPS and (len(away) < FLAPS or displaced < FLAPS):
            continue
        count = max(len(times), len(away))
        how = (
            f"its health checks failed and recovered {len(times)} times"
            if len(times) >= FLAPS
            else f"{displaced} keys moved away"
        )
        yield Finding(
            id="target-flapping",
            severity=Severity.WARNING,
            title=f"{target_name(context, target)} left and returned {count} times",
            detail=f"Not once but again and again: {how}.",
            service=context.service.service,
            evidence=(Evidence("outages", "targets", f"{target_text(context, target)}: {count} outages, {how}"),),
            advice=("find out why its health checks fail; raise the unhealthy threshold if they are too strict",),
            confirm=(count_per_target(context),),
            at_ns=times[0] if times else away[0].start_ns,
            subject=target_text(context, target),
        )


def _outages(context: Context, target: int) -> list[int]:
    """When its health checks began to fail, each time they had been answered well before and were afterwards."""
    series = context.facts.ledgers.load.series
    if target >= series.counts.shape[2]:
        return []
    checks, bad = series.counts[CHECKS, :, target], series.counts[CHECKS_BAD, :, target]
    state = [(int(time), int(b) > 0) for time, c, b in zip(series.times(), checks, bad, strict=True) if c]
    began = []
    for (_, was_bad), (time, is_bad) in pairwise(state):
        if is_bad and not was_bad:
            began.append(time)
    if state and state[-1][1] and began:
        began.pop()  # it has not come back yet
    return began


def _displaced(context: Context, target: int) -> int:
    """Keys that moved away from the target while it was absent."""
    sticky = context.service.stickiness
    if sticky is None:
        return 0
    where = target_text(context, target)
    return sum(entry.keys for entry in sticky.breaks if entry.cause == "target_gone" and entry.from_ == where)


@rule("draining-target", Severity.INFO, "a target gets returning sessions and no new ones")
def draining_target(context: Context) -> Iterator[Finding]:
    """A target still serves its sessions and gets no new ones.

    What it means. It is being drained, or its weight is 0.

    How it is inferred. Keys return to it (twenty arrivals or more), while at least eight first assignments went to
    others that should have come to it.

    How to confirm. Ask the balancer for the target's state.

    How to mend. Nothing, if it is meant; otherwise register it again.
    """
    for target, returns, missed, since_ns in _draining(context):
        yield Finding(
            id="draining-target",
            severity=Severity.INFO,
            title=f"{target_name(context, target)} gets returning sessions and no new ones",
            detail=f"{plural(returns, 'arrival')} of known keys, none of about {missed:.0f} new ones that were due.",
            service=context.service.service,
            evidence=(
                Evidence("draining", "targets", f"{target_text(context, target)}: {returns} returns, {missed:.0f} new missed"),
            ),
            advice=("nothing, if it is being drained on purpose",),
            confirm=(count_per_target(context),),
            at_ns=since_ns,
            subject=target_text(context, target),
        )


def _draining(context: Context) -> list[tuple[int, int, float, int]]:
    """(target, returns since, new assignments missed, since when) of targets that stopped getting new keys."""
    sticky = context.service.stickiness
    if sticky is None or sticky.key is None or (sticky.affinity or 0.0) < 0.5:
        return []
    affinity = context.facts.ledgers.affinity
    table = affinity.requests.tables.get(sticky.key) or affinity.connections.tables.get(sticky.key)
    if table is None or not len(table):
        return []
    slots = table.slot_rows[: len(table)]
    firsts = np.sort(slots["first_ns"])
    found = []
    for target in dict.fromkeys(slots["last"].tolist()):
        mine = slots[slots["first"] == target]
        if not len(mine):
            continue
        last_new = int(mine["first_ns"].max())
        share_of_new = len(mine) / max(int((firsts <= last_new).sum()), 1)
        missed = share_of_new * int((firsts > last_new).sum())
        active = slots[(slots["last"] == target) & (slots["last_ns"] > last_new)]
        series = context.facts.ledgers.load.series
        after = series.times() > last_new
        returns = int(series.counts[:2, after, target].sum()) if target < series.counts.shape[2] else 0
        still = len(active) and int(active["last_ns"].max()) > int(firsts[-1]) - series.width_ns
        if missed >= 8.0 and returns >= DRAINING_RETURNS and still:
            found.append((int(target), returns, missed, last_new))
    return found


# -- targets that are unwell ----------------------------------------------------------------------------------------------


@rule("health-check-failing", Severity.WARNING, "a target answers health checks with errors, late, or not at all")
def health_check_failing(context: Context) -> Iterator[Finding]:
    """A target fails its health checks.

    What it means. The balancer takes it out of service after a few failures, or is about to.

    How it is inferred. Requests recognised as health checks that were answered with 4xx or 5xx, after five seconds,
    or not at all; at least three, and a fifth of the target's checks.

    How to confirm. Send the check yourself with curl.

    How to mend. Look at the path that is checked, its dependencies, and the timeout.
    """
    checks = context.facts.ledgers.load.checks
    if not checks[:, (CHECK_OK, CHECK_ERROR)].any():
        return  # no answer at all in view: it is the view, not the targets
    for target in range(min(len(checks), len(context.facts.targets))):
        good, error, unanswered = (int(checks[target, column]) for column in (CHECK_OK, CHECK_ERROR, CHECK_UNANSWERED))
        bad = error + unanswered
        slowest = context.facts.ledgers.load.check_delay_ns[target, 1] / 1e9
        mean = context.facts.ledgers.load.check_delay_ns[target, 0] / 1e9 / max(good + bad, 1)
        late = good >= FEWEST_CHECKS and mean > SLOW_CHECK_S
        if not late and (bad < FEWEST_CHECKS or bad < BAD_SHARE * (good + bad)):
            continue
        how = (
            ", ".join(
                words for count, words in ((error, f"{error} with errors"), (unanswered, f"{unanswered} not at all")) if count
            )
            or f"late ({seconds(mean)} on average)"
        )
        yield Finding(
            id="health-check-failing",
            severity=Severity.WARNING,
            title=f"{target_name(context, target)} fails its health checks: of {good + bad} answered {how}",
            detail=f"{good} were answered well; the slowest answer took {seconds(slowest)}.",
            service=context.service.service,
            evidence=(
                Evidence(
                    "checks", "health", f"{target_text(context, target)}: {good} good, {error} errors, {unanswered} unanswered"
                ),
            ),
            advice=("send the check to the target yourself; look at what its path depends on, and at the timeout",),
            confirm=(f"curl -si http://{target_text(context, target)}/ | head -1",),
            subject=target_text(context, target),
        )


@rule(
    "slow-target",
    Severity.WARNING,
    "a target's response time differs from its peers' (rank test, enough samples, effect twofold)",
)
def slow_target(context: Context) -> Iterator[Finding]:
    """One target answers slower than its peers.

    What it means. A share of all users waits; with round robin that is one in n, always.

    How it is inferred. Response times (request complete to response head complete) of one target against all
    others: a rank test at 1 in 1000, at least 30 responses on each side, and a median at least twice that of the
    others.

    How to confirm. Time the same request at each target.

    How to mend. Compare the targets' CPU, caches and dependencies; let the balancer weigh by outstanding requests.
    """
    for entry in slow_targets(context.facts):
        yield Finding(
            id="slow-target",
            severity=Severity.WARNING,
            title=f"{target_name(context, entry.target)} answers {entry.ratio:.1f} times slower than its peers: "
            f"median {seconds(entry.median_s)} against {seconds(entry.peers_s)}",
            detail=f"Rank test over {entry.count:,} responses here and {entry.peers_count:,} elsewhere: p = {entry.p_value:.1g}.",
            service=context.service.service,
            evidence=(Evidence("response_time", "timing", f"median {entry.median_s:.4f} s against {entry.peers_s:.4f} s"),),
            advice=("compare CPU, caches and dependencies of the targets; weigh by outstanding requests meanwhile",),
            confirm=(f"curl -so /dev/null -w '%{{time_starttransfer}}\\n' http://{target_text(context, entry.target)}/",),
            subject=target_text(context, entry.target),
        )


def _of_kernel(context: Context) -> list[str]:
    """What this host's kernel itself counted on the service's port, live: which of it was its own doing, and why."""
    return [row.told for row in context.facts.source.kernel_tcp if row.port == context.service.port and row.told]


def _rate_finding(context: Context, rule_id: str, what: str, advice: str, confirm: str) -> Iterator[Finding]:
    for entry in differing_rates(context.facts, rule_id):
        against = (
            f"{share(entry.peers_rate, 1)} elsewhere" if entry.peers_rate is not None else f"more than {share(entry.bound, 1)}"
        )
        yield Finding(
            id=rule_id,
            severity=Severity.WARNING,
            title=f"{target_name(context, entry.target)}: {entry.count:,} of {entry.of:,} {what} "
            f"({share(entry.count, entry.of)}; {against})",
            detail=f"Exact binomial test against its peers, or a stated bound: p = {entry.p_value:.1g}.",
            service=context.service.service,
            evidence=(
                Evidence(rule_id, "transport", f"{entry.count} of {entry.of}, expected {share(entry.expected, 1)}"),
                *(Evidence("kernel", "transport", told) for told in _of_kernel(context)),
            ),
            advice=(advice,),
            confirm=(confirm,),
            subject=target_text(context, entry.target),
        )


@rule("resets", Severity.WARNING, "a target differs from its peers, or more than 5 % of its connections are reset in the middle")
def resets(context: Context) -> Iterator[Finding]:
    """Connections of one target are reset more often than its peers', or very often.

    What it means. Requests in flight fail; the balancer answers 502 or retries.

    How it is inferred. Resets sent by the target, and by the other end while a response was due, per connection;
    habitual resets of health checkers and of clients that are done are left out. A binomial test against the peers,
    and twofold.

    How to confirm. Filter for resets at this target.

    How to mend. Look for crashes, full accept queues (`nstat TcpExtListenOverflows`) and timeouts at the target.
    """
    port = context.service.port
    confirm = tshark(context, f"tcp.port == {port} && tcp.flags.reset == 1", ("frame.time_epoch", "ip.src", "ip.dst"))
    yield from _rate_finding(context, "resets", "connections or requests were reset", "look for crashes and timeouts", confirm)


@rule("refused", Severity.WARNING, "a target differs from its peers, or refuses more than 1 % of connection attempts")
def refused(context: Context) -> Iterator[Finding]:
    """A target refuses connections.

    What it means. Nothing listens there, or its accept queue is full: the balancer must try another one.

    How it is inferred. SYNs answered by RST, against connections that were opened; against peers, or above 1 in
    100.

    How to confirm. `ss -ltn` on the target.

    How to mend. Start the process, or raise its backlog; let health checks take it out sooner.
    """
    port = context.service.port
    confirm = tshark(context, f"tcp.srcport == {port} && tcp.flags.reset == 1 && tcp.seq == 1", ("frame.time_epoch", "ip.src"))
    yield from _rate_finding(context, "refused", "attempts were refused", "check that the process listens (ss -ltn)", confirm)


@rule("retransmits", Severity.WARNING, "a target differs from its peers, or more than 2 % of its segments are sent again")
def retransmits(context: Context) -> Iterator[Finding]:
    """Segments from or to one target are lost more often than its peers'.

    What it means. Every loss costs a round trip or more; a link, a queue or a host on the way is in trouble.

    How it is inferred. Segments sent again per connection with data, against peers (binomial test, twofold), or
    above 2 in 100.

    How to confirm. `tcp.analysis.retransmission` in tshark, `nstat TcpRetransSegs` on the host.

    How to mend. Look at the interface's drops and errors, at the host's CPU, at the path's MTU.
    """
    confirm = tshark(context, f"tcp.port == {context.service.port} && tcp.analysis.retransmission", ("ip.src", "ip.dst"))
    yield from _rate_finding(
        context, "retransmits", "segments were sent again", "look at drops, errors and MTU on the way", confirm
    )
