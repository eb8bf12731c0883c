"""Drives a source through the reconstructor to a snapshot: to the end of a capture, or for a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from lbtop.inference.assemble import judge
from lbtop.model.address import pack_ip
from lbtop.model.errors import LbtopError
from lbtop.model.observation import Batch, Interner, Source, SourceStats
from lbtop.model.snapshot import Snapshot
from lbtop.reconstruct.reconstructor import Reconstructor
from lbtop.reconstruct.roles import Overrides

VANTAGES = ("target", "load_balancer", "mirror", "client")

Progress = Callable[[SourceStats], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator knows better. Addresses are text, ``ip`` or ``ip:port`` or ``[ipv6]:port``."""

    vantage: str | None = None
    targets: tuple[str, ...] = ()
    balancers: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)


def diagnose(source: Source, options: Options | None = None, progress: Progress | None = None) -> Snapshot:
    """Reads the source to its end. Ctrl-C ends the reading, and the verdict is about what was read so far."""
    engine = Engine(source, options)
    try:
        while not engine.finished:
            engine.step(1.0)
            if progress is not None:
                progress(source.stats())
    except KeyboardInterrupt:
        pass
    return engine.snapshot()


def snapshots(source: Source, every_ns: int, options: Options | None = None) -> Iterator[Snapshot]:
    """A snapshot whenever the observations have advanced by ``every_ns``, and the last one at the end of the source."""
    engine = Engine(source, options)
    due_ns = 0
    while not engine.finished:
        engine.step(1.0)
        reached_ns = source.stats().ended_ns
        if due_ns == 0:
            due_ns = (source.stats().started_ns or reached_ns) + every_ns
        elif reached_ns >= due_ns and not engine.finished:
            due_ns = reached_ns + every_ns
            yield engine.snapshot()
    yield engine.snapshot()


class Engine:
    """One source, its reconstructor, and the snapshots of it. Not thread-safe: one thread steps and asks."""

    def __init__(self, source: Source, options: Options | None = None) -> None:
        self.source = source
        self.options = options or Options()
        if self.options.vantage is not None and self.options.vantage not in VANTAGES:
            raise LbtopError(f"unknown vantage {self.options.vantage!r}: one of {', '.join(VANTAGES)}")
        self._targets = tuple(_endpoint(text) for text in self.options.targets)
        self._balancers = tuple(_endpoint(text)[0] for text in self.options.balancers)
        self._reconstructor = Reconstructor()
        self._numbered = 0
        self.finished = False

    def step(self, timeout_s: float) -> bool:
        """Takes the next batch; False when there was none within ``timeout_s``."""
        batch = self.source.poll(timeout_s)
        if batch is None:
            return False
        if self._targets or self._balancers or self.options.vantage:
            self._apply(batch)
        self._reconstructor.ingest(batch)
        self.finished = batch.final
        return True

    def snapshot(self) -> Snapshot:
        """Everything known now."""
        live = None if self.finished else self.source.live()
        facts = self._reconstructor.facts(self.source.stats(), live)
        return judge(facts, self.options.names, self.finished)

    def _apply(self, batch: Batch) -> None:
        """Overrides name addresses as text; rows know numbers, which appear as the input is read."""
        if len(batch.addresses) == self._numbered:
            return
        numbers = _numbers(batch.addresses)
        self._numbered = len(batch.addresses)
        self._reconstructor.overrides = Overrides(
            targets=frozenset((numbers[ip], port) for ip, port in self._targets if ip in numbers),
            balancers=frozenset(numbers[ip] for ip in self._balancers if ip in numbers),
            vantage=self.options.vantage,
            only_targets=bool(self._targets),
        )


def _numbers(addresses: Interner) -> dict[bytes, int]:
    return {addresses[number]: number for number in range(len(addresses))}


def _endpoint(text: str) -> tuple[bytes, int]:
    ip, port = text, ""
    if text.startswith("["):
        ip, _, port = text[1:].partition("]:")
        ip = ip.rstrip("]")
    elif text.count(":") == 1:
        ip, _, port = text.partition(":")
    try:
        return pack_ip(ip), int(port or 0)
    except ValueError:
        raise LbtopError(f"{text!r} is not an address: write 10.0.0.11, 10.0.0.11:8080 or [2001:db8::1]:8080") from None
