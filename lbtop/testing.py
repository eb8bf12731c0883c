"""Made-up traffic for tests: build observations row by row, without packets.

    traffic = Traffic()
    conn = traffic.connect("10.0.1.5", "10.0.0.11:8080")
    conn.request("GET", "/cart", cookies={"AWSALB": "x1", "JSESSIONID": "s1"}, forwarded=["203.0.113.7"])
    conn.respond(200, set_cookies={"JSESSIONID": "s2"})
    conn.close()
    facts_or_snapshot = ...(traffic.source())

Times are seconds since :attr:`Traffic.start_ns`; every call that does not give one happens :data:`STEP_S` after the one
before. Rows get their sequence numbers in order of time (ties: order of the calls), as a real source numbers them, so
that a test may describe one connection after the other. Values (cookies, tickets, randoms) are given as text and
turned into stable made-up hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from lbtop.model.address import endpoint_text, pack_ip
from lbtop.model.observation import (
    TABLES,
    Batch,
    ConnFlag,
    CookieFlag,
    End,
    HelloFlag,
    Orientation,
    Protocol7,
    ProxyFlag,
    ReqFlag,
    RespFlag,
    Rows,
    SecretKind,
    Side,
    SourceStats,
    empty,
)

STEP_S = 0.001
START_NS = 1_790_000_000_000_000_000
SESSION_COOKIES = frozenset({"JSESSIONID", "PHPSESSID", "SESSION", "sid", "connect.sid", "sessionid"})
BALANCER_COOKIES = ("AWSALB", "SRV", "SERVERID", "route", "lb")
LINUX = "1460,64240,7,mss-sack-ts-nop-ws"


class TextInterner:
    """The interner of :class:`lbtop.model.observation.Batch` in plain Python."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {b"": 0, b"(more)": 1}
        self._items: list[bytes] = [b"", b"(more)"]

    def __getitem__(self, number: int) -> bytes:
        return self._items[number]

    def __len__(self) -> int:
        return len(self._items)

    def number(self, item: bytes) -> int:
        found = self._numbers.get(item)
        if found is None:
            found = self._numbers[item] = len(self._items)
            self._items.append(item)
        return found


def hashed(value: str | bytes | None) -> int:
    """A stable 64-bit number in place of the keyed hash; 0 for no value."""
    if not value:
        return 0
    raw = value.encode() if isinstance(value, str) else value
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little") or 1


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """``ip:port`` or ``[ipv6]:port`` in two; port 0 where there is none."""
    if endpoint.startswith("["):
        ip, _, port = endpoint[1:].partition("]:")
        return ip, int(port or 0)
    if endpoint.count(":") == 1:
        ip, _, port = endpoint.partition(":")
        return ip, int(port)
    return endpoint, 0


Value = int | str
Row = dict[str, int]


@dataclass(slots=True, eq=False)
class Connection:
    """One connection under construction. Every method returns the connection, so that calls can be chained."""

    traffic: Traffic
    number: int
    ends: Row
    row: Row
    opened_s: float
    closed: bool = False
    sent_data: bool = False
    requests: list[tuple[int, float, dict[str, str]]] = field(default_factory=list)
    answered: int = 0
    proxy_source: int = 0

    def data(self, client: int = 0, server: int = 0, *, at: float | None = None) -> Connection:
        """Payload bytes of each direction; the first ones make the connection count."""
        at_ns = self.traffic.time(at)
        if not self.sent_data:
            self.sent_data = True
            self.row["first_data_ns"] = at_ns
            self.row["data_order"] = Side.CLIENT if client else Side.SERVER
            opened = {
                name: self.row[name]
                for name in ("isn_c", "stack", "mss", "window", "proto", "orientation", "ttl_c", "ttl_s", "interface")
            }
            syn_ns = self.row["opened_ns"] if self.row["flags"] & ConnFlag.SYN else 0
            self.traffic.add("opened", at_ns, **self.ends, **opened, conn=self.number, syn_ns=syn_ns)
        self.row["bytes_c"] += client
        self.row["bytes_s"] += server
        self.row["packets_c"] += 1 + client // 1400
        self.row["packets_s"] += 1 + server // 1400
        self.row["last_ns"] = max(self.row["last_ns"], at_ns)
        return self

    def proxy(
        self,
        source: str,
        destination: str = "192.0.2.80:443",
        *,
        at: float | None = None,
        local: bool = False,
        flags: int = 0,
    ) -> Connection:
        """A PROXY header (version 2); ``flags`` adds :class:`ProxyFlag` bits."""
        at_s = self.traffic.moment(at)
        self.data(client=28, at=at_s)
        source_ip, source_port = split_endpoint(source)
        destination_ip, destination_port = split_endpoint(destination)
        flags |= ProxyFlag.V2 | (ProxyFlag.LOCAL if local else 0)
        self.row["flags"] |= ConnFlag.PROXIED | (ConnFlag.PROXIED_LOCAL if local else 0)
        self.proxy_source = 0 if local else self.traffic.address(source_ip)
        self.traffic.add(
            "proxies",
            self.traffic.time(at_s),
            **self.ends,
            conn=self.number,
            source=self.proxy_source,
            destination=0 if local else self.traffic.address(destination_ip),
            source_port=0 if local else source_port,
            destination_port=0 if local else destination_port,
            flags=flags,
        )
        return self

    def hello(
        self,
        *,
        sni: str = "",
        ja4: str = "t13d1516h2_8daaf6152771_02713d6af862",
        family: str | None = None,
        alpn: str = "",
        random: str | None = None,
        session: str = "",
        resumed: bool = False,
        version: int = 0x0304,
        cipher: int = 0x1301,
        flags: int = 0,
        certificate: str = "",
        at: float | None = None,
        size: int = 517,
    ) -> Connection:
        """Both hellos. ``random``: equal text on two connections means one ClientHello seen on two legs."""
        at_s = self.traffic.moment(at)
        self.row["protocol7"] = Protocol7.TLS
        self.data(client=size + 5, server=1400, at=at_s)
        flags |= HelloFlag.SERVER_SEEN | HelloFlag.CLIENT_SEEN | (HelloFlag.HAS_SNI if sni else 0)
        if session:
            flags |= HelloFlag.PSK_OFFERED if version >= 0x0304 else HelloFlag.TICKET_OFFERED
        if resumed:
            flags |= HelloFlag.RESUMED
        text = self.traffic.string
        self.traffic.add(
            "handshakes",
            self.traffic.time(at_s),
            **self.ends,
            conn=self.number,
            random=hashed(random or f"random-{self.number}"),
            session=hashed(session),
            certificate=hashed(certificate),
            sni=text(sni),
            alpn=text(alpn),
            alpn_chosen=text(alpn.split(",")[0]),
            ja4=text(ja4),
            family=text(family if family is not None else ja4),
            flags=flags,
            size=size,
            version=version,
            cipher=cipher,
            version_offered=version,
        )
        return self

    def request(
        self,
        method: str = "GET",
        path: str = "/",
        *,
        host: str = "shop.example",
        at: float | None = None,
        forwarded: Sequence[str] = (),
        cookies: Mapping[str, str] | None = None,
        user_agent: str = "curl/8.5",
        headers: Sequence[str] = ("Host", "User-Agent"),
        flags: int = 0,
        proto: str = "",
        version: int = 11,
        forwarded_port: int = 0,
        real_ip: str = "",
        via: str = "",
        size: int = 400,
        cookie_flags: Mapping[str, int] | None = None,
    ) -> Connection:
        """A request head. ``forwarded``: X-Forwarded-For as written, left to right; ``proto``: X-Forwarded-Proto."""
        at_s = self.traffic.moment(at)
        self.row["protocol7"] = self.row["protocol7"] or Protocol7.HTTP1
        self.data(client=size, at=at_s)
        cookies = dict(cookies or {})
        number = next(self.traffic.request_numbers)
        text, address = self.traffic.string, self.traffic.address
        hops = [address(ip) for ip in reversed(forwarded)][:4] + [0] * 4
        kinds = {name: (cookie_flags or {}).get(name, cookie_flag(name)) for name in cookies}
        if any(kind & CookieFlag.SESSION for kind in kinds.values()):
            flags |= ReqFlag.SESSION
        at_ns = self.traffic.time(at_s)
        self.traffic.add(
            "requests",
            at_ns,
            **self.ends,
            conn=self.number,
            request=number,
            forwarded0=hops[0],
            forwarded1=hops[1],
            forwarded2=hops[2],
            forwarded3=hops[3],
            forwarded_count=len(forwarded),
            real_ip=address(real_ip),
            proxy_source=self.proxy_source,
            method=text(method),
            path=text(path),
            host=text(host),
            user_agent=text(user_agent),
            via=text(via),
            header_shape=text(",".join(headers)),
            index=len(self.requests),
            flags=flags | (ReqFlag.KEEPALIVE if version >= 11 else 0),
            forwarded_port=forwarded_port,
            cookies=len(cookies),
            version=version,
            forwarded_proto={"": 0, "http": 1, "https": 2}.get(proto, 3),
        )
        for name, value in cookies.items():
            self.traffic.add(
                "cookies",
                at_ns,
                **self.ends,
                conn=self.number,
                request=number,
                value=hashed(value),
                forwarded0=hops[0],
                name=text(name),
                flags=kinds[name],
            )
        sessions = {name: value for name, value in cookies.items() if kinds[name] & CookieFlag.SESSION}
        self.requests.append((number, at_s, sessions))
        self.row["requests"] += 1
        return self

    def respond(
        self,
        status: int = 200,
        *,
        delay: float = 0.01,
        set_cookies: Mapping[str, str] | None = None,
        cookie_flags: Mapping[str, int] | None = None,
        lifetime_s: float | None = None,
        flags: int = 0,
        server: str = "",
        size: int = 2000,
    ) -> Connection:
        """The response to the oldest unanswered request. ``status`` 0: it was never answered."""
        number, asked_s, presented = self.requests[self.answered]
        self.answered += 1
        at_ns = self.traffic.time(asked_s + delay)
        set_cookies = dict(set_cookies or {})
        kinds = {name: (cookie_flags or {}).get(name, cookie_flag(name)) | CookieFlag.SET for name in set_cookies}
        session_name, session = next(iter(presented.items()), ("", ""))
        issued = [name for name, kind in kinds.items() if kind & CookieFlag.SESSION]
        if presented:
            flags |= RespFlag.SESSION_PRESENTED
        if issued:
            flags |= RespFlag.SESSION_ISSUED
        if any(name in presented and presented[name] != set_cookies[name] for name in issued):
            flags |= RespFlag.SESSION_REISSUED
        if status == 0:
            flags |= RespFlag.UNANSWERED
        else:
            self.data(server=size, at=asked_s + delay)
            self.row["responses"] += 1
        text = self.traffic.string
        self.traffic.add(
            "responses",
            at_ns,
            **self.ends,
            conn=self.number,
            request=number,
            delay_ns=round(delay * 1e9),
            session=hashed(session),
            session_name=text(session_name),
            flags=flags,
            status=status,
            set_cookies=len(set_cookies),
            server_header=text(server),
        )
        for name, value in set_cookies.items():
            self.traffic.add(
                "cookies",
                at_ns,
                **self.ends,
                conn=self.number,
                request=number,
                value=hashed(value),
                presented=hashed(presented.get(name)),
                name=text(name),
                flags=kinds[name],
                lifetime_ns=-1 if lifetime_s is None else round(lifetime_s * 1e9),
            )
        return self

    def secret(
        self, kind: SecretKind, value: str, *, name: str = "", sender: Side = Side.CLIENT, at: float | None = None
    ) -> Connection:
        self.traffic.add(
            "secrets",
            self.traffic.time(at),
            **self.ends,
            conn=self.number,
            value=hashed(value),
            kind=kind,
            name=self.traffic.string(name),
            sender=sender,
        )
        return self

    def close(
        self, *, at: float | None = None, end: End = End.FIN, closer: Side = Side.CLIENT, flags: int = 0, **columns: int
    ) -> Connection:
        """Ends the connection; ``columns`` override those of its CONNECTION row (``resets_s=1``); ``flags`` are added."""
        if self.closed:
            return self
        self.closed = True
        at_ns = self.traffic.time(at)
        self.row["last_ns"] = max(self.row["last_ns"], at_ns if end in (End.FIN, End.RST) else 0)
        if end is End.RST:
            self.row["resets_c" if closer is Side.CLIENT else "resets_s"] += 1
        self.row.update(columns)
        self.row["flags"] |= flags
        first_closer = closer if end in (End.FIN, End.RST) else Side.NONE
        self.traffic.add(
            "connections", at_ns, **self.ends, conn=self.number, **self.row, end=end, first_closer=first_closer
        )
        return self


def cookie_flag(name: str) -> int:
    """What the decoder's default tables would say of a cookie's name."""
    flags = CookieFlag.SESSION if name in SESSION_COOKIES else CookieFlag(0)
    return flags | (CookieFlag.BALANCER if name.startswith(BALANCER_COOKIES) else 0)


class Traffic:
    """Collects rows; :meth:`batch`, :meth:`batches` and :meth:`source` hand them out."""

    def __init__(self, start_ns: int = START_NS) -> None:
        self.start_ns = start_ns
        self.strings = TextInterner()
        self.addresses = TextInterner()
        self.request_numbers = count(1)
        self.connections: list[Connection] = []
        self._rows: list[tuple[int, int, str, Row]] = []
        self._now_s = 0.0
        self._ports: dict[str, Iterator[int]] = {}

    def moment(self, at: float | None) -> float:
        """Seconds since the start: the time given, or a step after the latest call."""
        self._now_s = self._now_s + STEP_S if at is None else at
        return self._now_s

    def time(self, at: float | None) -> int:
        return self.start_ns + round(self.moment(at) * 1e9)

    def address(self, text: str) -> int:
        return self.addresses.number(pack_ip(text)) if text else 0

    def string(self, text: str | bytes) -> int:
        return self.strings.number(text.encode() if isinstance(text, str) else text)

    def add(self, table: str, at_ns: int, **columns: int) -> None:
        """One row of any table, for what the methods below do not offer."""
        self._rows.append((at_ns, len(self._rows), table, columns))

    def connect(
        self,
        client: str,
        server: str,
        *,
        at: float | None = None,
        syn: bool = True,
        stack: str = LINUX,
        ttl: int = 64,
        ttl_s: int = 64,
        proto: int = 6,
        protocol7: Protocol7 = Protocol7.UNKNOWN,
        orientation: Orientation | None = None,
        connect_ms: float = 0.5,
        isn: int | None = None,
        flags: int = 0,
        interface: int = 0,
    ) -> Connection:
        """A connection that has begun. Without a port the client takes its next one. Counts from its first data on."""
        at_s = self.moment(at)
        client_ip, client_port = split_endpoint(client)
        server_ip, server_port = split_endpoint(server)
        client_port = client_port or next(self._ports.setdefault(client_ip, count(32768)))
        number = len(self.connections) + 1
        if syn and proto == 6:
            flags |= ConnFlag.SYN | ConnFlag.SYNACK
        if orientation is None:
            orientation = Orientation.SYN if syn and proto == 6 else Orientation.PAYLOAD
        row = {
            name: 0
            for name in TABLES["connections"].names or ()
            if name
            not in ("seq", "at_ns", "conn", "client", "server", "client_port", "server_port", "end", "first_closer")
        }
        mss, window = (int(part) for part in stack.split(",")[:2])
        row.update(
            opened_ns=self.start_ns + round(at_s * 1e9),
            connect_ns=round(connect_ms * 1e6) if syn else 0,
            isn_c=(hashed(f"isn-{number}") & 0xFFFFFFFF) if isn is None else isn,
            stack=self.string(stack) if syn else 0,
            mss=mss,
            window=window,
            proto=proto,
            protocol7=protocol7,
            orientation=orientation,
            ttl_c=ttl,
            ttl_s=ttl_s,
            interface=interface,
            flags=flags,
        )
        row["last_ns"] = row["opened_ns"]
        ends = {
            "client": self.address(client_ip),
            "server": self.address(server_ip),
            "client_port": client_port,
            "server_port": server_port,
        }
        conn = Connection(self, number, ends, row, at_s)
        self.connections.append(conn)
        return conn

    def exchange(
        self,
        client: str,
        server: str,
        path: str = "/",
        *,
        at: float | None = None,
        status: int = 200,
        set_cookies: Mapping[str, str] | None = None,
        **request: object,
    ) -> Connection:
        """A connection with one request, its response and an orderly end."""
        conn = self.connect(client, server, at=at)
        conn.request("GET", path, **request)  # type: ignore[arg-type]
        conn.respond(status, set_cookies=set_cookies)
        return conn.close()

    def probe(self, client: str, server: str, *, at: float | None = None, refused: bool = False) -> Connection:
        """Opens and closes without a byte; or is refused."""
        conn = self.connect(client, server, at=at)
        return conn.close(
            end=End.RST if refused else End.FIN,
            flags=ConnFlag.REFUSED if refused else 0,
            closer=Side.SERVER if refused else Side.CLIENT,
        )

    def _ordered(self) -> list[tuple[int, int, str, Row]]:
        rows = sorted(self._rows, key=lambda row: (row[0], row[1]))
        last_ns = rows[-1][0] if rows else self.start_ns
        still_open = [conn for conn in self.connections if not conn.closed]
        return rows + [
            (last_ns, 0, "connections", {**conn.ends, **conn.row, "conn": conn.number, "end": int(End.OPEN)})
            for conn in still_open
        ]

    def batch(self) -> Batch:
        """Everything in one final batch."""
        (only,) = self.batches()
        return only

    def batches(self, rows_each: int | None = None) -> list[Batch]:
        """Everything, ``rows_each`` rows at a time; the last one is final."""
        rows = list(enumerate(self._ordered()))
        size = rows_each or max(len(rows), 1)
        parts = [rows[start : start + size] for start in range(0, len(rows), size)] or [[]]
        return [self._batch(part, index == len(parts) - 1) for index, part in enumerate(parts)]

    def _batch(self, rows: Iterable[tuple[int, tuple[int, int, str, Row]]], final: bool) -> Batch:
        by_table: dict[str, list[Row]] = {}
        for seq, (at_ns, _, table, columns) in rows:
            by_table.setdefault(table, []).append({**columns, "seq": seq, "at_ns": at_ns})
        return Batch(
            {name: _array(name, by_table[name]) if name in by_table else empty(name) for name in TABLES},
            self.strings,
            self.addresses,
            final,
        )

    def source(self, rows_each: int | None = None, **stats: object) -> ListSource:
        """A :class:`lbtop.model.observation.Source`; ``stats`` override fields of its :class:`SourceStats`."""
        rows = self._ordered()
        times = [at_ns for at_ns, *_ in rows] or [self.start_ns]
        packets = sum(conn.row["packets_c"] + conn.row["packets_s"] for conn in self.connections)
        known = {
            "kind": "capture",
            "inputs": ("made-up",),
            "started_ns": min(times),
            "ended_ns": max(times),
            "packets": packets,
        }
        return ListSource(self.batches(rows_each), SourceStats(**{**known, **stats}))  # type: ignore[arg-type]

    def endpoint(self, number: int, port: int) -> str:
        return endpoint_text(self.addresses[number], port)


def _array(table: str, rows: Sequence[Row]) -> Rows:
    array = np.zeros(len(rows), TABLES[table])
    for name in array.dtype.names or ():
        array[name] = [row.get(name, 0) for row in rows]
    return array


class ListSource:
    """A source that hands out ready-made batches."""

    def __init__(self, batches: Sequence[Batch], stats: SourceStats) -> None:
        self._batches = list(batches)
        self._stats = stats

    def poll(self, timeout_s: float = 0.0) -> Batch | None:
        return self._batches.pop(0) if self._batches else None

    def live(self) -> Rows:
        return empty("connections")

    def stats(self) -> SourceStats:
        return self._stats

    def close(self) -> None:
        self._batches.clear()
