"""What is reconstructed, without opinion: the input of every inference."""

from __future__ import annotations

from lbtop.model.judgement import Evidence
from lbtop.model.observation import Interner, SourceStats
from lbtop.model.record import dataclass, field
from lbtop.reconstruct.ledgers.affinity import AffinityLedger
from lbtop.reconstruct.ledgers.datagrams import DatagramLedger
from lbtop.reconstruct.ledgers.exposure import ExposureLedger
from lbtop.reconstruct.ledgers.handshakes import HandshakeLedger
from lbtop.reconstruct.ledgers.heads import HeadLedger
from lbtop.reconstruct.ledgers.history import HistoryLedger
from lbtop.reconstruct.ledgers.idle import IdleLedger
from lbtop.reconstruct.ledgers.load import LoadLedger
from lbtop.reconstruct.ledgers.names import NameLedger
from lbtop.reconstruct.ledgers.nat import NatLedger
from lbtop.reconstruct.ledgers.processes import ProcessLedger
from lbtop.reconstruct.ledgers.sessions import SessionLedger
from lbtop.reconstruct.ledgers.stacks import StackLedger
from lbtop.reconstruct.ledgers.targets import TargetLedger


@dataclass(slots=True, eq=False)
class PairFacts:
    """Front and back connections of one service seen together (vantage: balancer or mirror of both sides)."""

    front_connections: int = 0
    paired: int = 0  # front connections with a back connection found for them
    hellos_front: int = 0
    hellos_back: int = 0
    randoms_on_both: int = 0  # ClientHello.random seen on both legs
    front_plain: int = 0  # front connections that are readable
    front_tls: int = 0
    heads: int = 0  # requests seen on both legs, one after the other
    same_isn: int = 0  # pairs that keep the initial sequence number: the same TCP connection


@dataclass(slots=True, eq=False)
class Ledgers:
    """One of each per service. Who folds what is said in each class."""

    targets: TargetLedger = field(default_factory=TargetLedger)
    handshakes: HandshakeLedger = field(default_factory=HandshakeLedger)
    stacks: StackLedger = field(default_factory=StackLedger)
    heads: HeadLedger = field(default_factory=HeadLedger)
    exposure: ExposureLedger = field(default_factory=ExposureLedger)
    affinity: AffinityLedger = field(default_factory=AffinityLedger)
    sessions: SessionLedger = field(default_factory=SessionLedger)
    load: LoadLedger = field(default_factory=LoadLedger)
    nat: NatLedger = field(default_factory=NatLedger)
    idle: IdleLedger = field(default_factory=IdleLedger)
    datagrams: DatagramLedger = field(default_factory=DatagramLedger)
    processes: ProcessLedger = field(default_factory=ProcessLedger)
    names: NameLedger = field(default_factory=NameLedger)
    history: HistoryLedger = field(default_factory=HistoryLedger)


@dataclass(frozen=True, slots=True, eq=False)
class DependencyFacts:
    """Something the targets of a service use themselves."""

    address: int
    port: int
    connections: int
    protocol: int  # Protocol7 of most of them


@dataclass(slots=True, eq=False)
class ServiceFacts:
    port: int
    targets: list[tuple[int, int]]  # (address number, port); a target's index is its dense number
    balancers: list[int]  # address numbers that feed the targets; empty: clients come directly, or preserved
    vips: list[tuple[int, int]]  # front endpoints clients connect to, where in view
    clients_preserved: bool | None  # the targets see the clients' own addresses; None: undecided
    strings: Interner
    addresses: Interner
    source: SourceStats
    vantage: str
    vantage_certain: bool = False
    may_be_front_of: tuple[int, ...] = ()  # who may pass on what the only target accepts: another address of the same balancer
    chosen_by_name: bool = False  # every target is asked under a name of its own: its clients choose it, nobody deals
    roles_evidence: list[Evidence] = field(default_factory=list)
    pairs: PairFacts = field(default_factory=PairFacts)
    ledgers: Ledgers = field(default_factory=Ledgers)
    proxies: frozenset[int] = frozenset()
    former: frozenset[int] = frozenset()  # numbers of targets that proved to be something else: a front taken for one early on
    checkers: list[int] = field(
        default_factory=list
    )  # addresses that only check health: a balancer's nodes, where clients are preserved
    dependencies: list[DependencyFacts] = field(default_factory=list)
    started_ns: int = 0  # of the whole input
    ended_ns: int = 0
    now_ns: int = 0


@dataclass(slots=True, eq=False)
class Facts:
    """Everything reconstructed from an input so far."""

    services: list[ServiceFacts]
    source: SourceStats
    vantage: str
    vantage_evidence: list[Evidence]
    connections: int  # all legs, dependencies included
    connections_seen_from_start: int
    caps_reached: tuple[str, ...]
    now_ns: int
