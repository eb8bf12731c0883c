"""Recording with tcpdump in a namespace, and putting several recordings together."""

from __future__ import annotations

import gzip
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.lab.net_base import Namespace, stop


class Recorder:
    """tcpdump on one interface of one namespace, running from construction until :meth:`finish`."""

    def __init__(
        self,
        ns: Namespace,
        interface: str,
        path: Path,
        *,
        snap: int = 0,
        expression: str = "tcp or udp",
        buffer_kib: int = 8192,
        immediate: bool = True,
    ) -> None:
        self.path = path
        log = path.with_suffix(".log")
        log.unlink(missing_ok=True)
        # A ring block that has not been handed over when tcpdump ends is lost: hand over at once, or wait at the end.
        handing = ("-U", "--immediate-mode") if immediate else ()
        options = ("-n", "-Z", "root", "-B", str(buffer_kib), "-s", str(snap), *handing, "-w", str(path))
        self._process = ns.start("tcpdump", "-i", interface, *options, expression, log=log)
        deadline = time.monotonic() + 10
        while "listening on" not in log.read_text(errors="replace"):
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"tcpdump did not start: {log.read_text(errors='replace')}")
            time.sleep(0.02)
        self._log = log
        self._settle = 0.2 if immediate else 2.0

    def finish(self) -> Path:
        """Stop and return the recording; raises when the kernel dropped packets."""
        time.sleep(self._settle)
        stop(self._process, signal.SIGINT)
        said = self._log.read_text(errors="replace")
        dropped = [line for line in said.splitlines() if "dropped by kernel" in line]
        if dropped and not dropped[0].startswith("0 "):
            raise RuntimeError(f"{self.path.name}: {dropped[0]}")
        return self.path


def merge(parts: Sequence[Path], output: Path) -> Path:
    """Several recordings, one file ordered by time; pcapng or pcap by the name of ``output``."""
    form = "pcapng" if output.suffix == ".pcapng" else "pcap"
    subprocess.run(("mergecap", "-F", form, "-w", str(output), *map(str, parts)), check=True)
    return output


def write_as(source: Path, destination: Path) -> Path:
    """Copy a recording into the form that the name of ``destination`` asks for (.pcap, .pcapng, .pcap.gz)."""
    data = source.read_bytes()
    zipped = destination.suffix == ".gz"
    inner = Path(destination.stem) if zipped else destination
    if inner.suffix == ".pcapng" and data[:4] != b"\x0a\x0d\x0d\x0a":
        converted = source.with_suffix(".conv.pcapng")
        subprocess.run(("editcap", "-F", "pcapng", str(source), str(converted)), check=True)
        data = converted.read_bytes()
    destination.write_bytes(gzip.compress(data, 9, mtime=0) if zipped else data)
    return destination
