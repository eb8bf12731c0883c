"""What this host offers: kernel, privileges, bindings, listeners. Every check names the command that mends it."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from lbtop.model.text import safe_text

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

DIST_PACKAGES = ("/usr/lib/python3/dist-packages", "/usr/lib/python3.*/site-packages", "/usr/lib64/python3.*/site-packages")
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


def checks() -> list[Check]:
    """Every check, in the order in which they build on each other. None of them changes anything or raises."""
    found = []
    for check in (_python, _readers, _kernel, _btf, _privileges, _ring, _tracefs, _bcc, _listeners):
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

    extras = {
        "zstandard": ("zstd", ".zst captures"),
        "hpack": ("http2", "HTTP/2 heads"),
        "cryptography": ("quic", "QUIC hellos"),
        "pyarrow": ("parquet", "parquet output"),
    }
    missing = {extra: what for module, (extra, what) in extras.items() if importlib.util.find_spec(module) is None}
    try:
        from lbtop.probes.wire import decoder  # noqa: F401
    except (ImportError, ValueError) as error:  # ValueError: modules of two builds beside each other
        return Check(
            "decoder",
            MISSING,
            f"not compiled, or not in one piece: {safe_text(str(error))}",
            "reading captures",
            ("pip install --force-reinstall lbtop",),
        )
    if not missing:
        return Check("decoder", WORKS, "compiled; pcap and pcapng, plain, gzip and zstd; HTTP/2 and QUIC")
    what = ", ".join(missing.values())
    return Check(
        "decoder",
        PARTLY,
        f"compiled; pcap and pcapng, plain and gzip; not: {what}",
        what,
        (f"pip install 'lbtop[{','.join(missing)}]'",),
    )


def kernel_version(release: str) -> tuple[int, int]:
    """Major and minor number of a release such as ``6.1.0-18-amd64``; (0, 0) for anything else."""
    numbers = release.split("-")[0].split(".")
    try:
        return int(numbers[0]), int(numbers[1])
    except (ValueError, IndexError):
        return 0, 0


def _kernel() -> Check:
    release = safe_text(platform.release())
    if platform.system() != "Linux":
        return Check("kernel", MISSING, f"{platform.system()} {release}: live needs Linux; captures can be read anywhere", "live")
    version = kernel_version(release)
    if version < _OLDEST_RING:
        return Check("kernel", MISSING, f"Linux {release}: the packet ring needs {_OLDEST_RING[0]}.{_OLDEST_RING[1]}", "live")
    if version < _OLDEST_EBPF:
        return Check(
            "kernel",
            PARTLY,
            f"Linux {release}: packet ring yes, eBPF probe needs {_OLDEST_EBPF[0]}.{_OLDEST_EBPF[1]}",
            "the eBPF probe",
        )
    return Check("kernel", WORKS, f"Linux {release}{_lockdown()}")


def _lockdown() -> str:
    text = _read("/sys/kernel/security/lockdown")
    active = text[text.find("[") + 1 : text.find("]")] if "[" in text else ""
    return f", lockdown {active}" if active and active != "none" else ""


def _btf() -> Check:
    if os.path.exists("/sys/kernel/btf/vmlinux"):
        return Check("btf", WORKS, "/sys/kernel/btf/vmlinux")
    return Check("btf", PARTLY, "no /sys/kernel/btf/vmlinux; the probe does without it (it uses stable interfaces only)")


def capabilities(status: str) -> frozenset[str]:
    """Names of the effective capabilities in the text of /proc/PID/status that lbtop cares about."""
    mask = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), 0)
    return frozenset(name for name, bit in CAPABILITIES.items() if mask >> bit & 1)


def _privileges() -> Check:
    held = capabilities(_read("/proc/self/status"))
    ebpf = "CAP_SYS_ADMIN" in held or {"CAP_BPF", "CAP_PERFMON"} <= held
    raw = "CAP_NET_RAW" in held
    user = f"uid {os.geteuid()}" if hasattr(os, "geteuid") else "unknown user"
    if raw and ebpf:
        return Check("privileges", WORKS, f"{user}: may open the packet ring and load eBPF programs")
    if raw:
        return Check(
            "privileges",
            PARTLY,
            f"{user}: may open the packet ring, may not load eBPF programs",
            "the eBPF probe",
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


def _tracefs() -> Check:
    for root in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing"):
        if os.path.isdir(f"{root}/events/sock/inet_sock_set_state"):
            return Check("tracepoints", WORKS, f"sock:inet_sock_set_state under {root}")
    if os.path.isdir("/sys/kernel/tracing") and not os.access("/sys/kernel/tracing", os.X_OK | os.R_OK):
        return Check(
            "tracepoints",
            PARTLY,
            "/sys/kernel/tracing is closed to this user",
            "TCP state changes live",
            (f"sudo {_me()} doctor",),
        )
    if not os.path.isdir("/sys/kernel/tracing/events"):
        return Check(
            "tracepoints",
            PARTLY,
            "tracefs is not mounted",
            "TCP state changes live",
            ("sudo mount -t tracefs tracefs /sys/kernel/tracing",),
        )
    return Check("tracepoints", PARTLY, "the kernel has no sock:inet_sock_set_state; packets tell the same", "")


def find_bcc(search: list[str] | None = None) -> tuple[Path | None, Path | None]:
    """Where the BPF Compiler Collection's bindings are, and where an unrelated package called ``bcc`` is.

    The bindings come from the distribution and lie outside a virtual environment. PyPI's ``bcc`` is a package of lattice
    geometry. They are told apart by their files: importing an unknown package as root would run it.
    """
    import glob

    folders = (
        list(search)
        if search is not None
        else [path for path in sys.path if path] + [p for pattern in DIST_PACKAGES for p in sorted(glob.glob(pattern))]
    )
    real = unrelated = None
    for folder in folders:
        package = Path(folder, "bcc")
        if not package.is_dir():
            continue
        if (package / "libbcc.py").is_file():
            real = real or package
        else:
            unrelated = unrelated or package
    return real, unrelated


def _bcc() -> Check:
    real, unrelated = find_bcc()
    note = f"; {unrelated} is an unrelated package of the same name (lattice geometry), it is not used" if unrelated else ""
    mend = ((f"{sys.executable} -m pip uninstall bcc",) if unrelated else ()) + install_bcc(_read("/etc/os-release"))
    if real is None:
        return Check(
            "bcc", MISSING, f"the BPF Compiler Collection's Python bindings are not installed{note}", "the eBPF probe", mend
        )
    import ctypes.util

    if ctypes.util.find_library("bcc") is None:
        return Check("bcc", MISSING, f"{real} is there, its library libbcc.so is not{note}", "the eBPF probe", mend)
    return Check("bcc", WORKS, f"{real}{note}")


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
    """TCP listeners beyond loopback, by port, and whether every process could be seen."""
    import psutil

    found: dict[tuple[str, int], Listener] = {}
    complete = True
    try:
        sockets = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return [], False
    for socket in sockets:
        if socket.status != psutil.CONN_LISTEN or socket.laddr.ip.startswith("127.") or socket.laddr.ip == "::1":
            continue
        process = None
        if socket.pid is not None:
            try:
                process = safe_text(psutil.Process(socket.pid).name(), 30)
            except psutil.Error:
                process = None
        complete &= process is not None
        found.setdefault((process or "", socket.laddr.port), Listener(socket.laddr.ip, socket.laddr.port, process))
    return sorted(found.values(), key=lambda listener: listener.port), complete


def _listeners() -> Check:
    found, complete = listeners()
    if not found:
        return Check("listeners", PARTLY, "nothing listens here beyond loopback (in this network namespace)")
    told = ", ".join(f"{listener.port}{f' ({listener.process})' if listener.process else ''}" for listener in found[:8])
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    if complete:
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
