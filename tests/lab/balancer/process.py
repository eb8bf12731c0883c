"""A balancer's process in the balancer's namespace."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.lab.net_base import Namespace, stop


class Balancer:
    """A running balancer process."""

    def __init__(self, ns: Namespace, command: Sequence[str], directory: Path, ports: Sequence[int], label: str) -> None:
        self.ns, self.directory, self.log = ns, directory, directory / f"{label}.log"
        self._process = ns.start(*command, log=self.log, cwd=directory)
        wait_listening(ns, ports, self._process, self.log)

    def admin(self, command: str) -> str:
        """The answer of HAProxy's run-time interface."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.directory / "haproxy.sock"))
            sock.sendall(command.encode() + b"\n")
            answer = b""
            while part := sock.recv(65536):
                answer += part
        return answer.decode()

    def send(self, number: int) -> None:
        """Send the process a signal, such as the one that makes it read its configuration again."""
        self._process.send_signal(number)

    def finish(self) -> None:
        stop(self._process)


def wait_listening(ns: Namespace, ports: Sequence[int], process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when every port listens inside ``ns``; raise with the process's own words when it does not come up."""
    deadline = time.monotonic() + 15
    while True:
        listening = {line.split()[3].rpartition(":")[2] for line in ns.run("ss", "-Hltn").splitlines()}
        if all(str(port) in listening for port in ports):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"balancer did not start: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)
