"""Findings about time: connections that idle too long, keep-alive that ends too soon, requests cut off while waiting."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lbtop.findings.commands import tshark
from lbtop.findings.rule import Context, rule
from lbtop.findings.words import balancer, plural, seconds
from lbtop.inference.idle import reset_by_tracker
from lbtop.model.arrays import median
from lbtop.model.judgement import Evidence, Finding, Severity
from lbtop.model.observation import End, Side
from lbtop.reconstruct.ledgers.idle import ORDERLY

IDLE_ENDINGS = 2
CLOSES_FIRST = 5
CUT_OFF = 3
CUT_OFF_STEADY = 0.1
CUT_OFF_AGE_S = 1.0


def _resets(context: Context) -> str:
    port = context.service.port
    return tshark(
        context, f"tcp.port == {port} && tcp.flags.reset == 1", ("frame.time_epoch", "tcp.time_delta", "ip.src", "ip.dst")
    )


@rule("idle-reset", Severity.WARNING, "connections are reset or silently dropped after idling; the estimated limit is named")
def idle_reset(context: Context) -> Iterator[Finding]:
    """Connections that were silent for a while are dead when they are used again.

    What it means. Something on the way forgot the connection: a balancer, a firewall, a NAT. The first request
    after a pause fails or hangs until it times out.

    How it is inferred. Resets that answer the first segment after a silence, or that segment sent again and again
    without an answer. The limit lies between the longest silence that was survived and the shortest that was not.
    An RST with window 0 and no options comes from a connection tracker, not from either end.

    How to confirm. Keep a connection silent for longer than the limit, then use it.

    How to mend. Send TCP keepalives sooner than the limit (net.ipv4.tcp_keepalive_time, SO_KEEPALIVE), close idle
    connections earlier at both ends, or raise the limit (tcp.idle_timeout.seconds on an NLB listener).
    """
    idle = context.service.idle
    if idle is None or idle.ended_by not in ("rst", "silence") or idle.interval is None:
        return
    ledger = context.facts.ledgers.idle
    count = ledger.reset_after_idle if idle.ended_by == "rst" else ledger.silent_after_idle
    if count < IDLE_ENDINGS:
        return
    low, high = idle.interval
    how = "reset" if idle.ended_by == "rst" else "silently dropped"
    tracker = reset_by_tracker(ledger)
    by = f"; {tracker} of the resets carry the mark of a connection tracker" if tracker else ""
    matches = f" It agrees with {idle.matches}." if idle.matches else ""
    yield Finding(
        id="idle-reset",
        severity=Severity.WARNING,
        title=f"{plural(count, 'connection')} {'was' if count == 1 else 'were'} {how} after idling: "
        f"the limit is between {seconds(low)} and {seconds(high)}",
        detail=f"Silences up to {seconds(low)} were survived, from {seconds(high)} on the connection was dead{by}.{matches}",
        service=context.service.service,
        evidence=(Evidence("idle", "timing", f"({low} s, {high} s], ended by {idle.ended_by}, {count} times{by}"),),
        advice=(
            f"send keepalives sooner than every {seconds(max(low / 2, 1.0))} (tcp_keepalive_time with SO_KEEPALIVE), "
            "or close idle connections before the limit",
            "or raise the limit (NLB listener: tcp.idle_timeout.seconds; ALB: idle_timeout.timeout_seconds; conntrack timeouts)",
        ),
        confirm=(_resets(context),),
    )


@rule(
    "target-closes-first", Severity.WARNING,
    "the target closes idle kept-alive connections sooner than the balancer would reuse them: the risk of 502",
)  # fmt: skip
def target_closes_first(context: Context) -> Iterator[Finding]:
    """The target's keep-alive timeout is shorter than the balancer's: requests can cross its FIN.

    What it means. When the balancer sends a request just as the target closes the idle connection, the target
    answers with RST and the user gets a 502. It happens rarely, at random, and leaves no trace in the target's log.

    How it is inferred. The target closes first after a constant silence, while the balancer reuses connections
    after silences that come close to it (half as long, or longer) and never closes before.

    How often it will happen is a forecast: how often silences reach the target's timeout, times how often the balancer
    reuses connections about then, times one round trip, in which request and FIN can cross.

    How to confirm. Compare the target's keep-alive timeout with the balancer's idle timeout.

    How to mend. Let the target keep connections longer than the balancer does (ALB: more than
    idle_timeout.timeout_seconds; nginx `keepalive_timeout`, Node `server.keepAliveTimeout`, gunicorn
    `--keep-alive`).
    """
    idle = context.service.idle
    if idle is None or idle.target_closes_after_s is None or not context.facts.balancers:
        return
    ledger = context.facts.ledgers.idle
    closing = idle.target_closes_after_s
    reused = ledger.survived[:, 0] / 1e9
    near = int((reused >= 0.5 * closing).sum())
    if near < CLOSES_FIRST:
        return
    expected = ""
    if idle.races_per_hour is not None and idle.races_interval is not None:
        low, high = idle.races_interval
        expected = f" At this rate {idle.races_per_hour:.2g} an hour will ({low:.2g} to {high:.2g})."
    yield Finding(
        id="target-closes-first",
        severity=Severity.WARNING,
        title=f"Targets close idle connections after {seconds(closing)}, {balancer(context)} reuses them up to then: risk of 502",
        detail=f"{plural(near, 'connection')} were reused after a silence of at least half that long; a request that crosses the "
        f"target's FIN is answered by RST.{expected}",
        service=context.service.service,
        evidence=(
            Evidence("keepalive", "timing", f"target closes after {closing} s, {near} reuses later than {closing / 2:.1f} s"),
        ),
        advice=(
            "let targets keep connections longer than the balancer does (nginx keepalive_timeout, Node server.keepAliveTimeout, "
            "gunicorn --keep-alive; more than an ALB's idle_timeout.timeout_seconds)",
        ),
        confirm=(
            tshark(context, f"tcp.srcport == {context.service.port} && tcp.flags.fin == 1", ("frame.time_epoch", "ip.src")),
        ),
    )


@rule("keepalive-race", Severity.WARNING, "a request crossed the target's FIN and was answered by RST: the 502 itself")
def keepalive_race(context: Context) -> Iterator[Finding]:
    """A request crossed the target's FIN: the user got a 502.

    What it means. The target closed an idle connection at the very moment the balancer used it. The request was
    answered by RST, and unless the balancer tried again, the user saw an error that no log of the target shows.

    How it is inferred. A segment with payload whose acknowledgement does not cover the target's FIN, answered by
    RST.

    How to confirm. Look at the segments around the reset.

    How to mend. Let the target keep idle connections longer than the balancer does.
    """
    ledger = context.facts.ledgers.idle
    if not ledger.races:
        return
    span_h = max(context.facts.ended_ns - context.facts.started_ns, 1) / 3.6e12
    closing = context.service.idle.target_closes_after_s if context.service.idle else None
    after = f" The target closes after {seconds(closing)} of silence." if closing else ""
    yield Finding(
        id="keepalive-race",
        severity=Severity.WARNING,
        title=f"{plural(ledger.races, 'request')} crossed the target's FIN and {'was' if ledger.races == 1 else 'were'} "
        f"answered by RST ({ledger.races / span_h:.1f} per hour)",
        detail=f"Each is a 502 unless {balancer(context)} tried again.{after}",
        service=context.service.service,
        evidence=(Evidence("race", "timing", f"{ledger.races} races in {seconds(span_h * 3600)}"),),
        advice=("let targets keep idle connections longer than the balancer does",),
        confirm=(_resets(context),),
        at_ns=int(ledger.race_times[0]) if len(ledger.race_times) else None,
    )


@rule("upstream-timeout", Severity.WARNING, "the balancer closes or resets while a response is due, at a constant age")
def upstream_timeout(context: Context) -> Iterator[Finding]:
    """The balancer gives up on requests after a fixed time.

    What it means. The target works on while the user already has a 504; retries multiply the load.

    How it is inferred. Requests without a response whose connection the balancer ended, at least three, at nearly
    the same age (within a tenth) of a second or more.

    How to confirm. Compare the age with the balancer's timeout.

    How to mend. Make the slow requests faster or asynchronous; raise the timeout only if users wait that long.
    """
    waiting = context.facts.ledgers.idle.waiting
    cut = waiting[(waiting["closer"] == Side.CLIENT) & (waiting["end"] != End.OPEN) & (waiting["age_ns"] >= CUT_OFF_AGE_S * 1e9)]
    ages = np.sort(cut["age_ns"] / 1e9)
    if len(ages) < CUT_OFF:
        return
    reach = np.searchsorted(ages, ages * (1 + CUT_OFF_STEADY), "right") - np.arange(len(ages))
    first = int(np.argmax(reach))
    same = ages[first : first + int(reach[first])]
    if len(same) < max(CUT_OFF, 0.5 * len(ages)):
        return
    limit = median(same)
    yield Finding(
        id="upstream-timeout",
        severity=Severity.WARNING,
        title=f"{balancer(context).capitalize() if balancer(context)[0].islower() else balancer(context)} gave up on "
        f"{plural(len(same), 'request')} after {seconds(limit)}",
        detail="No response had come when the connection was ended, "
        f"each time {same[0]:.2f} to {same[-1]:.2f} s after the request.",
        service=context.service.service,
        evidence=(Evidence("timeout", "timing", f"{len(same)} requests cut off at {limit:.2f} s"),),
        advice=("make these requests faster or asynchronous; the setting is the balancer's response timeout",),
        confirm=(_resets(context),),
        at_ns=int(cut["at_ns"].min()),
    )


@rule(
    "keepalive-too-long", Severity.WARNING,
    "sockets with keepalive on, whose probes come later than the idle limit that ends them",
)  # fmt: skip
def keepalive_too_long(context: Context) -> Iterator[Finding]:
    """Keepalive is on, but its first probe comes after the connection was forgotten.

    What it means. Keepalive was meant to keep idle connections alive through balancers and firewalls; with Linux's
    default of two hours it never does. The probe finds the connection dead.

    How it is inferred. Keepalive probes on the wire that come after silences longer than the limit at which
    connections die, and are answered by RST or not at all; at least two. Live on the target also without such a probe: the
    kernel's own socket table shows when the first probe of idle connections would come, and the estimated limit is shorter.

    How to confirm. `ss -to` shows the timers of a host's sockets.

    How to mend. Send the first probe sooner than the limit: net.ipv4.tcp_keepalive_time, or TCP_KEEPIDLE per
    socket.
    """
    endings = context.facts.ledgers.idle.endings
    late = endings[(endings["probes"] > 0) & (endings["tail"] != ORDERLY)]
    if len(late) < IDLE_ENDINGS:
        yield from _timers_too_long(context)
        return
    first_probe = median(late["idle_ns"]) / 1e9
    idle = context.service.idle
    limit = idle.interval[1] if idle is not None and idle.interval is not None else first_probe
    yield Finding(
        id="keepalive-too-long",
        severity=Severity.WARNING,
        title=f"Keepalive probes come too late: after {seconds(first_probe)} of silence, on {plural(len(late), 'connection')} "
        "that were dead by then",
        detail=f"Idle connections die after {seconds(limit)} at the latest; a probe that comes later only finds out.",
        service=context.service.service,
        evidence=(Evidence("keepalive", "timing", f"{len(late)} connections, median silence {first_probe:.2f} s"),),
        advice=_sooner_than(limit),
        confirm=_timers_of(context.service.port),
        at_ns=int(late["at_ns"].min()),
    )


def _timers_too_long(context: Context) -> Iterator[Finding]:
    """From the timers of this host's sockets, where connections of the service are known to die sooner."""
    idle, port = context.service.idle, context.service.port
    if idle is None or idle.interval is None or idle.ended_by not in ("rst", "silence"):
        return
    limit = idle.interval[1]
    for of_port, count, first_probe in context.facts.source.keepalives:
        if of_port == port and first_probe > limit:
            yield Finding(
                id="keepalive-too-long",
                severity=Severity.WARNING,
                title=f"Keepalive probes would come too late: after {seconds(first_probe)} of silence "
                f"on {plural(count, 'socket')} of this host, and connections die after {seconds(limit)}",
                detail="Keepalive is on, and would find only dead connections: it was set for longer than something on the way "
                "remembers an idle connection.",
                service=context.service.service,
                evidence=(Evidence("keepalive", "timing", f"timers of {count} sockets, {first_probe:.0f} s"),),
                advice=_sooner_than(limit),
                confirm=_timers_of(port),
            )


def _sooner_than(limit_s: float) -> tuple[str]:
    """Advice, for half of the limit: one lost probe must not cost the connection."""
    return (
        f"send the first probe sooner: sysctl net.ipv4.tcp_keepalive_time={max(int(limit_s / 2), 1)} (per network namespace), "
        "or TCP_KEEPIDLE on the socket",
    )


def _timers_of(port: int) -> tuple[str]:
    return (f"ss -Hnto '( sport = :{port} )' | grep keepalive",)
