"""Which load balancer stands in front: what it adds to requests and how it writes them, its cookies and health checks.

Every mark is a row of the catalogue. Marks of one kind (headers, cookies, health checks, PROXY header) share one capped
weight per product; `unknown` is a candidate of its own and wins where little speaks.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from lbtop import catalog
from lbtop.model.address import ip_text
from lbtop.model.figures import percent
from lbtop.model.judgement import DECISION_THRESHOLD, UNKNOWN, Evidence, Mode
from lbtop.model.observation import ProxyFlag, ReqFlag
from lbtop.model.record import dataclass, field
from lbtop.model.snapshot import LoadBalancer, Termination
from lbtop.model.text import safe_text
from lbtop.reconstruct.facts import ServiceFacts

CAP = 5.0
NOTHING_KNOWN = 1.5
"""Log-odds of `unknown`: one weak mark alone does not name a product."""
EVERYWHERE = 0.9
SHAPES_LOOKED_AT = 256
FEW_NODES, MANY_USERS = 2, 4
"""So many different programs or sessions from each address, all with one TCP stack: not one host's, and no NAT's."""

Names = tuple[str, ...]


@dataclass(slots=True, eq=False)
class ProductMarks:
    """What speaks for each product, by kind of mark."""

    scores: dict[str, dict[str, float]] = field(default_factory=dict)  # product -> kind of mark -> log-odds
    evidence: list[Evidence] = field(default_factory=list)
    cdns: list[str] = field(default_factory=list)  # content delivery networks that left headers
    headers_everywhere: list[str] = field(default_factory=list)  # header marks that stand on (nearly) every request
    shapes_everywhere: list[str] = field(default_factory=list)  # products whose way of writing shows everywhere

    def add(self, product: str, kind: str, signal: str, weight: float, detail: str) -> None:
        kinds = self.scores.setdefault(product, {})
        kinds[kind] = min(CAP, kinds.get(kind, 0.0) + weight)
        self.evidence.append(Evidence(signal, kind, detail, product, round(weight, 2)))


def infer_identity(facts: ServiceFacts, termination: Termination | None = None) -> LoadBalancer:
    """The product next to the targets (a catalogue token, or `unknown`), how likely the likeliest is, and what says so.

    Its addresses are those that open the targets' connections, where a proxy does and not a few clients themselves.
    """
    marks = product_marks(facts)
    proxied = stands_between(facts, termination.verdict.value if termination is not None else None)
    addresses = tuple(ip_text(facts.addresses[number]) for number in facts.balancers) if proxied else ()
    product, confidence = best_product(marks)
    evidence = tuple(sorted(marks.evidence, key=lambda item: -(item.weight or 0.0)))
    return LoadBalancer(addresses, product, round(confidence, 4), evidence)


def stands_between(facts: ServiceFacts, mode: Mode | None) -> bool:
    """Whether the addresses that open the connections are a proxy's, also where they are few and nothing names others.

    What ends TLS or reads HTTP is a proxy; so is one TCP stack behind which many programs or sessions are (a NAT keeps its
    clients' own), and a single address or two that spread over several targets without choosing one by its name.
    """
    if facts.clients_preserved is False or mode in (Mode.BRIDGING, Mode.OFFLOAD, Mode.L4_TLS):
        return True
    nodes = max(len(facts.balancers), 1)
    if nodes <= FEW_NODES and len(facts.targets) > 1 and not facts.chosen_by_name:
        return True
    ledgers = facts.ledgers
    families = {key >> 32 for key, _ in ledgers.handshakes.families.items()}
    agents = {key >> 32 for key, _ in ledgers.heads.browsers.items()}
    sessions = max((len(rows) for rows in ledgers.affinity.session_rows()), default=0)
    stacks = {(stack, ttl) for _, stack, ttl, _ in ledgers.stacks.seen() if stack}
    return max(len(families), len(agents), sessions) >= MANY_USERS * nodes and len(stacks) == 1


def best_product(marks: ProductMarks) -> tuple[str, float]:
    """The likeliest product, or `unknown` where it does not reach the threshold, and how likely it is: 0 without any mark."""
    totals = {product: sum(kinds.values()) for product, kinds in marks.scores.items() if product not in marks.cdns}
    if not totals:
        totals = {product: sum(kinds.values()) / 2 for product, kinds in marks.scores.items()}
    weights = {product: math.exp(total) for product, total in totals.items()}
    whole = sum(weights.values()) + math.exp(NOTHING_KNOWN)
    best = max(weights, key=lambda product: weights[product], default=UNKNOWN)
    confidence = weights.get(best, 0.0) / whole
    return (best if confidence >= DECISION_THRESHOLD else UNKNOWN), confidence


def product_marks(facts: ServiceFacts) -> ProductMarks:
    """Every mark of every product that this service's traffic shows."""
    marks = ProductMarks()
    _headers(facts, marks)
    _cookies(facts, marks)
    _decoded_cookies(facts, marks)
    _health_checks(facts, marks)
    _proxy_headers(facts, marks)
    products = catalog.products()
    marks.cdns = [name for name in marks.scores if name in products and products[name].role == "cdn"]
    return marks


def _headers(facts: ServiceFacts, marks: ProductMarks) -> None:
    heads = facts.ledgers.heads
    if heads.requests == 0:
        return
    shapes: list[tuple[Names, int, int]] = []
    for key, count in heads.shapes.top(SHAPES_LOOKED_AT):
        names = tuple(facts.strings[key >> 32].decode("latin-1").split(","))
        shapes.append((names, key & 0xFFFFFFFF, count))
    looked_at = sum(count for _, _, count in shapes)
    for header in catalog.headers():
        if header.match == "via":
            wanted = header.header.lower().encode()
            seen = sum(n for key, n in heads.via.top(64) if wanted in facts.strings[key].lower())
        elif header.match == "exact":
            seen = sum(count for names, _, count in shapes if header.header in names)
        else:
            wanted_name = header.header.lower()
            seen = sum(count for names, _, count in shapes if any(name.lower() == wanted_name for name in names))
        share = min(1.0, seen / looked_at)
        if share >= 0.5:
            title = f"Via names {header.header}" if header.match == "via" else header.header
            detail = f"{title} on {percent(share)} of {heads.requests:,} requests"
            marks.add(header.product, "http-headers", "header-" + header.header.lower(), float(header.weight) * share, detail)
            if share >= EVERYWHERE:
                marks.headers_everywhere.append(header.header)
    for shape in catalog.shapes():
        matches = SHAPE_MARKS[shape.mark]
        seen = sum(count for names, version, count in shapes if matches(names, version))
        share = seen / looked_at
        if share >= EVERYWHERE:
            mark = shape.mark.replace("_", " ")
            detail = f"{percent(share)} of the requests are written as {catalog.label(shape.product)} writes them ({mark})"
            marks.add(shape.product, "http-headers", shape.mark, float(shape.weight) * share, detail)
            marks.shapes_everywhere.append(shape.product)


def _cookies(facts: ServiceFacts, marks: ProductMarks) -> None:
    heads = facts.ledgers.heads
    seen: dict[str, tuple[int, list[str]]] = {}
    for key, numbers in heads.cookies.items():
        name = facts.strings[key].decode("latin-1")
        row = catalog.balancer_cookie(name)
        if row is not None:
            count, names = seen.get(row.product, (0, []))
            seen[row.product] = (count + numbers[0], [*names, safe_text(name, 40)])
    for product, (count, names) in seen.items():
        if count >= 2:
            generic = product == "haproxy" or any(len(name) <= 5 for name in names)  # SRV, lb, route: anybody's names
            detail = f"clients send back {', '.join(sorted(set(names))[:4])} ({count} times)"
            marks.add(product, "cookies", "cookie-names", 1.5 if generic else 3.0, detail)


def _decoded_cookies(facts: ServiceFacts, marks: ProductMarks) -> None:
    """A cookie that names the target it reached, in one product's encoding, is that product's whatever it is called."""
    reached: dict[str, tuple[int, str]] = {}
    for key, numbers in facts.ledgers.heads.named_targets.items():
        decoder = key & 0xFFFFFFFF
        product = catalog.DECODED_BY.get(catalog.DECODERS[decoder] if decoder < len(catalog.DECODERS) else "-")
        if product is not None and numbers[1] >= 2:
            reached[product] = (numbers[1], safe_text(facts.strings[key >> 32], 40))
    for product, (count, name) in reached.items():
        detail = f"{name} names the target that the request reached, encoded as {catalog.label(product)} does ({count} times)"
        marks.add(product, "cookies", "cookie-value", 4.0, detail)


def _health_checks(facts: ServiceFacts, marks: ProductMarks) -> None:
    counts: dict[str, int] = {}
    for key, count in facts.ledgers.heads.checks.top(64):
        row = catalog.health_checker(facts.strings[key].decode("latin-1"))
        if row is not None:
            counts[row.product] = counts.get(row.product, 0) + count
    for product, count in counts.items():
        if product not in catalog.products():
            continue
        detail = f"{count} health checks with its User-Agent"
        if product == "alb" and _nothing_added(facts):
            marks.add("nlb", "health-checks", "health-checker", 4.0, f"{detail} (ELB's), and requests without what an ALB adds")
            continue
        marks.add(product, "health-checks", "health-checker", 2.5, detail)
        if product == "alb":
            marks.add("nlb", "health-checks", "health-checker", 1.5, f"{detail} (an NLB's HTTP checks may use it too)")


def _nothing_added(facts: ServiceFacts) -> bool:
    """Requests enough, and hardly one with the trace id that an ALB puts on every one."""
    heads = facts.ledgers.heads
    return heads.requests >= 5 and heads.flag(ReqFlag.TRACE_ID) <= 0.1 * heads.requests and not heads.forwarded


def _proxy_headers(facts: ServiceFacts, marks: ProductMarks) -> None:
    heads = facts.ledgers.heads
    if heads.proxies and heads.proxy_flag(ProxyFlag.AWS_TLV) >= EVERYWHERE * heads.proxies:
        marks.add("nlb", "proxy-header", "aws-tlv", 4.0, f"{heads.proxies} PROXY v2 headers with the AWS type 0xEA")


_FORWARDED = frozenset({"x-forwarded-for", "x-forwarded-proto", "x-forwarded-port", "x-forwarded-host", "x-real-ip"})
_HOP = frozenset({"Host", "Upgrade", "Connection", "Content-Length", "Transfer-Encoding", "X-Amzn-Trace-Id"})


def _all_lower(names: Names, version: int) -> bool:
    """HTTP/1 with every name in lower case: clients of HTTP/1 write capitals, HAProxy and Envoy do not."""
    return version in (10, 11) and len(names) > 1 and all(name == name.lower() for name in names)


def _alb_case(names: Names, version: int) -> bool:
    """Forwarded headers and Host in canonical case, every header of the client in lower case (a client on HTTP/2)."""
    end_to_end = [name for name in names if name not in _HOP and not name.startswith("X-Forwarded-")]
    return "X-Amzn-Trace-Id" in names and bool(end_to_end) and all(name == name.lower() for name in end_to_end)


def _all_lower_forwarded_last(names: Names, version: int) -> bool:
    return (
        _all_lower(names, version)
        and "x-forwarded-for" in names[-4:]
        and not any(name.startswith("x-envoy-") or name == "x-request-id" for name in names)
    )


def _lower_proto_request_id(names: Names, version: int) -> bool:
    return _all_lower(names, version) and "x-forwarded-proto" in names and "x-request-id" in names


def _http10_host_connection(names: Names, version: int) -> bool:
    """HTTP/1.0, Host and Connection first: nginx's defaults towards a server up to 1.29.6."""
    return version == 10 and names[:2] == ("Host", "Connection")


def _set_headers_first(names: Names, version: int) -> bool:
    """What ``proxy_set_header`` sets comes right after Host, before the client's own headers (Connection in between).

    nginx keeps the case of names: where all are in lower case, something behind it (HAProxy, Envoy) wrote them again.
    """
    if _all_lower(names, version):
        return False
    lower = [name.lower() for name in names]
    own = 1
    while own < len(lower) and lower[own] in (*_FORWARDED, "connection", "x-request-id", "x-scheme"):
        own += 1
    return lower[:1] == ["host"] and bool(_FORWARDED & set(lower[1:own])) and "x-amzn-trace-id" not in lower and own < len(lower)


def _go_sorted(names: Names) -> bool:
    """Go writes Host and User-Agent first and the rest in alphabetical order, Accept-Encoding of its own last."""
    fixed = ("Host", "User-Agent", "Content-Length", "Transfer-Encoding")
    rest = [name for name in names if name not in fixed]
    if rest and rest[-1] == "Accept-Encoding":
        rest.pop()
    return names[:1] == ("Host",) and rest == sorted(rest) and {"X-Forwarded-For", "X-Forwarded-Proto"} <= set(rest)


def _go_sorted_forwarded(names: Names, version: int) -> bool:
    return _go_sorted(names) and "X-Forwarded-Server" not in names and "X-Real-Ip" not in names


def _go_sorted_forwarded_server(names: Names, version: int) -> bool:
    return _go_sorted(names) and "X-Forwarded-Server" in names and "X-Real-Ip" in names


def _forwarded_host_server(names: Names, version: int) -> bool:
    """Apache's ProxyAddHeaders: For, Host, Server in a row."""
    for place, name in enumerate(names):
        if name == "X-Forwarded-For":
            return names[place + 1 : place + 3] == ("X-Forwarded-Host", "X-Forwarded-Server") and "X-Real-Ip" not in names
    return False


SHAPE_MARKS: dict[str, Callable[[Names, int], bool]] = {
    "alb_case": _alb_case,
    "all_lower_forwarded_last": _all_lower_forwarded_last,
    "all_lower": _all_lower,
    "lower_proto_request_id": _lower_proto_request_id,
    "http10_host_connection": _http10_host_connection,
    "set_headers_first": _set_headers_first,
    "go_sorted_forwarded": _go_sorted_forwarded,
    "go_sorted_forwarded_server": _go_sorted_forwarded_server,
    "forwarded_host_server": _forwarded_host_server,
}
"""The marks of shapes.tsv: names of a request's headers in order and case, and its version (10, 11, 20)."""
