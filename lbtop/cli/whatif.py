"""``lbtop whatif``: the captured traffic through another algorithm, or onto another number of targets."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from lbtop.cli import OK
from lbtop.cli.reading import STDIN, add_knowledge_options, add_reading_options, engine_options, open_files
from lbtop.model.errors import LbtopError
from lbtop.model.judgement import Mode

if TYPE_CHECKING:
    from lbtop.inference.whatif import Prediction
    from lbtop.model.observation import Source
    from lbtop.model.snapshot import Service, Snapshot

SUMMARY = "what another algorithm or another number of targets would have done to this traffic"
EXAMPLES = (
    "lbtop whatif x.pcap --balancing source_ip",
    "lbtop whatif x.pcap --balancing ring_hash --targets +1",
    "lbtop whatif x.pcap --balancing cookie --targets 5 --service shop.example.com --json",
)
BALANCING = (
    "source_ip",
    "five_tuple",
    "round_robin",
    "random",
    "least_connections",
    "ring_hash",
    "maglev",
    "cookie",
    "ip_hash",
    "haproxy_source",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_reading_options(parser)
    parser.add_argument("--balancing", choices=BALANCING, required=True, help="the algorithm to try")
    parser.add_argument("--targets", metavar="N|+1|-1", default="+0", help="how many targets, or how many more or fewer")
    parser.add_argument("--service", metavar="NAME", help="which service (default: the one with most requests)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    add_knowledge_options(parser)


def run(options: argparse.Namespace) -> int:
    from lbtop.engine import diagnose

    if STDIN in options.files:
        raise LbtopError("whatif reads the capture twice: give it a file, not standard input")
    source = open_files(options, ahead=True)
    try:
        snapshot = diagnose(source, engine_options(options))
    finally:
        source.close()
    service, prediction, layer7 = _predicted(
        snapshot, options.service, options.balancing, options.targets, lambda: open_files(options)
    )
    sys.stdout.write(render_json(service, prediction, layer7) if options.json else render_text(service, prediction, layer7))
    return OK


def _predicted(
    snapshot: Snapshot, name: str | None, algorithm: str, targets: str, again: Callable[[], Source]
) -> tuple[Service, Prediction, bool]:
    """What an algorithm would have done to a service's arrivals, which are read ``again``. Raises LbtopError."""
    from lbtop.inference.whatif import predict
    from lbtop.reconstruct.replayed import collect

    service = _service(snapshot, name)
    # A cookie can only be followed request by request, whatever the balancer of today does.
    readable = any(target.requests for target in service.targets)
    layer7 = decides_by_request(service) or (algorithm == "cookie" and readable)
    source = again()
    try:
        arrivals = collect(source, [target.target for target in service.targets], layer7=layer7)
    finally:
        source.close()
    if not len(arrivals):
        raise LbtopError("no arrival at a target in view: nothing to distribute")
    return service, predict(arrivals, algorithm, target_count(targets, len(service.targets))), layer7


def foretold(
    snapshot: Snapshot, name: str | None, algorithm: str, targets: str, again: Callable[[], Source]
) -> dict[str, object]:
    """As ``lbtop whatif --json`` says it. Raises LbtopError."""
    return as_json(*_predicted(snapshot, name, algorithm, targets, again))


def target_count(text: str, now: int) -> int:
    """``5``, ``+1`` or ``-1``. Raises LbtopError."""
    try:
        count = now + int(text) if text[:1] in "+-" else int(text)
    except ValueError:
        raise LbtopError(f"--targets {text!r}: write a number, +1 or -1") from None
    if not 1 <= count <= 10_000:
        raise LbtopError(f"--targets {text}: that would be {count} targets")
    return count


def decides_by_request(service: Service) -> bool:
    """Whether the balancer decides per request. Offload is layer 7 by definition; otherwise shared connections show it."""
    requests = sum(target.requests or 0 for target in service.targets)
    connections = sum(target.connections for target in service.targets)
    if not requests or not service.load_balancer.addresses:
        return False
    return service.termination.verdict.value is Mode.OFFLOAD or requests > 1.5 * connections


def _service(snapshot: Snapshot, name: str | None) -> Service:
    if not snapshot.services:
        raise LbtopError("no load-balanced service in view: lbtop diagnose says what is")
    if name is None:
        return max(snapshot.services, key=lambda service: sum((t.requests or 0) + t.connections for t in service.targets))
    for service in snapshot.services:
        if service.service == name:
            return service
    raise LbtopError(f"no service {name!r}; in view: {', '.join(service.service for service in snapshot.services)}")


def as_json(service: Service, prediction: Prediction, layer7: bool) -> dict[str, object]:
    """The object of ``--json``."""

    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 6)

    def interval(values: tuple[float, float, float] | None) -> dict[str, object] | None:
        return None if values is None else {"typical": rounded(values[1]), "interval": [rounded(values[0]), rounded(values[2])]}

    return {
        "schema": "lbtop.whatif/1",
        "service": service.service,
        "balancing": prediction.algorithm,
        "unit": "request" if layer7 else "connection",
        "units": prediction.units,
        "targets": {"before": prediction.before, "after": prediction.targets},
        "exact": prediction.exact,
        "peak_to_mean": interval(prediction.peak_to_mean),
        "observed_peak_to_mean": rounded(prediction.observed_peak_to_mean),
        "shares": [rounded(share) for share in prediction.shares],
        "returns_to_same_target": rounded(prediction.affinity_kept),
        "sessions_moved": interval(prediction.moved),
        "nat_blast_radius": rounded(prediction.blast_radius),
    }


def render_json(service: Service, prediction: Prediction, layer7: bool) -> str:
    return json.dumps(as_json(service, prediction, layer7), indent=2) + "\n"


def render_text(service: Service, prediction: Prediction, layer7: bool) -> str:
    from lbtop.model.figures import percent, plural

    low, middle, high = prediction.peak_to_mean
    unit = "request" if layer7 else "connection"
    after = f"{prediction.targets} targets" if prediction.targets != 1 else "1 target"
    lines = [
        f"{service.service}: {plural(prediction.units, unit)} through {prediction.algorithm} onto {after} ({prediction.note}).",
        "",
        f"  peak to mean       {middle:.2f}" + ("" if prediction.exact else f"   ({low:.2f} to {high:.2f} in nine of ten)")
        + f"   as captured on {prediction.before}: {prediction.observed_peak_to_mean:.2f}",
        "  shares, hottest first   " + ", ".join(percent(share) for share in prediction.shares[:8]),
    ]  # fmt: skip
    if prediction.affinity_kept is not None:
        lines.append(f"  returns to the same target   {percent(prediction.affinity_kept)}")
    if prediction.moved is not None:
        low, middle, high = prediction.moved
        span = "" if prediction.exact else f"   ({percent(low)} to {percent(high)})"
        lines.append(
            f"  sessions that would move from {prediction.before} to {prediction.targets} targets   {percent(middle)}{span}"
        )
    if prediction.blast_radius is not None:
        lines.append(f"  one address alone brings {percent(prediction.blast_radius)} of the load, always to one target")
    return "\n".join(lines) + "\n"
