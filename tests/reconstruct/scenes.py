"""Made-up traffic of the deployments whose roles must come out right, and what is expected of them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from lbtop.model.observation import End, Protocol7
from lbtop.testing import Connection, Traffic

BALANCER = "10.0.1.5"
VIP = "192.0.2.10:443"
TARGETS = ("10.0.0.11", "10.0.0.12", "10.0.0.13")
USERS = tuple(f"198.51.100.{number}" for number in range(1, 31))
STACKS = ("1460,64240,7,MSTNW", "1440,65535,8,MNWNNS", "1360,29200,6,MSTNW", "1460,65535,6,MNWNNTSE")


@dataclass(frozen=True)
class Expected:
    """Services by port: targets, balancers, and whether clients are preserved; dependencies of all targets; the vantage."""

    services: dict[int, tuple[set[str], set[str], bool | None]]
    vantage: str
    dependencies: set[str] = field(default_factory=set)
    vips: set[str] = field(default_factory=set)


Scene = Callable[[], tuple[Traffic, Expected]]
SCENES: dict[str, Scene] = {}


def scene(make: Scene) -> Scene:
    SCENES[make.__name__] = make
    return make


def _http(traffic: Traffic, client: str, server: str, at: float, user: str = "", path: str = "/", size: int = 2000) -> Connection:
    conn = traffic.connect(client, server, at=at)
    conn.request(path=path, forwarded=[user] if user else (), at=at + 0.001)
    conn.respond(delay=0.02, size=size)
    return conn


def _database(traffic: Traffic, client: str, server: str, at: float, protocol: Protocol7 = Protocol7.POSTGRES) -> None:
    conn = traffic.connect(client, server, at=at, protocol7=protocol)
    conn.data(client=300, server=90_000, at=at + 0.001)
    conn.close(at=at + 0.01)


def _resolve(traffic: Traffic, client: str, at: float) -> None:
    conn = traffic.connect(client, "10.0.0.2:53", at=at, proto=17, protocol7=Protocol7.DNS)
    conn.data(client=40, server=120, at=at)
    conn.close(at=at + 0.001, end=End.EXPIRED)


def _behind_balancer(traffic: Traffic, targets: tuple[str, ...], requests: int = 60, port: int = 8080) -> None:
    rng = random.Random(7)
    for number in range(requests):
        target = targets[number % len(targets)]
        at = number * 0.1 + rng.random() * 0.05
        _http(traffic, BALANCER, f"{target}:{port}", at, rng.choice(USERS), f"/item/{number % 17}").close(at=at + 1)


@scene
def one_target_with_database_cache_resolver_and_api() -> tuple[Traffic, Expected]:
    traffic = Traffic()
    _behind_balancer(traffic, TARGETS[:1])
    for number in range(60):
        at = number * 0.1 + 0.055
        _database(traffic, TARGETS[0], "10.0.0.20:5432", at)
        if number % 3 == 0:
            _database(traffic, TARGETS[0], "10.0.0.21:6379", at, Protocol7.REDIS)
            _resolve(traffic, TARGETS[0], at)
            api = traffic.connect(TARGETS[0], "203.0.113.80:443", at=at)
            api.hello(sni="api.payments.example", at=at + 0.01).data(client=900, server=700, at=at + 0.02)
            api.close(at=at + 0.5)
    deps = {"10.0.0.20:5432", "10.0.0.21:6379", "10.0.0.2:53", "203.0.113.80:443"}
    return traffic, Expected({8080: ({f"{TARGETS[0]}:8080"}, {BALANCER}, False)}, "target", deps)


@scene
def three_targets_and_two_replicas() -> tuple[Traffic, Expected]:
    traffic = Traffic()
    _behind_balancer(traffic, TARGETS, 90)
    for number in range(90):
        _database(traffic, TARGETS[number % 3], f"10.0.0.{20 + number % 2}:5432", number * 0.1 + 0.02)
    return traffic, Expected(
        {8080: ({f"{t}:8080" for t in TARGETS}, {BALANCER}, False)}, "mirror", {"10.0.0.20:5432", "10.0.0.21:5432"}
    )


@scene
def direct_server_with_a_microservice() -> tuple[Traffic, Expected]:
    traffic = Traffic()
    for number in range(80):
        at = number * 0.1
        _http(traffic, USERS[number % 30], f"{TARGETS[0]}:80", at, path=f"/page/{number % 9}").close(at=at + 0.5)
        if number % 2:
            _http(traffic, TARGETS[0], "10.0.0.30:9000", at + 0.003, path=f"/v1/price/{number}", size=300).close(at=at + 0.1)
    return traffic, Expected({80: ({f"{TARGETS[0]}:80"}, set(), True)}, "target", {"10.0.0.30:9000"})


@scene
def addresses_preserved_with_checks_from_the_nodes() -> tuple[Traffic, Expected]:
    traffic = Traffic()
    for number in range(120):
        at = number * 0.1
        target = f"{TARGETS[hash_of(USERS[number % 30]) % 3]}:8080"
        traffic.connect(USERS[number % 30], target, at=at, stack=STACKS[number % 4], ttl=50 + number % 7).request(
            at=at + 0.01
        ).respond().close(at=at + 0.5)
    for number in range(12):
        for target in TARGETS:
            traffic.probe("10.0.9.1", f"{target}:8080", at=number * 1.0 + 0.5)
    return traffic, Expected({8080: ({f"{t}:8080" for t in TARGETS}, set(), True)}, "mirror")


def hash_of(text: str) -> int:
    return sum(text.encode()) * 2654435761 >> 4


def _front(traffic: Traffic, user: str, at: float, vip: str = VIP) -> Connection:
    conn = traffic.connect(user, vip, at=at, stack=STACKS[hash_of(user) % 4], ttl=50 + hash_of(user) % 9)
    return conn.hello(sni="shop.example", at=at + 0.002)


def _two_legs(back: Callable[[Traffic, str, str, int, float, Connection], None], vip: str = VIP) -> Traffic:
    """One back connection per front connection, a few milliseconds after its hello."""
    traffic = Traffic()
    rng = random.Random(3)
    at = 0.0
    for number in range(60):
        at += rng.expovariate(8.0)
        user = USERS[rng.randrange(30)]
        front = _front(traffic, user, at, vip)
        back(traffic, user, TARGETS[number % 3], number, at + 0.006, front)
        front.data(client=500, server=2200, at=at + 0.05)
        front.close(at=at + 1.0)
    return traffic


def _balancer_view(targets_port: int, balancers: set[str], preserved: bool | None) -> Expected:
    return Expected({targets_port: ({f"{t}:{targets_port}" for t in TARGETS}, balancers, preserved)}, "load_balancer", vips={VIP})


@scene
def offload_seen_at_a_balancer_with_two_addresses() -> tuple[Traffic, Expected]:
    def back(traffic: Traffic, user: str, target: str, number: int, at: float, front: Connection) -> None:
        _http(traffic, BALANCER, f"{target}:8080", at, user, f"/item/{number}").close(at=at + 0.9)

    traffic = _two_legs(back)
    for number in range(5):
        _resolve(traffic, BALANCER, number * 1.0)
    return traffic, _balancer_view(8080, {BALANCER}, False)


@scene
def bridging_seen_at_a_balancer_with_one_address() -> tuple[Traffic, Expected]:
    own = VIP.partition(":")[0]

    def back(traffic: Traffic, user: str, target: str, number: int, at: float, front: Connection) -> None:
        conn = traffic.connect(own, f"{target}:8443", at=at)
        conn.hello(family="one", at=at + 0.001).data(client=500, server=2100, at=at + 0.03).close(at=at + 0.9)

    return _two_legs(back), _balancer_view(8443, {own}, False)


@scene
def bridging_seen_at_a_balancer_with_two_addresses() -> tuple[Traffic, Expected]:
    def back(traffic: Traffic, user: str, target: str, number: int, at: float, front: Connection) -> None:
        conn = traffic.connect(BALANCER, f"{target}:8443", at=at)
        conn.hello(family="one", at=at + 0.001).data(client=500, server=2100, at=at + 0.03).close(at=at + 0.9)

    return _two_legs(back), _balancer_view(8443, {BALANCER}, False)


@scene
def passthrough_seen_at_a_proxy() -> tuple[Traffic, Expected]:
    def back(traffic: Traffic, user: str, target: str, number: int, at: float, front: Connection) -> None:
        conn = traffic.connect(BALANCER, f"{target}:8443", at=at)
        conn.hello(random=f"random-{front.number}", sni="shop.example", at=at + 0.001)
        conn.data(client=500, server=2200, at=at + 0.03).close(at=at + 0.9)

    return _two_legs(back), _balancer_view(8443, {BALANCER}, False)


@scene
def dnat_seen_at_the_balancer() -> tuple[Traffic, Expected]:
    def back(traffic: Traffic, user: str, target: str, number: int, at: float, front: Connection) -> None:
        port = front.ends["client_port"]
        conn = traffic.connect(
            f"{user}:{port}", f"{target}:8443", at=front.opened_s + 1e-6, isn=front.row["isn_c"], ttl=front.row["ttl_c"] - 1
        )
        conn.hello(random=f"random-{front.number}", sni="shop.example", at=at)
        conn.data(client=500, server=2200, at=at + 0.03).close(at=at + 0.9)

    return _two_legs(back), _balancer_view(8443, set(), True)


@scene
def l4_tls_with_borrowed_addresses_seen_at_the_balancer() -> tuple[Traffic, Expected]:
    def back(traffic: Traffic, user: str, target: str, number: int, at: float, front: Connection) -> None:
        _http(traffic, user, f"{target}:8080", at, "", f"/item/{number}").close(at=at + 0.9)

    return _two_legs(back), _balancer_view(8080, set(), True)


@scene
def proxy_header_names_the_front_connection() -> tuple[Traffic, Expected]:
    def back(traffic: Traffic, user: str, target: str, number: int, at: float, front: Connection) -> None:
        conn = traffic.connect(BALANCER, f"{target}:8080", at=at)
        conn.proxy(f"{user}:{front.ends['client_port']}", VIP, at=at + 0.0001)
        conn.request(at=at + 0.001).respond().close(at=at + 0.9)

    return _two_legs(back), _balancer_view(8080, {BALANCER}, False)


@scene
def two_services_of_one_balancer_on_the_same_hosts() -> tuple[Traffic, Expected]:
    traffic = Traffic()
    _behind_balancer(traffic, TARGETS, 60, 8080)
    _behind_balancer(traffic, TARGETS, 30, 9090)
    services = {port: ({f"{t}:{port}" for t in TARGETS}, {BALANCER}, False) for port in (8080, 9090)}
    return traffic, Expected(services, "mirror")  # type: ignore[arg-type]


@scene
def web_tier_and_application_tier() -> tuple[Traffic, Expected]:
    """Clients reach two web servers under their own addresses; these pass the requests on to three applications."""
    traffic = Traffic()
    for number in range(90):
        at, web = number * 0.1, f"10.0.0.{4 + number % 2}"
        path = f"/item/{number}"
        front = traffic.connect(USERS[number % 30], f"{web}:80", at=at).request(path=path, at=at + 0.001)
        conn = traffic.connect(web, f"{TARGETS[number % 3]}:3000", at=at + 0.002)
        conn.request(path=path, forwarded=[USERS[number % 30]], at=at + 0.003).respond(delay=0.02).close(at=at + 0.03)
        front.respond(delay=0.03).close(at=at + 0.2)
    targets = {f"{t}:3000" for t in TARGETS}
    return traffic, Expected({3000: (targets, {"10.0.0.4", "10.0.0.5"}, False)}, "mirror", vips={"10.0.0.4:80", "10.0.0.5:80"})


@scene
def a_target_that_is_down() -> tuple[Traffic, Expected]:
    traffic = Traffic()
    _behind_balancer(traffic, TARGETS[:2])
    for number in range(6):
        traffic.probe(BALANCER, f"{TARGETS[2]}:8080", at=number * 1.0, refused=True)
    return traffic, Expected({8080: ({f"{t}:8080" for t in TARGETS}, {BALANCER}, False)}, "mirror")


@scene
def ipv6() -> tuple[Traffic, Expected]:
    traffic = Traffic()
    for number in range(60):
        target = f"2001:db8::{11 + number % 3:x}"
        _http(traffic, "2001:db8::5", f"[{target}]:8080", number * 0.1, f"2001:db8:99::{number % 20 + 1:x}").close(
            at=number * 0.1 + 1
        )
    targets = {f"[2001:db8::{number:x}]:8080" for number in (11, 12, 13)}
    return traffic, Expected({8080: (targets, {"2001:db8::5"}, False)}, "mirror")


@scene
def behind_a_cdn() -> tuple[Traffic, Expected]:
    """Seen at the balancer: a CDN's nodes are its clients, and it adds their addresses to the users'."""
    traffic = Traffic()
    nodes = [f"203.0.113.{number}" for number in range(1, 6)]
    for number in range(60):
        at, node = number * 0.1, nodes[number % 5]
        front = _front(traffic, node, at)
        conn = traffic.connect(BALANCER, f"{TARGETS[number % 3]}:8080", at=at + 0.005)
        conn.request(forwarded=[USERS[number % 30], node], at=at + 0.006).respond().close(at=at + 0.5)
        front.data(client=500, server=2000, at=at + 0.05).close(at=at + 0.6)
    return traffic, _balancer_view(8080, {BALANCER}, False)


@scene
def strangers_in_one_mirror() -> tuple[Traffic, Expected]:
    """A TLS server that clients reach directly beside another service behind a balancer: nothing to do with each other."""
    traffic = Traffic()
    rng = random.Random(11)
    at = 0.0
    for _ in range(80):
        at += rng.expovariate(8.0)
        conn = traffic.connect(USERS[rng.randrange(30)], "10.0.7.1:443", at=at)
        conn.hello(sni="mail.example", at=at + 0.002).data(client=400, server=60_000, at=at + 0.1).close(at=at + 1.0)
    at = 0.0
    for number in range(80):
        at += rng.expovariate(8.0)
        _http(traffic, BALANCER, f"{TARGETS[number % 3]}:8080", at, "", f"/item/{number}").close(at=at + 0.2)
    services: dict[int, tuple[set[str], set[str], bool | None]] = {
        443: ({"10.0.7.1:443"}, set(), True),
        8080: ({f"{t}:8080" for t in TARGETS}, {BALANCER}, None),
    }
    return traffic, Expected(services, "mirror")


@scene
def bridging_over_a_pool_on_the_same_port() -> tuple[Traffic, Expected]:
    """Few back connections, opened early and kept, carry what many front connections bring; both sides on port 443."""
    traffic = Traffic()
    rng = random.Random(5)
    pool = []
    for number in range(6):
        conn = traffic.connect(BALANCER, f"{TARGETS[number % 3]}:443", at=0.2 + number * 0.3)
        pool.append(conn.hello(family="one", at=0.201 + number * 0.3))
    at = 0.1
    for number in range(80):
        at += rng.expovariate(8.0)
        front = _front(traffic, USERS[rng.randrange(30)], at)
        pool[number % 6].data(client=600, server=9_000, at=at + 0.02)
        front.data(client=620, server=9_100, at=at + 0.03).close(at=at + 1.0)
    return traffic, _balancer_view(443, {BALANCER}, False)


@scene
def bridging_over_three_kept_connections_while_clients_resolve_names() -> tuple[Traffic, Expected]:
    """The clients' own questions to a name server pass the balancer too, and say nothing about who opens the backs."""
    rng = random.Random(13)
    traffic = Traffic()
    pool = [traffic.connect(BALANCER, f"{target}:8443", at=0.05).hello(family="one", at=0.06) for target in TARGETS]
    at = 0.1
    for number in range(18):
        at += rng.expovariate(8.0)
        user = USERS[number]
        _resolve(traffic, user, at - 0.001)
        front = _front(traffic, user, at)
        for kept in range(4):
            pool[number % 3].data(client=430, server=480, at=at + 0.02 + kept)
            front.data(client=430, server=480, at=at + 0.03 + kept)
        front.close(at=at + 5.0)
    for kept in pool:
        kept.close(at=at + 6.0)
    return traffic, _balancer_view(8443, {BALANCER}, False)


@scene
def bridging_over_kept_connections_with_checks_inside_tls() -> tuple[Traffic, Expected]:
    """Nearly all that the balancer opens are its checks; handshakes are most of what the servers send."""
    rng = random.Random(17)
    traffic = Traffic()
    pool = [
        traffic.connect(BALANCER, f"{target}:8443", at=0.6).hello(family="one", at=0.6 + 0.3 * n)
        for n, target in enumerate(TARGETS)
    ]
    for number in range(12):
        at = 0.5 + 0.15 * number + rng.random() * 0.1
        front = _front(traffic, USERS[number], at)
        front.data(server=2400, at=at + 0.003)
        for kept in range(5):
            pool[number % 3].data(client=480, server=900, at=at + 0.02 + kept)
            front.data(client=430, server=880, at=at + 0.03 + kept)
        front.close(at=at + 5.0)
    _check_inside_tls(traffic, BALANCER, [f"{target}:8443" for target in TARGETS], 18.0)
    return traffic, _balancer_view(8443, {BALANCER}, False)


def _check_inside_tls(traffic: Traffic, caller: str, servers: list[str], until_s: float) -> None:
    """Every two seconds each server by turns, as HAProxy does: a resumed handshake and little more."""
    rng = random.Random(19)
    for place, server in enumerate(servers):
        at = 0.1 + 0.66 * place
        while at < until_s:
            check = traffic.connect(caller, server, at=at).hello(family="one", session="ticket", resumed=True, at=at + 0.001)
            check.data(client=160, server=130, at=at + 0.003).close(at=at + 0.004)
            at += 2.0 + rng.random() * 0.012


@scene
def a_monitor_of_other_servers_beside_a_target() -> tuple[Traffic, Expected]:
    """Who does nothing but check has nothing to pass on: the clients' server is no front of those servers."""
    traffic = Traffic()
    rng = random.Random(23)
    for number in range(40):
        at = 0.4 * number + rng.random() * 0.3
        _front(traffic, USERS[number % 30], at, f"{TARGETS[0]}:443").data(client=900, server=9_000, at=at + 0.1).close(
            at=at + 0.5
        )
    servers = {f"10.0.5.{number}:8443" for number in (1, 2, 3)}
    _check_inside_tls(traffic, "10.0.9.9", sorted(servers), 16.0)
    return traffic, Expected({443: ({f"{TARGETS[0]}:443"}, set(), True), 8443: (servers, {"10.0.9.9"}, None)}, "mirror")


@scene
def bridging_with_a_connection_per_request_of_clients_that_keep_theirs() -> tuple[Traffic, Expected]:
    """The backs follow requests inside the clients' TLS, long after these opened their connections."""
    rng = random.Random(29)
    traffic = Traffic()
    for number in range(20):
        opened = 2.0 * number + rng.random()
        front = _front(traffic, USERS[number], opened)
        for _ in range(5):
            asked = opened + 10.0 * rng.random()
            back = traffic.connect(BALANCER, f"{TARGETS[rng.randrange(3)]}:8443", at=asked)
            back.hello(family="one", at=asked + 0.001).data(client=430, server=6_000, at=asked + 0.02).close(at=asked + 0.03)
            front.data(client=430, server=5_900, at=asked + 0.03)
        front.close(at=opened + 11.0)
    return traffic, _balancer_view(8443, {BALANCER}, False)


@scene
def an_office_and_a_shop_outside() -> tuple[Traffic, Expected]:
    """At the office's gateway: its hosts are at hand, the shop's address is three routers away and may be a balancer's."""
    traffic = Traffic()
    rng = random.Random(31)
    for number in range(60):
        at, stack = 0.2 * number, STACKS[number % 4]
        conn = traffic.connect(f"10.0.7.{number % 20 + 1}", VIP, at=at, stack=stack, ttl_s=61, connect_ms=9.0, ack_ms=0.3)
        conn.hello(sni="shop.example", family=f"family {number % 5}", at=at + 0.01)
        conn.data(client=700, server=8_000, at=at + 0.1).close(at=at + rng.random())
    return traffic, Expected({443: ({VIP}, set(), True)}, "client")


@scene
def two_services_of_the_same_users() -> tuple[Traffic, Expected]:
    """One behind a proxy that names the users, one that they reach themselves, at other moments: the second feeds nothing."""
    traffic = Traffic()
    _behind_balancer(traffic, TARGETS[:2], 90)
    for number in range(80):
        at, user = 0.1 * number + 0.06, USERS[number % 30]
        conn = traffic.connect(user, f"10.0.0.{21 + number % 2}:8443", at=at, stack=STACKS[number % 4], ttl=50 + number % 7)
        conn.hello(sni="login.example", family=f"family {number % 5}", at=at + 0.001).data(client=400, server=900, at=at + 0.01)
        conn.close(at=at + 0.02)
    back = ({f"{target}:8080" for target in TARGETS[:2]}, {BALANCER}, False)
    return traffic, Expected({8080: back, 8443: ({"10.0.0.21:8443", "10.0.0.22:8443"}, set(), True)}, "mirror")


@scene
def offload_behind_two_addresses_and_a_port_that_only_redirects() -> tuple[Traffic, Expected]:
    """Each passes on less than half of what the targets get; who asks in clear is sent to the other port, and passed on there."""
    traffic = Traffic()
    second, plain = "192.0.2.11:443", "192.0.2.10:80"
    for number in range(90):
        at, user = 0.3 * number, USERS[number % 30]
        if number % 3 == 0:
            redirected = traffic.connect(user, plain, at=at, stack=STACKS[number % 4]).request(path="/", at=at + 0.001)
            redirected.respond(status=301, delay=0.001).close(at=at + 2)
        front = _front(traffic, user, at + 0.4, second if number % 5 < 2 else VIP)
        _http(traffic, BALANCER, f"{TARGETS[number % 3]}:8080", at + 0.41, user, "/", 700).close(at=at + 0.5)
        front.data(client=500, server=800, at=at + 0.45).close(at=at + 0.6)
    back = ({f"{target}:8080" for target in TARGETS}, {BALANCER}, False)
    return traffic, Expected({8080: back, 80: ({plain}, set(), True)}, "load_balancer", vips={VIP, second})


@scene
def a_tls_proxy_before_a_service_address_that_is_rewritten() -> tuple[Traffic, Expected]:
    """On one node: the proxy's plain connections go to an address of the service, and from there, rewritten, to the targets."""
    traffic = Traffic()
    proxy, service = VIP.partition(":")[0], "10.96.0.10:80"
    for number in range(60):
        at, user = 0.2 * number, USERS[number % 20]
        front = _front(traffic, user, at)
        back = traffic.connect(proxy, service, at=at + 0.006)
        back.request(path=f"/item/{number}", at=at + 0.007).respond(delay=0.02)
        ends = back.ends["client_port"], back.row["isn_c"]
        pod = traffic.connect(f"{proxy}:{ends[0]}", f"{TARGETS[number % 3]}:8080", at=at + 0.006001, isn=ends[1], ttl=63)
        pod.request(path=f"/item/{number}", at=at + 0.007001).respond(delay=0.02)
        front.data(client=400, server=2100, at=at + 0.03)
        for conn in (pod, back, front):
            conn.close(at=at + 0.1)
    return traffic, Expected({8080: ({f"{t}:8080" for t in TARGETS}, {proxy}, False)}, "load_balancer", vips={service})


@scene
def nodes_of_a_cdn_before_a_balancer() -> tuple[Traffic, Expected]:
    """TLS to the nodes, TLS from there to the balancer, plain to the targets: what the nodes accept is no target either."""
    traffic = Traffic()
    nodes = ("203.0.113.5", "203.0.113.6")
    for number in range(60):
        at, user, node = 0.2 * number, USERS[number % 30], nodes[number % 2]
        outer = _front(traffic, user, at, f"{node}:443")
        middle = traffic.connect(node, VIP, at=at + 0.01).hello(sni="shop.example", family="node", at=at + 0.011)
        back = traffic.connect(BALANCER, f"{TARGETS[number % 3]}:8080", at=at + 0.02)
        back.request(path="/", forwarded=(user, node), at=at + 0.021).respond(delay=0.01, size=2000)
        for conn in (middle, outer):
            conn.data(client=500, server=2100, at=at + 0.04)
        for conn in (back, middle, outer):
            conn.close(at=at + 0.1)
    return traffic, Expected({8080: ({f"{t}:8080" for t in TARGETS}, {BALANCER}, False)}, "mirror", vips={VIP})


@scene
def a_tls_proxy_before_another_proxy_on_one_host() -> tuple[Traffic, Expected]:
    """Seen on every interface: from one to the other it goes over the loopback, which is no leg and no target."""
    traffic = Traffic()
    proxy = VIP.partition(":")[0]
    for number in range(60):
        at, user = 0.2 * number, USERS[number % 20]
        front = _front(traffic, user, at)
        local = _http(traffic, "127.0.0.1", "127.0.0.1:6081", at + 0.005, path=f"/item/{number}")
        back = _http(traffic, proxy, f"{TARGETS[number % 3]}:8080", at + 0.006, user, f"/item/{number}", 2000)
        front.data(client=400, server=2100, at=at + 0.03)
        for conn in (back, local, front):
            conn.close(at=at + 0.1)
    return traffic, _balancer_view(8080, {proxy}, False)


@scene
def targets_with_a_program_of_their_own_behind_a_proxy_of_their_own() -> tuple[Traffic, Expected]:
    """One target on every interface: its proxy is the end of the last leg that others can reach."""
    traffic = Traffic()
    for number in range(60):
        at, user = 0.2 * number, USERS[number % 20]
        back = _http(traffic, BALANCER, f"{TARGETS[0]}:8080", at, user, f"/item/{number}", 2000)
        local = _http(traffic, "127.0.0.1", "127.0.0.1:8000", at + 0.002, user, f"/item/{number}", 1900)
        _database(traffic, TARGETS[0], f"{TARGETS[0]}:5432", at + 0.004)
        for conn in (local, back):
            conn.close(at=at + 0.1)
    return traffic, Expected({8080: ({f"{TARGETS[0]}:8080"}, {BALANCER}, False)}, "target")


@scene
def targets_that_reach_a_server_outside_through_a_forward_proxy() -> tuple[Traffic, Expected]:
    """The same requests before and behind the forward proxy: it is the targets' own, like what is behind it."""
    traffic = Traffic()
    for number in range(60):
        at, target = 0.2 * number, TARGETS[number % 3]
        front = traffic.connect(USERS[number % 20], "192.0.2.10:80", at=at).request(path=f"/item/{number}", at=at + 0.001)
        back = _http(traffic, BALANCER, f"{target}:8080", at + 0.002, USERS[number % 20], f"/item/{number}")
        front.respond(delay=0.04)
        for conn in (back, front):
            conn.close(at=at + 0.1)
        if number % 2:
            ask = traffic.connect(target, "10.0.1.70:3128", at=at + 0.01).request(path="/price", at=at + 0.011)
            _http(traffic, "10.0.1.70", "203.0.113.80:80", at + 0.012, path="/price", size=300).close(at=at + 0.1)
            ask.respond(delay=0.03, size=300).close(at=at + 0.1)
    own = {"10.0.1.70:3128"}
    pool = ({f"{t}:8080" for t in TARGETS}, {BALANCER}, False)
    return traffic, Expected({8080: pool}, "mirror", own, vips={"192.0.2.10:80"})


@scene
def one_client_through_a_balancer_with_two_addresses() -> tuple[Traffic, Expected]:
    """A test from one desk: the only client of the front, the only caller of the backs."""
    traffic = Traffic()
    for number in range(30):
        at = number * 0.5 + (number % 7) * 0.03
        front = _front(traffic, USERS[0], at)
        _http(traffic, BALANCER, f"{TARGETS[number % 3]}:8080", at + 0.01, "", f"/item/{number}").close(at=at + 0.1)
        front.data(client=500, server=2200, at=at + 0.05).close(at=at + 0.2)
    return traffic, _balancer_view(8080, {BALANCER}, False)


@scene
def target_that_calls_three_servers_over_tls() -> tuple[Traffic, Expected]:
    """Bridging at a target that asks another service of three servers itself: they are no targets."""
    traffic = Traffic()
    for number in range(60):
        at = number * 0.2
        conn = traffic.connect(BALANCER, f"{TARGETS[0]}:8443", at=at)
        conn.hello(family="one", at=at + 0.001).data(client=900, server=20_000, at=at + 0.08).close(at=at + 0.2)
        if number % 2 == 0:
            call = traffic.connect(TARGETS[0], f"10.0.5.{number % 3 + 1}:443", at=at + 0.01)
            call.hello(sni="stock.internal", at=at + 0.012).data(client=300, server=900, at=at + 0.02).close(at=at + 0.05)
    return traffic, Expected(
        {8443: ({f"{TARGETS[0]}:8443"}, {BALANCER}, None)}, "target", {f"10.0.5.{number}:443" for number in (1, 2, 3)}
    )


@scene
def dns_service_of_its_own() -> tuple[Traffic, Expected]:
    """A resolver is a target when resolving is the service."""
    traffic = Traffic()
    for number in range(60):
        conn = traffic.connect(
            USERS[number % 30], f"{TARGETS[number % 2]}:53", at=number * 0.1, proto=17, protocol7=Protocol7.DNS
        )
        conn.data(client=40, server=120).close(end=End.EXPIRED)
    return traffic, Expected({53: ({f"{t}:53" for t in TARGETS[:2]}, set(), True)}, "mirror")
