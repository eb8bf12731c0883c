"""The filter language of the dashboard: ``target:10.0.0.11 mode:offload status:5xx client:203.0.113.0/24 -state:gone``.

Terms are separated by spaces and must all hold. A term is ``field:value``, or a bare word that may stand anywhere in a
row. ``-`` in front negates it. Values: an address or network (``10.0.0.0/8``), a number with ``>``, ``<``, ``>=``, ``<=`` in
front, a status class (``5xx``), otherwise text, which matches anywhere in the field and ignores case; ``"two words"`` keeps
a space. Commas mean "or": ``state:gone,draining``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

FIELDS: dict[str, str] = {
    "target": "address of a target, or a network",
    "client": "address of a client, or a network",
    "service": "name of a service",
    "mode": "termination mode: bridging, passthrough, offload, l4_tls, none, unknown",
    "mechanism": "lb_cookie, app_cookie, source_ip, weighted_target_group, none, unknown",
    "state": "serving, added, draining, gone, silent",
    "status": "response status: 200, 5xx",
    "finding": "id of a finding",
    "severity": "critical, warning, info",
    "key": "what a session is known by",
    "product": "the load balancer",
    "sni": "server name in the client hello",
    "ja4": "client fingerprint",
    "requests": "a number: >100",
    "connections": "a number: >100",
    "breaks": "a number: >0",
    "share": "a share in percent: >40",
}
"""Every field, with what it takes. Help and completion are made from this table."""

_TERM = re.compile(r'(?P<neg>-?)(?:(?P<field>[a-z_]+):)?(?P<value>"[^"]*"?|\S+)')
_COMPARE = re.compile(r"(>=|<=|>|<)(\d+(?:\.\d+)?)%?$")
_STATUS = re.compile(r"[1-5]xx$")

Values = Mapping[str, object]
Test = Callable[[Values], bool]


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a filter and where it stands in the text, so that a mistake can be coloured in place."""

    start: int
    end: int
    error: str | None
    test: Test


@dataclass(frozen=True, slots=True)
class Filter:
    text: str
    terms: tuple[Term, ...]

    @property
    def error(self) -> str | None:
        """The first mistake as a sentence, or None."""
        return next((term.error for term in self.terms if term.error), None)

    def __call__(self, row: Values) -> bool:
        """Whether a row (field name → value) passes. Terms in error hold for every row."""
        return all(term.test(row) for term in self.terms)


def parse_filter(text: str) -> Filter:
    """A filter for any text whatsoever; mistakes are marked on their term, never raised."""
    return Filter(text, tuple(_term(match) for match in _TERM.finditer(text)))


def _term(match: re.Match[str]) -> Term:
    field, value = match["field"], match["value"]
    test: Test = _always
    error = None
    if field is not None and field not in FIELDS:
        close = [name for name in FIELDS if name.startswith(field[:3])]
        error = f"no field {field}" + (f"; did you mean {close[0]}?" if close else "")
    else:
        try:
            choices = [_choice(field, part) for part in value.strip('"').split(",") if part]
            test = _any_of(choices)
        except ValueError as problem:
            error = str(problem)
    if match["neg"] and error is None:
        test = _negated(test)
    return Term(match.start(), match.end(), error, test)


def _always(row: Values) -> bool:
    return True


def _any_of(choices: list[Test]) -> Test:
    return lambda row: any(choice(row) for choice in choices)


def _negated(test: Test) -> Test:
    return lambda row: not test(row)


def _choice(field: str | None, value: str) -> Test:
    folded = value.casefold()
    if field is None:
        return lambda row: any(folded in str(cell).casefold() for cell in row.values())
    if field in ("target", "client"):
        return _address(field, value)
    if field in ("requests", "connections", "breaks", "share"):
        return _number(field, value)
    if field == "status":
        return _status(value)
    return lambda row: folded in str(row.get(field, "")).casefold()


def _address(field: str, value: str) -> Test:
    if "/" in value:
        try:
            network = ipaddress.ip_network(value, strict=False)
        except ValueError:
            raise ValueError(f"{value} is not a network (10.0.0.0/8)") from None
        return lambda row: _inside(str(row.get(field, "")), network)
    folded = value.casefold()
    return lambda row: folded in str(row.get(field, "")).casefold()


def _inside(endpoint: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    host = endpoint[1:].partition("]")[0] if endpoint.startswith("[") else endpoint
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        return ipaddress.ip_address(host) in network
    except ValueError:
        return False


def _number(field: str, value: str) -> Test:
    match = _COMPARE.match(value) or _COMPARE.match(">=" + value)
    if match is None:
        raise ValueError(f"{field} takes a number: >100")
    sign, bound = match[1], float(match[2])
    if not value.startswith((">", "<")):
        return lambda row: _float(row.get(field)) == bound
    compare: dict[str, Callable[[float], bool]] = {
        ">": lambda x: x > bound,
        "<": lambda x: x < bound,
        ">=": lambda x: x >= bound,
        "<=": lambda x: x <= bound,
    }
    holds = compare[sign]
    return lambda row: holds(_float(row.get(field)))


def _float(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _status(value: str) -> Test:
    """A row's ``status`` is a mapping class → count, or one number."""
    if not (_STATUS.match(value) or (value.isdigit() and len(value) == 3)):
        raise ValueError("status takes a class or a number: 5xx, 404")

    def holds(row: Values) -> bool:
        status = row.get("status")
        if isinstance(status, Mapping):
            return bool(status.get(value, 0)) or bool(status.get(value[0] + "xx", 0) and value.isdigit())
        text = str(status)
        return text == value or (value.endswith("xx") and len(text) == 3 and text[0] == value[0])

    return holds
