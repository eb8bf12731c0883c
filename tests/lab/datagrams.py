"""Datagram servers and clients: HTTP/3 from Caddy to curl_cffi, DNS, and a protocol nobody knows."""

from __future__ import annotations

import select
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.lab.client import HOST, User
from tests.lab.net import VIP
from tests.lab.net_base import Namespace

ECHO = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((sys.argv[1], int(sys.argv[2])))
while True:
    data, peer = sock.recvfrom(2048)
    record = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0<\\0\\4\\x0a\\0\\0\\1"
    answer = data[:2] + b"\\x81\\x80" + data[4:6] + data[4:6] + data[8:] + record \\
        if sys.argv[3] == "dns" else data[::-1]
    sock.sendto(answer, peer)
"""


def answering(ns: Namespace, address: str, port: int, kind: str) -> subprocess.Popen[bytes]:
    """A process that answers datagrams: ``dns`` with an address, ``echo`` with the bytes reversed."""
    process = ns.start(sys.executable, "-c", ECHO, address, str(port), kind)
    time.sleep(0.4)
    return process


def caddy_http3(ns: Namespace, address: str, directory: Path, key: Path, chain: Path) -> subprocess.Popen[bytes]:
    """Caddy answering over HTTP/3 (and TCP) on port 443."""
    directory.mkdir()
    (directory / "Caddyfile").write_text(
        "{\n admin off\n auto_https off\n}\n"
        f'https://{HOST}:443 {{\n bind {address}\n tls {chain} {key}\n respond "{"goods " * 80}"\n}}\n'
    )
    process = ns.start(
        "env",
        f"HOME={directory}",
        "caddy",
        "run",
        "--config",
        str(directory / "Caddyfile"),
        "--adapter",
        "caddyfile",
        log=directory / "caddy.log",
    )
    deadline = time.monotonic() + 10
    while ":443" not in ns.run("ss", "-Hlun") and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


def fetch_http3(user: User, times: int, pause: float, *, fresh: bool) -> None:
    """``times`` pages over QUIC, each on a connection of its own if ``fresh``."""
    from curl_cffi import CurlHttpVersion, CurlOpt, requests

    session: Any = None
    for turn in range(times):
        if session is None or fresh:
            session = requests.Session(
                http_version=CurlHttpVersion.V3ONLY,
                verify=False,
                interface=user.address,
                timeout=10,
                curl_options={CurlOpt.RESOLVE: [f"{HOST}:443:{VIP}"]},
            )
        try:
            user.answers.append(int(session.get(f"https://{HOST}/goods/{turn}").status_code))
        except requests.exceptions.RequestException as problem:
            user.failures.append(str(problem))
        if fresh:
            session.close()
        time.sleep(user.random.expovariate(1 / pause))
    session.close()


def ask(user: User, port: int, times: int, pause: float, *, dns: bool) -> None:
    """``times`` datagrams to the balancer, each from a new port, each waiting for its answer."""
    for turn in range(times):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((user.address, 0))
            sock.settimeout(2)
            name = f"host{turn}".encode()
            query = struct.pack(">HHHHHH", user.random.randrange(65536), 0x0100, 1, 0, 0, 0)
            query += bytes((len(name),)) + name + b"\x07example\x00\x00\x01\x00\x01"
            sock.sendto(query if dns else b"\x9c\x51" + user.random.randbytes(90), (VIP, port))
            try:
                sock.recv(2048)
                user.answers.append(1)
            except OSError as problem:
                user.failures.append(str(problem))
        time.sleep(user.random.expovariate(1 / pause))


class Rebinding:
    """A NAT in miniature: datagrams to its port go on to the balancer from one port, and after :meth:`rebind` from another."""

    def __init__(self, address: str) -> None:
        self.inside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.inside.bind((address, 0))
        self.port = int(self.inside.getsockname()[1])
        self._address = address
        self._peer: tuple[str, int] | None = None
        self._outside: list[socket.socket] = []
        self._over = False
        self.rebind()
        threading.Thread(target=self._run, daemon=True).start()

    def rebind(self) -> None:
        """What comes from now on leaves from a new port; answers to the old one are lost."""
        outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        outside.bind((self._address, 0))
        self._outside.append(outside)

    def _run(self) -> None:
        while not self._over:
            outside = self._outside[-1]
            for ready in select.select([self.inside, outside], [], [], 0.05)[0]:
                data, peer = ready.recvfrom(2048)
                if ready is self.inside:
                    self._peer = peer
                    outside.sendto(data, (VIP, 443))
                elif self._peer:
                    self.inside.sendto(data, self._peer)

    def close(self) -> None:
        """Ends the thread and all ports."""
        self._over = True
        time.sleep(0.1)
        for sock in (self.inside, *self._outside):
            sock.close()


def move_http3(user: User, times: int) -> None:
    """``times`` connections over QUIC: a page, then another port, then another page on the same connection, if it lives."""
    from curl_cffi import CurlHttpVersion, CurlOpt, requests

    for turn in range(times):
        nat = Rebinding(user.address)
        session = requests.Session(
            http_version=CurlHttpVersion.V3ONLY,
            verify=False,
            interface=user.address,
            timeout=2,
            curl_options={CurlOpt.RESOLVE: [f"{HOST}:{nat.port}:{user.address}"]},
        )
        for page in ("before", "after"):
            try:
                user.answers.append(int(session.get(f"https://{HOST}:{nat.port}/{page}/{turn}").status_code))
            except requests.exceptions.RequestException as problem:
                user.failures.append(str(problem))
            time.sleep(0.3 + user.random.random() * 0.3)
            if page == "before":
                nat.rebind()
        session.close()
        nat.close()
