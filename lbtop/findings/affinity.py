"""Findings about what pins clients to targets: mechanisms that do not work, keys that move, sessions that are lost."""

from __future__ import annotations

from collections.abc import Iterator

from lbtop.catalog import balancer_cookie
from lbtop.findings.commands import http, tshark
from lbtop.findings.rule import Context, rule
from lbtop.findings.words import balancer, interval, plural, seconds, share, sticky_setting
from lbtop.inference.clients import ignoring_cookies, named_targets, roaming_sessions
from lbtop.inference.sessions import ROTATING, session_facts
from lbtop.model.address import endpoint_text
from lbtop.model.figures import percent
from lbtop.model.judgement import Evidence, Finding, Mechanism, Mode, Severity
from lbtop.model.snapshot import Break, Stickiness
from lbtop.model.text import safe_text
from lbtop.reconstruct.ledgers.sessions import ELSEWHERE, UNKNOWN_ISSUER

RETURNS = 30
KEYS = 5
AT_CHANCE = 0.05
"""An interval that reaches this low holds chance for every practical purpose."""
NAMED, NAMED_HERE = 20, 0.7
REMAPPED_KEYS = 5
REMAPPED_SHARE = 0.2
LOST = 3
LOST_SHARE, LOST_SESSIONS = 0.01, 0.05
"""Of the requests that bring a session, or, counted once each, of the sessions."""
IGNORED_SHARE = 0.02
_COOKIES = (Mechanism.LB_COOKIE, Mechanism.APP_COOKIE)


@rule("stickiness-not-working", Severity.WARNING, "a mechanism is in evidence but the interval of its affinity holds chance")
def stickiness_not_working(context: Context) -> Iterator[Finding]:
    """A stickiness cookie comes back with requests, and yet they land on targets as if by chance.

    What it means. Sessions that live in one target's memory are lost, caches are cold, uploads break. The
    configuration says sticky, the traffic says otherwise.

    How it is inferred. Requests that bring a balancer's cookie are followed by session (or client address).
    Affinity is the rate of returns to the same target beyond what new assignments would give by chance, with an
    interval from resampling the sessions; at least 30 returns of 5 keys. It fires where the interval holds chance.

    A cookie that pins to a group of targets (AWSALBTG) is not held against: within the group chance is right.

    Where one target alone is in view, affinity cannot be measured; there it fires where the cookie names a target in a form
    that can be read (`cookie-discloses-target`), twenty requests bring it, and most of them name another one.

    How to confirm. List session and target of each request: one session should stay at one target.

    How to mend. Look for two layers that set the same cookie (one ALB behind another), a cookie from another
    balancer of the same domain, a proxy that re-encodes cookie values, stickiness switched off after cookies were
    issued, an attribute (Path, Domain, SameSite) that keeps browsers from sending it everywhere.
    """
    sticky = context.service.stickiness
    if sticky is None or sticky.cookie is None:
        return
    if sticky.affinity is None or sticky.affinity_interval is None:
        yield from _named_elsewhere(context, sticky)
        return
    if sticky.verdict.value is not None and sticky.verdict.value is not Mechanism.NONE:
        return
    if sticky.keys < KEYS or sticky.returns < RETURNS or sticky.affinity_interval[0] > AT_CHANCE:
        return
    if len(context.service.targets) < 2 or sticky.affinity > 0.5:
        return
    row = balancer_cookie(sticky.cookie)
    if row is not None and row.kind == Mechanism.WEIGHTED_TARGET_GROUP.value:
        return  # it pins to a group of targets: within one, chance is right
    ledger = context.facts.ledgers.affinity
    yield Finding(
        id="stickiness-not-working",
        severity=Severity.WARNING,
        title=f"Stickiness does not work: {sticky.cookie} comes back, and clients change target as if by chance "
        f"(affinity {sticky.affinity:+.2f})",
        detail=f"{plural(ledger.marked_requests, 'request')} bring {sticky.cookie}. Of {plural(sticky.returns, 'return')} of "
        f"{plural(sticky.keys, 'key')}, no more went to the same target than new assignments would: "
        f"affinity {sticky.affinity:+.2f}, 95 % interval {interval(sticky.affinity_interval)} (0 is chance, 1 is perfect).",
        service=context.service.service,
        evidence=sticky.verdict.evidence,
        advice=(
            f"check that stickiness is on where requests are balanced ({sticky_setting(context)})",
            "look for a second layer that sets the same cookie, and for proxies that alter its value",
        ),
        confirm=(http(context, "http.request", ("ip.dst", "http.x_forwarded_for")),),
    )


def _named_elsewhere(context: Context, sticky: Stickiness) -> Iterator[Finding]:
    if sticky.verdict.value not in (None, Mechanism.NONE):
        return
    for name, here, brought in named_targets(context.facts):
        if name == sticky.cookie and brought >= NAMED and here < NAMED_HERE * brought:
            yield Finding(
                id="stickiness-not-working",
                severity=Severity.WARNING,
                title=f"Stickiness does not work: {here} of {brought} requests with {name} came to the target that it names",
                detail=f"{name} names the target that a client should return to. Where it decided, hardly a request would bring "
                "another target's name to this one.",
                service=context.service.service,
                evidence=sticky.verdict.evidence,
                advice=(
                    f"check that stickiness is on where requests are balanced ({sticky_setting(context)})",
                    "look for a second layer that sets the same cookie, and for proxies that alter its value",
                ),
                confirm=(http(context, "http.cookie", ("ip.dst", "http.x_forwarded_for")),),
            )


@rule("affinity-remap", Severity.WARNING, "many keys change target at once; the cause is named")
def affinity_remap(context: Context) -> Iterator[Finding]:
    """Many clients that were pinned changed their target at the same time.

    What it means. Each of them met a target that had not seen it before: sessions in memory are gone, caches cold.

    How it is inferred. Returns to another target than before are grouped in time, and compared with what happened
    to targets between the client's last arrival and its move: one came, one went, all were replaced, or the mapping
    changed without any of these. It takes five keys and a fifth of all keys.

    How to confirm. List session and target around the time named.

    How to mend. Keep sessions outside the targets, or drain targets before they go. Of hashes prefer consistent
    ones (HAProxy `hash-type consistent`, nginx `hash … consistent`, Envoy ring_hash or maglev): they move 1/n of
    the keys, others nearly all.
    """
    sticky = context.service.stickiness
    if sticky is None:
        return
    for entry in sticky.breaks:
        if entry.cause not in ("remap", "target_added", "targets_replaced", "target_gone"):
            continue
        if entry.keys < max(REMAPPED_KEYS, REMAPPED_SHARE * sticky.keys):
            continue
        yield Finding(
            id="affinity-remap",
            severity=Severity.WARNING,
            title=f"{plural(entry.keys, 'key')} of {sticky.keys} changed target at once: {_CAUSES[entry.cause]}",
            detail=f"Within a short time {plural(entry.keys, 'key')} ({share(entry.keys, sticky.keys)}) moved"
            f"{_from_to(entry)}. {_expected(context, entry)}",
            service=context.service.service,
            evidence=(_moves_evidence(entry),),
            advice=(
                "keep sessions outside the targets, or let targets drain before they leave",
                "where a hash decides, use a consistent one (hash-type consistent, ring_hash, maglev)",
            ),
            confirm=(http(context, "http.request", ("frame.time_epoch", "ip.dst", "http.x_forwarded_for")),),
            at_ns=entry.time_ns,
            subject=str(entry.time_ns),
        )


_CAUSES = {
    "remap": "the mapping changed",
    "target_added": "a target was added",
    "targets_replaced": "targets were replaced",
    "target_gone": "a target went away",
    "unknown": "for no reason in view",
}


def _from_to(entry: Break) -> str:
    return (f" from {entry.from_}" if entry.from_ else "") + (f" to {entry.to}" if entry.to else "")


def _expected(context: Context, entry: Break) -> str:
    """How much of the key space moved, against what each kind of hash would have moved."""
    targets = len(context.service.targets)
    sticky = context.service.stickiness
    if targets < 2 or sticky is None or not sticky.keys:
        return ""
    moved = entry.keys / sticky.keys
    if entry.cause in ("target_added", "target_gone"):
        kinds = {"a consistent hash": 1 / targets, "a hash by ranges": 1 / 2, "a plain modulus": (targets - 1) / targets}
        nearest = min(kinds, key=lambda kind: abs(kinds[kind] - moved))
        listed = ", ".join(f"{kind} {percent(share)}" for kind, share in kinds.items())
        return f"What each would have moved of all keys: {listed}. {percent(moved)} moved, nearest to {nearest}."
    if entry.cause == "remap":
        return "Keys moved between targets that stayed in service: a hash over the list of targets, or a table that was lost."
    return ""


def _moves_evidence(entry: Break) -> Evidence:
    return Evidence("moves", "sessions", f"{plural(entry.keys, 'key')} moved{_from_to(entry)}: {entry.cause.replace('_', ' ')}")


@rule("session-lost", Severity.CRITICAL, "sessions are answered as new at a target that did not issue them")
def session_lost(context: Context) -> Iterator[Finding]:
    """Users lose their session: a target answers a session it did not issue as if it were new.

    What it means. Whoever this happens to is logged out, loses a basket, or starts a form again.

    How it is inferred. A request presents a session cookie; the response sets the same cookie anew, redirects to a
    login, or says 401; and another target had issued the session (or none in view). A login changes the session's
    name and a logout ends it: what may be either (POST, a new value with a redirect to a page, a deletion) counts
    only where the issuing target keeps the session of such requests. Where targets accept each other's sessions in
    requests of that kind, they share a store and nothing is lost. Cookies that their own target replaces all the time
    carry state and are left out; so are losses at the issuing target (they expired).

    How to confirm. Look at the Set-Cookie of responses to requests that brought the cookie.

    How to mend. Make stickiness work, or keep sessions where every target finds them (a shared store, signed
    cookies).
    """
    found = session_facts(context.facts)
    ledger = context.facts.ledgers.sessions
    if found.lost_elsewhere < LOST:
        return
    counted = ledger.presented[:, ELSEWHERE].sum() + ledger.presented[:, UNKNOWN_ISSUER].sum()
    few_requests = found.lost_elsewhere < LOST_SHARE * ledger.presented.sum()
    if few_requests and found.lost_elsewhere < LOST_SESSIONS * (found.sessions or 0):
        return
    losses = ledger.losses(ROTATING)
    at_home = losses.at_home
    home = int(ledger.presented.sum() - counted)
    if home >= 20 and found.lost_elsewhere / max(int(counted), 1) < 2.0 * at_home / home:
        return  # sessions end as often at home: not the target's change
    worst = sorted(losses.by_target.items(), key=lambda item: -item[1])[:3]
    most = "; ".join(f"{count} at {_target(context, target)}" for target, count in worst)
    names = ", ".join(safe_text(context.facts.strings[name], 40) for name in list(ledger.names)[:3])
    yield Finding(
        id="session-lost",
        severity=Severity.CRITICAL,
        title=f"{plural(found.lost_elsewhere, 'request')} with a session were answered as new by a target that did not issue it",
        detail=f"Of {int(counted):,} answered requests that brought a session ({names}) to a target that had not issued it, "
        f"{found.lost_elsewhere:,} ({share(found.lost_elsewhere, int(counted))}) got a new session, a login page or 401; "
        f"at the issuing target {at_home} of {home:,}. Most: {most}.",
        service=context.service.service,
        evidence=(
            Evidence(
                "lost", "sessions", f"{found.lost_elsewhere} of {int(counted)} elsewhere, {at_home} of {home} at the issuer"
            ),
        ),
        advice=(
            f"pin sessions to the target that issued them ({sticky_setting(context)})",
            "or keep sessions outside the targets: a shared store, or a signed cookie that every target can read",
        ),
        confirm=(http(context, "http.set_cookie", ("ip.src", "http.response.code", "http.request_in")),),
        at_ns=losses.first_ns,
    )


def _target(context: Context, number: int) -> str:
    if not 0 <= number < len(context.facts.targets):
        return "an unknown target"
    address, port = context.facts.targets[number]
    return endpoint_text(context.facts.addresses[address], port)


@rule("cookies-ignored", Severity.INFO, "clients that never return the stickiness cookie and so get none of it")
def cookies_ignored(context: Context) -> Iterator[Finding]:
    """Some clients never send the stickiness cookie back, so nothing pins them.

    What it means. Scripts, health monitors, mobile apps and API clients often keep no cookies: each of their
    requests is assigned anew. That is harmless unless they need a session.

    How it is inferred. Clients with at least four requests, none of which brings the cookie that others bring; two
    in a hundred requests or more. They are left out when the mechanism's affinity is measured.

    How to confirm. List clients of requests without the cookie.

    How to mend. Let these clients keep cookies, or pin them by source address or a header instead.
    """
    sticky = context.service.stickiness
    if sticky is None or sticky.verdict.value not in _COOKIES or sticky.cookie is None:
        return
    found = ignoring_cookies(context.facts)
    if found is None or not found.clients or found.requests < max(8, IGNORED_SHARE * found.of_requests):
        return
    yield Finding(
        id="cookies-ignored",
        severity=Severity.INFO,
        title=f"{plural(found.clients, found.unit[:-1] if not found.unit.endswith('sses') else 'client address')} never return "
        f"{sticky.cookie} ({share(found.requests, found.of_requests)} of requests)",
        detail=f"{found.clients} of {found.of} {found.unit} with {4} requests or more never brought {sticky.cookie} back: "
        f"{found.requests:,} of {found.of_requests:,} requests are assigned anew each time.",
        service=context.service.service,
        evidence=(Evidence("ignored", "cookies", f"{found.clients} of {found.of} {found.unit}, {found.requests} requests"),),
        advice=("let these clients keep cookies, or pin them by address or header if they need a session",),
        confirm=(
            http(
                context,
                f'http.request && !(http.cookie contains "{sticky.cookie}=")',
                ("http.x_forwarded_for", "http.user_agent"),
            ),
        ),
    )


@rule("cookie-expired-break", Severity.INFO, "keys change target when their cookie's age, or its idle gap, passes a limit")
def cookie_expired_break(context: Context) -> Iterator[Finding]:
    """Clients change target when their stickiness cookie has expired.

    What it means. Stickiness ends on time, as configured; a session that outlives the cookie moves to another
    target.

    How it is inferred. Among moves that no target's coming or going explains, one duration separates what was
    survived from what broke: the time since the last response (an ALB renews its cookie with each one) or since the
    cookie was issued. Both are tried; the interval is (longest survived, shortest that broke].

    How to confirm. Compare the durations with the configured one.

    How to mend. Let the cookie live as long as the application's session does.
    """
    sticky = context.service.stickiness
    if sticky is None or sticky.cookie_lifetime is None:
        return
    life = sticky.cookie_lifetime
    moved = sum(entry.keys for entry in sticky.breaks if entry.cause == "cookie_expired")
    since = "its last response" if life.model == "since_last_response" else "its issue"
    yield Finding(
        id="cookie-expired-break",
        severity=Severity.INFO,
        title=f"{plural(moved, 'key')} changed target when the cookie was older than about {seconds(life.seconds)} since {since}",
        detail=f"Up to {seconds(life.interval[0])} since {since} clients kept their target; "
        f"from {seconds(life.interval[1])} on they moved.",
        service=context.service.service,
        evidence=(Evidence("lifetime", "cookies", f"{life.model}: ({life.interval[0]:.2f} s, {life.interval[1]:.2f} s]"),),
        advice=(f"make the cookie live at least as long as a session ({sticky_setting(context)})",),
        confirm=(http(context, "http.request", ("frame.time_epoch", "ip.dst", "http.x_forwarded_for")),),
    )


@rule(
    "first-request-split", Severity.INFO, "a client's first, parallel requests land on several targets before the mapping exists"
)
def first_request_split(context: Context) -> Iterator[Finding]:
    """A client's first requests went to several targets before anything pinned it.

    What it means. A browser opens with several requests at once, none of which has the cookie yet: each is assigned
    by itself, and the last cookie wins. What the first target stored for the session is not where the rest goes.
    Hashing on a session cookie does the same once per session, until the hash agrees with the target that issued
    it.

    How it is inferred. The first return of a key, within two seconds of its first arrival, meets another target, and
    the key stays where it then is.

    How to confirm. List the first two requests of each session.

    How to mend. Issue the cookie on a single first request (a redirect), or let any target accept a fresh session.
    """
    sticky = context.service.stickiness
    if sticky is None or not sticky.keys:
        return
    split = sum(entry.keys for entry in sticky.breaks if entry.cause == "first_request_split")
    if split < max(3, 0.05 * sticky.keys):
        return
    hashed = sticky.verdict.value is Mechanism.APP_COOKIE
    why = "a hash over the cookie need not agree with who issued it" if hashed else "no mapping existed yet"
    yield Finding(
        id="first-request-split",
        severity=Severity.INFO,
        title=f"{plural(split, 'key')} of {sticky.keys} were split over targets by their first requests",
        detail=f"The first return of {plural(split, 'key')} met another target than the arrival before: {why}.",
        service=context.service.service,
        evidence=(Evidence("split", "sessions", f"{split} of {sticky.keys} keys"),),
        advice=("let one first request set the cookie before others follow, or accept fresh sessions at any target",),
        confirm=(http(context, "http.request", ("frame.time_epoch", "ip.dst", "http.x_forwarded_for")),),
    )


@rule(
    "client-address-changes", Severity.INFO, "one session is seen from several source addresses under source-address stickiness"
)
def client_address_changes(context: Context) -> Iterator[Finding]:
    """Sessions come from several client addresses, while stickiness follows the address.

    What it means. A phone that changes networks, a proxy farm or a carrier's NAT gives one user several addresses,
    and source-address stickiness several targets.

    How it is inferred. The mechanism is the source address, and session cookies return from another client address
    than before.

    How to confirm. List session and client address of each request.

    How to mend. Pin by cookie where the balancer reads requests; at layer 4 keep sessions outside the targets.
    """
    sticky = context.service.stickiness
    if sticky is None or sticky.verdict.value is not Mechanism.SOURCE_IP:
        return
    found = roaming_sessions(context.facts)
    if found is None or found.sessions < 3:
        return
    yield Finding(
        id="client-address-changes",
        severity=Severity.INFO,
        title=f"{plural(found.sessions, 'session')} of {found.of} change their client address: "
        f"{found.moved} of {plural(found.returns, 'such return')} met another target",
        detail="Stickiness follows the source address; these users have several.",
        service=context.service.service,
        evidence=(
            Evidence("roaming", "sessions", f"{found.sessions} of {found.of} sessions, {found.moved} of {found.returns} returns"),
        ),
        advice=("pin by cookie where requests can be read, else keep sessions outside the targets",),
        confirm=(http(context, "http.request", ("ip.src", "ip.dst")),),
    )


@rule(
    "emergent-affinity", Severity.INFO,
    "affinity's interval excludes both chance and 0.95 and no key explains it: do not rely on it",
)  # fmt: skip
def emergent_affinity(context: Context) -> Iterator[Finding]:
    """Clients return to their target more often than chance, less than always, and nothing in view explains it.

    What it means. Kept-alive connections, uneven shares or a cache somewhere make clients stay for a while. It is
    no promise: it can end with any restart or change of load.

    How it is inferred. The interval of the affinity lies above 0 and below 0.95, the mechanism is `none` or
    `unknown`; 30 returns or more.

    How to confirm. Compare with the balancer's configuration.

    How to mend. If sessions need it, configure stickiness; if they do not, nothing is wrong.
    """
    sticky = context.service.stickiness
    if sticky is None or sticky.affinity_interval is None or sticky.affinity is None:
        return
    if sticky.verdict.value not in (None, Mechanism.NONE) or sticky.returns < RETURNS or sticky.keys < KEYS:
        return
    low, high = sticky.affinity_interval
    if not (low > 2 * AT_CHANCE and high < 0.95):
        return
    yield Finding(
        id="emergent-affinity",
        severity=Severity.INFO,
        title=f"Clients tend to return to their target (affinity {sticky.affinity:+.2f}) without anything in view that pins them",
        detail=f"95 % interval {interval(sticky.affinity_interval)} over {plural(sticky.keys, 'key')}: "
        "neither chance nor stickiness.",
        service=context.service.service,
        evidence=sticky.verdict.evidence[:4],
        advice=("do not rely on it; configure stickiness if sessions need it",),
        confirm=(tshark(context, f"tcp.port == {context.service.port} && tcp.flags.syn == 1", ("ip.src", "ip.dst")),),
    )


@rule(
    "stickiness-unsupported", Severity.WARNING,
    "sessions break and the recognised kind of listener cannot be sticky (an NLB's TLS listener)",
)  # fmt: skip
def stickiness_unsupported(context: Context) -> Iterator[Finding]:
    """Sessions break, and this kind of listener cannot pin them.

    What it means. A Network Load Balancer's TLS listener supports no stickiness: connections of one client are
    spread by hash.

    How it is inferred. TLS ends at a layer-4 balancer (recognised as an NLB), clients are not pinned, and sessions
    are answered as new at targets that did not issue them.

    How to confirm. `aws elbv2 describe-target-group-attributes` shows stickiness, which such a listener ignores.

    How to mend. Use a TCP listener with source-address stickiness and end TLS at the targets, or an ALB with
    cookies, or keep sessions outside the targets.
    """
    service = context.service
    sticky = service.stickiness
    if sticky is None or service.load_balancer.product != "nlb" or sticky.verdict.value is Mechanism.SOURCE_IP:
        return
    if service.termination.verdict.value not in (Mode.L4_TLS, Mode.BRIDGING):
        return
    if session_facts(context.facts).lost_elsewhere < LOST:
        return
    yield Finding(
        id="stickiness-unsupported",
        severity=Severity.WARNING,
        title=f"Sessions break, and a TLS listener of {balancer(context)} cannot be sticky",
        detail=f"{plural(sticky.sessions_lost or 0, 'request')} with a session were answered as new.",
        service=service.service,
        evidence=sticky.verdict.evidence[:2],
        advice=("use a TCP listener with stickiness.type=source_ip and end TLS at the targets, or an ALB with cookies",),
        confirm=("aws elbv2 describe-target-group-attributes --target-group-arn ARN",),
    )
