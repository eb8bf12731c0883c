"""What every command that listens live shares: interfaces, ports, the probe, and opening it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lbtop.cli.output import warn
from lbtop.model.errors import LbtopError

if TYPE_CHECKING:
    from lbtop.model.observation import Source
    from lbtop.probes.ebpf.libraries import Scope
    from lbtop.probes.live.source import PacketSource

PROBES = ("auto", "ebpf", "packet")
_MOST_TOLD = 6
_SSH = 22


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
    live.add_argument(
        "--tls-plaintext",
        metavar="WHOSE",
        type=_chosen,
        help="also read request and response heads inside TLS, through the library of whoever listens on a port here, or of a "
        "process and its children: port:443,pid:1234 (docs/live.md; off by default)",
    )
    live.add_argument(
        "--keep-root",
        action="store_true",
        help="do not give up privileges once sockets and programs are open (docs/privileges.md)",
    )


def _share(text: str) -> float:
    try:
        share = float(text.rstrip("%")) / 100
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share of a processor: write 5%")
    return share


def _chosen(text: str) -> tuple[frozenset[int], frozenset[int]]:
    """Ports and processes of ``port:443,pid:1234``."""
    found: dict[str, set[int]] = {"port": set(), "pid": set()}
    for word in text.split(","):
        kind, _, number = word.strip().partition(":")
        if kind not in found or not number.isdigit() or not 0 < int(number) < (65536 if kind == "port" else 1 << 22):
            raise argparse.ArgumentTypeError(f"{word!r} is neither port:NUMBER nor pid:NUMBER")
        found[kind].add(int(number))
    return frozenset(found["port"]), frozenset(found["pid"])


def open_live(options: argparse.Namespace, *, for_s: float | None = None) -> Source:
    """This host's own traffic, for ``for_s`` seconds, with the best probe there is or the one asked for. Raises LbtopError."""
    from lbtop.catalog.recognition import recognition
    from lbtop.probes.live import open_probe

    for port in options.port:
        if not 0 < port < 65536:
            raise LbtopError(f"{port} is not a port")
    source = open_probe(
        options.probe,
        options.interface,
        ports=options.port,
        for_s=for_s,
        recognition=recognition(),
        max_cpu=options.max_cpu,
        inside=_inside(options),
    )
    _tell_listeners(source)
    if not options.keep_root:
        _give_up_privileges(source, options)
    opened: Source = source
    return opened


def _inside(options: argparse.Namespace) -> Scope | None:
    if options.tls_plaintext is None:
        return None
    from lbtop.probes.ebpf.libraries import Scope

    ports, processes = options.tls_plaintext
    return Scope(ports, processes)


def _tell_listeners(source: PacketSource) -> None:
    """Who listens here, while other users' processes may still be looked at."""
    from lbtop.cli.host import listeners_of

    here, _ = listeners_of(space for space in source.namespaces if space.own)
    found = [listener for listener in here if listener.process and listener.port != _SSH]
    if found:
        more = f" and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
        source.notes.append("listening here: " + ", ".join(listener.told for listener in found[:_MOST_TOLD]) + more)


def _give_up_privileges(source: Source, options: argparse.Namespace) -> None:
    """Everything that needs them is open by now. A command that writes files must still be able to write them."""
    from lbtop.probes.live.privileges import drop

    output = getattr(options, "output", None)
    writes = Path(output).absolute().parent if output else None
    try:
        stats = source.stats()
        drop(maps=stats.kind == "ebpf" or stats.inside_tls is not None, writes=writes)
    except OSError as error:
        warn(f"could not give up privileges ({error.strerror}); lbtop goes on with them")
