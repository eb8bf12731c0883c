"""What this host offers: kernel, privileges, bindings, listeners. Every check names the command that mends it."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from lbtop.model.address import ip_text
from lbtop.model.record import dataclass
from lbtop.model.text import safe_text

if TYPE_CHECKING:
    from lbtop.probes.live.listeners import Namespace

WORKS, PARTLY, MISSING = "works", "partly", "missing"

CAPABILITIES = {
    "CAP_NET_RAW": 13,
    "CAP_NET_ADMIN": 12,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_PTRACE": 19,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}
"""Bits of /proc/PID/status (linux/capability.h)."""

_OLDEST_RING = (3, 2)  # TPACKET_V3
_OLDEST_EBPF = (5, 8)  # ring buffer maps and CAP_BPF
_USUAL_PORTS = (80, 443, 8000, 8080, 8443, 3000, 5000, 9000)


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    state: str
    detail: str
    needed_for: str = ""
    mend: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listener:
    address: str
    port: int
    process: str | None  # None: this user may not see it
    container: str | None = None  # its short id or name, as the process's control group tells it

    @property
    def told(self) -> str:
        """``8080 (nginx in container 3f2a9b1c0d4e)``, with what is known."""
        where = f"container {self.container}" if self.container else ""
        who = " in ".join(word for word in (self.process, where) if word)
        return f"{self.port} ({who})" if who else str(self.port)


def checks() -> list[Check]:
    """Every check, in the order in which they build on each other. None of them changes anything or raises."""
    found = []
    for check in (_python, _readers, _kernel, _btf, _privileges, _ring, _bcc, _filter, _tracepoints, _inside_tls, _listeners):
        try:
            found.append(check())
        except OSError as error:
            found.append(Check(check.__name__.strip("_"), PARTLY, f"could not be checked: {error.strerror}"))
    return found


def _python() -> Check:
    import numpy

    return Check("python", WORKS, f"{platform.python_version()}, numpy {numpy.__version__}, {sys.executable}")


def _readers() -> Check:
    import importlib.util

    modules = {"zstandard": ".zst captures", "hpack": "HTTP/2 heads", "cryptography": "QUIC hellos", "pyarrow": "parquet output"}
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    try:
        from lbtop.probes.wire import decoder  # noqa: F401
    except (ImportError, ValueError) as error:  # ValueError: modules of two builds beside each other
        detail = f"not compiled, or not in one piece: {safe_text(str(error))}"
        return Check("decoder", MISSING, detail, "reading captures", ("pip install --force-reinstall lbtop",))
    there = ", ".join(what for module, what in modules.items() if module not in missing)
    detail = f"compiled; pcap and pcapng, plain and gzip{'; also ' + there if there else ''}"
    if not missing:
        return Check("decoder", WORKS, detail)
    what = ", ".join(modules[module] for module in missing)
    return Check("decoder", PARTLY, f"{detail}; not {what}", what, (f"{sys.executable} -m pip install {' '.join(missing)}",))


def _kernel() -> Check:
    from lbtop.probes.ebpf.toolchain import kernel_version

    release = safe_text(platform.release())
    if platform.system() != "Linux":
        return Check("kernel", MISSING, f"{platform.system()} {release}: live needs Linux; captures can be read anywhere", "live")
    version = kernel_version()
    if version < _OLDEST_RING:
        return Check("kernel", MISSING, f"Linux {release}: the packet ring needs {_OLDEST_RING[0]}.{_OLDEST_RING[1]}", "live")
    if version < _OLDEST_EBPF:
        return Check(
            "kernel",
            PARTLY,
            f"Linux {release}: packet ring yes, eBPF probe needs {_OLDEST_EBPF[0]}.{_OLDEST_EBPF[1]}",
            "the eBPF filter",
        )
    return Check("kernel", WORKS, f"Linux {release}{_lockdown()}")


def _lockdown() -> str:
    text = _read("/sys/kernel/security/lockdown")
    active = text[text.find("[") + 1 : text.find("]")] if "[" in text else ""
    return f", lockdown {active}" if active and active != "none" else ""


def _btf() -> Check:
    if os.path.exists("/sys/kernel/btf/vmlinux"):
        return Check("btf", WORKS, "/sys/kernel/btf/vmlinux")
    return Check("btf", WORKS, "none, and none is needed: the probe uses stable interfaces only")


def capabilities(status: str) -> frozenset[str]:
    """Names of the effective capabilities in the text of /proc/PID/status that lbtop cares about."""
    mask = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), 0)
    return frozenset(name for name, bit in CAPABILITIES.items() if mask >> bit & 1)


def _privileges() -> Check:
    held = capabilities(_read("/proc/self/status"))
    ebpf = "CAP_SYS_ADMIN" in held or "CAP_BPF" in held
    raw = "CAP_NET_RAW" in held
    user = f"uid {os.geteuid()}" if hasattr(os, "geteuid") else "unknown user"
    if raw and ebpf:
        return Check("privileges", WORKS, f"{user}: may open the packet ring and load eBPF programs")
    if raw:
        return Check(
            "privileges",
            PARTLY,
            f"{user}: may open the packet ring, may not load eBPF programs",
            "the eBPF filter",
            (f"sudo {_me()}",),
        )
    return Check(
        "privileges", MISSING, f"{user}: may neither open the packet ring nor load eBPF programs", "live", (f"sudo {_me()}",)
    )


def _me() -> str:
    """This program by a name that sudo's own path finds too."""
    return shlex.quote(os.path.abspath(sys.argv[0])) if os.path.isfile(sys.argv[0] or "") else "lbtop"


def _ring() -> Check:
    import socket

    if not hasattr(socket, "AF_PACKET"):
        return Check("packet ring", MISSING, "this system has no AF_PACKET sockets", "live")
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as ring:
            ring.setsockopt(263, 10, 2)  # SOL_PACKET, PACKET_VERSION, TPACKET_V3
    except PermissionError:
        return Check("packet ring", MISSING, "not allowed without CAP_NET_RAW", "live", (f"sudo {_me()} doctor",))
    except OSError as error:
        return Check("packet ring", MISSING, f"the kernel refuses it: {error.strerror}", "live")
    return Check("packet ring", WORKS, "AF_PACKET with TPACKET_V3")


def _bcc() -> Check:
    from lbtop.probes.ebpf import prebuilt, toolchain

    try:
        folder = toolchain.find_bcc()
    except toolchain.Unavailable as why:
        mend = install_bcc(_read("/etc/os-release"))
        if prebuilt.is_for_this_host():
            return Check("bcc", PARTLY, str(why), "compiling eBPF programs here; the filter comes compiled", mend)
        return Check("bcc", MISSING, str(why), "the eBPF filter, before Linux 5.11", mend)
    return Check("bcc", WORKS, f"{folder / 'bcc'}")


def _filter() -> Check:
    """The only way to know whether a program may be loaded here is to load it. It is freed at once."""
    import time

    from lbtop.probes.ebpf.program import Program
    from lbtop.probes.ebpf.toolchain import Unavailable

    started = time.monotonic()
    try:
        program = Program()
    except Unavailable as why:
        mend = () if os.geteuid() == 0 else (f"sudo {_me()} doctor",)
        return Check("eBPF filter", PARTLY, f"{why}; live goes on with the plain packet ring", "the eBPF filter", mend)
    program.close()
    how = "compiled here and loaded" if program.compiled else "loaded"
    return Check("eBPF filter", WORKS, f"{how} in {time.monotonic() - started:.2f} s")


_MOUNT_TRACEFS = "sudo mount -t tracefs tracefs /sys/kernel/tracing"


def _tracepoints() -> Check:
    """What the kernel says of its own retransmits and resets."""
    from lbtop.probes.ebpf.tcp_events import TcpEvents
    from lbtop.probes.ebpf.toolchain import Unavailable

    what = "the kernel's own counts of retransmits and resets"
    try:
        events = TcpEvents()
    except Unavailable as why:
        mend = (_MOUNT_TRACEFS,) if "tracefs" in str(why) else () if os.geteuid() == 0 else (f"sudo {_me()} doctor",)
        return Check("tracepoints", PARTLY, f"{why}; live goes on with what packets tell", what, mend)
    events.close()
    if events.missing:
        return Check("tracepoints", PARTLY, f"not in this kernel: {', '.join(events.missing)}", what)
    return Check("tracepoints", WORKS, "TCP states, retransmits, resets sent and received")


def _inside_tls() -> Check:
    """Whose TLS ``--tls-plaintext`` could read here. Nothing is attached."""
    from lbtop.probes.ebpf import attach, libraries, plaintext, tracefs
    from lbtop.probes.ebpf.toolchain import Unavailable

    name, what = "inside TLS", "--tls-plaintext"
    if not attach.is_supported():
        return Check(name, PARTLY, "this kernel has no uprobes (CONFIG_UPROBE_EVENTS)", what)
    try:
        missing = plaintext.TRACEPOINTS.keys() - tracefs.tracepoints(list(plaintext.TRACEPOINTS)).keys()
    except Unavailable as why:
        return Check(name, PARTLY, str(why), what, (_MOUNT_TRACEFS,))
    if missing:
        mend = () if os.geteuid() == 0 else (f"sudo {_me()} doctor",)
        return Check(name, PARTLY, f"cannot use {', '.join(sorted(missing))}", what, mend)
    found = libraries.find(libraries.Scope(frozenset(listener.port for listener in listeners()[0])))
    told = ", ".join(sorted({library.path.resolve().name for library in found.libraries})) or "no library of a listener here"
    own = [program for program in found.unreadable if program.endswith(libraries.NOT_READABLE)]
    return Check(name, WORKS, safe_text(f"uprobes at {told}{'; ' + '; '.join(own) if own else ''}"))


def install_bcc(os_release: str) -> tuple[str, ...]:
    """The command that installs the bindings on the distribution that /etc/os-release describes."""
    words = {
        part
        for line in os_release.splitlines()
        if line.startswith(("ID=", "ID_LIKE="))
        for part in line.partition("=")[2].strip('"').split()
    }
    if words & {"debian", "ubuntu"}:
        return ("sudo apt-get install python3-bpfcc",)
    if words & {"fedora", "rhel", "centos", "amzn"}:
        return ("sudo dnf install python3-bcc",)
    if "arch" in words:
        return ("sudo pacman -S python-bcc",)
    if words & {"suse", "opensuse"}:
        return ("sudo zypper install python3-bcc",)
    return ("install your distribution's Python bindings of bcc (iovisor), not PyPI's bcc",)


def listeners() -> tuple[list[Listener], bool]:
    """TCP listeners beyond loopback, of every network namespace in view, by port, and whether every process could be seen."""
    from lbtop.probes.live.listeners import namespaces

    return listeners_of(namespaces())


def listeners_of(namespaces: Iterable[Namespace]) -> tuple[list[Listener], bool]:
    """Of these: one row for each process and port."""
    found: dict[tuple[str, int], Listener] = {}
    complete = True
    for space in namespaces:
        for row in space.listeners:
            address = ip_text(row.address)
            if address.startswith("127.") or address == "::1":
                continue
            complete &= row.pid > 0
            process = safe_text(row.process, 30) if row.pid else None
            inside = safe_text(row.container, 30) if row.container else None
            found.setdefault((process or "", row.port), Listener(address, row.port, process, inside))
    return sorted(found.values(), key=lambda listener: listener.port), complete


def _listeners() -> Check:
    found, complete = listeners()
    if not found:
        return Check("listeners", PARTLY, "nothing listens here beyond loopback (in this network namespace)")
    told = ", ".join(listener.told for listener in found[:8])
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    if complete or os.geteuid() == 0:  # in another namespace they stay hidden from root as well
        return Check("listeners", WORKS, told + more)
    return Check(
        "listeners",
        PARTLY,
        f"{told}{more}; not every process may be seen by this user",
        "naming processes",
        (f"sudo {_me()} doctor",),
    )


def tcpdump_command(found: list[Listener]) -> str:
    """The line that captures what lbtop needs for the services that listen here: whole packets, rotated, no name lookups."""
    ports = sorted({listener.port for listener in found if listener.port != 22 and listener.port < 32768})
    usual = [port for port in ports if port in _USUAL_PORTS] or ports[:4]
    condition = " or ".join(f"port {port}" for port in usual[:6]) or "tcp port 8080"
    return f"sudo tcpdump -i any -n -s 0 -U -C 200 -W 10 -w lb.pcap '{condition}'"


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(65536)
    except OSError:
        return ""
