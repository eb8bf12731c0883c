"""What request heads, Set-Cookie lines and PROXY headers say about the hops before this one."""

from __future__ import annotations

import numpy as np

from lbtop.model.observation import CookieFlag, ProxyFlag, ReqFlag, RespFlag
from lbtop.reconstruct.arrivals import Part, columns, counted
from lbtop.reconstruct.ledgers.tally import Tally, alike, bit_counts, pair
from lbtop.reconstruct.window import ServiceWindow

HTTP, HTTPS, OTHER = 1, 2, 3
"""REQUEST.forwarded_proto."""

BROWSER_BITS = (
    ReqFlag.SEC_FETCH, ReqFlag.SEC_CH_UA, ReqFlag.BR_ZSTD, ReqFlag.SECURE_COOKIE_PREFIX, ReqFlag.HTTPS_ORIGIN,
    ReqFlag.HTTP_ORIGIN, ReqFlag.BROWSER_UA, ReqFlag.UPGRADE_INSECURE,
)  # fmt: skip
_CONNECTIONS_CAP = 65_536
_LOW = np.uint32(0x3FF)  # enough of a number to tell two apart, and n·Σc² stays within 64 bits for 10^6 requests


class HeadLedger:
    """Folds REQUEST, RESPONSE, COOKIE and PROXY rows of the last leg; heads of health checks are kept apart."""

    def __init__(self) -> None:
        self.requests = 0  # whole heads: what a cut one lacks says nothing
        self.cut = 0
        self.flags = np.zeros(32, np.int64)  # requests with each ReqFlag bit
        self.forwarded_proto = np.zeros(4, np.int64)  # absent, http, https, something else
        self.forwarded = 0  # requests with a forwarded address, X-Real-IP included
        self.versions = Tally(cap=16)  # 10, 11, 20
        self.shapes = Tally(columns=3, cap=2048)  # (shape, version): requests, with forwarded address, as https
        self.browsers = Tally(columns=1 + len(BROWSER_BITS), cap=2048)  # (user agent, shape): requests, with each bit
        self.forwarded_ports = Tally(cap=64)
        self.via = Tally(cap=64)
        self.hosts = Tally(cap=1024)
        self.checks = Tally(cap=256)  # user agents of health checks
        self.connections = Tally(columns=7, cap=_CONNECTIONS_CAP)
        """Connection: requests, forwarded as http, as https, Σ and Σ² of the last forwarded address, of the user agent."""
        self.cookies = Tally(columns=3, cap=1024)  # name in Cookie: rows, balancer's, session's
        self.set_cookies = Tally(columns=4, cap=1024)
        """Name in Set-Cookie: rows, with Secure, session cookies, session cookies without Secure."""
        self.named_targets = Tally(columns=2, cap=1024)  # (name, decoder): naming a target, the one reached
        self.servers = Tally(cap=64)  # Server header of responses
        self.proxy_flags = np.zeros(16, np.int64)
        self.proxies = 0  # connections with a PROXY header that has addresses
        self.proxy_ports = Tally(cap=64)  # destination ports in PROXY headers
        self.proxy_tls = Tally(cap=16)  # TLS versions in SSL TLVs

    def fold(self, window: ServiceWindow) -> None:
        requests = columns(window, "requests")
        if len(requests):
            checks = window.health["requests"]
            rows, _ = counted(window, "requests")  # whose columns others use, too
            if checks.any():
                self.checks.add(requests["user_agent"][checks].astype(np.uint64))
            if len(rows) != len(requests) - int(np.count_nonzero(checks)):
                rows = requests.where(~checks)
            self._requests(rows)
        self._cookies(columns(window, "cookies"), window)
        responses = columns(window, "responses")
        if len(responses):
            answered = (responses["flags"] & np.uint32(RespFlag.UNANSWERED)) == 0
            self.servers.add(responses["server_header"][answered & (responses["server_header"] != 0)].astype(np.uint64))
        self._proxies(columns(window, "proxies"))

    def _requests(self, rows: Part) -> None:
        if len(rows) == 0:
            return
        cut = (rows["flags"] & np.uint32(ReqFlag.TRUNCATED)) != 0
        if cut.any():
            self.cut += int(cut.sum())
            rows = rows.where(~cut)
            if len(rows) == 0:
                return
        flags = rows["flags"]
        self.requests += len(rows)
        self._connections(rows)
        proto = rows["forwarded_proto"] & np.uint8(3)
        has_forwarded = (rows["forwarded_count"] != 0) | (rows["real_ip"] != 0)
        first, count = alike(
            rows["header_shape"], rows["user_agent"], flags, rows["host"], rows["via"],
            rows["forwarded_port"].astype(np.uint64) << np.uint64(16) | rows["version"], proto * 2 + has_forwarded,
        )  # fmt: skip
        rows, proto, has_forwarded = rows.at(first), proto[first], has_forwarded[first]
        flags = flags[first]
        self.flags += bit_counts(flags, rows=count)
        self.forwarded_proto += np.bincount(proto, count, 4).astype(np.int64)
        self.forwarded += int(count[has_forwarded].sum())
        self.versions.add(rows["version"].astype(np.uint64), rows=count)
        shape = pair(rows["header_shape"], rows["version"])
        self.shapes.add(shape, has_forwarded * count, (proto == HTTPS) * count, rows=count)
        bits = [((flags & np.uint32(bit)) != 0) * count for bit in BROWSER_BITS]
        self.browsers.add(pair(rows["user_agent"], rows["header_shape"]), *bits, rows=count)
        for column, tally in (("forwarded_port", self.forwarded_ports), ("via", self.via), ("host", self.hosts)):
            there = rows[column] != 0
            tally.add(rows[column][there].astype(np.uint64), rows=count[there])

    def _connections(self, rows: Part) -> None:
        proto = rows["forwarded_proto"]
        address = (rows["forwarded0"] & _LOW).astype(np.int64)
        agent = (rows["user_agent"] & _LOW).astype(np.int64)
        self.connections.add(rows["conn"], proto == HTTP, proto == HTTPS, address, address * address, agent, agent * agent)

    def _cookies(self, rows: Part, window: ServiceWindow) -> None:
        if len(rows) == 0:
            return
        flags = rows["flags"]
        checks = window.health["cookies"]
        first, count = alike(rows["name"], flags, checks)
        names, kinds, data = rows["name"][first].astype(np.uint64), flags[first], ~checks[first]
        balancer, session, secure = (
            (kinds & np.uint32(bit)) != 0 for bit in (CookieFlag.BALANCER, CookieFlag.SESSION, CookieFlag.SECURE)
        )
        set_ = (kinds & np.uint32(CookieFlag.SET)) != 0
        asked = data & ~set_
        self.cookies.add(names[asked], (balancer * count)[asked], (session * count)[asked], rows=count[asked])
        issued = data & set_ & ((kinds & np.uint32(CookieFlag.DELETE)) == 0)
        columns = ((bit * count)[issued] for bit in (secure, session, session & ~secure))
        self.set_cookies.add(names[issued], *columns, rows=count[issued])
        discloses = np.uint32(CookieFlag.DISCLOSES)
        if (kinds & discloses).any():
            named = rows.where(~checks & ((flags & (discloses | np.uint32(CookieFlag.SET))) == discloses))
            here = (named["names"] == named["server"]) & (named["names_port"] == named["server_port"])
            self.named_targets.add(pair(named["name"], named["decoder"]), here)

    def _proxies(self, rows: Part) -> None:
        rows = rows.where((rows["flags"] & np.uint32(ProxyFlag.LOCAL)) == 0)
        if len(rows) == 0:
            return
        self.proxies += len(rows)
        self.proxy_flags += bit_counts(rows["flags"], 16)
        self.proxy_ports.add(rows["destination_port"].astype(np.uint64))
        self.proxy_tls.add(rows["tls_version"][rows["tls_version"] != 0].astype(np.uint64))

    def flag(self, bit: ReqFlag) -> int:
        """Requests that have this mark."""
        return int(self.flags[int(bit).bit_length() - 1])

    def proxy_flag(self, bit: ProxyFlag) -> int:
        """PROXY headers that have this mark."""
        return int(self.proxy_flags[int(bit).bit_length() - 1])

    def shared_connections(self) -> tuple[int, int, int]:
        """Connections that carried requests of several forwarded clients, of several user agents, two requests or more."""
        return self._varied(3), self._varied(5), int((self.connections.counts > 1).sum())

    def _varied(self, column: int) -> int:
        """Connections whose requests differ in a column: n·Σc² ≠ (Σc)²."""
        n, total, squares = (self.connections.sums[:, c] for c in (0, column, column + 1))
        return int((n * squares != total * total).sum())

    def connections_by_proto(self, silence_is_http: bool) -> tuple[int, int]:
        """(connections that carry requests forwarded as http, as https); one that a proxy uses for both is in each number.

        ``silence_is_http``: so are requests of which nothing is said.
        """
        requests, http, https = (self.connections.sums[:, column] for column in range(3))
        if silence_is_http:
            http = requests - https
        return int(np.count_nonzero(http)), int(np.count_nonzero(https))
