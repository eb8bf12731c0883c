"""Who listens on this host, in every network namespace that can be seen: sockets, processes, containers (procfs, proc(5))."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PATIENCE_S = 0.3
"""Of processor time. A host may have very many processes: what is not found by then stays without a name."""
_MOST_NAMESPACES = 64
_MOST_DESCRIPTORS = 1024
"""Of one process: who listens opened that early."""
_MOST_TEXT = 64
_MOST_ROUTES = 1 << 22
_LISTEN = "0A"
_MAPPED = bytes(10) + b"\xff\xff"
ANY = bytes(16)
_ANY4 = _MAPPED + bytes(4)


@dataclass(frozen=True, slots=True)
class Listener:
    """A TCP socket that accepts connections. ``address``: 16 bytes, ANY for every address of its namespace."""

    address: bytes
    port: int
    pid: int = 0  # 0: this user may not see it
    process: str = ""
    container: str = ""  # its short id or name, as the process's control group tells it


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace with listeners. ``addresses``: its own, 16 bytes each, loopback included."""

    own: bool  # the one this process is in
    addresses: frozenset[bytes]
    listeners: tuple[Listener, ...]


def namespaces(proc: Path = Path("/proc")) -> list[Namespace]:
    """This network namespace and, as far as their processes may be looked at, the others that have listeners. Never raises."""
    ends = time.thread_time() + _PATIENCE_S
    members = _members(proc, ends)
    found = []
    for number, pids in enumerate(members.values()):
        net = proc / str(pids[0]) / "net" if number else proc / "net"
        sockets = dict(_sockets(net))
        if sockets or not number:
            owners = _owners(proc, pids, set(sockets), ends)
            rows = (_listener(proc, *end, owners.get(inode, 0)) for inode, end in sockets.items())
            unique = {(row.address, row.port): row for row in sorted(rows, key=lambda row: row.pid)}
            found.append(Namespace(not number, frozenset(_addresses(net)), tuple(unique.values())))
    return found


def container(cgroup: str) -> str | None:
    """The container that /proc/PID/cgroup names: 12 digits of its id (Docker, containerd, CRI-O, Podman), or LXC's name."""
    found = re.search(r"[-/]([0-9a-f]{64})(?:\.scope)?(?:/|$)", cgroup, re.MULTILINE)
    if found:
        return found[1][:12]
    found = re.search(r"/lxc(?:\.payload\.|/)([^/\s]+)", cgroup)
    return found[1][:30] if found else None


def _members(proc: Path, ends: float) -> dict[int, list[int]]:
    """Processes by network namespace: this one's first, then those of few processes, as containers are."""
    own = _inode(proc / "self" / "ns" / "net")
    members: dict[int, list[int]] = {own: []}
    try:
        pids = sorted(int(name) for name in os.listdir(proc) if name.isdigit())
    except OSError:
        pids = []
    for pid in pids:
        inode = _inode(proc / str(pid) / "ns" / "net")
        if inode and (inode in members or len(members) < _MOST_NAMESPACES):
            members.setdefault(inode, []).append(pid)
        if time.thread_time() > ends:
            break
    return {inode: members[inode] for inode in sorted(members, key=lambda inode: (inode != own, len(members[inode])))}


def _inode(path: Path) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def _sockets(net: Path) -> Iterator[tuple[int, tuple[bytes, int]]]:
    """Number of every listening socket, with its address and port."""
    for name in ("tcp", "tcp6"):
        for line in _lines(net / name)[1:]:
            columns = line.split()
            if len(columns) > 9 and columns[3] == _LISTEN and columns[9].isdigit():
                address, _, port = columns[1].partition(":")
                yield int(columns[9]), (_address(address), int(port, 16))


def _address(text: str) -> bytes:
    """An address as /proc/net/tcp has it: words of four bytes in the machine's order."""
    raw = bytes.fromhex(text)
    if sys.byteorder == "little":
        raw = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    full = raw if len(raw) == 16 else _MAPPED + raw
    return ANY if full == _ANY4 else full


def _addresses(net: Path) -> Iterator[bytes]:
    """The namespace's own addresses: /proc/net/fib_trie (the leaves that are "host LOCAL") and /proc/net/if_inet6."""
    leaf = ""
    for line in _lines(net / "fib_trie", _MOST_ROUTES):
        words = line.split()
        if len(words) == 2 and words[0] == "|--":
            leaf = words[1]
        elif words[:3] == ["/32", "host", "LOCAL"] and leaf.count(".") == 3:
            yield _MAPPED + bytes(map(int, leaf.split(".")))
    for line in _lines(net / "if_inet6"):
        yield bytes.fromhex(line.split()[0])


def _owners(proc: Path, pids: list[int], wanted: set[int], ends: float) -> dict[int, int]:
    """Which of these processes holds each socket; of several the first, which is the one that started the others."""
    found: dict[int, int] = {}
    for pid in pids:
        if len(found) == len(wanted) or time.thread_time() > ends:
            break
        folder = f"{proc}/{pid}/fd"
        try:
            descriptors = sorted(os.listdir(folder), key=int)[:_MOST_DESCRIPTORS]
        except OSError:
            continue
        for descriptor in descriptors:
            try:
                target = os.readlink(f"{folder}/{descriptor}")
            except OSError:
                continue
            if target.startswith("socket:["):
                inode = int(target[8:-1])
                if inode in wanted:
                    found.setdefault(inode, pid)
    return found


def _listener(proc: Path, address: bytes, port: int, pid: int) -> Listener:
    if not pid:
        return Listener(address, port)
    name = "".join(_lines(proc / str(pid) / "comm"))
    inside = container("\n".join(_lines(proc / str(pid) / "cgroup")))
    return Listener(address, port, pid, name[:_MOST_TEXT], inside or "")


def _lines(path: Path, most: int = 1 << 24) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(most).splitlines()
    except OSError:
        return []
