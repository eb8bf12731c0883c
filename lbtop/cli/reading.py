"""What every command that reads captures shares: files, the slice of time, names, and what the operator knows better."""

from __future__ import annotations

import argparse
import glob
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from lbtop.cli.moments import Anchor, moment
from lbtop.model.errors import LbtopError
from lbtop.model.text import safe_text

if TYPE_CHECKING:
    from lbtop.engine import Options
    from lbtop.model.observation import Source

STDIN = "-"
FRAME_ROWS = 128
"""Rows per batch where frames are shown: fine enough for a capture of some seconds, a tenth of a millisecond each."""
VANTAGES = ("target", "load_balancer", "mirror", "client")


def add_reading_options(parser: argparse.ArgumentParser, *, files: str = "+") -> None:
    parser.add_argument(
        "files",
        nargs=files,
        metavar="FILE",
        help="pcap or pcapng, also compressed; several are merged by time; a pattern in quotes; - reads standard input",
    )
    parser.add_argument("--follow", action="store_true", help="the files still grow: read on until Ctrl-C")
    parser.add_argument(
        "--keylog",
        metavar="FILE",
        help="TLS secrets (SSLKEYLOGFILE) of clients, balancer or targets: heads inside TLS are read, too; needs lbtop[keys]",
    )
    when = parser.add_argument_group("slice of time")
    when.add_argument(
        "--since",
        metavar="TIME",
        help="leave out what is earlier: 2026-03-01T12:00:05Z, 14:05 (UTC), +30s after the start, -5m before the end",
    )
    when.add_argument("--until", metavar="TIME", help="leave out what is later")


def add_knowledge_options(parser: argparse.ArgumentParser) -> None:
    known = parser.add_argument_group("what you know better than the traffic tells")
    known.add_argument("--vantage", choices=VANTAGES, help="where the capture was taken")
    known.add_argument("--target", metavar="ADDR[:PORT]", action="append", default=[], help="this is a target (repeatable)")
    known.add_argument("--lb", metavar="ADDR", action="append", default=[], help="this is a load balancer (repeatable)")
    add_name_options(known)


def add_name_options(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--name", metavar="ADDR=NAME", action="append", default=[], help="call this address so (repeatable)")
    parser.add_argument(
        "--hosts", metavar="FILE", action="append", default=[], help="take names from a file in the form of /etc/hosts"
    )


def capture_files(patterns: Iterable[str]) -> list[str]:
    """The files that are meant: quoted patterns expanded, in order, each once. Raises LbtopError."""
    files: list[str] = []
    for pattern in patterns:
        if pattern == STDIN or os.path.lexists(pattern) or not glob.has_magic(pattern):
            found = [pattern]
        else:
            found = sorted(glob.glob(pattern), key=_rotation)
            if not found:
                raise LbtopError(f"no file matches {safe_text(pattern)}")
        files += [name for name in found if name not in files]
    return files


def _rotation(name: str) -> tuple[str, int]:
    """``x.pcap2`` before ``x.pcap10``: the order in which tcpdump -C writes a set."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or -1)


def open_source(
    options: argparse.Namespace, *, for_s: float | None = None, rows: int | None = None, ahead: bool = False
) -> Source:
    """What the command line names, ``rows`` at a time; without a FILE, this host's own traffic, for ``for_s`` seconds. Raises
    LbtopError. ``ahead``: as for :func:`open_files`."""
    if options.files:
        if options.interface or options.port or options.probe != "auto":
            raise LbtopError("FILE is read, --interface, --port and --probe listen on this host: give one of them")
        return open_files(options, rows=rows, ahead=ahead)
    if options.since or options.until:
        raise LbtopError("--since and --until cut captures; live, give --for")
    if options.keylog:
        raise LbtopError("--keylog opens captures; live, most of what is inside TLS is never copied to this program")
    from lbtop.cli.listening import open_live

    return open_live(options, for_s=for_s)


def open_files(options: argparse.Namespace, *, rows: int | None = None, ahead: bool = False, threads: bool = True) -> Source:
    """The captures or the recording named on the command line, cut to the slice of time asked for. Raises LbtopError.

    ``rows``: the size of a batch. Small ones cost a little and let a dashboard have its frames between them. ``ahead``: captures
    are decoded by a thread of their own, from now on; for whoever reads to the end and asks for no frames on the way.
    Without ``threads`` none is started, not for reading either: for whoever forks, as threads do not come along.
    """
    from lbtop.catalog.recognition import recognition
    from lbtop.probes.files import decoded_ahead, open_capture
    from lbtop.recording import is_recording

    files = capture_files(options.files)
    recordings = [name for name in files if name != STDIN and is_recording(name)]
    if recordings:
        if len(files) > 1:
            raise LbtopError(f"{safe_text(recordings[0])} is a recording: give it alone, recordings are not merged")
        if options.since or options.until:
            raise LbtopError("a recording cannot be cut with --since and --until; cut the capture before recording it")
        if options.keylog:
            raise LbtopError("a recording holds no packets to decrypt; give --keylog when recording")
        from lbtop.recording import open_recording

        return open_recording(files[0])
    since = moment(options.since) if options.since else None
    until = moment(options.until) if options.until else None
    started, ended = _extent(files, [m.anchor for m in (since, until) if m])
    if options.follow and Anchor.END in {m.anchor for m in (since, until) if m}:
        raise LbtopError("a file that still grows has no end to count from; give times as +30s or 2026-03-01T12:00:05Z")
    since_ns = since.at(started, ended) if since else None
    until_ns = until.at(started, ended) if until else None
    if since_ns is not None and until_ns is not None and since_ns > until_ns:
        raise LbtopError("--since is later than --until: nothing lies between them")
    source: Source = open_capture(
        files,
        since_ns=since_ns,
        until_ns=until_ns,
        recognition=recognition(),
        follow=options.follow,
        rows=rows,
        keylog=options.keylog,
        ahead=None if threads else False,
    )
    if ahead:
        source = decoded_ahead(source)
    return source


def _extent(files: Sequence[str], anchors: Sequence[Anchor]) -> tuple[int, int]:
    """When the captures start and end, as far as ``anchors`` ask for it: the end costs one pass over the files."""
    if set(anchors) <= {Anchor.EPOCH}:
        return 0, 0
    if STDIN in files:
        raise LbtopError("a time relative to the capture needs a file, not standard input; give it as 2026-03-01T12:00:05Z")
    from lbtop.probes.files import open_capture

    source: Source = open_capture(files)
    try:
        batch = source.poll()
        while batch is not None and not batch.final and (Anchor.END in anchors or not source.stats().started_ns):
            batch = source.poll()
        stats = source.stats()
        return stats.started_ns, stats.ended_ns
    finally:
        source.close()


def names(pairs: Iterable[str], hosts_files: Iterable[str]) -> dict[str, str]:
    """Address to name. Pairs win over files, later ones over earlier ones. Raises LbtopError."""
    import ipaddress

    found: dict[str, str] = {}

    def add(address: str, name: str, where: str) -> None:
        try:
            found[str(ipaddress.ip_address(address.strip("[]")))] = safe_text(name, 60)
        except ValueError:
            raise LbtopError(f"{where}: {safe_text(address)!r} is not an address; write 10.0.0.11=web1") from None

    for path in hosts_files:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                for number, line in enumerate(file, 1):
                    words = line.partition("#")[0].split()
                    if len(words) >= 2:
                        add(words[0].partition("%")[0], words[1], f"{safe_text(path)} line {number}")
        except OSError as error:
            raise LbtopError(f"cannot read {safe_text(path)}: {error.strerror}") from None
    for pair in pairs:
        address, equals, name = pair.partition("=")
        if not equals or not name:
            raise LbtopError(f"--name {safe_text(pair)}: write ADDR=NAME, such as 10.0.0.11=web1")
        add(address, name, "--name")
    return found


def engine_options(options: argparse.Namespace) -> Options:
    from lbtop.engine import Options

    return Options(
        vantage=options.vantage,
        targets=tuple(options.target),
        balancers=tuple(options.lb),
        names=names(options.name, options.hosts),
    )
