"""Findings about what can be read on the way, and the cookies that make it worse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lbtop import catalog
from lbtop.findings.commands import first_bytes, http
from lbtop.findings.rule import Context, rule
from lbtop.inference.exposure import beside_the_balancer
from lbtop.model.figures import plural, size
from lbtop.model.judgement import Evidence, Finding, Mode, Severity
from lbtop.model.snapshot import Sensitive
from lbtop.model.text import safe_text

CREDENTIALS = {
    "basic_auth": "Basic credentials",
    "digest_auth": "Digest credentials",
    "bearer_token": "bearer tokens",
    "password": "passwords",
    "api_key": "API keys",
    "jwt": "JSON web tokens",
}
REDIRECTS = 3  # class of statuses
SESSION, CARD = "session_cookie", "card_number"


def _mode(context: Context) -> Mode | None:
    return context.service.termination.verdict.value


def _backend_named(context: Context) -> bool:
    """`plaintext-backend-hop` fires: the clients' own hop is TLS (to a CDN, perhaps) and the last one is readable."""
    hops = context.service.termination.hops
    behind_tls = _mode(context) in (Mode.OFFLOAD, Mode.L4_TLS) or (
        _mode(context) is Mode.NONE and any(hop.encryption == "tls" for hop in hops)
    )
    return behind_tls and context.service.exposure.plaintext_connections > 0


def _only_redirects(context: Context) -> bool:
    """Whether every answer sent the client elsewhere."""
    answers = context.facts.ledgers.targets.status.sum(axis=0)
    return bool(0 < answers[REDIRECTS] == answers.sum())


def _of(context: Context, kinds: Iterable[str]) -> list[Sensitive]:
    wanted = frozenset(kinds)
    return [entry for entry in context.service.exposure.sensitive if entry.kind in wanted]


def _clients_own(context: Context, hop: str) -> bool:
    """The hop is the client's own: anyone near the client reads along."""
    hops = context.service.termination.hops
    whose = bool(hops) and (hops[0].from_ == "client" or _mode(context) is Mode.NONE)
    return hop.startswith("client->") or (whose and hops[0].encryption == "plain")


_ENDS = {
    "client": "clients", "load_balancer": "the load balancer", "cdn": "the CDN", "proxy": "a proxy", "target": "the targets",
    "caller": "whoever calls (a balancer, or clients)",
}  # fmt: skip


def hop_words(hop: str) -> str:
    """``between the load balancer and the targets`` for ``load_balancer->target``."""
    one, _, other = hop.partition("->")
    return f"between {_ENDS.get(one, one)} and {_ENDS.get(other, other)}"


def _hops(found: Iterable[Sensitive]) -> str:
    return " and ".join(dict.fromkeys(hop_words(entry.hop) for entry in found))


def _to_tls(context: Context) -> str:
    row = catalog.products().get(context.service.load_balancer.product)
    if row is None:
        return "encrypt the hop to the targets: let the balancer open TLS to them, with certificates they present"
    return f"{row.label}: {row.tls_to_target}"


def _names(context: Context, kind_numbers: Iterable[int]) -> str:
    """Where such secrets stood: names of headers, cookies and parameters, never values."""
    wanted = frozenset(kind_numbers)
    tally = context.facts.ledgers.exposure.names
    names: dict[str, int] = {}
    for key, count in tally.top(64):
        if key >> 32 in wanted and key & 0xFFFFFFFF:
            name = safe_text(context.facts.strings[key & 0xFFFFFFFF], 40)
            names[name] = names.get(name, 0) + count
    return ", ".join(list(names)[:4])


@rule("plaintext-backend-hop", Severity.WARNING, "the client's hop is TLS, the target's is readable (offload, l4_tls)")
def plaintext_backend_hop(context: Context) -> Iterator[Finding]:
    """Clients reach the load balancer over TLS, and it sends their requests on in clear.

    What it means. Whoever can see the network between load balancer and targets (a mirror port, another tenant, a
    compromised host, a cable) reads every request, cookie and password, and can change them. Browsers show a padlock
    all the same.

    How it is inferred. Plaintext arrives at the targets, and the hop in front was TLS: seen on the wire where both sides
    are in view, else told by the balancer's headers, its PROXY header, or browsers that only speak so over HTTPS.

    How to confirm. Look at the first bytes of a segment at the target: a readable request line means it is so.

    How to mend. Let the load balancer open TLS to the targets (re-encryption), or let the targets end the clients' TLS
    (passthrough). Where the network in between is trusted on purpose, accept the finding.
    """
    if not _backend_named(context):
        return
    service, mode = context.service, _mode(context)
    exposure = service.exposure
    label = catalog.label(service.load_balancer.product)
    balancer = label if service.load_balancer.product != "unknown" else "the load balancer"
    if mode is Mode.NONE:  # it ended further out
        balancer = _ENDS.get(service.termination.hops[0].to, balancer)
    what = "as raw TCP, nothing added" if mode is Mode.L4_TLS else "as HTTP"
    kinds = ", ".join(
        dict.fromkeys(entry.kind.replace("_", " ") for entry in exposure.sensitive if not entry.hop.startswith("client->target"))
    )
    apart = beside_the_balancer(context.facts, service.termination.hops)
    connections, bytes_ = context.facts.ledgers.exposure.direct.tolist() if apart else (0, 0)
    yield Finding(
        id="plaintext-backend-hop",
        severity=Severity.WARNING,
        title=f"TLS ends at {balancer}: {plural(exposure.plaintext_connections - connections, 'connection')} to "
        f"{plural(len(service.targets), 'target')} can be read ({size(exposure.plaintext_bytes - bytes_)})",
        detail=f"The clients' TLS is ended and their requests go on {what}, readable on port {service.port}."
        + (f" In them: {kinds}." if kinds else ""),
        service=service.service,
        evidence=service.termination.verdict.evidence[:4],
        advice=(_to_tls(context), "or accept it where the network between balancer and targets is trusted on purpose"),
        confirm=(first_bytes(context),),
    )


@rule("plaintext-end-to-end", Severity.WARNING, "no hop is encrypted")
def plaintext_end_to_end(context: Context) -> Iterator[Finding]:
    """Nothing between client and target is encrypted.

    What it means. Everyone on the way reads and can change what clients send and receive, the client's own network
    included: a cafe's Wi-Fi, an internet provider, every router.

    How it is inferred. Plaintext arrives at the targets, and the hop in front was plain too: seen on the wire, told by
    X-Forwarded-Proto, or proven by the clients' own TCP stacks (whoever ends TLS ends TCP).

    How to confirm. Connect to the service's public address with `openssl s_client`: a refused handshake confirms it.

    How to mend. Give the load balancer a TLS listener with a certificate and redirect the plain one to it; then look at
    the hop behind it, too.
    """
    if _mode(context) is not Mode.NONE or not context.service.exposure.plaintext_connections:
        return
    service = context.service
    exposure = service.exposure
    if any(hop.encryption == "tls" for hop in service.termination.hops):
        return  # a CDN in front takes TLS: not every hop is plain
    if _only_redirects(context) and not exposure.sensitive:
        return  # who is sent to TLS with the first answer sends nothing else in clear
    yield Finding(
        id="plaintext-end-to-end",
        severity=Severity.WARNING,
        title=f"Nothing is encrypted: {plural(exposure.plaintext_connections, 'connection')} "
        f"({size(exposure.plaintext_bytes)}) can be read on every hop",
        detail=f"Clients reach port {service.port} in clear, and so do their requests the targets.",
        service=service.service,
        evidence=service.termination.verdict.evidence[:4],
        advice=(
            "add a TLS listener with a certificate in front, redirect the plain one to it, then send Strict-Transport-Security",
            _to_tls(context),
        ),
        confirm=(first_bytes(context),),
    )


@rule(
    "credentials-in-plaintext",
    Severity.CRITICAL,
    "passwords, Basic, Digest or bearer credentials, API keys cross a readable hop",
)
def credentials_in_plaintext(context: Context) -> Iterator[Finding]:
    """Passwords, tokens or API keys cross a hop that can be read.

    What it means. Whoever sees that hop can log in as these users or call the API in their name until the secret is
    changed. Unlike a session, a password or key does not expire by itself.

    How it is inferred. Request heads and the beginnings of form and JSON bodies are read where they are in clear;
    Authorization headers, API-key headers, and parameters whose name says what they are, are counted. Values are hashed
    under a key that never leaves memory: lbtop shows how many, how many different ones, and never which.

    How to confirm. The command counts requests with an Authorization header, without showing it.

    How to mend. Encrypt the hop. Treat what crossed it as disclosed: change passwords, revoke tokens and keys.
    """
    found = _of(context, CREDENTIALS)
    if not found:
        return
    numbers = {"basic_auth": 1, "digest_auth": 2, "bearer_token": 3, "password": 5, "api_key": 7, "jwt": 8}
    count = sum(entry.count for entry in found)
    kinds = ", ".join(dict.fromkeys(CREDENTIALS[entry.kind] for entry in found))
    names = _names(context, (numbers[entry.kind] for entry in found))
    yield Finding(
        id="credentials-in-plaintext",
        severity=Severity.CRITICAL,
        title=f"{kinds[0].upper() + kinds[1:]} in clear: {count:,} times {_hops(found)}",
        detail="; ".join(
            f"{entry.count:,} {CREDENTIALS[entry.kind]} ({entry.distinct:,} different) {hop_words(entry.hop)}" for entry in found
        )
        + (f". They stand in: {names}." if names else "."),
        service=context.service.service,
        evidence=_evidence(found),
        advice=(
            _to_tls(context),
            "change the passwords and revoke the tokens and keys that crossed this hop",
        ),
        confirm=(http(context, "http.authorization", ("frame.time", "ip.src", "ip.dst", "http.host")),),
        at_ns=min(entry.first_ns for entry in found),
    )


@rule(
    "session-cookie-in-plaintext",
    Severity.WARNING,
    "session cookies cross a readable hop that plaintext-backend-hop does not already name",
)
def session_cookie_in_plaintext(context: Context) -> Iterator[Finding]:
    """Session cookies cross a readable hop.

    What it means. Who copies a session cookie is that user until the session ends, whatever the password. On the client's
    own hop this takes no more than the same Wi-Fi.

    How it is inferred. Cookies with the names frameworks use for sessions, or likely names with values of high entropy,
    are counted in readable requests and responses. Values are hashed, never kept. Where the service's finding already is that
    the hop behind the balancer is readable (`plaintext-backend-hop`), this is not said twice.

    How to confirm. The command counts requests that carry a cookie, without showing it.

    How to mend. Encrypt the hop and set `Secure` on the cookie, so that clients never send it in clear.
    """
    found = [entry for entry in _of(context, (SESSION,)) if _clients_own(context, entry.hop) or not _backend_named(context)]
    if not found:
        return
    count, distinct = sum(entry.count for entry in found), max(entry.distinct for entry in found)
    own = any(_clients_own(context, entry.hop) for entry in found)
    names = _names(context, (4,))
    yield Finding(
        id="session-cookie-in-plaintext",
        severity=Severity.CRITICAL if own else Severity.WARNING,
        title=f"Session cookies in clear: {distinct:,} different, {count:,} times {_hops(found)}",
        detail=("The hop is the clients' own. " if own else "")
        + "Whoever sees it can take the sessions over."
        + (f" Cookies: {names}." if names else ""),
        service=context.service.service,
        evidence=_evidence(found),
        advice=(_to_tls(context), "set Secure (and HttpOnly, SameSite) on the cookie once the clients' hop is TLS"),
        confirm=(http(context, "http.cookie || http.set_cookie", ("frame.time", "ip.src", "ip.dst", "http.host")),),
        at_ns=min(entry.first_ns for entry in found),
    )


@rule("card-data-in-plaintext", Severity.CRITICAL, "card numbers (Luhn, issuer range, context) cross a readable hop")
def card_data_in_plaintext(context: Context) -> Iterator[Finding]:
    """Payment card numbers cross a readable hop.

    What it means. Card numbers on an unencrypted hop are a breach of PCI DSS requirement 4 when that hop is an open or
    shared network, and bring that network into scope even when it is not.

    How it is inferred. Digit strings of 13 to 19 digits that pass the Luhn check, begin with an issuer's range and stand in a
    field whose name or form says card. Numbers are hashed, never kept; test numbers of payment providers count as well.

    How to confirm. The command lists requests to the paths that take payments, without their bodies.

    How to mend. Encrypt the hop, or do not handle card numbers at all: let the payment provider's page or script take them.
    """
    found = _of(context, (CARD,))
    if not found:
        return
    count, distinct = sum(entry.count for entry in found), max(entry.distinct for entry in found)
    names = _names(context, (6,))
    yield Finding(
        id="card-data-in-plaintext",
        severity=Severity.CRITICAL,
        title=f"Card numbers in clear: {distinct:,} different, {count:,} times {_hops(found)}",
        detail="They pass the Luhn check and stand where a card number stands" + (f" ({names})." if names else "."),
        service=context.service.service,
        evidence=_evidence(found),
        advice=(_to_tls(context), "or let the payment provider take card numbers, so that they never cross your network"),
        confirm=(http(context, "http.request.method == POST", ("frame.time", "ip.src", "ip.dst", "http.host")),),
        at_ns=min(entry.first_ns for entry in found),
    )


def _evidence(found: Iterable[Sensitive]) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(
            entry.kind,
            "readable-heads",
            f"{entry.kind.replace('_', ' ')}: {entry.count:,} times, {entry.distinct:,} different, {hop_words(entry.hop)}",
        )
        for entry in found
    )


@rule(
    "insecure-session-cookie",
    Severity.WARNING,
    "a session cookie is set without Secure on a service that clients reach over TLS",
)
def insecure_session_cookie(context: Context) -> Iterator[Finding]:
    """A session cookie is set without `Secure` although clients use TLS.

    What it means. A browser sends such a cookie over plain HTTP as well: one image or link with http:// on any page, and the
    session crosses the client's network in clear. The padlock of the site itself does not help.

    How it is inferred. Set-Cookie lines of session cookies are read on the readable hop behind the balancer; the hop in
    front is TLS. A balancer may add `Secure` on the way (HAProxy's http-response rules, Apache's Header edit, nginx's
    proxy_cookie_flags): that is not in view from here.

    How to confirm. Ask the service itself: `curl -sI https://HOST/ | grep -i set-cookie`.

    How to mend. Set `Secure; HttpOnly; SameSite=Lax` where the application issues the cookie. It may need to be told that
    it is served over TLS: let it trust X-Forwarded-Proto, and let the balancer send it.
    """
    hops = context.service.termination.hops
    if not _backend_named(context) or not hops or hops[0].encryption != "tls":
        return
    bare: dict[str, tuple[int, int]] = {}
    for key, (_, _, sessions, without) in context.facts.ledgers.heads.set_cookies.items():
        if without:
            bare[safe_text(context.facts.strings[key], 60)] = (without, sessions)
    if not bare:
        return
    total = sum(without for without, _ in bare.values())
    listed = ", ".join(f"{name} ({without:,} of {count:,})" for name, (without, count) in list(bare.items())[:4])
    yield Finding(
        id="insecure-session-cookie",
        severity=Severity.WARNING,
        title=f"Session cookies set without Secure {total:,} times although clients use TLS: {', '.join(list(bare)[:3])}",
        detail=f"Without Secure: {listed}. A balancer that adds Secure on the way would not be seen from here.",
        service=context.service.service,
        evidence=(Evidence("set-cookie-attributes", "readable-heads", f"Set-Cookie without Secure: {listed}"),),
        advice=(
            "set Secure; HttpOnly; SameSite=Lax where the application issues the cookie",
            "make the application trust X-Forwarded-Proto, so that it knows it is served over TLS",
        ),
        confirm=(http(context, 'http.set_cookie && !(http.set_cookie matches "(?i)secure")', ("frame.time", "ip.src")),),
    )


@rule("cookie-discloses-target", Severity.INFO, "a balancer cookie names the target's internal address to every client")
def cookie_discloses_target(context: Context) -> Iterator[Finding]:
    """A load balancer's cookie tells every client the internal address of its target.

    What it means. Anyone can decode it: internal addresses, ports and the number of targets are public, and a client can
    choose its target by writing the cookie itself. It is a hint for an attacker, not a breach.

    How it is inferred. Cookies of F5, NetScaler, Envoy, old Traefik and others that carry an address in a known form are
    decoded and compared with the target that the request went to. nginx (`sticky cookie`, a server given as `ip:port`),
    Caddy without a secret and Traefik write a digest that needs no secret: it is compared with the digests of the targets
    in view. Private networks have few addresses, so whoever has the cookie finds the one that fits.

    How to confirm. Decode one of your own: F5 `<d1>.<d2>.0000` is the address with its bytes reversed and the port with
    its bytes swapped; Envoy's is base64; nginx's is `printf ip:port | md5sum`.

    How to mend. Encrypt the cookie or make it opaque: the setting is named in the advice.
    """
    heads = context.facts.ledgers.heads
    for key, (count, here) in heads.named_targets.items():
        if here == 0 and count < 3:
            continue  # named something, never the target it reached: a chance match
        name = safe_text(context.facts.strings[key >> 32], 60)
        number = key & 0xFFFFFFFF
        decoder = catalog.DECODERS[number] if number < len(catalog.DECODERS) else "-"
        product = catalog.DECODED_BY.get(decoder)
        row = catalog.products().get(product or context.service.load_balancer.product)
        label = row.label if row else "the balancer"
        advice = row.hide_target if row and row.hide_target != "-" else "encrypt the cookie's value or make it opaque"
        yield Finding(
            id="cookie-discloses-target",
            severity=Severity.INFO,
            title=f"Cookie {name} names the target's address ({label}): {here:,} of {count:,} match where the request went",
            detail="The value is a digest without a secret: whoever has it can try every internal address until one fits."
            if decoder in catalog.HASHED
            else "Every client can decode the address and port of its target, and choose another.",
            service=context.service.service,
            evidence=(
                Evidence(
                    "decoded-cookie", "cookies", f"{count:,} values decode to an address, {here:,} to the target they reached"
                ),
            ),
            advice=(f"{label}: {advice}" if row else advice,),
            confirm=(http(context, "http.cookie", ("frame.time", "ip.dst", "tcp.dstport")),),
            subject=name,
        )
