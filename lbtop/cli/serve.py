"""``lbtop serve``: metrics in the OpenMetrics format for Prometheus, headless."""

from __future__ import annotations

import argparse
import threading
from typing import TYPE_CHECKING

from lbtop.cli import OK
from lbtop.cli.listening import add_live_options
from lbtop.cli.output import warn
from lbtop.cli.reading import add_knowledge_options, add_reading_options, engine_options, open_source
from lbtop.cli.stopping import Stop
from lbtop.model.errors import LbtopError

if TYPE_CHECKING:
    from lbtop.model.snapshot import Snapshot

SUMMARY = "metrics for Prometheus from live traffic (or from captures), without a dashboard"
EXAMPLES = (
    "sudo lbtop serve --metrics 127.0.0.1:9469",
    "lbtop serve --metrics 127.0.0.1:9469 x.pcap",
    "curl -s 127.0.0.1:9469/metrics | grep lbtop_findings",
)
DEFAULT = "127.0.0.1:9469"
EVERY_NS = 2_000_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_reading_options(parser, files="*")
    add_live_options(parser)
    parser.add_argument("--metrics", metavar="ADDR:PORT", default=DEFAULT, help=f"where to listen (default {DEFAULT})")
    add_knowledge_options(parser)


def listen_address(text: str, example: str = DEFAULT) -> tuple[str, int]:
    """``127.0.0.1:9469`` or ``[::1]:9469``. Raises LbtopError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 <= int(port) < 65536:
        raise LbtopError(f"{text!r} is not an address to listen on: write {example}")
    return host.strip("[]") or "127.0.0.1", int(port)


class Newest:
    """The newest snapshot, handed from the thread that reads to the one that serves."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None

    def __call__(self) -> Snapshot | None:
        return self.snapshot


def run(options: argparse.Namespace) -> int:
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError:
        raise LbtopError("metrics need the prometheus-client package: pip install 'lbtop[metrics]'") from None
    from lbtop.engine import live_snapshots, snapshots
    from lbtop.faces.metrics import SnapshotCollector

    host, port = listen_address(options.metrics)
    source = open_source(options)
    stop = Stop()
    newest = Newest()
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(newest))
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        source.close()
        raise LbtopError(f"cannot listen on {options.metrics}: {error.strerror}") from None
    warn(f"metrics on http://{host}:{server.server_port}/metrics")
    try:
        # Live, time goes on where nothing arrives; in captures it is the traffic's own.
        drive = snapshots if options.files else live_snapshots
        for snapshot in drive(source, EVERY_NS, engine_options(options), stop=stop.is_set):
            newest.snapshot = snapshot
        while not stop.is_set():  # a capture ends; its metrics stay until somebody ends the server
            threading.Event().wait(0.2)
    finally:
        source.close()
        server.shutdown()
        thread.join(2.0)
    return OK
