"""Which balancer it is: by what it adds, how it writes, its cookies and its health checks; and when nobody can know."""

from __future__ import annotations

import pytest

from lbtop.engine import diagnose
from lbtop.model.observation import ProxyFlag
from lbtop.model.snapshot import LoadBalancer
from lbtop.testing import Traffic

CLIENTS = (
    (("user-agent", "accept", "accept-encoding"), "okhttp/4.12"),
    (("sec-ch-ua", "user-agent", "accept", "sec-fetch-site", "cookie"), "Mozilla/5.0 (X11) Chrome/130.0.0.0"),
    (("user-agent", "accept", "accept-language"), "Mozilla/5.0 (X11) Firefox/131.0"),
)


def through(
    before: tuple[str, ...],
    after: tuple[str, ...] = (),
    *,
    lower: bool = True,
    via: str = "",
    version: int = 11,
    cookie: str = "",
    order: bool = False,
) -> LoadBalancer:
    """Requests of three kinds of clients with a balancer's headers before and after theirs."""
    traffic = Traffic()
    for turn in range(30):
        own, agent = CLIENTS[turn % 3]
        names = own if lower else tuple(name.title() for name in own)
        headers = before + names + after
        if order:
            fixed = [name for name in headers if name in ("Host", "User-Agent")]
            headers = tuple(fixed + sorted(name for name in headers if name not in fixed))
        conn = traffic.connect("10.0.9.1", f"10.0.0.{11 + turn % 3}:8080", at=turn * 0.2)
        conn.request(
            at=turn * 0.2 + 0.01,
            headers=headers,
            user_agent=agent,
            via=via,
            version=version,
            cookies={cookie: f"v{turn % 5}"} if cookie else {},
        )
        conn.respond(200)
        conn.close()
    (service,) = diagnose(traffic.source()).services
    return service.load_balancer


FORWARDED = ("X-Forwarded-For", "X-Forwarded-Proto")


@pytest.mark.parametrize(
    ("product", "balancer"),
    [
        ("alb", lambda: through(("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Port", "Host", "X-Amzn-Trace-Id"))),
        ("haproxy", lambda: through(("host",), ("x-forwarded-for",))),
        ("nginx", lambda: through(("Host", "X-Real-IP", "X-Forwarded-For", "Connection"), lower=False)),
        ("nginx", lambda: through(("Host", "Connection"), lower=False, version=10)),
        # nginx in front of HAProxy: nginx's order and version, names written again in lower case next to the target
        ("haproxy", lambda: through(("host", "x-forwarded-for", "x-forwarded-proto"), ("x-forwarded-for",), version=10)),
        ("envoy", lambda: through(("host",), ("x-forwarded-proto", "x-request-id", "x-envoy-expected-rq-timeout-ms"))),
        ("caddy", lambda: through(("Host",), (*FORWARDED, "X-Forwarded-Host", "Via"), lower=False, order=True, via="1.1 Caddy")),
        ("apache", lambda: through(("Host",), ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Server"), lower=False)),
        ("gcp-alb", lambda: through(("host",), (*FORWARDED, "X-Cloud-Trace-Context", "Via"), via="1.1 google")),
        ("varnish", lambda: through(("host",), ("X-Forwarded-For", "X-Varnish"), lower=False, via="1.1 a (Varnish/7.1)")),
        ("bigip", lambda: through(("Host",), lower=False, cookie="BIGipServerpool")),
        ("azure-app-gateway", lambda: through(("Host",), ("X-Forwarded-For", "X-AppGW-Trace-Id"), lower=False)),
    ],
)
def test_a_product_is_known_by_what_it_does(product: str, balancer) -> None:
    found = balancer()
    assert found.product == product
    assert found.confidence >= 0.8
    assert found.evidence[0].favours == product
    assert found.addresses == ("10.0.9.1",)


@pytest.mark.parametrize(
    "balancer",
    [
        lambda: through(("Host",), lower=False),
        lambda: through(("Host",), ("X-Forwarded-For",), lower=False),
        lambda: through(("Host",), lower=False, cookie="lb"),
    ],
)
def test_nobody_guesses_from_nothing_or_from_anybodys_names(balancer) -> None:
    found = balancer()
    assert found.product == "unknown"


def test_an_nlb_is_known_by_its_proxy_header() -> None:
    traffic = Traffic()
    for turn in range(12):
        conn = traffic.connect("10.0.9.1", f"10.0.0.{11 + turn % 3}:8080", at=turn * 0.2)
        conn.proxy(f"203.0.113.{turn + 1}:4000", flags=ProxyFlag.AWS_TLV, at=turn * 0.2 + 0.01)
        conn.request(at=turn * 0.2 + 0.02)
        conn.respond(200)
    (service,) = diagnose(traffic.source()).services
    assert service.load_balancer.product == "nlb"


def test_a_header_that_clients_sometimes_send_names_nobody() -> None:
    traffic = Traffic()
    for turn in range(30):
        conn = traffic.connect("10.0.9.1", f"10.0.0.{11 + turn % 3}:8080", at=turn * 0.2)
        forged = ["X-Amzn-Trace-Id"] if turn % 5 == 0 else []
        conn.request(at=turn * 0.2 + 0.01, headers=["Host", "User-Agent", *forged])
        conn.respond(200)
    (service,) = diagnose(traffic.source()).services
    assert service.load_balancer.product == "unknown"
