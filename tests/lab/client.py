"""Users of the service: Python programs, curl, and browsers' fingerprints and headers through curl_cffi."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.lab.net import VIP, VIP6, ClientNet, Net
from tests.lab.net_base import Namespace

HOST = "shop.example"
BROWSERS = (
    "chrome124",
    "firefox133",
    "safari17_0",
    "edge101",
    "chrome116",
    "safari15_5",
    "chrome131",
    "chrome99_android",
    "firefox135",
    "safari17_2_ios",
)
USER_AGENTS = {
    "requests": "python-requests/2.32.3",
    "okhttp": "okhttp/4.12.0",
    "go": "Go-http-client/1.1",
    "plain-chrome": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/124.0.0.0 Safari/537.36",
    "plain-firefox": "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
}
Step = tuple[str, str, bytes | None]
PAGES: tuple[Step, ...] = tuple(
    ("GET", path, None) for path in ("/", "/static/app.js", "/api/items?page=1", "/goods/17", "/api/items?page=2", "/cart")
)


@dataclass
class User:
    """One user: where from, with what program, and what the service gave them."""

    ns: Namespace
    address: str
    kind: str = "requests"  # a key of USER_AGENTS or one of BROWSERS
    keep_cookies: bool = True
    seed: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    jar: dict[str, str] = field(default_factory=dict)
    answers: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.session: ssl.SSLSession | None = None
        self.context: ssl.SSLContext | None = None


def users(
    net: Net,
    count: int,
    *,
    kinds: Sequence[str] = ("requests",),
    addresses: int | None = None,
    seed: int = 7,
    networks: Sequence[ClientNet] | None = None,
    ipv6: bool = False,
) -> list[User]:
    """``count`` users over ``addresses`` different addresses (as many as there are users, if not given)."""
    networks = networks or net.clients
    spots = [
        (client.ns, address)
        for row in range(400)
        for client in networks
        for address in (client.addresses6 if ipv6 else client.addresses)[row : row + 1]
    ]
    spots = spots[: addresses or count]
    return [User(*spots[i % len(spots)], kind=kinds[i % len(kinds)], seed=seed * 1000 + i) for i in range(count)]


class Browsing:
    """One user's requests over connections of a chosen lifetime."""

    def __init__(
        self,
        user: User,
        *,
        scheme: str,
        port: int,
        fresh: bool,
        vip: str | None = None,
        host: str = HOST,
        resume: bool = True,
        maximum: ssl.TLSVersion | None = None,
    ) -> None:
        self.user, self.scheme, self.port, self.fresh, self.host = user, scheme, port, fresh, host
        self.vip = vip or (VIP6 if ":" in user.address else VIP)
        self.resume, self.maximum = resume, maximum
        self._connection: http.client.HTTPConnection | None = None
        self._curl: Any = None

    def do(self, step: Step, headers: dict[str, str] | None = None) -> int:
        """The status of one request; 0 when the connection failed."""
        try:
            status = self._with_curl(step, headers) if self.user.kind in BROWSERS else self._plain(step, headers)
        except Exception as problem:  # the lab's faults cut connections on purpose: what happened is noted
            self.user.failures.append(type(problem).__name__)
            self.close()
            status = 0
        self.user.answers.append(status)
        return status

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._curl is not None:
            self._curl.close()
            self._curl = None

    def _plain(self, step: Step, headers: dict[str, str] | None) -> int:
        method, path, body = step
        headers = {**self.user.headers, **(headers or {})}
        if self._connection is None:
            self._connection = self._open()
        name = self.host if self.port in (80, 443) else f"{self.host}:{self.port}"
        sent = {
            "Host": name,
            "User-Agent": USER_AGENTS[self.user.kind],
            "Accept": "*/*",
            "Accept-Encoding": "gzip, deflate",
            **headers,
        }
        if self.user.kind.startswith("plain-"):
            sent |= {"Accept-Language": "en-GB,en;q=0.8", "Upgrade-Insecure-Requests": "1"}
        if self.fresh:
            sent["Connection"] = "close"
        if self.user.keep_cookies and self.user.jar:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.user.jar.items())
        self._connection.request(method, path, body, sent)
        answer = self._connection.getresponse()
        answer.read()
        for line in answer.headers.get_all("Set-Cookie") or ():
            name, _, value = line.partition(";")[0].partition("=")
            if "max-age=0" in line.lower():
                self.user.jar.pop(name.strip(), None)
            else:
                self.user.jar[name.strip()] = value.strip()
        if isinstance(self._connection.sock, ssl.SSLSocket) and self.resume:
            self.user.session = self._connection.sock.session
        if self.fresh or answer.will_close:
            self.close()
        return answer.status

    def _open(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self.vip, self.port, timeout=20, source_address=(self.user.address, 0))
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.scheme == "https":
            if self.user.context is None:
                self.user.context = _client_context(self.user, self.maximum)
            connection.sock = self.user.context.wrap_socket(connection.sock, server_hostname=self.host, session=self.user.session)
        return connection

    def _with_curl(self, step: Step, headers: dict[str, str] | None) -> int:
        from curl_cffi import CurlOpt, requests

        method, path, body = step
        headers = {**self.user.headers, **(headers or {})}
        if self._curl is None:
            vip = f"[{self.vip}]" if ":" in self.vip else self.vip
            self._curl = requests.Session(
                impersonate=self.user.kind,
                verify=False,
                interface=self.user.address,
                timeout=20,
                allow_redirects=False,
                curl_options={
                    CurlOpt.RESOLVE: [f"{self.host}:{self.port}:{vip}"],
                    **({CurlOpt.FORBID_REUSE: 1} if self.fresh else {}),
                },
            )
        if not self.user.keep_cookies:
            self._curl.cookies.clear()
        name = self.host if self.port in (80, 443) else f"{self.host}:{self.port}"
        answer = self._curl.request(method, f"{self.scheme}://{name}{path}", data=body, headers=headers or None)
        return int(answer.status_code)


def _client_context(user: User, maximum: ssl.TLSVersion | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if user.kind == "okhttp":
        context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20:RSA+AESGCM")
        context.set_alpn_protocols(["http/1.1"])
    elif user.kind == "go":
        context.set_ciphers("ECDHE+CHACHA20:ECDHE+AESGCM:!RSA")
    if maximum is not None:
        context.maximum_version = maximum
    return context


def browse(
    people: Iterable[User],
    steps: Sequence[Step] = PAGES,
    *,
    repeat: int = 1,
    scheme: str = "http",
    port: int = 80,
    fresh: bool = False,
    think: float = 0.15,
    start_within: float = 2.0,
    stop_when: Callable[[], bool] | None = None,
    headers: dict[str, str] | None = None,
    **options: Any,
) -> None:
    """Let every user walk through ``steps`` at their own pace, all at once; returns when all are done."""

    def walk(user: User) -> None:
        time.sleep(user.random.random() * start_within)
        browsing = Browsing(user, scheme=scheme, port=port, fresh=fresh, **options)
        for _ in range(repeat):
            for step in steps:
                if stop_when is not None and stop_when():
                    break
                browsing.do(step, headers)
                time.sleep(user.random.expovariate(1 / think) if think else 0)
        browsing.close()

    together([(user.ns, lambda user=user: walk(user)) for user in people])


def together(jobs: Iterable[tuple[Namespace, Callable[[], None]]]) -> None:
    """Run jobs in threads, each in its namespace, and wait for all."""
    threads: list[threading.Thread] = [ns.thread(job) for ns, job in jobs]
    for thread in threads:
        thread.join()


class Upgraded:
    """A WebSocket held open by a user: ``say`` sends a masked text frame and waits for the echo."""

    def __init__(self, user: User, *, port: int, tls: bool, host: str = HOST, path: str = "/ws") -> None:
        self.sock: socket.socket = socket.create_connection((VIP, port), 20, (user.address, 0))
        if tls:
            self.sock = _client_context(user, None).wrap_socket(self.sock, server_hostname=host)
        cookie = "; ".join(f"{name}={value}" for name, value in user.jar.items())
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {host}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        ]
        lines += [f"Cookie: {cookie}"] if cookie else []
        self.sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        got = b""
        while b"\r\n\r\n" not in got:
            got += self.sock.recv(4096) or b"\r\n\r\n"

    def say(self, text: bytes) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(text))
        self.sock.sendall(struct.pack("!BB", 0x81, 0x80 | len(text)) + mask + masked)
        self.sock.recv(4096)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.close()
