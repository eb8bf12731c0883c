"""Made-up deployments: a mode, a balancer's habits, a population of clients, what they send; and the truth about each.

Not a copy of the lab: habits are drawn at random within what protocols allow, so that a rule which fits the lab's programs only
shows here.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from lbtop.model.observation import HelloFlag, ProxyFlag, ReqFlag
from lbtop.testing import Traffic

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0"
SCRIPTS = ("curl/8.5.0", "python-requests/2.31.0", "okhttp/4.12.0", "Go-http-client/1.1")
STACKS = (
    ("1460,64240,7,MSTNW", 64),
    ("1460,64240,8,MNWNNS", 128),
    ("1460,65535,6,MNWNNTSEE", 64),
    ("1400,65535,9,MSTNW", 64),
    ("1360,65535,8,MNWNNS", 128),
    ("1440,29200,7,MSTNW", 64),
    ("1452,42340,11,MSTNW", 64),
)
BALANCER_STACK = ("8961,62727,7,MSTNW", 63)


@dataclass(frozen=True, slots=True)
class Client:
    address: str
    stack: tuple[str, int]
    family: str
    browser: bool
    agent: str
    number: int


@dataclass(slots=True)
class Deployment:
    """What was set up. ``told``: whether the truth can be known from the targets' side at all."""

    mode: str
    clients: list[Client]
    preserved: bool = False  # the targets see clients' addresses
    own_tcp: bool = False  # forwarded at layer 3-4: the clients' TCP stacks arrive
    balancers: int = 1
    headers: str = "none"  # none, forwarded, full, http
    proxy: str = "none"  # none, plain, tls
    resumes: bool = False
    sni: bool = True
    targets: int = 3
    connections: int = 90
    note: str = ""
    told: bool = True
    far: bool = False  # clients are 10 to 150 ms away; else in the next room
    extra: dict[str, int] = field(default_factory=dict)


def clients_of(rng: random.Random, number: int, browsers: float, uniform: bool) -> list[Client]:
    """A population; ``uniform``: one program on one kind of host (a fleet of devices)."""
    population = []
    one = rng.choice(STACKS)
    for place in range(number):
        browser = not uniform and rng.random() < browsers
        stack, ttl = one if uniform else rng.choice(STACKS)
        distance = 10 if uniform else rng.randint(5, 25)
        family = "fleet" if uniform else (f"browser-{rng.randint(1, 6)}" if browser else f"script-{rng.randint(1, 4)}")
        agent = rng.choice((CHROME, FIREFOX)).format(rng.randint(118, 131)) if browser else rng.choice(SCRIPTS)
        if uniform:
            agent = "device/1.0"
        address = f"203.0.{113 + place // 250}.{1 + place % 250}"
        population.append(Client(address, (stack, ttl - distance), family, browser, agent, place))
    return population


def traffic_of(rng: random.Random, deployment: Deployment) -> Traffic:
    """The deployment's traffic as it arrives at its targets."""
    traffic = Traffic()
    targets = [f"10.0.0.{11 + place}" for place in range(deployment.targets)]
    tls = deployment.mode in ("bridging", "passthrough")
    offered: dict[str, tuple[str, str]] = {}
    pool: dict[str, object] = {}
    unsteady = random.Random(deployment.connections)  # nobody asks by the clock
    for turn in range(deployment.connections):
        client = rng.choice(deployment.clients)
        target = targets[turn % len(targets)]
        node = f"10.0.9.{1 + turn % deployment.balancers}"
        source = client.address if deployment.preserved else node
        stack, ttl = client.stack if deployment.own_tcp else BALANCER_STACK
        port = 8443 if tls else 8080
        at = turn * 0.2 + 0.2 * unsteady.random()
        pooled = deployment.mode == "offload" and turn >= 12 and deployment.headers != "none"
        conn = pool.get(node + target) if pooled else None
        if conn is None:
            trip = round_trip(deployment, client) if deployment.own_tcp else 0.2
            conn = traffic.connect(source, f"{target}:{port}", at=at, stack=stack, ttl=ttl, connect_ms=0.3, ack_ms=trip)
            pool[node + target] = conn
            if deployment.proxy != "none":
                flags = ProxyFlag.SSL_TLV | ProxyFlag.SSL_CLIENT if deployment.proxy == "tls" else 0
                conn.proxy(f"{client.address}:{40000 + turn}", "192.0.2.80:8443", at=at, flags=flags)
        if tls:
            _hello(conn, deployment, client, offered, at, source, target)
            conn.data(3000, 20000, at=at + 0.05)
            conn.close(at=at + 0.1)
        else:
            _request(conn, deployment, client, at)
    return traffic


def round_trip(deployment: Deployment, client: Client) -> float:
    """Milliseconds to a client and back."""
    return 10.0 + client.number * 37 % 140 if deployment.far else 0.4


def _hello(
    conn, deployment: Deployment, client: Client, offered: dict[str, tuple[str, str]], at: float, source: str, target: str
) -> None:
    bridging = deployment.mode == "bridging"
    family = "balancer" if bridging else client.family
    holder = f"balancer {source if not deployment.preserved else ''} {target}" if bridging else client.address
    flags = HelloFlag.GREASE if client.browser and not bridging else 0
    issuer, session = offered.get(holder, ("", "")) if deployment.resumes else ("", "")
    offered.setdefault(holder, (target, f"session-{holder}"))
    sni = "shop.example" if deployment.sni else ""
    turn = 0.8 if bridging else 0.8 + round_trip(deployment, client)
    ja4 = family + ("r" if session else "")
    resumed = bool(session) and issuer == target
    conn.hello(family=family, ja4=ja4, sni=sni, session=session, resumed=resumed, flags=flags, at=at + 0.01, turn_ms=turn)


def _request(conn, deployment: Deployment, client: Client, at: float) -> None:
    secure = deployment.mode in ("offload", "l4_tls")
    flags = 0
    names = ["Host", "User-Agent", "Accept"]
    if client.browser:
        flags |= ReqFlag.BROWSER_UA | ReqFlag.UPGRADE_INSECURE
        if secure:
            flags |= ReqFlag.SEC_FETCH | ReqFlag.BR_ZSTD
            names.append("Sec-Fetch-Site")
            if "Chrome" in client.agent:
                flags |= ReqFlag.SEC_CH_UA
                names.append("sec-ch-ua")
    forwarded: tuple[str, ...] = ()
    proto = ""
    if deployment.headers in ("forwarded", "full", "http"):
        forwarded = (client.address,)
        names.append("X-Forwarded-For")
    if deployment.headers == "full":
        proto = "https" if secure else "http"
        names.append("X-Forwarded-Proto")
    conn.request(
        at=at + 0.01, user_agent=client.agent, headers=names, forwarded=forwarded, proto=proto, flags=flags,
        cookies={"JSESSIONID": f"s{client.number}"},
    )  # fmt: skip
    conn.respond(200)


def random_deployment(rng: random.Random) -> Deployment:
    """One of many, its mode drawn first."""
    mode = rng.choice(("bridging", "passthrough", "offload", "l4_tls", "none"))
    uniform = rng.random() < 0.2
    browsers = rng.choice((0.0, 0.5, 0.9))
    clients = clients_of(rng, rng.choice((12, 30, 80)), browsers, uniform)
    connections = rng.choice((30, 90, 200))
    spoofs = rng.random() < 0.2
    deployment = Deployment(mode, clients, connections=connections, balancers=rng.choice((1, 1, 2)))
    if mode == "bridging":
        deployment.preserved = spoofs
        deployment.resumes = rng.random() < 0.7
        deployment.sni = rng.random() < 0.3
    elif mode == "passthrough":
        deployment.own_tcp = deployment.preserved = rng.random() < 0.5
        deployment.proxy = "plain" if not deployment.own_tcp and rng.random() < 0.3 else "none"
        deployment.resumes = rng.random() < 0.5
        deployment.sni = rng.random() < 0.9
    elif mode == "offload":
        deployment.headers = rng.choice(("forwarded", "full", "full"))
    elif mode == "l4_tls":
        deployment.preserved = spoofs
        deployment.proxy = "none" if spoofs else rng.choice(("none", "plain", "tls"))
    else:
        deployment.own_tcp = deployment.preserved = rng.random() < 0.5
        if not deployment.own_tcp:
            deployment.headers = rng.choice(("none", "full"))
    deployment.far = rng.random() < 0.6
    return deployment
