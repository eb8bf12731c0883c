"""The truth file beside a capture: what is known about it, and how tshark counts the same packets."""

from __future__ import annotations

import json
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass
class Counts:
    """What crossed the wire towards one listening address (contract words)."""

    connections: int = 0
    requests: int = 0
    health_checks: int = 0
    probes: int = 0
    refused: int = 0


COUNTS = ("connections", "requests", "health_checks", "probes", "refused")
FIELDS = (
    "tcp.stream",
    "ip.src",
    "ipv6.src",
    "tcp.srcport",
    "ip.dst",
    "ipv6.dst",
    "tcp.dstport",
    "tcp.len",
    "tcp.flags.syn",
    "tcp.flags.ack",
    "tcp.flags.reset",
    "http.request.method",
    "http.request.uri",
    "udp.stream",
    "udp.srcport",
    "udp.dstport",
    "udp.length",
)


def recount(
    capture: Path, servers: Iterable[str], plain_ports: Iterable[int] = (), health_path: str = "/health"
) -> dict[str, Counts]:
    """Connections, probes, refused attempts, requests and health checks per server, counted by tshark.

    ``servers`` are the listening addresses as ``ip:port``; other connections are counted under ``other``.
    """
    command = ["tshark", "-n", "-r", str(capture), "-T", "fields", "-E", "occurrence=a", "-o", "tcp.desegment_tcp_streams:TRUE"]
    for name in FIELDS:
        command += ["-e", name]
    for port in plain_ports:
        command += ["-d", f"tcp.port=={port},http"]
    rows = subprocess.run([*command, "(tcp or udp) and not icmp"], capture_output=True, text=True, check=True).stdout.splitlines()
    known = set(servers)
    side: dict[str, str] = {}
    payload: Counter[str] = Counter()
    opened: set[str] = set()
    refused: set[str] = set()
    requests: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        stream, src4, src6, sport, dst4, dst6, dport, length, syn, ack, reset, method, uri, flow, usport, udport, ulength = (
            row.split("\t")
        )
        if flow:  # a datagram flow counts like a connection: its first sender is the client
            stream, sport, dport, length = f"udp {flow}", usport, udport, str(int(ulength) - 8)
        source = f"[{src6}]:{sport}" if src6 else f"{src4}:{sport}"
        destination = f"[{dst6}]:{dport}" if dst6 else f"{dst4}:{dport}"
        if syn in ("1", "True") and ack in ("0", "False"):
            side[stream] = destination
        elif syn in ("1", "True"):
            opened.add(stream)
        elif reset in ("1", "True") and stream not in opened and not payload[stream] and side.get(stream) == source:
            refused.add(stream)
        if stream not in side and (flow or destination in known or source in known):
            side[stream] = source if source in known and destination not in known else destination
        payload[stream] += int(length or 0)
        if method:
            requests[stream] += uri.split(",") if uri else [""]
    result: dict[str, Counts] = defaultdict(Counts)
    for stream, server in side.items():
        counts = result[server if server in known else "other"]
        if payload[stream]:
            counts.connections += 1
        elif stream in refused:
            counts.refused += 1
        else:
            counts.probes += 1
        checks = sum(uri.startswith(health_path) for uri in requests[stream])
        counts.health_checks = counts.health_checks + checks
        counts.requests = counts.requests + len(requests[stream]) - checks
    return dict(result)


def write(path: Path, sections: Mapping[str, object]) -> None:
    """Write a truth file: scalars first, then tables, then arrays of tables. TOML 1.0."""
    path.write_text(text(sections))


def text(sections: Mapping[str, object]) -> str:
    """The truth as TOML."""
    return "\n".join(_table(sections, "")).strip() + "\n"


def _table(table: Mapping[str, object], prefix: str) -> list[str]:
    lines = [
        f"{key} = {_value(value)}"
        for key, value in table.items()
        if value is not None and not isinstance(value, dict) and not _is_tables(value)
    ]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += ["", f"[{prefix}{key}]", *_table(value, f"{prefix}{key}.")]
        elif _is_tables(value):
            for row in value:  # type: ignore[attr-defined]
                row = row if isinstance(row, dict) else asdict(row)
                lines += ["", f"[[{prefix}{key}]]", *_table(row, f"{prefix}{key}.")]
    return lines


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple, set)):
        items = [_value(item) for item in value]
        line = ", ".join(items)
        return f"[{line}]" if len(line) < 100 else "[\n  " + ",\n  ".join(items) + ",\n]"
    return json.dumps(str(value), ensure_ascii=False)  # a JSON string is a TOML string
