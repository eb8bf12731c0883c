"""What every command that listens live shares: interfaces, ports, the probe, and opening it."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from lbtop.model.errors import LbtopError

if TYPE_CHECKING:
    from lbtop.model.observation import Source

PROBES = ("auto", "ebpf", "packet")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|min|h)?$")
_UNITS = {"ms": 1e-3, "s": 1.0, None: 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


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


def duration(text: str) -> float:
    """Seconds in ``60s``, ``10m``, ``1.5h`` or ``60``. Raises LbtopError."""
    match = _DURATION.match(text)
    if match is None or float(match[1]) <= 0:
        raise LbtopError(f"{text!r} is not a length of time: write 60s, 10m or 1h")
    return float(match[1]) * _UNITS[match[2]]


def open_live(options: argparse.Namespace) -> Source:
    """This host's own traffic, with the best probe that can be had (or the one asked for). Raises LbtopError."""
    from lbtop.catalog.recognition import recognition
    from lbtop.probes.live import open_probe

    for port in options.port:
        if not 0 < port < 65536:
            raise LbtopError(f"{port} is not a port")
    wanted = getattr(options, "for_", None)
    source: Source = open_probe(
        options.probe,
        options.interface,
        ports=options.port,
        for_s=duration(wanted) if wanted else None,
        recognition=recognition(),
    )
    return source
