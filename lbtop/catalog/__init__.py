"""What is known by name: cookies, headers, health checkers, ciphers, defaults. Data files beside this module, no logic.

Every table is a tab-separated file: comment lines (``#``), a line of column names, rows. Each is read once, when it is
first asked for (0.1-0.3 ms). A row's fields are the file's columns. Adding a thing is adding a row.
"""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from typing import TypeVar

_HERE = Path(__file__).parent

DECODERS = ("-", "f5", "netscaler", "envoy", "traefik", "nginx_md5", "caddy_hmac", "route_suffix", "traefik_hash", "plain")
"""Decoders of balancer cookies by number (COOKIE.decoder); 0 is none."""


DECODED_BY = {
    "f5": "bigip",
    "netscaler": "netscaler",
    "envoy": "envoy",
    "traefik": "traefik",
    "traefik_hash": "traefik",
    "nginx_md5": "nginx",
    "caddy_hmac": "caddy",
}
"""Whose encoding each decoder of addresses reads."""
HASHED = frozenset({"nginx_md5", "caddy_hmac", "traefik_hash"})
"""Decoders that recognise the digest of a target in view, and cannot read any other's."""


class Row:
    """One row: an attribute per column, as text. (A NamedTuple per table would cost ten times as long to import.)"""

    def __init__(self, columns: tuple[str, ...], cells: list[str]) -> None:
        self.__dict__.update(zip(columns, cells, strict=True))

    @property
    def cells(self) -> dict[str, str]:
        return dict(self.__dict__)


class Cookie(Row):
    name: str  # exact, or a prefix when it ends in "*"
    product: str
    kind: str  # lb_cookie, app_cookie, weighted_target_group, other
    decoder: str
    rotates: str  # yes: a new value with every response, never an identity
    forwarded: str
    source: str
    sample: str


class SessionCookie(Row):
    name: str  # exact, prefix ("x*") or suffix ("*x")
    platform: str
    rotates: str
    source: str
    sample: str


class HealthChecker(Row):
    user_agent: str  # prefix
    product: str
    source: str
    sample: str


class Header(Row):
    header: str
    match: str  # exact, any, via
    product: str
    weight: str  # log-odds
    tls: str
    source: str
    sample: str


class Shape(Row):
    mark: str
    product: str
    weight: str
    source: str
    sample: str


class Product(Row):
    product: str
    label: str
    layer: str  # 7, 4, both
    role: str  # load_balancer, cdn, proxy
    tls_to_target: str
    tls_policy: str
    cookie_setting: str
    hide_target: str
    source: str


class Timeout(Row):
    seconds: str
    product: str
    what: str
    leg: str  # client, target, both, host
    setting: str
    source: str


class Cipher(Row):
    number: str  # four hexadecimal digits
    name: str
    broken: str  # why, or "-"
    source: str


class Secret(Row):
    place: str  # header, parameter
    name: str
    kind: str
    source: str
    sample: str


class Login(Row):
    segment: str
    source: str
    sample: str


class Source(Row):
    source: str
    reference: str


TABLES: dict[str, type[Row]] = {
    "cookies": Cookie, "sessions": SessionCookie, "health_checkers": HealthChecker, "headers": Header, "shapes": Shape,
    "products": Product, "timeouts": Timeout, "ciphers": Cipher, "secrets": Secret, "logins": Login, "sources": Source,
}  # fmt: skip

R = TypeVar("R", bound=Row)


def _read(name: str, kind: type[R]) -> tuple[R, ...]:
    lines = [line for line in (_HERE / f"{name}.tsv").read_text("utf-8").splitlines() if line and line[0] != "#"]
    columns = tuple(lines[0].split("\t"))
    if columns != tuple(kind.__annotations__):
        raise ValueError(f"{name}.tsv has the columns {columns}")
    return tuple(kind(columns, line.split("\t")) for line in lines[1:])


@cache
def cookies() -> tuple[Cookie, ...]:
    """Cookies of load balancers, in the order in which they are tried."""
    return _read("cookies", Cookie)


@cache
def sessions() -> tuple[SessionCookie, ...]:
    return _read("sessions", SessionCookie)


@cache
def health_checkers() -> tuple[HealthChecker, ...]:
    return _read("health_checkers", HealthChecker)


@cache
def headers() -> tuple[Header, ...]:
    return _read("headers", Header)


@cache
def shapes() -> tuple[Shape, ...]:
    return _read("shapes", Shape)


@cache
def products() -> dict[str, Product]:
    return {row.product: row for row in _read("products", Product)}


@cache
def timeouts() -> tuple[Timeout, ...]:
    return _read("timeouts", Timeout)


@cache
def ciphers() -> dict[int, Cipher]:
    """TLS cipher suites by number."""
    return {int(row.number, 16): row for row in _read("ciphers", Cipher)}


@cache
def secrets() -> tuple[Secret, ...]:
    return _read("secrets", Secret)


@cache
def logins() -> tuple[Login, ...]:
    return _read("logins", Login)


@cache
def sources() -> dict[str, str]:
    """What the short names in the ``source`` columns stand for."""
    return {row.source: row.reference for row in _read("sources", Source)}


@lru_cache(maxsize=4096)
def balancer_cookie(name: str) -> Cookie | None:
    """The row of a cookie that a load balancer is known to set; None for any other name."""
    for row in cookies():
        if row.name == name or (row.name.endswith("*") and row.name != "*" and name.startswith(row.name[:-1])):
            return row
    return None


@lru_cache(maxsize=4096)
def health_checker(user_agent: str) -> HealthChecker | None:
    """The row of a health checker by its User-Agent."""
    for row in health_checkers():
        if user_agent.startswith(row.user_agent):
            return row
    return None


def label(product: str) -> str:
    """A product's name for people; its token where the catalogue has no row for it."""
    row = products().get(product)
    return row.label if row else product


def cipher_name(number: int) -> str:
    """``TLS_AES_128_GCM_SHA256``, or ``0x1234`` for a number without a name."""
    row = ciphers().get(number)
    return row.name if row else f"0x{number:04x}"
