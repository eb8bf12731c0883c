"""Drives a source through the reconstructor to snapshots: one at the end of a capture, or many on the way.

Times are those of the observations, so the same capture gives the same frames. Only :func:`live_snapshots` asks a clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

from lbtop.assemble import judge
from lbtop.model.address import pack_ip
from lbtop.model.errors import LbtopError
from lbtop.model.observation import Batch, Interner, Source, SourceStats
from lbtop.model.record import dataclass, field
from lbtop.model.snapshot import Snapshot
from lbtop.reconstruct.reconstructor import Reconstructor
from lbtop.reconstruct.roles import Overrides

VANTAGES = ("target", "load_balancer", "mirror", "client")
FINEST_NS = 20_000_000

Progress = Callable[[SourceStats], None]
Stop = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator knows better. Addresses are text, ``ip`` or ``ip:port`` or ``[ipv6]:port``."""

    vantage: str | None = None
    targets: tuple[str, ...] = ()
    balancers: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    detail: bool = False  # sessions and connections one by one, for drilling down


def diagnose(source: Source, options: Options | None = None, progress: Progress | None = None) -> Snapshot:
    """Reads the source to its end. Ctrl-C ends the reading, and the verdict is about what was read so far."""
    engine = Engine(source, options)
    try:
        while not engine.finished:
            engine.step(1.0)
            if progress is not None:
                progress(source.stats())
    except KeyboardInterrupt:
        engine.end()
    return engine.snapshot()


def snapshots(source: Source, every_ns: int, options: Options | None = None, stop: Stop | None = None) -> Iterator[Snapshot]:
    """A snapshot for every ``every_ns`` of the observations' time; the last one at the end of the source.

    Snapshots are taken between batches, where the source knows the connections that are open: one that is to be cut finely
    must hand out small batches.
    """
    yield from _frames(source, lambda elapsed_ns, stats: every_ns, options, stop)


def frames(source: Source, count: int, options: Options | None = None, stop: Stop | None = None) -> Iterator[Snapshot]:
    """About ``count`` snapshots over a capture whose length in time is not known beforehand; see :func:`snapshots`.

    It is estimated from how much of the input is read; without a known size the cadence doubles as it turns out longer.
    """
    cadence_ns = FINEST_NS

    def cadence(elapsed_ns: int, stats: SourceStats) -> int:
        nonlocal cadence_ns
        if stats.total_bytes and stats.read_bytes:
            return max(FINEST_NS, int(elapsed_ns * (stats.total_bytes / stats.read_bytes) / count))
        while elapsed_ns > count * cadence_ns:
            cadence_ns *= 2
        return cadence_ns

    yield from _frames(source, cadence, options, stop)


def _frames(
    source: Source, cadence: Callable[[int, SourceStats], int], options: Options | None, stop: Stop | None
) -> Iterator[Snapshot]:
    engine = Engine(source, options)
    shown_ns = 0  # how far the last frame got
    while not engine.finished and not (stop and stop()):
        if not engine.step(1.0) or engine.finished:
            continue
        stats = source.stats()
        reached_ns = engine.reached_ns
        start_ns = stats.started_ns or reached_ns
        if not shown_ns or reached_ns - shown_ns >= cadence(reached_ns - start_ns, stats):
            shown_ns = reached_ns
            yield engine.snapshot()
    yield engine.snapshot()


def live_snapshots(
    source: Source,
    every_ns: int,
    options: Options | None = None,
    stop: Stop | None = None,
    clock: Callable[[], int] = time.time_ns,
) -> Iterator[Snapshot]:
    """A snapshot for every ``every_ns`` of the clock, also when nothing arrives: on a screen time goes on.

    ``clock`` gives nanoseconds since the epoch. Never waits longer than ``every_ns`` for the source; ends when it does, or
    when ``stop`` says so, with a last snapshot.
    """
    engine = Engine(source, options)
    due_ns = clock() + every_ns
    while not engine.finished and not (stop and stop()):
        engine.step(max(0, min(due_ns - clock(), every_ns)) / 1e9)
        now_ns = clock()
        if now_ns >= due_ns and not engine.finished:
            due_ns = max(due_ns + every_ns, now_ns)
            yield engine.snapshot(now_ns)
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
        self._reconstructor = Reconstructor(Overrides(vantage=self.options.vantage), self.options.detail)
        self._numbered = 0
        self.finished = False
        self.reached_ns = 0
        """Time of the latest observation taken in."""

    def step(self, timeout_s: float) -> bool:
        """Takes the next batch; False when there was none within ``timeout_s``."""
        batch = self.source.poll(timeout_s)
        if batch is None:
            return False
        self.ingest(batch)
        return True

    def ingest(self, batch: Batch) -> None:
        """Takes rows that were polled by the caller."""
        if self._targets or self._balancers:
            self._apply(batch)
        self._reconstructor.ingest(batch)
        self.reached_ns = max(self.reached_ns, moment_of(batch))
        self.finished = batch.final

    def end(self) -> None:
        """Takes what the source has observed and not handed over yet, and no more than that."""
        stop = getattr(self.source, "stop", None)  # a recording has nothing in hand
        if stop is not None:
            stop()
            while not self.finished and self.step(0.0):
                pass

    def snapshot(self, now_ns: int | None = None) -> Snapshot:
        """Everything known. ``now_ns``: the time it is, where that is later than the last observation."""
        live = None if self.finished else self.source.live()
        facts = self._reconstructor.facts(self.source.stats(), live, now_ns)
        return judge(facts, self.options.names, self.finished, self.options.detail)

    def _apply(self, batch: Batch) -> None:
        """Overrides name addresses as text; rows know numbers, which appear as the input is read."""
        if len(batch.addresses) == self._numbered:
            return
        numbers = _numbers(batch.addresses)
        self._numbered = len(batch.addresses)
        self._reconstructor.overrides = Overrides(
            targets=frozenset((numbers[ip], port) for ip, port in self._targets if ip in numbers),
            balancers=frozenset(numbers[ip] for ip in self._balancers if ip in numbers),
            only_targets=bool(self._targets),
            vantage=self.options.vantage,
        )


TIMED = ("opened", "handshakes", "proxies", "requests", "responses")
"""Tables whose rows come in the order of their times. A connection's row may come long after its last packet."""


def moment_of(batch: Batch) -> int:
    """Time of the last observation, 0 for an empty batch."""
    return max((int(batch[table]["at_ns"][-1]) for table in TIMED if len(batch[table])), default=0)


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
