"""Counts by tshark, per connection: its dissectors and its TCP analysis are nobody's here."""

from __future__ import annotations

import subprocess
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

FIELDS = (
    "frame.number", "tcp.stream", "ip.src", "ipv6.src", "tcp.srcport", "ip.dst", "ipv6.dst", "tcp.dstport", "tcp.seq_raw",
    "tcp.len", "tcp.flags", "tcp.analysis.retransmission", "tcp.analysis.keep_alive", "tcp.analysis.out_of_order",
    "http.request.method", "http.response.code", "tls.handshake.type", "tcp.analysis.lost_segment",
    "http2.headers.method", "http2.headers.status", "ip.id", "ip.ttl",
)  # fmt: skip
PREFERENCES = ("tcp.relative_sequence_numbers:FALSE", "tcp.desegment_tcp_streams:TRUE", "tcp.reassemble_out_of_order:TRUE",
               "tcp.analyze_sequence_numbers:TRUE", "ip.defragment:FALSE", "http.tls.port:1")  # fmt: skip
End = tuple[str, int]


@dataclass(slots=True)
class Stream:
    """One TCP connection as tshark tells it; directions by sender."""

    ends: tuple[End, End]
    bytes: Counter[End] = field(default_factory=Counter)
    retransmits: Counter[End] = field(default_factory=Counter)
    packets: Counter[End] = field(default_factory=Counter)
    requests: int = 0
    responses: int = 0
    client_hellos: int = 0
    server_hellos: int = 0
    lossy: bool = False


@cache
def streams(tshark: str, capture: Path) -> list[Stream]:
    """Every TCP connection of a capture, in order of appearance.

    A packet that comes by again with its IP id and a smaller TTL was forwarded and not sent again, whatever tshark calls it.
    """
    command = [tshark, "-n", "-r", str(capture), "-Y", "tcp", "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=,"]
    for name in FIELDS:
        command += ["-e", name]
    for preference in PREFERENCES:
        command += ["-o", preference]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found: dict[str, Stream] = {}
    covered: dict[tuple[str, End], list[tuple[int, int]]] = defaultdict(list)
    seen: dict[tuple[str, ...], int] = {}
    for line in done.stdout.splitlines():
        row = dict(zip(FIELDS, line.split("\t"), strict=True))
        if not row["tcp.stream"] or not row["tcp.len"]:
            continue
        number = row["tcp.stream"].split(",")[-1]
        source = (_last(row["ip.src"] or row["ipv6.src"]), int(row["tcp.srcport"]))
        target = (_last(row["ip.dst"] or row["ipv6.dst"]), int(row["tcp.dstport"]))
        stream = found.setdefault(number, Stream((source, target)))
        length, seq = int(row["tcp.len"]), int(row["tcp.seq_raw"])
        stream.packets[source] += 1
        hops = int(_last(row["ip.ttl"]) or 0)
        copied = hops < seen.get(same := (number, row["ip.src"], row["ip.id"], row["tcp.seq_raw"], row["tcp.len"]), 0)
        seen[same] = hops
        stream.retransmits[source] += bool(row["tcp.analysis.retransmission"]) and not copied
        stream.lossy |= bool(row["tcp.analysis.lost_segment"] or row["tcp.analysis.out_of_order"])
        if length and not row["tcp.analysis.keep_alive"]:
            start = seq + (int(row["tcp.flags"], 16) >> 1 & 1)
            covered[number, source].append((start, start + length))
        stream.requests += len(_items(row["http.request.method"]) + _items(row["http2.headers.method"]))
        codes = _items(row["http.response.code"]) + _items(row["http2.headers.status"])
        stream.responses += sum(not code.startswith("1") or code == "101" for code in codes)
        kinds = _items(row["tls.handshake.type"])
        stream.client_hellos += kinds.count("1")
        stream.server_hellos += kinds.count("2")
    for (number, source), pieces in covered.items():
        found[number].bytes[source] = _union(pieces)
    return list(found.values())


def _items(text: str) -> list[str]:
    return text.split(",") if text else []


def _last(text: str) -> str:
    """The innermost address of a tunnelled packet."""
    return text.split(",")[-1]


def _union(pieces: list[tuple[int, int]]) -> int:
    """Bytes covered at least once; sequence numbers that wrapped are put after those before the wrap."""
    if max(end for _, end in pieces) - min(start for start, _ in pieces) > 1 << 31:
        pieces = [(start + (1 << 32), end + (1 << 32)) if start < 1 << 31 else (start, end) for start, end in pieces]
    total, reached = 0, -1
    for start, end in sorted(pieces):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total
