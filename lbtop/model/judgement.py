"""Judgements and what they rest on: modes, mechanisms, evidence, verdicts, findings."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Generic, TypeVar

from lbtop.model.record import dataclass, field

UNKNOWN = "unknown"
DECISION_THRESHOLD = 0.8
"""A verdict is `unknown` exactly when its best candidate is below this (contract: Confidence)."""

CAPTURE_NAME = "x.pcap"
"""What commands in findings call the capture: they must not change with the name of the file. Faces put the real one in."""


class Mode(str, Enum):
    """Where TLS ends, seen from the balancer next to the target."""

    BRIDGING = "bridging"
    PASSTHROUGH = "passthrough"
    OFFLOAD = "offload"
    L4_TLS = "l4_tls"
    NONE = "none"


class Mechanism(str, Enum):
    """What pins a client to a target: what is in effect, not what is present."""

    LB_COOKIE = "lb_cookie"
    APP_COOKIE = "app_cookie"
    WEIGHTED_TARGET_GROUP = "weighted_target_group"
    SOURCE_IP = "source_ip"
    NONE = "none"


class Severity(str, Enum):
    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 is worst."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Evidence:
    """One observation that speaks for or against a verdict.

    ``group`` names the cause it comes from: signals of one group share one capped weight. ``favours`` is the
    candidate it speaks for (None: context only) and ``weight`` the log-odds it contributes (None for a logical proof).
    """

    signal: str
    group: str
    detail: str
    favours: str | None = None
    weight: float | None = None


T = TypeVar("T", bound=Enum)


@dataclass(frozen=True, slots=True, eq=False)
class Verdict(Generic[T]):
    """Candidates with probabilities that sum to 1, and what they rest on.

    ``value`` is None (`unknown`) exactly when the best candidate is below :data:`DECISION_THRESHOLD`.
    """

    candidates: Mapping[T, float]
    evidence: tuple[Evidence, ...] = ()
    settled_by: str | None = None

    @property
    def confidence(self) -> float:
        return max(self.candidates.values(), default=0.0)

    @property
    def value(self) -> T | None:
        if self.confidence < DECISION_THRESHOLD:
            return None
        return max(self.candidates, key=lambda candidate: self.candidates[candidate])

    @property
    def token(self) -> str:
        """The word the JSON carries: the value's, or `unknown`."""
        return UNKNOWN if self.value is None else str(self.value.value)


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """A judgement about one fact. ``service`` is None when it is about the whole input."""

    id: str
    severity: Severity
    title: str
    detail: str
    service: str | None = None
    evidence: tuple[Evidence, ...] = ()
    advice: tuple[str, ...] = ()
    confirm: tuple[str, ...] = ()
    accepted: bool = False
    at_ns: int | None = None  # when it happened, if it has a time: the timeline jumps there
    subject: str = field(default="")  # what makes two findings of one id different: a target, an address
