"""The kernel's own table of TCP sockets, through netlink (sock_diag(7), linux/inet_diag.h): what ``ss -to`` shows."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST_DUMP = 0x301
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_ESTABLISHED, _LISTEN = 1, 10
_INET_DIAG_INFO = 2
_TIMER_KEEPALIVE = 2
_HEADER = struct.Struct("=IHHII")
_MESSAGE = struct.Struct("=BBBB")
_LAST_DATA_RECEIVED, _LAST_ACK_RECEIVED = 52, 56
"""Offsets in struct tcp_info (linux/tcp.h), milliseconds ago."""
MOST_SOCKETS = 50_000
_PATIENCE_S = 1.0


@dataclass(frozen=True, slots=True)
class Socket:
    """A TCP socket of this host. ``keepalive_s``: its keepalive time as far as the running timer shows it; None: off."""

    state: int
    local: tuple[bytes, int]
    remote: tuple[bytes, int]
    keepalive_s: float | None

    @property
    def listens(self) -> bool:
        return self.state == _LISTEN


@dataclass(frozen=True, slots=True)
class Keepalive:
    """Keepalive of the connections that a port of this host has accepted."""

    port: int
    sockets: int
    seconds: float  # of silence before the first probe


def sockets() -> list[Socket]:
    """Listening and established TCP sockets of this network namespace; none where the kernel does not answer."""
    found: list[Socket] = []
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            found.extend(_dump(family))
        except OSError:
            continue
    return found


def keepalives(table: Iterable[Socket]) -> tuple[Keepalive, ...]:
    """By port, for sockets with keepalive on. A timer that has run for a while shows less: the upper half counts."""
    rows = list(table)
    listening = {row.local[1] for row in rows if row.listens}
    by_port: dict[int, list[float]] = {}
    for row in rows:
        if row.keepalive_s is not None and row.local[1] in listening and not row.listens:
            by_port.setdefault(row.local[1], []).append(row.keepalive_s)
    found = []
    for port, times in sorted(by_port.items()):
        times.sort()
        found.append(Keepalive(port, len(times), median(times[len(times) // 2 :])))
    return tuple(found)


def accepted(table: Iterable[Socket]) -> int:
    """Connections to listeners of this host that are open now."""
    rows = list(table)
    listening = {row.local[1] for row in rows if row.listens}
    return sum(not row.listens and row.local[1] in listening for row in rows)


def _dump(family: int) -> Iterator[Socket]:
    states = 1 << _ESTABLISHED | 1 << _LISTEN
    body = struct.pack("=BBBxI48x", family, socket.IPPROTO_TCP, 1 << (_INET_DIAG_INFO - 1), states)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as link:
        link.settimeout(_PATIENCE_S)
        link.sendto(_HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0) + body, (0, 0))
        seen = 0
        while True:
            data = link.recv(1 << 18)
            at = 0
            while at + _HEADER.size <= len(data):
                length, kind, *_ = _HEADER.unpack_from(data, at)
                if kind in (_NLMSG_DONE, _NLMSG_ERROR) or length < _HEADER.size:
                    return
                row = _parse(data[at + _HEADER.size : at + length])
                if row is not None:
                    yield row
                    seen += 1
                    if seen >= MOST_SOCKETS:
                        return
                at += (length + 3) & ~3


def _parse(message: bytes) -> Socket | None:
    """One inet_diag_msg with its attributes."""
    if len(message) < 72:
        return None
    family, state, timer, _ = _MESSAGE.unpack_from(message)
    sport, dport = struct.unpack_from(">HH", message, 4)
    size = 4 if family == socket.AF_INET else 16
    source, target = (_mapped(message[start : start + size]) for start in (8, 24))
    expires_ms = struct.unpack_from("=I", message, 52)[0]
    keepalive = None
    if timer == _TIMER_KEEPALIVE and state == _ESTABLISHED:
        keepalive = (expires_ms + _silent_ms(message)) / 1000
    return Socket(state, (source, sport), (target, dport), keepalive)


def _silent_ms(message: bytes) -> int:
    """Time since the socket last received anything, from its tcp_info; 0 where that is absent."""
    at = 72
    while at + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        if length < 4:
            return 0
        if kind == _INET_DIAG_INFO and length >= 4 + _LAST_ACK_RECEIVED + 4:
            data, ack = struct.unpack_from("=II", message, at + 4 + _LAST_DATA_RECEIVED)
            return int(min(data, ack))
        at += (length + 3) & ~3
    return 0


def _mapped(address: bytes) -> bytes:
    return address if len(address) == 16 else bytes(10) + b"\xff\xff" + address
