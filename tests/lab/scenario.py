"""Scenarios: what is set up, what traffic runs, which captures come out of one run, and what is true of each."""

from __future__ import annotations

import importlib
import shutil
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab import truth
from tests.lab.balancer import Balancer, Nlb
from tests.lab.certs import certificate
from tests.lab.net import Net
from tests.lab.record import Recorder, merge, write_as
from tests.lab.target import Application, Target

MODULES = ("encryption", "pinning", "changes", "products", "time", "load", "defects")
ORIGIN = "recorded with tcpdump in network namespaces of this repository's lab (tests/lab)"


@dataclass
class Output:
    """One capture of a run: from where it is seen, and the judgement it must lead to.

    ``mode`` and ``mechanism`` are what the contract's words make of it *from this vantage*: ``unknown`` together with
    ``*_because`` where the packets cannot show it (``*_candidates`` are then the honest readings). ``really`` is what
    the lab did.
    """

    file: str
    vantage: str  # all_targets, one_target, load_balancer, client
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
    counts_exact: bool = True
    servers_agree: bool = True          # False where a request reaches the host but not the application
    seen_as: Sequence[str] = ()         # the servers as this vantage sees them, if not the targets
    extra: dict[str, object] = field(default_factory=dict)
    rewrite: Callable[[Path, Path], None] | None = None
    committed: bool = True

    @property
    def name(self) -> str:
        return self.file.split(".")[0]


@dataclass
class Scenario:
    """A named run of the lab and the captures it yields."""

    name: str
    title: str
    outputs: Sequence[Output]
    work: Callable[[Run], None]
    net: dict[str, Any]


REGISTRY: dict[str, Scenario] = {}


def scenario(name: str, title: str, outputs: Sequence[Output], **net: Any) -> Callable[[Callable[[Run], None]], Any]:
    """Register the decorated function as the traffic of a scenario; ``net`` goes to :class:`Net`."""

    def register(work: Callable[[Run], None]) -> Callable[[Run], None]:
        REGISTRY[name] = Scenario(name, title, outputs, work, net)
        return work

    return register


def load_all() -> dict[str, Scenario]:
    """Every scenario by name."""
    for module in MODULES:
        importlib.import_module(f"tests.lab.scenarios.{module}")
    return REGISTRY


def during(work: Callable[[], None], *events: tuple[float, Callable[[], object]]) -> None:
    """Do ``work`` and meanwhile, so many seconds after its start, each of ``events``; returns when all is done."""
    thread = threading.Thread(target=work, daemon=True)
    began = time.monotonic()
    thread.start()
    for at, event in events:
        time.sleep(max(0.0, began + at - time.monotonic()))
        event()
    thread.join()


class Run:
    """One run of a scenario: its network, its working directory, targets, balancers and recorders."""

    def __init__(self, spec: Scenario, net: Net, directory: Path) -> None:
        self.spec, self.net, self.directory = spec, net, directory
        self.targets: list[Target] = []
        self.app = Application()
        self.secrets: set[str] = set()
        self.facts: dict[str, object] = {}
        self._recorders: dict[str, Recorder] = {}
        self._balancers: list[Balancer | Nlb] = []
        self._certificate: Path | None = None
        self.parts: dict[str, Path] = {}

    @property
    def certificate(self) -> Path:
        if self._certificate is None:
            self._certificate = certificate(self.directory)
        return self._certificate

    def serve(
        self,
        app: Application | None = None,
        *,
        port: int = 8080,
        tls: dict[str, Any] | bool | None = None,
        proxy: bool = False,
        shared_tickets: bool = False,
        ipv6: bool = False,
    ) -> list[Target]:
        """Start the application on every target and the recorders beside them; nothing is sent before."""
        self.app = app or Application()
        settings = tls if isinstance(tls, dict) else {}
        self.record()
        addresses = self.net.target_addresses6 if ipv6 else self.net.target_addresses
        context: ssl.SSLContext | None = None
        from tests.lab.target import server_context

        for index, ns in enumerate(self.net.target_ns):
            if tls and not (shared_tickets and context):
                context = server_context(**{"certificate": self.certificate, **settings})
            self.targets.append(Target(ns, index, addresses[index], port, self.app, tls=context, proxy=proxy).start())
        return self.targets

    def record(self) -> None:
        """Start recording everywhere this scenario's captures look from."""
        vantages = {output.vantage for output in self.spec.outputs}
        if vantages & {"all_targets", "one_target"}:
            for index, ns in enumerate(self.net.target_ns):
                self._recorders[f"t{index}"] = Recorder(ns, "eth0", self.directory / f"t{index}.pcap")
        if "load_balancer" in vantages:
            for side in ("front", "back"):
                self._recorders[side] = Recorder(self.net.lb, side, self.directory / f"{side}.pcap")
        if "client" in vantages:
            self._recorders["client"] = Recorder(self.net.clients[0].ns, "eth0", self.directory / "client.pcap")

    def balance(self, balancer: Balancer | Nlb, settle: float = 0.3) -> Any:
        """Keep a balancer until the end of the run."""
        self._balancers.append(balancer)
        time.sleep(settle)
        return balancer

    def finish(self) -> None:
        """End balancers, then targets, then recorders, so that every close is in the recording."""
        for balancer in self._balancers:
            balancer.finish()
        time.sleep(0.3)
        for target in self.targets:
            target.stop()
        for name, recorder in self._recorders.items():
            self.parts[name] = recorder.finish()
        for target in self.targets:
            target.write_log(self.directory / f"target{target.index}.jsonl")

    def abandon(self) -> None:
        """End whatever still runs after a failure."""
        for balancer in self._balancers:
            balancer.finish()
        for target in self.targets:
            target.stop()
        for recorder in self._recorders.values():
            recorder.finish()


def run(
    spec: Scenario, destination: Path, *, large: Path | None = None, keep: Path | None = None, say: Callable[[str], None] = print
) -> None:
    """Run one scenario and write its captures and truth files into ``destination``; uncommitted ones into ``large``."""
    if not large and not any(output.committed for output in spec.outputs):
        say("  not committed: recorded with --large only")
        return
    directory = Path(tempfile.mkdtemp(prefix="lbtop-lab-"))
    directory.chmod(0o755)
    try:
        with Net(**spec.net) as net:
            current = Run(spec, net, directory)
            try:
                spec.work(current)
                current.finish()
            except BaseException:
                current.abandon()
                raise
        for output in spec.outputs:
            where = destination if output.committed else large
            if where:
                produce(current, output, where, say)
    finally:
        if keep:
            shutil.copytree(directory, keep / spec.name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock"))
        shutil.rmtree(directory, ignore_errors=True)


def produce(current: Run, output: Output, destination: Path, say: Callable[[str], None]) -> None:
    """Put one capture together from the run's recordings, count it, and write its truth."""
    parts = {
        "all_targets": [path for name, path in current.parts.items() if name[0] == "t"],
        "one_target": [current.parts.get(f"t{output.target}")],
        "load_balancer": [current.parts.get("front"), current.parts.get("back")],
        "client": [current.parts.get("client")],
    }[output.vantage]
    paths = [path for path in parts if path is not None]
    whole = paths[0]
    if len(paths) > 1:
        inner = output.file.removesuffix(".gz")
        whole = merge(paths, current.directory / f"merged-{inner}")
    targets = [target for target in current.targets if output.vantage != "one_target" or target.index == output.target]
    names = list(output.seen_as) or [target.name for target in targets]
    plain = {int(name.rpartition(":")[2]) for name in names} if output.seen == "plain" else set()
    counted = truth.recount(whole, names, plain, current.app.health_path)
    if output.rewrite:
        rewritten = current.directory / f"rewritten-{output.file.removesuffix('.gz')}"
        output.rewrite(whole, rewritten)
        whole = rewritten
    final = write_as(whole, destination / output.file)
    rows = []
    for name in names:
        counts = counted.get(name, truth.Counts())
        if not output.seen_as:
            _agree(output, next(target for target in targets if target.name == name), counts)
        if output.seen != "plain":
            counts.requests = counts.health_checks = None
        rows.append({"target": name, **{key: value for key, value in vars(counts).items() if value is not None}})
    if not output.counts_exact:
        rows = [{"target": row["target"]} for row in rows]
    lost = sum(target.seen.lost for target in targets)
    secrets = sorted(current.app.secrets | current.secrets) if output.seen == "plain" else []
    front = sum(counts.connections for name, counts in counted.items() if name == "other")
    sections: dict[str, object] = {
        "name": output.name,
        "file": output.file,
        "origin": ORIGIN,
        "scenario": current.spec.title,
        "vantage": output.vantage,
        "shows": output.shows,
        "healthy": output.healthy,
        "source": {"connections": sum(c.connections for c in counted.values())} if output.counts_exact else {},
        "service": [
            {
                "mode": output.mode,
                "mode_because": output.mode_because,
                "mode_candidates": list(output.mode_candidates) if output.mode_candidates else None,
                "mechanism": output.mechanism,
                "mechanism_because": output.mechanism_because,
                "mechanism_candidates": list(output.mechanism_candidates) if output.mechanism_candidates else None,
                "mode_accept": list(output.mode_accept) if output.mode_accept else None,
                "mechanism_accept": list(output.mechanism_accept) if output.mechanism_accept else None,
                "really": output.really,
                "cookie": output.cookie,
                "product": list(output.product),
                "requests_readable": output.seen == "plain",
                "target": rows,
            }
        ],
        "findings": {"must": list(output.must), "may": list(output.may)},
        "sessions": {"lost": lost} if output.seen == "plain" else {},
        "exposure": {"kinds": list(output.kinds)},
        "secrets": {"values": secrets},
        **output.extra,
        **current.facts,
    }
    if output.vantage == "load_balancer":
        sections["source"] = {**sections["source"], "front_connections": front}  # type: ignore[dict-item]
    truth.write(destination / f"{output.name}.toml", sections)
    total = sum(row.get("connections", 0) for row in rows), sum(row.get("requests", 0) or 0 for row in rows)
    say(f"  {output.file}: {final.stat().st_size / 1024:.0f} KiB, connections {total[0]}, requests {total[1]}")


def _agree(output: Output, target: Target, counts: truth.Counts) -> None:
    """The target's own count and tshark's must be the same; a difference is shown and stops the scenario."""
    seen = target.seen
    pairs = [("connections", seen.connections, counts.connections)]
    if output.seen == "plain":
        pairs += [("requests", seen.requests, counts.requests), ("health checks", seen.health_checks, counts.health_checks)]
    for what, own, wire in pairs:
        if own != wire and output.counts_exact and output.servers_agree:
            raise RuntimeError(f"{output.file}: {target.name} saw {own} {what}, tshark counts {wire}")
