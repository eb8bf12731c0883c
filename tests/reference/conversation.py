"""What is spoken on one connection: PROXY headers first, then the protocol that the first bytes show."""

from __future__ import annotations

import struct
from typing import Any

from lbtop.model.observation import ConnFlag, Protocol7, ProxyFlag, Side
from tests.reference import proxyproto, sniff
from tests.reference.datagrams import DtlsHandshake, QuicHandshake, dtls_sender
from tests.reference.http import HttpConversation
from tests.reference.http2 import Http2Conversation, looks_like_frames
from tests.reference.packets import UDP
from tests.reference.rows import Recorder
from tests.reference.sniff import Signs
from tests.reference.tls import TlsHandshake

UNDECIDED = ("", "text")
SWITCHES = ("mail", "mysql", "postgres ssl", "socks4", "socks5")  # TLS, or a tunnel's own protocol, may follow
MIRROR = {Side.CLIENT: Side.SERVER, Side.SERVER: Side.CLIENT}


def prove(data: bytes, proto: int) -> Side:
    """Who must have sent these first bytes."""
    if proto != UDP:
        return sniff.of_stream(data).sender
    signs = sniff.of_datagram(data)
    if signs.protocol is Protocol7.DTLS:
        return dtls_sender(data)
    if signs.protocol is Protocol7.QUIC and not signs.sender:
        handshake = TlsHandshake(Recorder(), 0, {}, "q")
        return Side.CLIENT if QuicHandshake(handshake).datagram(Side.CLIENT, data, 0) else Side.NONE
    if signs.sender:
        return signs.sender
    return Side.CLIENT if sniff.METHOD.match(data) else Side.NONE


class Conversation:
    """Follows both directions; ``ends`` holds the address columns of its rows and may change until the ends are proven.

    ``midstream``: the beginning was not seen. Then, as after a loss, every segment may be the one that shows the protocol.
    """

    def __init__(self, rows: Recorder, recognition: Any, number: int, proto: int) -> None:
        self.ends: dict[str, int] = {}
        self.midstream = False
        self.whole = False
        self.protocol = Protocol7.UNKNOWN
        self.flags = ConnFlag(0)
        self._rows, self._recognition, self._number, self._proto = rows, recognition, number, proto
        self._start = {Side.CLIENT: bytearray(), Side.SERVER: bytearray()}
        self._decided = {Side.CLIENT: False, Side.SERVER: False}
        self._proxies = 0
        self._proxy_source = 0
        self._switch = ""
        self._http: HttpConversation | None = None
        self._http2: Http2Conversation | None = None
        self._tls: TlsHandshake | None = None
        self._datagrams: QuicHandshake | DtlsHandshake | None = None

    @property
    def turn_ns(self) -> int:
        """TLS over TCP: from the end of the server's hellos to the client's next byte; 0 unknown."""
        return self._tls.turn_ns if self._tls is not None else 0

    @property
    def requests(self) -> int:
        return sum(heads.requests for heads in self._heads)

    @property
    def responses(self) -> int:
        return sum(heads.responses for heads in self._heads)

    @property
    def _heads(self) -> list[HttpConversation]:
        return [heads for heads in (self._http, self._http2.heads if self._http2 else None) if heads is not None]

    def swap(self) -> None:
        """Client and server were the other way round."""
        self._start = {MIRROR[side]: start for side, start in self._start.items()}
        self._decided = {MIRROR[side]: decided for side, decided in self._decided.items()}

    def deliver(self, side: Side, data: bytes, ts_ns: int) -> None:
        if self._proto == UDP:
            if self.protocol is Protocol7.UNKNOWN and data:
                signs = sniff.of_datagram(data)
                if signs.kind != "text" or not self._decided[Side.CLIENT]:  # of text only the first datagram decides
                    self.protocol = signs.protocol
                self._decided[Side.CLIENT] = True
                if self.protocol in (Protocol7.QUIC, Protocol7.DTLS):
                    transport = "q" if self.protocol is Protocol7.QUIC else "d"
                    self._tls = TlsHandshake(self._rows, self._number, self.ends, transport)
                    follow = QuicHandshake if self.protocol is Protocol7.QUIC else DtlsHandshake
                    self._datagrams = follow(self._tls)
            if self._datagrams is not None:
                self._datagrams.datagram(side, data, ts_ns)
        elif self._tls is not None:
            self._tls.feed(side, data, ts_ns)
        elif self._http2 is not None:
            self._http2.feed(side, data, ts_ns)
        elif self._http is not None:
            self._http.feed(side, data, ts_ns)
            if self._http.tunnel:
                self._tunnel(side, ts_ns)
        elif data and (not self._decided[side] or self._switch or self.midstream):
            self._undecided(side, data, ts_ns)

    def skip(self, side: Side, count: int, ts_ns: int) -> None:
        if self._http is not None:
            self._http.skip(side, count, ts_ns)
            self._cut_switch()
        elif self._tls is not None:
            self._tls.lost(side)
        elif self._http2 is not None:
            self._http2.skip(side, count, ts_ns)
        elif side is Side.CLIENT:
            self.whole = False
        self._start[side].clear()
        self.midstream = True

    def miss(self, side: Side, count: int) -> None:
        """The last bytes of this side are missing, and nothing follows them."""
        if self._http is not None:
            self._http.miss(side, count)
        elif self._http2 is not None:
            self._http2.miss(side, count)

    def close(self, ts_ns: int, heard: bool) -> None:
        """``heard``: packets of the server are in view."""
        for side, start in self._start.items():
            if start and self._http is None and self._tls is None and self._http2 is None:
                self._begin(side, bytes(start), ts_ns)
        if self._http is not None:
            self._http.close(ts_ns, heard)
            self._cut_switch()
        if self._tls is not None:
            self._tls.close()
        if self._http2 is not None:
            self._http2.close(ts_ns, heard)
            if not self._http2.decodable:
                self.flags |= ConnFlag.NOT_DECODABLE

    def _cut_switch(self) -> None:
        if self._http is not None and self._http.cut_switch:
            self.flags |= ConnFlag.UPGRADED
            if self._http.cut_switch == "websocket":
                self.protocol = Protocol7.WEBSOCKET

    def _undecided(self, side: Side, data: bytes, ts_ns: int) -> None:
        start = self._start[side]
        if self._decided[side] or self._switch:
            start.clear()
        start += data
        if side is Side.CLIENT and not self._proxy_headers(start, ts_ns):
            return
        signs = sniff.of_stream(bytes(start))
        if signs.kind in UNDECIDED and sniff.may_become(bytes(start)) and not self._decided[side]:
            return
        begun = bytes(start)
        start.clear()
        self._begin(side, begun, ts_ns)

    def _begin(self, side: Side, data: bytes, ts_ns: int) -> None:
        """The first bytes of a direction, as many as there are or are needed."""
        signs = sniff.of_stream(data)
        first = not self._decided[side]
        self._decided[side] = True
        if signs.kind == "http":
            self._become(signs)
            self._http = HttpConversation(self._rows, self._recognition, self._number, self.ends, self._proxy_source)
            self._http.whole = self.whole
            self._http.feed(side, data, ts_ns)
        elif signs.kind == "http2":
            self._become(signs)
            self._http2 = Http2Conversation(self._rows, self._recognition, self._number, self.ends, self._proxy_source)
            for other, start in self._start.items():
                if start:
                    self._http2.feed(other, bytes(start), ts_ns)
                    start.clear()
            self._http2.feed(side, data, ts_ns)
        elif self.midstream and signs.kind in UNDECIDED and looks_like_frames(data) and self.protocol is Protocol7.UNKNOWN:
            self.protocol = Protocol7.HTTP2  # its header tables cannot be known any more
            self.flags |= ConnFlag.NOT_DECODABLE
        elif signs.kind in ("tls", "sslv2"):
            if self._switch:
                self.flags |= ConnFlag.UPGRADED | (ConnFlag(0) if self._switch.startswith("socks") else ConnFlag.STARTTLS)
            self._become(signs)
            self._tls = TlsHandshake(self._rows, self._number, self.ends)
            if signs.kind == "sslv2":
                size = 2 + (struct.unpack_from(">H", data)[0] & 0x7FFF)
                self._tls.sslv2(data[:size], ts_ns)
            else:
                self._tls.feed(side, data, ts_ns)
        elif first and not self._switch:
            if signs.kind in SWITCHES:
                self._switch = signs.kind
            if self.protocol is Protocol7.UNKNOWN:
                self._become(signs)

    def _become(self, signs: Signs) -> None:
        self.protocol = signs.protocol

    def _proxy_headers(self, start: bytearray, ts_ns: int) -> bool:
        """Takes PROXY headers off; False while one is incomplete or nothing follows yet."""
        while start and self._proxies < 2 and not self._decided[Side.CLIENT]:
            header = proxyproto.parse(bytes(start))
            if header is None:
                return False
            if isinstance(header, bool):
                break
            self._proxies += 1
            del start[: header.size]
            self._proxy(header, ts_ns)
        return bool(start)

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

    def _tunnel(self, side: Side, ts_ns: int) -> None:
        """An upgrade or CONNECT succeeded: what follows is another protocol."""
        assert self._http is not None
        self.flags |= ConnFlag.UPGRADED
        rest = self._http.take_rest(side)
        if self._http.tunnel == "websocket":
            self.protocol = Protocol7.WEBSOCKET
        elif self._http.tunnel == "h2c":
            self.protocol = Protocol7.HTTP2
        elif rest and sniff.of_stream(rest).kind == "tls":
            self.protocol = Protocol7.TLS
            self._tls = TlsHandshake(self._rows, self._number, self.ends)
            self._tls.feed(side, rest, ts_ns)
