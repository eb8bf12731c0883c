"""The application behind the balancer: a small threaded HTTP server that keeps the truth about what it saw."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.net_base import Namespace

Headers = dict[str, str]
PROXY_V2 = b"\r\n\r\n\x00\r\nQUIT\n"


@dataclass
class Seen:
    """What one target counted."""

    connections: int = 0  # with at least one byte from the peer
    requests: int = 0
    health_checks: int = 0
    lost: int = 0  # requests whose session this target did not know
    upgrades: int = 0


@dataclass
class Application:
    """How the application behaves; one object is shared by all targets of a scenario."""

    cookie: str | None = "session"
    attributes: str = "Path=/; HttpOnly; Secure; SameSite=Lax"
    sessions: str = "local"  # local: each target knows its own; shared: all know all
    unknown: str = "reissue"  # what an unknown session gets: reissue, 401, redirect
    health_path: str = "/health"
    body: int = 300
    seed: int = 1
    delay: Callable[[int, str], float] = lambda index, path: 0.0
    health_status: Callable[[int], int] = lambda index: 200
    status: Callable[[int, str], int] = lambda index, path: 200
    reset: Callable[[int, str], bool] = lambda index, path: False
    keepalive_s: float = 60.0
    keepalive_requests: int = 100000
    server_header: str = "shop/2.1"
    shape: Callable[[int, str], str] = lambda index, token: token  # a framework's form of a session value, by target
    rolling: bool = False  # encrypted session cookies: a new value for the same session in every answer
    also: Sequence[str] = ()  # further Set-Cookie lines of a first answer
    known: set[str] = field(default_factory=set)
    secrets: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def token(self, index: int = 0) -> str:
        """A new session value of target ``index``, remembered as a secret of the capture."""
        with self.lock:
            value = self.shape(index, base64.urlsafe_b64encode(self.random.randbytes(18)).decode())
            self.secrets.add(value)
            return value


class Target:
    """One target: ``start`` listens inside the namespace, ``seen`` is what arrived."""

    def __init__(
        self,
        ns: Namespace,
        index: int,
        address: str,
        port: int,
        application: Application,
        *,
        tls: ssl.SSLContext | None = None,
        proxy: bool = False,
        sniff: bool = False,
    ) -> None:
        self.sniff = sniff
        self.ns, self.index, self.address, self.port = ns, index, address, port
        self.app, self.tls, self.proxy = application, tls, proxy
        self.seen = Seen()
        self.log: list[dict[str, object]] = []
        self._known: set[str] = application.known if application.sessions == "shared" else set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()

    @property
    def name(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def start(self) -> Target:
        ready = threading.Event()

        def serve() -> None:
            family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
            listener = socket.socket(family, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.address, self.port))
            listener.listen(512)
            self._listener = listener
            ready.set()
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=self._connection, args=(connection,), daemon=True).start()

        self.ns.thread(serve)
        if not ready.wait(5):
            raise RuntimeError(f"target {self.name} did not start")
        return self

    def stop(self) -> None:
        """Stop listening and close what is open: what a stopped process does."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def write_log(self, path: Path) -> None:
        path.write_text("".join(json.dumps(row) + "\n" for row in self.log))

    def _connection(self, connection: socket.socket) -> None:
        peeked = b""
        stream: socket.socket = connection
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(self.app.keepalive_s)
            self._open.add(connection)
            peeked = connection.recv(1, socket.MSG_PEEK)
            if peeked:
                with self._lock:
                    self.seen.connections += 1
                if self.proxy:
                    skip_proxy_header(connection)
                if self.tls is not None and (not self.sniff or peeked == b"\x16"):
                    stream = self.tls.wrap_socket(connection, server_side=True)
                    self._open.add(stream)
                self._requests(stream)
        except (OSError, ValueError):
            pass
        finally:
            self._open.discard(connection)
            self._open.discard(stream)
            with contextlib.suppress(OSError):
                stream.close()
            with contextlib.suppress(OSError):
                connection.close()

    def _requests(self, stream: socket.socket) -> None:
        reader = stream.makefile("rb")
        served = 0
        while True:
            line = reader.readline(8192)
            if not line.strip():
                return
            method, path, version = line.decode("latin-1").split()[:3]
            headers: Headers = {}
            while (raw := reader.readline(16384)) not in (b"\r\n", b"\n", b""):
                name, _, value = raw.decode("latin-1").partition(":")
                headers[name.strip().lower()] = value.strip()
            body = _read_body(reader, headers)
            served += 1
            close = (
                headers.get("connection", "").lower() == "close" or version == "HTTP/1.0" or served >= self.app.keepalive_requests
            )
            answer = self._answer(method, path, headers, body, close)
            if not path.startswith(self.app.health_path) and self.app.reset(self.index, path):
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            stream.sendall(answer)
            if headers.get("upgrade", "").lower() == "websocket":
                _echo_frames(reader, stream)
                return
            if close:
                if isinstance(stream, ssl.SSLSocket):
                    with contextlib.suppress(OSError):
                        stream.unwrap()
                return

    def _answer(self, method: str, path: str, headers: Headers, body: bytes, close: bool) -> bytes:
        if path.startswith(self.app.health_path):
            with self._lock:
                self.seen.health_checks += 1
            time.sleep(self.app.delay(self.index, path))
            return _response(self.app.health_status(self.index), ["Content-Type: text/plain"], b"ok\n", close)
        with self._lock:
            self.seen.requests += 1
        if headers.get("upgrade", "").lower() == "websocket":
            self.seen.upgrades += 1
            return (
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
            )
        status, extra = self.app.status(self.index, path), []
        session = _cookies(headers).get(self.app.cookie or "")
        if self.app.cookie and session not in self._known:
            if session is not None:
                with self._lock:
                    self.seen.lost += 1
            if session is None or self.app.unknown == "reissue":
                extra += [*self._issue(), *(f"Set-Cookie: {line}" for line in self.app.also)]
            elif self.app.unknown == "401":
                status = 401
            else:
                status = 302
                extra.append("Location: /login")
        elif self.app.cookie and self.app.rolling:
            extra += self._issue()
        if path.startswith("/login") and method == "GET":
            status = 200
        if path.startswith("/logout"):
            self._known.discard(session or "")
        time.sleep(self.app.delay(self.index, path))
        self.log.append(
            {
                "time": time.time(),
                "method": method,
                "path": path.split("?")[0],
                "status": status,
                "forwarded": headers.get("x-forwarded-for"),
                "session": session is not None,
            }
        )
        kind, content = _content(path, self.app.body)
        return _response(status, [f"Server: {self.app.server_header}", f"Content-Type: {kind}", *extra], content, close)

    def _issue(self) -> list[str]:
        """The header line that hands out a new session value, which is known from now on."""
        fresh = self.app.token(self.index)
        self._known.add(fresh)
        return [f"Set-Cookie: {self.app.cookie}={fresh}; {self.app.attributes}"]


def _content(path: str, size: int) -> tuple[str, bytes]:
    if path.startswith("/api"):
        return "application/json", json.dumps({"items": list(range(size // 5))}).encode()[:size]
    if path.startswith("/static"):
        return "text/javascript", (b"export const answer = 42;\n" * (size // 13 + 1))[: size * 2]
    return "text/html; charset=utf-8", (b"<!doctype html><title>shop</title>" + b"<p>goods</p>" * (size // 12))[:size]


REASONS = {
    200: "OK",
    302: "Found",
    401: "Unauthorized",
    404: "Not Found",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


def _response(status: int, headers: list[str], body: bytes, close: bool) -> bytes:
    head = [
        f"HTTP/1.1 {status} {REASONS.get(status, 'Other')}",
        *headers,
        f"Content-Length: {len(body)}",
        f"Connection: {'close' if close else 'keep-alive'}",
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def _read_body(reader: object, headers: Headers) -> bytes:
    read, readline = reader.read, reader.readline  # type: ignore[attr-defined]
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while size := int(readline(64).split(b";")[0], 16):
            body += read(size)
            readline(8)
        readline(8)
        return body
    length = int(headers.get("content-length", "0") or 0)
    return bytes(read(length)) if length else b""


def _echo_frames(reader: object, stream: socket.socket) -> None:
    """Answer each masked text frame with the same text, unmasked, until the peer closes (RFC 6455 section 5)."""
    while len(head := reader.read(2)) == 2 and head[0] & 0x0F != 8:  # type: ignore[attr-defined]
        length = head[1] & 0x7F
        mask = reader.read(4)  # type: ignore[attr-defined]
        text = bytes(byte ^ mask[i % 4] for i, byte in enumerate(reader.read(length)))  # type: ignore[attr-defined]
        stream.sendall(bytes((0x81, len(text))) + text)


def _cookies(headers: Headers) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    return {name: value for name, _, value in pairs if name}


def skip_proxy_header(connection: socket.socket) -> None:
    """Read a PROXY v1 or v2 header off the stream, if there is one."""
    first = connection.recv(16, socket.MSG_PEEK)
    if first.startswith(PROXY_V2):
        head = connection.recv(16, socket.MSG_WAITALL)
        connection.recv(int.from_bytes(head[14:16], "big"), socket.MSG_WAITALL)
    elif first.startswith(b"PROXY "):
        while connection.recv(1) != b"\n":
            pass


def server_context(
    certificate: Path,
    *,
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    alpn: tuple[str, ...] = (),
    ciphers: str | None = None,
) -> ssl.SSLContext:
    """A target's TLS settings; ``certificate`` holds key and chain. Each context has its own ticket keys."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.keylog_filename = os.environ.get("SSLKEYLOGFILE")  # as curl and browsers do
    context.minimum_version, context.maximum_version = minimum, maximum
    if ciphers:
        context.set_ciphers(ciphers)
    context.load_cert_chain(certificate)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context
