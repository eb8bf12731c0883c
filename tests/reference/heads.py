"""One HTTP/1 head taken apart, and the facts of it that have columns of their own."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

from lbtop.model.observation import CookieFlag, ReqFlag
from tests.reference.packets import V4

LINES, COOKIES, SHAPE = 256, 128, 64
SECOND = 10**9
NO_FLAGS = CookieFlag(0)
VERSION = re.compile(rb" HTTP/([12])\.(\S*)$")
TRACE = re.compile(rb"(?:^|;)\s*(?:Root|Self)=1-[0-9a-fA-F]{8}-[0-9a-fA-F]{24}(?:;|$)")
BROWSER = re.compile(rb"^Mozilla/5\.0 \(.*(?:Chrome/|Firefox/|Safari/|Edg/)", re.DOTALL)
HOP_BY_HOP = (b"host", b"connection", b"upgrade", b"forwarded", b"via", b"transfer-encoding", b"content-length", b"keep-alive")
REAL_IP = (b"x-real-ip", b"cf-connecting-ip", b"true-client-ip", b"fastly-client-ip")


@dataclass(slots=True)
class SetCookie:
    name: bytes
    value: bytes
    flags: CookieFlag = NO_FLAGS
    lifetime_ns: int = -1
    cut: bool = False


@dataclass(slots=True)
class Head:
    start: bytes
    lines: list[tuple[bytes, bytes]]  # name as sent, value
    cut_line: tuple[bytes, bytes] | None = None  # the last line where the head was cut
    names: list[bytes] = field(default_factory=list)

    def all(self, name: bytes) -> list[bytes]:
        return [value for own, value in self.lines if own.lower() == name]

    def first(self, name: bytes) -> bytes:
        return next(iter(self.all(name)), b"")

    @property
    def method(self) -> bytes:
        return self.start.split(b" ", 1)[0]

    @property
    def status(self) -> int:
        word = self.start.split(b" ")[1:2]
        return int(word[0][:3]) if word and word[0][:3].isdigit() else 0

    @property
    def version(self) -> int:
        found = VERSION.search(self.start) or re.match(rb"HTTP/([12])\.(\d?)", self.start)
        if not found:
            return 0
        return 20 if found[1] == b"2" else 10 if found[2] == b"0" else 11

    @property
    def target(self) -> bytes:
        """Everything between the method and the version, blanks that should not be there included."""
        rest = self.start.partition(b" ")[2]
        return VERSION.sub(b"", rest)

    def path(self) -> bytes:
        target = self.target
        if self.method == b"CONNECT":
            return target
        absolute = re.match(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*", target)
        if absolute:
            target = target[absolute.end() :] or b"/"
        return re.split(rb"[?#]", target)[0]

    def query(self) -> bytes:
        return self.target.partition(b"#")[0].partition(b"?")[2]

    @property
    def is_chunked(self) -> bool:
        return any(b"chunked" in value.lower() for value in self.all(b"transfer-encoding"))

    @property
    def length(self) -> int | None:
        value = self.first(b"content-length").split(b",")[0].strip()
        return int(value) if re.fullmatch(rb"\d{1,18}", value) else None

    def keeps_alive(self) -> bool:
        tokens = [token.strip().lower() for value in self.all(b"connection") for token in value.split(b",")]
        return b"keep-alive" in tokens if self.version == 10 else b"close" not in tokens

    @property
    def host(self) -> bytes:
        return self.first(b"host") or self.first(b":authority")

    def shape(self) -> bytes:
        return b",".join(name for name, _ in self.lines[:SHAPE])

    def forwarded(self) -> list[bytes]:
        """Addresses in the order written, empty bytes for what is none."""
        lines = self.all(b"x-forwarded-for")
        if lines:
            return [address(part) for value in lines for part in value.split(b",") if part.strip()]
        found = []
        for value in self.all(b"forwarded"):
            for element in value.split(b","):
                for pair in element.split(b";"):
                    name, _, node = pair.strip().partition(b"=")
                    if name.lower() == b"for":
                        found.append(address(node.strip().strip(b'"')))
        return found

    def forwarded_proto(self) -> int:
        value = self.first(b"x-forwarded-proto").split(b",")[-1].strip().lower()
        return {b"": 0, b"http": 1, b"https": 2}.get(value, 3)

    def forwarded_port(self) -> int:
        value = self.first(b"x-forwarded-port").split(b",")[-1].strip()
        return int(value) if re.fullmatch(rb"\d{1,5}", value) and int(value) < 65536 else 0

    def real_ip(self) -> bytes:
        return next((found for name, value in self.lines if name.lower() in REAL_IP and (found := address(value))), b"")

    def cookies(self) -> list[tuple[bytes, bytes, bool]]:
        """Name, value and whether the value was cut."""
        found = [(*pair, False) for value in self.all(b"cookie") for pair in _pairs(value)]
        if self.cut_line is not None and self.cut_line[0].lower() == b"cookie":
            *whole, last = self.cut_line[1].split(b";")
            found += [(*pair, False) for part in whole for pair in _pairs(part)]
            found += [(*pair, True) for pair in _pairs(last)]
        return found[:COOKIES]

    def set_cookies(self, now_ns: int) -> list[SetCookie]:
        found = [_set_cookie(value, now_ns) for value in self.all(b"set-cookie")]
        if self.cut_line is not None and self.cut_line[0].lower() == b"set-cookie":
            cookie = _set_cookie(self.cut_line[1], now_ns)
            if cookie is not None:
                cookie.cut = b";" not in self.cut_line[1]
            found.append(cookie)
        return [cookie for cookie in found if cookie is not None][:COOKIES]


def parse(raw: bytes, cut: bool) -> Head:
    """A head of at most 64 KB; ``cut``: the rest of it never came."""
    lines = raw[: 64 << 10].split(b"\n")
    start = lines[0].rstrip(b"\r")
    parsed: list[tuple[bytes, bytes]] = []
    cut_line = None
    for at, line in enumerate(lines[1 : LINES + 1]):
        last = cut and at == len(lines) - 2
        line = line.rstrip(b"\r")
        if line[:1] in (b" ", b"\t"):
            if parsed:  # a folded line belongs to the one before it
                parsed[-1] = (parsed[-1][0], parsed[-1][1] + b" " + line.strip())
            continue
        name, colon, value = line.partition(b":")
        if colon and last:
            cut_line = (name.strip(), value.strip())
        elif colon:
            parsed.append((name.strip(), value.strip()))
    return Head(start, parsed, cut_line)


def address(text: bytes) -> bytes:
    """16 bytes for an address with or without brackets and port; empty for anything else."""
    word = text.strip().strip(b'"').decode("latin-1")
    bracketed = re.match(r"\[([^\]]*)\](?::\d+)?$", word)
    if bracketed:
        word = bracketed[1]
    elif word.count(":") == 1:
        word = word.split(":")[0]
    try:
        ip = ipaddress.ip_address(word.split("%")[0])
    except ValueError:
        return b""
    return V4 + ip.packed if ip.version == 4 else ip.packed


def _pairs(value: bytes) -> list[tuple[bytes, bytes]]:
    split = (part.strip().partition(b"=") for part in value.split(b";"))
    return [(name.strip(), content.strip()) for name, equals, content in split if equals and name.strip()]


def _set_cookie(value: bytes, now_ns: int) -> SetCookie | None:
    first, *attributes = value.split(b";")
    pair = _pairs(first)
    if not pair:
        return None
    cookie = SetCookie(*pair[0])
    max_age: int | None = None
    for attribute in attributes:
        name, _, content = attribute.strip().partition(b"=")
        name, content = name.strip().lower(), content.strip()
        if name == b"max-age" and re.fullmatch(rb"-?\d{1,12}", content):
            max_age = int(content)
        elif name == b"expires":
            moment = _date(content)
            if moment is not None and max_age is None:
                cookie.lifetime_ns = max(moment - now_ns, 0)
        cookie.flags |= {
            b"secure": CookieFlag.SECURE,
            b"httponly": CookieFlag.HTTP_ONLY,
            b"samesite": CookieFlag.SAMESITE,
            b"path": CookieFlag.HAS_PATH,
        }.get(name, CookieFlag(0))
    if max_age is not None:
        cookie.lifetime_ns = max(max_age, 0) * SECOND
    if cookie.lifetime_ns == 0:
        cookie.flags |= CookieFlag.DELETE
    return cookie


def _date(text: bytes) -> int | None:
    try:
        return int(parsedate_to_datetime(text.decode("latin-1").replace("-", " ")).timestamp()) * SECOND
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def is_login(location: bytes, starts: tuple[bytes, ...]) -> bool:
    path = re.split(rb"[?#]", re.sub(rb"^[A-Za-z]+://[^/]*", b"", location))[0].lower()
    return any(segment.startswith(starts) for segment in path.split(b"/"))


def request_flags(head: Head, names: Any) -> ReqFlag:
    host = head.host.lower()
    upgrade = head.first(b"upgrade").lower()
    own = [value.lower() for value in (head.first(b"origin"), head.first(b"referer"))]
    encodings = {part.split(b";")[0].strip().lower() for value in head.all(b"accept-encoding") for part in value.split(b",")}
    forwarded = [name for name, _ in head.lines if name.lower().startswith(b"x-forwarded-")]
    travels = [name for name, _ in head.lines if name.lower() not in HOP_BY_HOP and not name.lower().startswith(b"x-")]
    known = {
        ReqFlag.KEEPALIVE: head.keeps_alive(),
        ReqFlag.WEBSOCKET: upgrade == b"websocket",
        ReqFlag.H2C_UPGRADE: upgrade == b"h2c",
        ReqFlag.AUTHORIZATION: bool(head.all(b"authorization")),
        ReqFlag.SEC_FETCH: bool(head.all(b"sec-fetch-site")),
        ReqFlag.SEC_CH_UA: bool(head.all(b"sec-ch-ua")),
        ReqFlag.BR_ZSTD: not encodings.isdisjoint((b"br", b"zstd")),
        ReqFlag.SECURE_COOKIE_PREFIX: any(name.startswith((b"__Secure-", b"__Host-")) for name, _, _ in head.cookies()),
        ReqFlag.HTTPS_ORIGIN: any(_of_host(url, b"https://", host) for url in own),
        ReqFlag.HTTP_ORIGIN: any(_of_host(url, b"http://", host) for url in own),
        ReqFlag.TRACE_ID: bool(TRACE.search(head.first(b"x-amzn-trace-id"))),
        ReqFlag.VIA: bool(head.all(b"via")),
        ReqFlag.BROWSER_UA: bool(BROWSER.match(head.first(b"user-agent"))),
        ReqFlag.UPGRADE_INSECURE: head.first(b"upgrade-insecure-requests") == b"1",
        ReqFlag.GRPC: head.first(b"content-type").lower().startswith(b"application/grpc"),
        ReqFlag.MIXED_CASE_FORWARDED: bool(forwarded and travels)
        and all(name[:1].isupper() for name in forwarded)
        and not any(name[:1].isupper() for name in travels),
        ReqFlag.TLS_HEADER: any(
            name.lower() in names.tls_headers and names.tls_headers[name.lower()] in value.lower() for name, value in head.lines
        ),
        ReqFlag.XREQUEST_ID: bool(head.all(b"x-request-id")),
        ReqFlag.CONNECT: head.method == b"CONNECT",
    }
    flags = ReqFlag(0)
    for flag, there in known.items():
        if there:
            flags |= flag
    return flags


def _of_host(url: bytes, scheme: bytes, host: bytes) -> bool:
    return bool(host) and url.startswith(scheme) and re.split(rb"[/?#]", url[len(scheme) :])[0] == host
