"""One connection under construction: its rows of every table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lbtop.model.observation import (
    ConnFlag,
    CookieFlag,
    End,
    HelloFlag,
    Protocol7,
    ProxyFlag,
    ReqFlag,
    RespFlag,
    SecretKind,
    Side,
)
from lbtop.testing.interner import hashed, split_endpoint

if TYPE_CHECKING:
    from lbtop.testing.traffic import Traffic

SESSION_COOKIES = frozenset({"JSESSIONID", "PHPSESSID", "SESSION", "sid", "connect.sid", "sessionid"})
BALANCER_COOKIES = ("AWSALB", "SRV", "SERVERID", "route", "lb")

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
        turn_ms: float = 0.0,
    ) -> Connection:
        """Both hellos. ``random``: equal text on two connections means one ClientHello seen on two legs.

        ``turn_ms``: from the server's hello to the client's answer.
        """
        at_s = self.traffic.moment(at)
        self.row["protocol7"] = Protocol7.TLS
        self.row["turn_ns"] = round(turn_ms * 1e6)
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
        self.traffic.add("connections", at_ns, **self.ends, conn=self.number, **self.row, end=end, first_closer=first_closer)
        return self


def cookie_flag(name: str) -> int:
    """What the decoder's default tables would say of a cookie's name."""
    flags = CookieFlag.SESSION if name in SESSION_COOKIES else CookieFlag(0)
    return flags | (CookieFlag.BALANCER if name.startswith(BALANCER_COOKIES) else 0)
