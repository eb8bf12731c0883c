"""Which processes are meant by ports and process numbers, and through which library each of them speaks TLS (procfs)."""

from __future__ import annotations

import os
import platform
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from lbtop.probes.ebpf import elf
from lbtop.probes.ebpf.places import cheapest

from lbtop.model.record import dataclass
from lbtop.model.text import safe_text

PROC = Path("/proc")
OPENSSL: Mapping[str, str] = {
    "SSL_read": "read",
    "SSL_write": "write",
    "SSL_read_ex": "read_ex",
    "SSL_write_ex": "write_ex",
    "SSL_read_early_data": "read_ex",
    "SSL_do_handshake": "handshake",
    "SSL_free": "free",
}
GNUTLS: Mapping[str, str] = {
    "gnutls_record_recv": "read",
    "gnutls_record_send": "write",
    "gnutls_handshake": "handshake",
    "gnutls_deinit": "free",
}
"""Exported functions, and the program of plaintext.c that belongs at each: their first arguments are the same."""
FUNCTIONS = {**OPENSSL, **GNUTLS}
_NEEDED = ({"SSL_read", "SSL_write"}, {"gnutls_record_recv", "gnutls_record_send"})
_LIBRARY = re.compile(r"/lib(ssl|gnutls)[^/]*\.so[.\d]*( \(deleted\))?$")
_BUILT_IN = (
    (b"\xff Go buildinf:", "Go's own TLS"),
    (b"BoringSSL", "a BoringSSL of its own"),
    (b"rustls", "rustls"),
    (b"mbedtls", "an Mbed TLS of its own"),
    (b"OpenSSL 1.", "an OpenSSL of its own"),
    (b"OpenSSL 3.", "an OpenSSL of its own"),
)
"""What shows in the file of a program that brings its TLS along."""
NOT_READABLE = ", not readable"
_LISTENS = "0A"


@dataclass(frozen=True, slots=True)
class Scope:
    """What the operator chose. ``ports``: connections to these ports of this host; ``processes``: all of theirs."""

    ports: frozenset[int] = frozenset()
    processes: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Library:
    """A file with TLS functions, and where each of them begins in it."""

    path: Path
    functions: dict[str, int]


@dataclass(frozen=True, slots=True)
class Found:
    """``whole``: processes of which every connection is wanted, ``by_port``: those that listen on a port that is.
    ``ports``: all ports that the chosen connections may have here. ``unreadable``: a phrase per program that cannot be read."""

    whole: frozenset[int]
    by_port: frozenset[int]
    ports: frozenset[int]
    libraries: tuple[Library, ...]
    unreadable: tuple[str, ...]


def find(scope: Scope) -> Found:
    """What is running now. Processes of others are only seen with CAP_SYS_PTRACE."""
    parents = dict(_parents())
    listening = _listeners(parents)
    whole = {pid for pid in parents if _descends(pid, scope.processes, parents)}
    by_port = {pid for pid, ports in listening.items() if ports & scope.ports} - whole
    libraries: dict[tuple[int, int], Library] = {}
    unreadable: dict[str, None] = {}
    for pid in sorted(whole | by_port):
        why = _look_at(pid, libraries)
        if why and (pid in scope.processes or pid in listening or why.endswith(NOT_READABLE)):
            unreadable[f"{_name(pid)}: {why}"] = None
    gone = [f"no process {pid}" for pid in sorted(scope.processes - parents.keys())]
    nobody = [f"nobody listens on port {port}" for port in sorted(scope.ports - set().union(*listening.values()))]
    ports = scope.ports.union(*(listening[pid] for pid in whole if pid in listening))
    return Found(frozenset(whole), frozenset(by_port), frozenset(ports), tuple(libraries.values()), (*gone, *nobody, *unreadable))


def _look_at(pid: int, libraries: dict[tuple[int, int], Library]) -> str:
    """Adds the libraries of a process; a phrase where it has none that can be read."""
    try:
        paths = _mapped(pid)
    except OSError as error:
        return f"cannot be looked at ({error.strerror})"
    usable = False
    gone = False
    for path in paths:
        if path.endswith(" (deleted)"):
            gone = True
            continue
        file = PROC / str(pid) / "root" / path.lstrip("/")
        with suppress(OSError):
            usable |= _add(file, libraries)
    if usable:
        return ""
    if gone:
        return "its TLS library was replaced on disk: restart it"
    program = PROC / str(pid) / "exe"
    with suppress(OSError):
        if _add(program, libraries):
            return ""
        word = elf.contains(program, [word for word, _ in _BUILT_IN])
        if word:
            return f"{dict(_BUILT_IN)[word]}{NOT_READABLE}"
    return "no TLS library that can be read"


def _add(file: Path, libraries: dict[tuple[int, int], Library]) -> bool:
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        return False
    key = status.st_dev, status.st_ino
    if key not in libraries:
        functions = elf.function_offsets(file, FUNCTIONS)
        if not any(needed <= functions.keys() for needed in _NEEDED):
            return False
        libraries[key] = Library(file, cheapest(file, functions, platform.machine()))
    return True


def _mapped(pid: int) -> list[str]:
    """Paths of the TLS libraries that a process has mapped, as it names them."""
    found: dict[str, None] = {}
    for line in (PROC / str(pid) / "maps").read_text("utf-8", "replace").splitlines():
        path = line.split(None, 5)[5:]
        if path and _LIBRARY.search(path[0]):
            found[path[0]] = None
    return list(found)


def _parents() -> Iterator[tuple[int, int]]:
    for entry in os.listdir(PROC):
        if entry.isdigit():
            with suppress(OSError, ValueError, IndexError):
                text = (PROC / entry / "stat").read_text("utf-8", "replace")
                yield int(entry), int(text.rpartition(")")[2].split()[1])


def _descends(pid: int, chosen: frozenset[int], parents: dict[int, int]) -> bool:
    for _ in range(64):
        if pid in chosen:
            return True
        pid = parents.get(pid, 0)
        if pid == 0:
            return False
    return False


def _listeners(pids: Iterable[int]) -> dict[int, frozenset[int]]:
    """Ports on which each process listens, in whatever network namespace."""
    by_namespace: dict[str, dict[str, int]] = {}
    found: dict[int, frozenset[int]] = {}
    for pid in pids:
        folder = PROC / str(pid)
        with suppress(OSError):
            namespace = os.readlink(folder / "ns" / "net")
            if namespace not in by_namespace:
                by_namespace[namespace] = dict(_listening(folder / "net"))
            sockets = by_namespace[namespace]
            if not sockets:
                continue
            ports = set()
            for entry in os.scandir(folder / "fd"):
                with suppress(OSError):
                    port = sockets.get(os.readlink(entry.path))
                    if port is not None:
                        ports.add(port)
            if ports:
                found[pid] = frozenset(ports)
    return found


def _listening(folder: Path) -> Iterator[tuple[str, int]]:
    """``socket:[inode]`` and port of every listening TCP socket of a network namespace."""
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (folder / name).read_text("ascii", "replace").splitlines()[1:]:
                columns = line.split()
                if len(columns) > 9 and columns[3] == _LISTENS:
                    yield f"socket:[{columns[9]}]", int(columns[1].rpartition(":")[2], 16)


def _name(pid: int) -> str:
    try:
        name = (PROC / str(pid) / "comm").read_text("utf-8", "replace").strip()
    except OSError:
        return str(pid)
    return safe_text(name)
