"""What every command that listens live shares: interfaces, ports, the probe, and opening it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from lbtop.model.errors import LbtopError

if TYPE_CHECKING:
    from lbtop.model.observation import Source

PROBES = ("auto", "ebpf", "packet")


def add_live_options(parser: argparse.ArgumentParser) -> None:
    live = parser.add_argument_group("listening live, without FILE (needs privileges: lbtop doctor)")
    live.add_argument(
        "-i", "--interface", metavar="IFACE", action="append", default=[], help="listen here (repeatable; default: all but lo)"
    )
    live.add_argument(
        "--port", metavar="P", type=int, action="append", default=[], help="only services on this port (repeatable)"
    )
    live.add_argument(
        "--probe",
        choices=PROBES,
        default="auto",
        help="ebpf: bulk data stay in the kernel; packet: plain packet ring; auto: ebpf where it can be had",
    )
    live.add_argument(
        "--max-cpu",
        metavar="SHARE",
        type=_share,
        help="of one processor, such as 5%%: above it less of every connection is read (and said so) until there is room again",
    )


def _share(text: str) -> float:
    try:
        share = float(text.rstrip("%")) / 100
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share of a processor: write 5%")
    return share


def open_live(options: argparse.Namespace, *, for_s: float | None = None) -> Source:
    """This host's own traffic, for ``for_s`` seconds, with the best probe there is or the one asked for. Raises LbtopError."""
    from lbtop.catalog.recognition import recognition
    from lbtop.probes.live import open_probe

    for port in options.port:
        if not 0 < port < 65536:
            raise LbtopError(f"{port} is not a port")
    source: Source = open_probe(
        options.probe,
        options.interface,
        ports=options.port,
        for_s=for_s,
        recognition=recognition(),
        max_cpu=options.max_cpu,
    )
    return source
