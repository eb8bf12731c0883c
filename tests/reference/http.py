"""HTTP/1 on one connection (RFC 9112): heads become rows, bodies are stepped over, a hole is survived at the next head."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from lbtop.model.observation import CookieFlag, ReqFlag, RespFlag, SecretKind, Side
from tests.reference import heads, secrets, sniff
from tests.reference.heads import Head
from tests.reference.rows import Recorder

START = {Side.CLIENT: sniff.METHOD, Side.SERVER: re.compile(rb"HTTP/1\.[01] \d\d\d")}
BEGINNING = {
    Side.CLIENT: re.compile(rb"[A-Za-z_-]{1,24}(?: |$)"),
    Side.SERVER: re.compile(rb"HTTP/1\.|H(?:T(?:T(?:P(?:/1?)?)?)?)?$"),
}
"""What the first 24 bytes must look like to be a head at all."""
DIGEST = re.compile(rb"(?:[0-9a-f]{15,16}|[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})")
"""A cookie's value that may be the digest of a target."""
DATED = re.compile(rb"(.+?)\|([A-Za-z0-9+/]{5})(?:\|[A-Za-z0-9+/]{5})?")
DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
LONGEST_HEAD = 64 << 10
BODY_LOOKED_AT = 2048
MOST_OUTSTANDING = 64


def server_of(value: bytes, ts_ns: int) -> bytes:
    """The server in a HAProxy cookie with dates of this month (units of four seconds), if it is one."""
    found = DATED.fullmatch(value)
    if found is None:
        return b""
    now, date = ts_ns // 4_000_000_000, 0
    for digit in found[2]:
        date = date * 64 + DIGITS.index(digit)
    return found[1] if now - 31 * 86400 // 4 <= date <= now + 15 else b""


@dataclass(slots=True)
class Outstanding:
    """A request that waits for its answer, with the session it presented."""

    number: int
    method: bytes
    at_ns: int
    cookies: dict[bytes, bytes]
    session_name: bytes = b""
    session: bytes = b""


@dataclass(slots=True)
class Direction:
    """Where the parser stands in one direction."""

    state: str = "head"  # head, length, chunk-size, chunk-data, chunk-end, trailer, close, lost, done
    buffer: bytearray = field(default_factory=bytearray)
    left: int = 0
    lossy: bool = False  # bytes of it were lost, or did not make sense
    body: bytearray | None = None  # prefix of a body worth a look
    content_type: bytes = b""


class HttpConversation:
    def __init__(self, rows: Recorder, recognition: Any, number: int, ends: dict[str, int], proxy_source: int) -> None:
        self.requests = self.responses = 0
        self.whole = False  # the connection's start is in view, and nothing of what its client said was lost before this began
        self.tunnel = ""
        self.cut_switch = ""  # what a 101 whose head was cut changed to
        self._rows, self._names, self._conn, self._ends, self._proxy_source = rows, recognition, number, ends, proxy_source
        self._sides = {Side.CLIENT: Direction(), Side.SERVER: Direction()}
        self._outstanding: deque[Outstanding] = deque()

    def feed(self, side: Side, data: bytes, ts_ns: int) -> None:
        direction = self._sides[side]
        if direction.state == "lost":
            if not START[side].match(data):
                return
            direction.state = "head"
            if side is Side.SERVER:  # what was lost answered the older requests
                while len(self._outstanding) > 1:
                    self._outstanding.popleft()
        direction.buffer += data
        while direction.buffer and not self.tunnel and self._step(side, direction, ts_ns):
            pass

    def skip(self, side: Side, count: int, ts_ns: int) -> None:
        direction = self._sides[side]
        self._look_at_body(direction, ts_ns, force=True)
        if direction.state == "head" and START[side].match(bytes(direction.buffer)):
            self._head(side, direction, bytes(direction.buffer), ts_ns, cut=True)
        elif direction.state in ("length", "chunk-data") and count <= direction.left:
            direction.left -= count
            if not direction.left:
                direction.state = "head" if direction.state == "length" else "chunk-end"
            return
        elif direction.state in ("close", "done"):
            return
        direction.buffer.clear()
        self._lose(direction)

    def miss(self, side: Side, count: int) -> None:
        direction = self._sides[side]
        inside_a_body = direction.state in ("length", "chunk-data") and count <= direction.left
        if not inside_a_body and direction.state not in ("close", "done"):
            direction.lossy = True

    @staticmethod
    def _lose(direction: Direction) -> None:
        direction.state = "lost"
        direction.lossy = True

    def close(self, ts_ns: int, heard: bool) -> None:
        for side, direction in self._sides.items():
            self._look_at_body(direction, ts_ns, force=True)
            if direction.state == "head" and direction.buffer and START[side].match(bytes(direction.buffer)):
                self._head(side, direction, bytes(direction.buffer), ts_ns, cut=True)
        if not heard or self._sides[Side.SERVER].lossy:  # nobody knows whether they were answered
            self._outstanding.clear()
        if not self.tunnel:
            self.unanswered(list(self._outstanding), ts_ns)

    def unanswered(self, requests: list[Outstanding], ts_ns: int) -> None:
        """The connection is over, and these never got an answer."""
        for request in requests:
            flags = RespFlag.UNANSWERED | (RespFlag.SESSION_PRESENTED if request.session else RespFlag(0))
            self._rows.add(
                "responses",
                at_ns=ts_ns,
                conn=self._conn,
                request=request.number,
                session=self._rows.hash(request.session),
                session_name=self._rows.text(request.session_name, 64),
                flags=flags,
                **self._ends,
            )

    def take_rest(self, side: Side) -> bytes:
        buffer = self._sides[side].buffer
        rest = bytes(buffer)
        buffer.clear()
        return rest

    def _step(self, side: Side, direction: Direction, ts_ns: int) -> bool:
        """One move of the parser; False when it needs more bytes."""
        buffer, state = direction.buffer, direction.state
        if state == "head":
            while buffer[:1].strip() == b"" and buffer:
                del buffer[:1]
            if buffer and not BEGINNING[side].match(bytes(buffer[:24])):
                buffer.clear()
                self._lose(direction)
                return False
            end = re.search(rb"\n\r?\n", buffer)
            if end is None and len(buffer) < LONGEST_HEAD:
                return False
            whole = bytes(buffer[: end.end() if end else LONGEST_HEAD])
            del buffer[: len(whole)]
            self._head(side, direction, whole, ts_ns, cut=end is None)
            return True
        if state in ("length", "chunk-data"):
            piece = buffer[: direction.left]
            del buffer[: len(piece)]
            direction.left -= len(piece)
            if direction.body is not None:
                direction.body += piece[: BODY_LOOKED_AT - len(direction.body)]
            if not direction.left:
                direction.state = "head" if state == "length" else "chunk-end"
            self._look_at_body(direction, ts_ns, force=direction.state == "head")
            return True
        if state in ("chunk-size", "chunk-end", "trailer"):
            return self._chunk_line(direction, ts_ns)
        buffer.clear()
        return False

    def _chunk_line(self, direction: Direction, ts_ns: int) -> bool:
        line, found, rest = bytes(direction.buffer).partition(b"\n")
        if not found:
            return False
        direction.buffer[:] = rest
        line = line.strip()
        if direction.state == "chunk-size":
            size = line.split(b";")[0].strip()
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", size):
                self._lose(direction)
                return False
            direction.left = int(size, 16)
            direction.state = "chunk-data" if direction.left else "trailer"
            if not direction.left:
                self._look_at_body(direction, ts_ns, force=True)
        elif direction.state == "chunk-end":
            direction.state = "chunk-size"
        elif not line:
            direction.state = "head"
        return True

    def _look_at_body(self, direction: Direction, ts_ns: int, force: bool) -> None:
        body = direction.body
        if body and (force or len(body) >= BODY_LOOKED_AT):
            direction.body = None
            for kind, name, value in secrets.in_body(bytes(body), direction.content_type, self._names):
                self._secret(kind, name, value, Side.CLIENT, ts_ns)

    def _secret(self, kind: SecretKind, name: bytes, value: bytes, sender: Side, ts_ns: int) -> None:
        self._rows.add(
            "secrets",
            at_ns=ts_ns,
            conn=self._conn,
            value=self._rows.hash(value),
            name=self._rows.text(name, 64),
            kind=kind,
            sender=sender,
            **self._ends,
        )

    def _head(self, side: Side, direction: Direction, raw: bytes, ts_ns: int, cut: bool) -> None:
        direction.body = None
        head = heads.parse(raw, cut)
        if side is Side.CLIENT:
            self._take_request(head, ts_ns, cut)
            self._body_of_request(head, direction)
        else:
            self._response(head, direction, ts_ns, cut)
        if cut:
            self._lose(direction)

    def _body_of_request(self, head: Head, direction: Direction) -> None:
        direction.content_type = head.first(b"content-type").split(b";")[0].strip().lower()
        if secrets.worth_a_look(direction.content_type):
            direction.body = bytearray()
        if head.is_chunked:
            direction.state = "chunk-size"
        elif head.length:
            direction.state, direction.left = "length", head.length
        else:
            direction.state = "head"

    def _take_request(self, head: Head, ts_ns: int, cut: bool) -> None:
        if self._sides[Side.SERVER].state == "lost":  # the answers were in what was lost
            self._outstanding.clear()
        early = self.whole and not cut and self.responses > self.requests and not self._sides[Side.CLIENT].lossy
        request = self.request(head, ts_ns, cut)
        if early:  # its answer came before it
            return
        self._outstanding.append(request)
        if len(self._outstanding) > MOST_OUTSTANDING:
            self._outstanding.popleft()

    def request(self, head: Head, ts_ns: int, cut: bool = False) -> Outstanding:
        """Writes the rows of a request, and answers with what its response will be compared with."""
        rows, names = self._rows, self._names
        number = rows.requests = rows.requests + 1
        cookies = head.cookies()
        sessions = [
            (name, value) for name, value, cut_value in cookies if not cut_value and secrets.is_session(name, value, names)
        ]
        presented = next(iter(sessions), (b"", b""))
        flags = heads.request_flags(head, names)
        if cut:
            flags |= ReqFlag.TRUNCATED
        if sessions:
            flags |= ReqFlag.SESSION
        forwarded = head.forwarded()
        hops = {f"forwarded{at}": rows.addresses.number(address) for at, address in enumerate(forwarded[::-1][:4])}
        rows.add(
            "requests",
            at_ns=ts_ns,
            conn=self._conn,
            request=number,
            **self._ends,
            **hops,
            real_ip=rows.addresses.number(head.real_ip()),
            proxy_source=self._proxy_source,
            method=rows.text(head.method, 32),
            path=rows.text(head.path()),
            host=rows.text(head.host),
            user_agent=rows.text(head.first(b"user-agent")),
            via=rows.text(head.first(b"via")),
            header_shape=rows.text(head.shape(), 1024),
            flags=flags,
            index=self.requests,
            forwarded_port=head.forwarded_port(),
            forwarded_count=len(forwarded),
            cookies=len(cookies),
            version=head.version or (11 if cut else 0),
            forwarded_proto=head.forwarded_proto(),
        )
        self.requests += 1
        for name, value, cut_value in cookies:
            kind = secrets.cookie_flags(name, value, names)
            rows.add(
                "cookies",
                at_ns=ts_ns,
                conn=self._conn,
                request=number,
                value=rows.hash(value if cut_value else server_of(value, ts_ns) or value),
                **self._ends,
                forwarded0=hops.get("forwarded0", 0),
                name=rows.text(name, 64),
                **self._cookie(name, value, kind, cut_value, ts_ns),
            )
        for secret_kind, name, value in secrets.in_request(head, cookies, names):
            self._secret(secret_kind, name, value, Side.CLIENT, ts_ns)
        shown = {name: value for name, value, cut_value in reversed(cookies) if not cut_value}
        return Outstanding(number, head.method, ts_ns, shown, *presented)

    def _cookie(self, name: bytes, value: bytes, flags: CookieFlag, cut: bool, ts_ns: int) -> dict[str, int]:
        """Flags of a cookie, and the target that its value names, if the catalogue can read it."""
        if cut:
            return {"flags": flags & ~CookieFlag.SESSION | CookieFlag.CUT}
        if server_of(value, ts_ns):
            flags |= CookieFlag.BALANCER
        decoded = self._digested(value) if DIGEST.fullmatch(value) else None
        if decoded is None and self._names.decode:
            decoded = self._names.decode(name, value)
        if decoded is None:
            return {"flags": flags}
        packed, port, decoder = decoded
        flags |= CookieFlag.DISCLOSES | CookieFlag.BALANCER
        return {"flags": flags, "names": self._rows.addresses.number(packed), "names_port": port, "decoder": decoder}

    def _digested(self, value: bytes) -> tuple[bytes, int, int] | None:
        """The target that a digest stands for, if requests with such cookies went there before or this one does."""
        server = (self._rows.addresses[self._ends["server"]], self._ends["server_port"])
        if server not in self._rows.servers and self._names.digests:
            self._rows.servers.add(server)
            for text, decoder in self._names.digests(*server).items():
                self._rows.digests.setdefault(text, (*server, decoder))
        return self._rows.digests.get(value)

    def _response(self, head: Head, direction: Direction, ts_ns: int, cut: bool) -> None:
        status = head.status
        if 100 <= status < 200 and status != 101:
            direction.state = "head"
            return
        request = self._outstanding.popleft() if self._outstanding else Outstanding(0, b"", 0, {})
        self.answer(head, request, ts_ns, cut)
        if status == 101 and cut:
            self.cut_switch = head.first(b"upgrade").lower().decode("latin-1") or "other"
        if (status == 101 and not cut) or (request.method == b"CONNECT" and 200 <= status < 300):
            upgrade = head.first(b"upgrade").lower().decode("latin-1")
            self.tunnel = "connect" if request.method == b"CONNECT" else upgrade or "other"
        elif request.method == b"HEAD" or status in (204, 304):
            direction.state = "head"
        elif head.is_chunked:
            direction.state = "chunk-size"
        elif head.length is not None:
            direction.state, direction.left = ("length", head.length) if head.length else ("head", 0)
        else:
            direction.state = "close"

    def answer(self, head: Head, request: Outstanding, ts_ns: int, cut: bool) -> None:
        rows, names = self._rows, self._names
        flags = RespFlag.TRUNCATED if cut else RespFlag(0)
        if not head.keeps_alive():
            flags |= RespFlag.CLOSES
        if 300 <= head.status < 400 and heads.is_login(head.first(b"location"), names.login_paths):
            flags |= RespFlag.LOGIN_REDIRECT
        if request.session:
            flags |= RespFlag.SESSION_PRESENTED
        cookies = head.set_cookies(ts_ns)
        for cookie in cookies:
            kind = secrets.cookie_flags(cookie.name, cookie.value, names)
            if cookie.name == request.session_name and request.session and not cookie.cut:
                if cookie.flags & CookieFlag.DELETE:
                    flags |= RespFlag.SESSION_DELETED
                elif cookie.value != request.session:
                    flags |= RespFlag.SESSION_REISSUED
            if kind & CookieFlag.SESSION and not cookie.flags & CookieFlag.DELETE:
                flags |= RespFlag.SESSION_ISSUED
        self.responses += 1
        rows.add(
            "responses",
            at_ns=ts_ns,
            conn=self._conn,
            request=request.number,
            delay_ns=ts_ns - request.at_ns if request.number else 0,
            session=rows.hash(request.session),
            **self._ends,
            session_name=rows.text(request.session_name, 64),
            flags=flags,
            server_header=rows.text(head.first(b"server")),
            status=head.status,
            set_cookies=len(cookies),
        )
        for cookie in cookies:
            kind = secrets.cookie_flags(cookie.name, cookie.value, names)
            rows.add(
                "cookies",
                at_ns=ts_ns,
                conn=self._conn,
                request=request.number,
                value=rows.hash(cookie.value if cookie.cut else server_of(cookie.value, ts_ns) or cookie.value),
                presented=rows.hash(request.cookies.get(cookie.name, b"")),
                lifetime_ns=cookie.lifetime_ns,
                **self._ends,
                name=rows.text(cookie.name, 64),
                **self._cookie(cookie.name, cookie.value, cookie.flags | CookieFlag.SET | kind, cookie.cut, ts_ns),
            )
            if kind & CookieFlag.SESSION and not cookie.flags & CookieFlag.DELETE and not cookie.cut:
                self._secret(SecretKind.SET_COOKIE_SESSION, cookie.name, cookie.value, Side.SERVER, ts_ns)
