"""Scenarios: what is set up, what traffic runs, which captures come out of one run, and what is true of each."""

from __future__ import annotations

import importlib
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab import truth
from tests.lab.balancer import Balancer, Nlb
from tests.lab.certs import certificate
from tests.lab.net import Net
from tests.lab.net_base import Namespace, stop
from tests.lab.output import Output
from tests.lab.record import Recorder, merge, write_as
from tests.lab.target import Application, Target
from tests.lab.webserver import nginx_target

MODULES = (
    "layer7",
    "forwarded",
    "layer4",
    "pinning",
    "proxies",
    "products",
    "people",
    "changes",
    "troubles",
    "idle",
    "load",
    "secrets",
    "defects",
    "datagrams",
    "healthy",
    "rare",
    "one_target",
    "unseen_haproxy",
    "unseen_nginx",
    "unseen_servers",
    "unseen_products",
    "unseen_layer4",
    "unseen_faults",
    "unseen_changes",
    "unseen_whatif",
    "unseen_second_layer4",
    "unseen_second_modes",
    "unseen_second_changes",
    "unseen_second_layer7",
)
UNSEEN = "unseen"  # scenarios of modules called so are the test set: nothing was fitted or tuned on them
ORIGIN = "recorded with tcpdump in network namespaces of this repository's lab (tests/lab)"


@dataclass
class Scenario:
    """A named run of the lab and the captures it yields."""

    name: str
    title: str
    outputs: Sequence[Output]
    work: Callable[[Run], None]
    net: dict[str, Any]
    wave: int | None = None  # of the unseen set


REGISTRY: dict[str, Scenario] = {}


def scenario(name: str, title: str, outputs: Sequence[Output], **net: Any) -> Callable[[Callable[[Run], None]], Any]:
    """Register the decorated function as the traffic of a scenario; ``net`` goes to :class:`Net`."""

    def register(work: Callable[[Run], None]) -> Callable[[Run], None]:
        module = work.__module__.rpartition(".")[2]
        wave = (2 if "second" in module else 1) if module.startswith(UNSEEN) else None
        REGISTRY[name] = Scenario(name, title, outputs, work, net, wave)
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
        self._processes: list[subprocess.Popen[bytes]] = []
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
        sniff: bool = False,
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
            self.targets.append(
                Target(ns, index, addresses[index], port, self.app, tls=context, proxy=proxy, sniff=sniff).start()
            )
        return self.targets

    def serve_nginx(self, *, port: int, tls: bool = False, body: int = 900, listen: str = "", http: str = "") -> list[Target]:
        """Stock nginx on every target, and the recorders; what arrived is counted on the wire alone."""
        self.app = Application()
        self.record()
        for index, (ns, address) in enumerate(zip(self.net.target_ns, self.net.target_addresses, strict=True)):
            self._processes.append(
                nginx_target(
                    ns,
                    address,
                    port,
                    self.directory / f"nginx{index}",
                    body=body,
                    listen=listen,
                    pem=self.certificate if tls else None,
                    http=http,
                )
            )
            self.targets.append(Target(ns, index, address, port, self.app))
        return self.targets

    def serve_with(self, start: Callable[[int, Namespace, str], subprocess.Popen[bytes]], port: int) -> list[Target]:
        """Any program on every target, and the recorders; what arrived is counted on the wire alone."""
        self.app = Application()
        self.record()
        for index, (ns, address) in enumerate(zip(self.net.target_ns, self.net.target_addresses, strict=True)):
            self._processes.append(start(index, ns, address))
            self.targets.append(Target(ns, index, address, port, self.app))
        return self.targets

    def record(self) -> None:
        """Start recording everywhere this scenario's captures look from."""
        vantages = {output.vantage for output in self.spec.outputs}
        if vantages & {"all_targets", "two_targets", "one_target"}:
            for index, ns in enumerate(self.net.target_ns):
                self._recorders[f"t{index}"] = Recorder(ns, "eth0", self.directory / f"t{index}.pcap")
        if "load_balancer" in vantages:
            for side in ("front", "back"):
                self._recorders[side] = Recorder(self.net.lb, side, self.directory / f"{side}.pcap")
        if "load_balancer_any" in vantages:
            self._recorders["any"] = Recorder(self.net.lb, "any", self.directory / "any.pcap")
        if "client" in vantages:
            self._recorders["client"] = Recorder(self.net.clients[0].ns, "eth0", self.directory / "client.pcap")

    def stop_recording(self) -> None:
        """End the recordings: what the lab does from now on is in no capture."""
        for name, recorder in self._recorders.items():
            self.parts[name] = recorder.finish()
        self._recorders.clear()

    def balance(self, balancer: Balancer | Nlb, settle: float = 0.3) -> Any:
        """Keep a balancer until the end of the run."""
        self._balancers.append(balancer)
        time.sleep(settle)
        return balancer

    def front(self, start: Callable[..., Balancer], targets: Any, **options: Any) -> Any:
        """Keep a balancer that has the run's certificate for its clients: ``start`` is a function of tests.lab.balancer."""
        return self.balance(start(self.net, self.directory, targets, certificate=self.certificate, **options))

    def finish(self) -> None:
        """End balancers, then targets, then recorders, so that every close is in the recording."""
        for balancer in self._balancers:
            balancer.finish()
        time.sleep(0.3)
        for target in self.targets:
            target.stop()
        for process in self._processes:
            stop(process)
        self.stop_recording()
        for target in self.targets:
            target.write_log(self.directory / f"target{target.index}.jsonl")

    def abandon(self) -> None:
        """End whatever still runs after a failure."""
        for balancer in self._balancers:
            balancer.finish()
        for target in self.targets:
            target.stop()
        for process in self._processes:
            stop(process)
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
            where = (destination / UNSEEN if spec.wave else destination) if output.committed else large
            if where:
                where.mkdir(parents=True, exist_ok=True)
                produce(current, output, where, say)
    finally:
        if keep:
            shutil.copytree(directory, keep / spec.name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock"))
        shutil.rmtree(directory, ignore_errors=True)


def produce(current: Run, output: Output, destination: Path, say: Callable[[str], None]) -> None:
    """Put one capture together from the run's recordings, count it, and write its truth."""
    recorded = assemble(current, output)
    targets = [target for target in current.targets if target.index in output.indices(len(current.targets))]
    names = list(output.seen_as) or [target.name for target in targets]
    plain = {int(name.rpartition(":")[2]) for name in names} if output.seen == "plain" else set()
    counted = truth.recount(recorded, names, plain, current.app.health_path)
    if not output.seen_as and output.servers_agree:
        for target in targets:
            _agree(output, target, counted.get(target.name, truth.Counts()))
    if output.rewrite:
        rewritten = current.directory / f"rewritten-{output.name}.pcap"
        output.rewrite(recorded, rewritten)
        recorded = rewritten
        if "connections" in output.count and output.recount:
            counted = truth.recount(recorded, names, plain, current.app.health_path)
    final = write_as(recorded, destination / output.file)
    keys = [key for key in output.count if output.seen == "plain" or key not in ("requests", "health_checks")]
    if output.rewrite:
        names = [name for name in names if name in counted and counted[name].connections]  # it may leave nothing of a target
    rows = [{"target": name, **{key: getattr(counted.get(name, truth.Counts()), key) for key in keys}} for name in names]
    pools = [[rows[index] for index in pool] for pool in output.pools] or [rows]
    source = {"connections": sum(c.connections for c in counted.values())} if "connections" in output.count else {}
    readable = output.seen == "plain"
    sections: dict[str, object] = {
        "name": output.name,
        "file": output.file,
        "origin": ORIGIN,
        "scenario": current.spec.title,
        "vantage": output.vantage,
        "defect": output.defect,
        "shows": output.shows,
        "healthy": output.healthy,
        "wave": current.spec.wave,
        "source": source,
        "service": [_service(output, pool) for pool in pools],
        "findings": {"must": list(output.must), "may": list(output.may)},
        "sessions": {"lost": sum(target.seen.lost for target in targets)} if readable and not output.rewrite else {},
        "exposure": {"kinds": list(output.kinds)},
        "secrets": {"values": sorted(current.app.secrets | current.secrets) if readable else []},
        **output.extra,
        **current.facts,
    }
    truth.write(destination / f"{output.name}.toml", sections)
    total = sum(row.get("connections", 0) for row in rows), sum(row.get("requests", 0) for row in rows)
    say(f"  {output.file}: {final.stat().st_size / 1024:.0f} KiB, connections {total[0]}, requests {total[1]}")


def refresh(captures: Path) -> None:
    """Bring the truth files of a folder in line with the scenarios; what was counted and recorded stays."""
    outputs = {output.name: (spec, output) for spec in load_all().values() for output in spec.outputs}
    for path in [*captures.glob("*.toml"), *(captures / UNSEEN).glob("*.toml")]:
        if path.stem in outputs:
            spec, output = outputs[path.stem]
            known = tomllib.loads(path.read_text())
            services = [_service(output, service["target"]) for service in known["service"]]
            judged = {
                "scenario": spec.title,
                "shows": output.shows,
                "healthy": output.healthy,
                "wave": spec.wave,
                "service": services,
                "findings": {"must": list(output.must), "may": list(output.may)},
                "exposure": {"kinds": list(output.kinds)},
            }
            truth.write(path, {**known, **judged})


def assemble(current: Run, output: Output) -> Path:
    """The recording that this vantage has: one file, or several merged by time."""
    at_targets = [f"t{i}" for i in output.indices(len(current.targets))]
    wanted = {
        "load_balancer": ["front", "back"],
        "load_balancer_any": ["any"],
        "client": ["client"],
    }.get(output.vantage, at_targets)
    paths = [current.parts[name] for name in wanted]
    return merge(paths, current.directory / f"merged-{output.file.removesuffix('.gz')}") if len(paths) > 1 else paths[0]


def _service(output: Output, rows: list[dict[str, object]]) -> dict[str, object]:
    listed = {
        key: list(value) if value else None
        for key, value in (
            ("mode_accept", output.mode_accept),
            ("mode_candidates", output.mode_candidates),
            ("mechanism_accept", output.mechanism_accept),
            ("mechanism_candidates", output.mechanism_candidates),
        )
    }
    return {
        "mode": output.mode,
        "mode_because": output.mode_because,
        "mechanism": output.mechanism,
        "mechanism_because": output.mechanism_because,
        **listed,
        "really": output.really,
        "cookie": output.cookie,
        "product": list(output.product),
        "requests_readable": output.seen == "plain",
        "target": rows,
    }


def _agree(output: Output, target: Target, counts: truth.Counts) -> None:
    """The target's own count and tshark's must be the same: truth has two witnesses."""
    pairs = [("connections", target.seen.connections, counts.connections)]
    if output.seen == "plain":
        pairs += [
            ("requests", target.seen.requests, counts.requests),
            ("health checks", target.seen.health_checks, counts.health_checks),
        ]
    for what, own, wire in pairs:
        if own != wire:
            raise RuntimeError(f"{output.file}: {target.name} saw {own} {what}, tshark counts {wire}")
