"""Phrases that several findings share."""

from __future__ import annotations

from lbtop import catalog
from lbtop.findings.commands import tshark
from lbtop.findings.rule import Context
from lbtop.model import figures
from lbtop.model.address import endpoint_text
from lbtop.model.figures import length as seconds

__all__ = [
    "balancer", "count_per_target", "interval", "plural", "seconds", "share", "sticky_setting", "target_name", "target_text",
]  # fmt: skip


def plural(count: int, noun: str) -> str:
    """``1 session``, ``1,200 sessions``."""
    return figures.plural(count, noun, noun + "es" if noun.endswith("ss") else None)


def share(part: float, whole: float) -> str:
    """A percentage of a whole."""
    return figures.percent(part / whole) if whole else "0 %"


def interval(bounds: tuple[float, float] | None) -> str:
    return f"[{bounds[0]:+.2f}, {bounds[1]:+.2f}]" if bounds else "unknown"


def balancer(context: Context) -> str:
    """What the balancer is called in a sentence."""
    hops = context.service.termination.hops
    if hops and hops[0].from_ == "caller":
        return "whoever calls them"
    product = context.service.load_balancer.product
    return "the load balancer" if product in ("unknown", "none") else catalog.label(product)


def sticky_setting(context: Context) -> str:
    """The recognised product's settings for stickiness, or those of the usual ones."""
    row = catalog.products().get(context.service.load_balancer.product)
    if row is not None and row.cookie_setting != "-":
        return f"{row.label}: {row.cookie_setting}"
    return "ALB: stickiness.type; HAProxy: cookie … insert; nginx: sticky, ip_hash; Envoy: hash_policy"


def target_text(context: Context, number: int) -> str:
    """``ip:port`` of a target by its dense number."""
    if not 0 <= number < len(context.facts.targets):
        return "?"
    address, port = context.facts.targets[number]
    return endpoint_text(context.facts.addresses[address], port)


def target_name(context: Context, number: int) -> str:
    """The same, with the name it was given, if any."""
    text = target_text(context, number)
    named = next((target.name for target in context.service.targets if target.target == text), None)
    return f"{named} ({text})" if named else text


def count_per_target(context: Context) -> str:
    """A line that counts new connections per target."""
    filtered = f"tcp.dstport == {context.service.port} && tcp.flags.syn == 1"
    return tshark(context, filtered, ("ip.dst",)) + " | sort | uniq -c"
