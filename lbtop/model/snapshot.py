"""The one frame that every face reads: dashboard, JSON, text, report, metrics.

Immutable, picklable, compared by identity (``eq=False``: a big frame compared field by field on every tick would cost
more than drawing it). Field names are those of the JSON contract where it names them; times are ``*_ns`` here and become
ISO 8601 in the JSON. ``None`` is "absent or undecidable", never 0.
All text that came from the wire is :class:`~lbtop.model.text.SafeText`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lbtop.model.judgement import Evidence, Finding, Mechanism, Mode, Verdict
from lbtop.model.record import dataclass
from lbtop.model.text import SafeText

if TYPE_CHECKING:
    from lbtop.model.observation import InsideTls, KernelTcp

SCHEMA = "lbtop.diagnosis/1"


@dataclass(frozen=True, slots=True, eq=False)
class SourceFrame:
    kind: str
    inputs: tuple[str, ...]
    started_ns: int
    ended_ns: int
    packets: int
    bytes: int
    undecoded_packets: int
    truncated_packets: int
    dropped_packets: int | None
    connections: int
    connections_seen_from_start: int
    caps_reached: tuple[str, ...]
    vantage: str  # target, load_balancer, mirror, client, unknown
    vantage_evidence: tuple[Evidence, ...]
    duplicate_packets: int = 0
    notes: tuple[str, ...] = ()
    inside_tls: InsideTls | None = None  # with --tls-plaintext
    kernel_tcp: tuple[KernelTcp, ...] = ()  # live with eBPF, on this host


@dataclass(frozen=True, slots=True, eq=False)
class LoadBalancer:
    addresses: tuple[str, ...]
    product: str  # catalogue token, "none" or "unknown"
    confidence: float
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Hop:
    from_: str  # client, load_balancer, cdn, proxy, target
    to: str
    encryption: str  # tls, plain, unknown
    seen: bool  # its packets are in view; otherwise inferred
    tls_versions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Termination:
    verdict: Verdict[Mode]
    hops: tuple[Hop, ...]
    by_mode: Mapping[str, int] | None = None  # connections per mode where a service is mixed


@dataclass(frozen=True, slots=True, eq=False)
class KeyAffinity:
    key: str  # source_ip, source_net, forwarded_for, cookie:NAME, ja4, header:NAME
    affinity: float | None
    interval: tuple[float, float] | None  # 95 %, from resampling keys
    keys: int
    returns: int


@dataclass(frozen=True, slots=True, eq=False)
class Break:
    time_ns: int
    keys: int
    from_: str | None
    to: str | None
    cause: str


@dataclass(frozen=True, slots=True, eq=False)
class CookieLifetime:
    model: str  # since_issue, since_last_response
    seconds: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Stickiness:
    verdict: Verdict[Mechanism]
    cookie: SafeText | None
    balancing: str
    key: str | None
    affinity: float | None
    affinity_interval: tuple[float, float] | None
    keys: int
    returns: int
    by_key: tuple[KeyAffinity, ...]
    breaks: tuple[Break, ...] = ()
    cookie_lifetime: CookieLifetime | None = None
    sessions: int | None = None
    sessions_lost: int | None = None
    orphan_requests: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Percentiles:
    p50: float
    p99: float


@dataclass(frozen=True, slots=True, eq=False)
class Process:
    """A program at a target: who listens there, live; as the capture itself names it (comments of ptcpdump)."""

    pid: int | None
    name: SafeText | None
    container: SafeText | None
    pod: SafeText | None


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    target: str  # ip:port or [ipv6]:port
    connections: int
    requests: int | None
    health_checks: int | None
    probes: int
    refused: int
    bytes_in: int
    bytes_out: int
    clients: int | None
    share: float  # in the unit of skew.metric
    state: str  # serving, added, draining, gone, silent
    first_seen_ns: int
    last_seen_ns: int
    connect_ms: Percentiles | None
    response_ms: Percentiles | None
    resets: int
    retransmits: int
    status: Mapping[str, int] | None  # 2xx … 5xx
    name: str | None = None  # from --name or a hosts file
    live: int = 0  # connections open now
    processes: tuple[Process, ...] = ()  # most connections first


@dataclass(frozen=True, slots=True, eq=False)
class Dependency:
    address: str
    connections: int
    encryption: str


@dataclass(frozen=True, slots=True, eq=False)
class Skew:
    metric: str  # requests, connections, bytes, active
    peak_to_mean: float
    expected_peak_to_mean: float
    gini: float
    p_value: float
    significant: bool
    cause: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sensitive:
    kind: str
    count: int
    distinct: int
    hop: str  # "client->load_balancer", "load_balancer->target"
    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class TlsFacts:
    versions: Mapping[str, int]
    ja4: Mapping[SafeText, int]
    sni: Mapping[SafeText, int]
    alpn: Mapping[SafeText, int]
    resumption_offered: int
    resumption_accepted: int
    ciphers: Mapping[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Exposure:
    plaintext_bytes: int
    tls_bytes: int
    plaintext_connections: int
    tls_connections: int
    sensitive: tuple[Sensitive, ...]
    tls: TlsFacts


@dataclass(frozen=True, slots=True, eq=False)
class Nat:
    address: str
    users_low: int
    users_high: int | None
    share: float
    basis: str


@dataclass(frozen=True, slots=True, eq=False)
class Idle:
    cliff_s: float | None
    interval: tuple[float, float] | None
    ended_by: str | None
    resets_after_idle: int
    matches: str | None
    target_closes_after_s: float | None
    keepalive_races: int
    races_per_hour: float | None = None  # forecast, see lbtop.inference.races
    races_interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SessionRow:
    """One key (a session, or a client where no session is known) and where its arrivals went."""

    key: str  # "session 12" or a client's address
    client: str
    arrivals: int
    first_ns: int
    last_ns: int
    strip: tuple[tuple[int, int], ...]  # (time, index of the target) of its last arrivals, oldest first
    moves: int  # how often the target changed among them
    connections: tuple[int, ...] = ()  # numbers of the connections its last arrivals came over, newest last


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """One thing that happened on a connection. ``what`` is a stable word: syn, hello, request, response, idle, close …"""

    at_ns: int
    what: str
    detail: SafeText


@dataclass(frozen=True, slots=True, eq=False)
class ConnectionRow:
    number: int  # in order of appearance
    client: str
    target: str
    opened_ns: int
    last_ns: int
    protocol: str
    requests: int
    bytes_in: int
    bytes_out: int
    retransmits: int
    end: str  # open, fin, rst, expired, evicted, reused
    closed_by: str  # client, target, or "" where nobody was seen closing
    connect_ms: float | None
    idle_s: float  # longest silence
    seen_from_start: bool
    health_check: bool
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Detail:
    """The last sessions and connections of a service, for drilling down. Only built for a dashboard."""

    sessions: tuple[SessionRow, ...]
    connections: tuple[ConnectionRow, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    service: SafeText  # what it is called: VIP, SNI or Host where known, else the target port
    port: int
    load_balancer: LoadBalancer
    termination: Termination
    stickiness: Stickiness | None
    targets: tuple[Target, ...]
    dependencies: tuple[Dependency, ...]
    skew: Skew | None
    exposure: Exposure
    nat: tuple[Nat, ...]
    idle: Idle | None
    roles_evidence: tuple[Evidence, ...] = ()
    detail: Detail | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Everything known at ``at_ns``. The last one of an input is the diagnosis."""

    at_ns: int
    source: SourceFrame
    services: tuple[Service, ...]
    findings: tuple[Finding, ...]
    final: bool = False
