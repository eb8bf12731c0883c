"""What is spoken on one connection: PROXY headers first, then the protocol that the first bytes show."""

from __future__ import annotations

import re
from typing import Any

from lbtop.model.observation import ConnFlag, Protocol7, ProxyFlag, Side
from tests.reference import proxyproto
from tests.reference.http import METHOD, HttpConversation
from tests.reference.packets import UDP
from tests.reference.rows import Recorder
from tests.reference.tls import TlsHandshake

PREFACE = b"PRI * HTTP/2.0\r\n"
STATUS = re.compile(rb"HTTP/1\.[01] \d\d\d")
NEVER_PAST = 32  # first bytes beyond which a protocol must have shown itself
OTHER = {Side.CLIENT: Side.SERVER, Side.SERVER: Side.CLIENT}


def is_tls(data: bytes) -> bool:
    """A handshake record that starts with a hello."""
    return data[:2] == b"\x16\x03" and len(data) >= 6 and data[2] <= 4 and data[5] in (1, 2)


def is_sslv2(data: bytes) -> bool:
    return (
        len(data) > 11
        and data[0] & 0x80 != 0
        and data[2] == 1
        and data[3] == 3
        and data[4] <= 4
        and ((data[0] & 0x7F) << 8 | data[1]) + 2 == len(data)
    )


def prove(data: bytes, proto: int) -> Side:
    """Who must have sent these first bytes."""
    if proto == UDP:
        return Side.NONE
    if data.startswith((proxyproto.V1, proxyproto.V2, PREFACE)) or METHOD.match(data) or is_sslv2(data):
        return Side.CLIENT
    if is_tls(data):
        return Side.CLIENT if data[5] == 1 else Side.SERVER
    if STATUS.match(data) or data.startswith((b"SSH-", b"220 ", b"220-")):
        return Side.SERVER if not data.startswith(b"SSH-") else Side.NONE
    return Side.NONE


class Conversation:
    """Follows both directions; ``ends`` holds the address columns of its rows and may change until the ends are proven."""

    def __init__(self, rows: Recorder, recognition: Any, number: int, proto: int) -> None:
        self.ends: dict[str, int] = {}
        self.protocol = Protocol7.UNKNOWN
        self.flags = ConnFlag(0)
        self._rows, self._recognition, self._number, self._proto = rows, recognition, number, proto
        self._start = bytearray()  # the client's first bytes while they may still be a PROXY header
        self._proxies = 0
        self._proxy_source = 0
        self._server_start = b""
        self._http: HttpConversation | None = None
        self._tls: TlsHandshake | None = None

    @property
    def requests(self) -> int:
        return self._http.requests if self._http else 0

    @property
    def responses(self) -> int:
        return self._http.responses if self._http else 0

    def deliver(self, side: Side, data: bytes, ts_ns: int) -> None:
        if not data:
            return
        if self._http is not None:
            self._http.feed(side, data, ts_ns)
            if self._http.tunnel:
                self._tunnel(side, ts_ns)
            return
        if self._tls is not None:
            self._tls.feed(side, data, ts_ns)
            return
        if self._proto == UDP or self.protocol not in (Protocol7.UNKNOWN, Protocol7.OTHER_CLEAR):
            self._datagram(side, data)
            return
        if side is Side.CLIENT:
            self._start += data
            data = self._proxy_headers(ts_ns)
        if data:
            self._detect(side, data, ts_ns)

    def skip(self, side: Side, count: int, ts_ns: int) -> None:
        self._start.clear()
        if self._http is not None:
            self._http.skip(side, count, ts_ns)
        elif self._tls is not None:
            self._tls.lost(side)

    def close(self, ts_ns: int) -> None:
        if self._http is not None:
            self._http.close(ts_ns)
        if self._tls is not None:
            self._tls.close()

    def _proxy_headers(self, ts_ns: int) -> bytes:
        """What follows the PROXY headers; empty while one is incomplete."""
        while self._start and self._proxies < 2:
            header = proxyproto.parse(bytes(self._start))
            if header is None:
                return b""
            if isinstance(header, bool):
                break
            self._proxies += 1
            del self._start[: header.size]
            self._proxy(header, ts_ns)
        rest = bytes(self._start)
        if len(rest) < 8 and any(
            token.startswith(rest) for token in (b"GET ", b"POST ", b"HEAD ", b"PUT ", b"PRI * H", b"OPTIONS ")
        ):
            return b""
        self._start.clear()
        return rest

    def _proxy(self, header: proxyproto.ProxyHeader, ts_ns: int) -> None:
        rows, flags = self._rows, header.flags
        if self._proxies > 1:
            flags |= ProxyFlag.SECOND
        self.flags |= ConnFlag.PROXIED
        if flags & ProxyFlag.LOCAL:
            self.flags |= ConnFlag.PROXIED_LOCAL
        source = rows.addresses.number(header.source)
        self._proxy_source = source or self._proxy_source
        rows.add(
            "proxies",
            at_ns=ts_ns,
            conn=self._number,
            **self.ends,
            source=source,
            flags=flags,
            destination=rows.addresses.number(header.destination),
            authority=rows.text(header.authority),
            alpn=rows.text(header.alpn),
            tls_version=rows.text(header.tls_version),
            source_port=header.source_port,
            destination_port=header.destination_port,
        )

    def _detect(self, side: Side, data: bytes, ts_ns: int) -> None:
        if METHOD.match(data) or STATUS.match(data):
            self._become_http()
            assert self._http is not None
            self._http.feed(side, data, ts_ns)
        elif is_tls(data) or data[:2] == b"\x16\x03":
            self._become_tls()
            assert self._tls is not None
            self._tls.feed(side, data, ts_ns)
        elif is_sslv2(data):
            self._become_tls()
            assert self._tls is not None
            self._tls.sslv2(data, ts_ns)
        elif data.startswith(PREFACE):
            self.protocol = Protocol7.HTTP2
        elif data[:2] == b"\x17\x03" and self.protocol is Protocol7.UNKNOWN:
            self.protocol = Protocol7.TLS
        elif data.startswith(b"SSH-"):
            self.protocol = Protocol7.SSH
        elif self.protocol is Protocol7.UNKNOWN and data[:16].isascii() and data[:16].decode("ascii").strip().isprintable():
            self.protocol = Protocol7.OTHER_CLEAR

    def _become_http(self) -> None:
        self.protocol = Protocol7.HTTP1
        self._http = HttpConversation(self._rows, self._recognition, self._number, self.ends, self._proxy_source)

    def _become_tls(self) -> None:
        self.protocol = Protocol7.TLS
        self._tls = TlsHandshake(self._rows, self._number, self.ends)

    def _tunnel(self, side: Side, ts_ns: int) -> None:
        """An upgrade or CONNECT succeeded: what follows is another protocol."""
        assert self._http is not None
        self.flags |= ConnFlag.UPGRADED
        if self._http.tunnel == "websocket":
            self.protocol = Protocol7.WEBSOCKET
        elif self._http.tunnel == "h2c":
            self.protocol = Protocol7.HTTP2
        elif self._tls is None:
            rest = self._http.take_rest(side)
            if is_tls(rest):
                self._tls = TlsHandshake(self._rows, self._number, self.ends)
            if self._tls is not None:
                self._tls.feed(side, rest, ts_ns)
        else:
            self._tls.feed(side, self._http.take_rest(side), ts_ns)

    def _datagram(self, side: Side, data: bytes) -> None:
        if self.protocol is Protocol7.UNKNOWN and 53 in (self.ends["client_port"], self.ends["server_port"]) and len(data) >= 12:
            self.protocol = Protocol7.DNS
