"""What one capture of a run is, and the judgement it must lead to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab import truth


@dataclass
class Output:
    """One capture of a run: from where it is seen, and the judgement it must lead to.

    ``mode`` and ``mechanism`` are what the contract's words make of it *from this vantage*: ``unknown`` together with
    ``*_because`` where the packets cannot show it (``*_candidates`` are then the honest readings). ``really`` is what
    the lab did.
    """

    file: str
    vantage: str  # all_targets, two_targets (the first two), one_target, load_balancer, load_balancer_any, client
    mode: str
    mechanism: str
    shows: str
    healthy: bool = False
    product: Sequence[str] = ("unknown",)
    must: Sequence[str] = ()
    may: Sequence[str] = ()
    mode_because: str | None = None
    mode_candidates: Sequence[str] | None = None
    mechanism_because: str | None = None
    mechanism_candidates: Sequence[str] | None = None
    really: str | None = None
    mode_accept: Sequence[str] | None = None
    mechanism_accept: Sequence[str] | None = None
    cookie: str | None = None
    kinds: Sequence[str] = ()
    seen: str = "plain"  # plain: requests can be read at this vantage; tls: they cannot
    target: int = 0  # which target, for one_target
    servers_agree: bool = True  # False where a request reaches the host but not the application
    seen_as: Sequence[str] = ()  # the servers as this vantage sees them, if not the targets
    pools: Sequence[Sequence[int]] = ()  # targets by service, where there are several services
    count: Sequence[str] = truth.COUNTS  # what can be counted exactly in this capture
    extra: dict[str, object] = field(default_factory=dict)
    rewrite: Callable[[Path, Path], None] | None = None
    recount: bool = True  # count again after the rewrite; else the original's counts stay true
    defect: str | None = None  # what is wrong with the recording
    committed: bool = True

    @property
    def name(self) -> str:
        return self.file.split(".")[0]

    def indices(self, targets: int) -> Sequence[int]:
        """Which of so many targets are in view."""
        return {"one_target": (self.target,), "two_targets": (0, 1)}.get(self.vantage, range(targets))
