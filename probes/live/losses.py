"""Packets that were lost before any packet socket could see them, as the kernel counts them.

Neither is a gap in what lbtop saw of this host: its own programs never got these packets either. They explain retransmits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_SOFTNET_DROPPED = 1  # column of /proc/net/softnet_stat (net/core/net-procfs.c)
_DEVICE_DROPPED = 3  # received and dropped, column of /proc/net/dev
_LOOPBACK = "lo"


class HostLosses:
    """What was lost since it was made, on these interfaces (none named: on all but loopback)."""

    def __init__(self, interfaces: Sequence[str] = (), proc: Path = Path("/proc/net")) -> None:
        self._interfaces = frozenset(interfaces)
        self._proc = proc
        self._before = self._now()

    def notes(self) -> list[str]:
        """A sentence for each place where something was lost."""
        device, backlog, overflows = (max(0, now - then) for now, then in zip(self._now(), self._before, strict=True))
        found = []
        if device:
            found.append(f"network interfaces dropped {device:,} received packets before anybody could see them")
        if backlog:
            found.append(f"the kernel dropped {backlog:,} packets that waited for a processor (softnet backlog)")
        if overflows:
            found.append(f"{overflows:,} connections were refused or delayed because a listener's accept queue was full")
        return found

    def _now(self) -> tuple[int, int, int]:
        return self._device(), self._backlog(), self._overflows()

    def _device(self) -> int:
        total = 0
        for line in self._lines("dev")[2:]:
            name, _, counts = line.partition(":")
            wanted = name.strip() in self._interfaces if self._interfaces else name.strip() != _LOOPBACK
            columns = counts.split()
            if wanted and len(columns) > _DEVICE_DROPPED:
                total += int(columns[_DEVICE_DROPPED])
        return total

    def _backlog(self) -> int:
        rows = [line.split() for line in self._lines("softnet_stat")]
        return sum(int(row[_SOFTNET_DROPPED], 16) for row in rows if len(row) > _SOFTNET_DROPPED)

    def _overflows(self) -> int:
        """ListenOverflows of /proc/net/netstat: a line of names, then a line of values."""
        lines = [line.split() for line in self._lines("netstat") if line.startswith("TcpExt:")]
        for names, values in zip(lines[::2], lines[1::2], strict=False):
            if "ListenOverflows" in names and len(values) == len(names):
                return int(values[names.index("ListenOverflows")])
        return 0

    def _lines(self, name: str) -> list[str]:
        try:
            return (self._proc / name).read_text("ascii", "replace").splitlines()
        except OSError:
            return []
