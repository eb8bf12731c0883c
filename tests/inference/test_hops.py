"""Who calls the targets is called a balancer only where something says so."""

from __future__ import annotations

from lbtop.engine import diagnose
from lbtop.faces.text import mode_sentence
from lbtop.model.observation import End, HelloFlag, SecretKind
from lbtop.model.snapshot import Service, Snapshot
from lbtop.testing import Traffic
from tests.findings.scenes import found_in

CALLER = "10.0.1.60"


def ends(service: Service) -> list[tuple[str, str]]:
    return [(hop.from_, hop.to) for hop in service.termination.hops]


def asked(hosts: tuple[str, ...], passwords: bool = False) -> Traffic:
    """One address asks a server per host, each under that name."""
    traffic = Traffic()
    for number in range(30):
        place = number % len(hosts)
        conn = traffic.connect(CALLER, f"10.0.0.{11 + place}:9100", at=number * 0.7 + number % 5 * 0.1)
        conn.request(path=f"/figures/{number}", host=hosts[place])
        if passwords:
            conn.secret(SecretKind.BASIC_AUTH, "secret", name="Authorization")
        conn.respond().close()
    return traffic


def only(traffic: Traffic) -> Service:
    snapshot: Snapshot = diagnose(traffic.source())
    (service,) = snapshot.services
    return service


def test_one_address_that_calls_one_server_is_a_balancer_or_a_client() -> None:
    service = only(asked(("api.internal",)))
    assert ends(service) == [("caller", "target")]
    assert service.load_balancer.addresses == ()


def test_who_asks_each_server_by_its_own_name_deals_nothing() -> None:
    """A monitor of three servers, a browser and three sites: no balancer spreads anything over them."""
    service = only(asked(("10.0.0.11:9100", "10.0.0.12:9100", "10.0.0.13:9100")))
    assert ends(service) == [("caller", "target")]
    assert service.load_balancer.addresses == ()


def test_who_asks_several_servers_under_one_name_is_a_balancer() -> None:
    service = only(asked(("api.internal",) * 3))
    assert ends(service) == [("client", "load_balancer"), ("load_balancer", "target")]
    assert service.load_balancer.addresses == (CALLER,)


def test_no_finding_calls_a_caller_the_load_balancer() -> None:
    finding = found_in(asked(("api.internal",), passwords=True))["credentials-in-plaintext"]
    assert "load balancer" not in finding.title + finding.detail
    assert "a balancer, or clients" in finding.title


def test_where_tls_ends_is_told_without_a_balancer_that_nobody_saw() -> None:
    """Three programs on one host speak TLS to a server: who calls it may be a balancer all the same."""
    traffic = Traffic()
    for number in range(30):
        conn = traffic.connect(CALLER, "10.0.0.11:8443", at=number * 0.9 + number % 5 * 0.1)
        conn.hello(sni="shop.example", ja4=f"t13d15{number % 3}", family=f"family {number % 3}", flags=HelloFlag.GREASE)
        conn.data(client=500, server=3000).close()
    service = only(traffic)
    assert (service.termination.verdict.token, ends(service)) == ("passthrough", [("caller", "target")])
    assert "whether a balancer stands in front of them is not known" in mode_sentence(service)


def test_no_finding_says_that_the_load_balancer_gave_up() -> None:
    traffic = asked(("api.internal",))
    for number in range(12):
        conn = traffic.connect(CALLER, "10.0.0.11:9100", at=30.0 + number * 7.3)
        conn.request(path=f"/slow/{number}", host="api.internal", at=30.0 + number * 7.3)
        conn.respond(0, delay=5.0).close(at=35.0 + number * 7.3, end=End.RST)
    assert found_in(traffic)["upstream-timeout"].title.startswith("Whoever calls them gave up on 12 requests")


def test_headers_of_a_product_are_a_balancers() -> None:
    """Envoy's on every request, though they name nobody: what opens the connections is no client."""
    traffic = Traffic()
    for number in range(30):
        conn = traffic.connect(CALLER, "10.0.0.11:8080", at=number * 0.7 + number % 5 * 0.1)
        names = ("host", "user-agent", "x-envoy-expected-rq-timeout-ms", "x-envoy-attempt-count", "x-request-id")
        conn.request(path=f"/{number}", headers=names).respond().close()
    service = only(traffic)
    assert service.load_balancer.product == "envoy"
    assert ends(service)[0] == ("client", "load_balancer")
