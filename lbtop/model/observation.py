"""The vocabulary between the probes and everything else: what was seen, never an opinion.

A probe turns packets into *rows*, one numpy structured array per kind of observation. Every row is
self-contained: it repeats the addresses of its connection, so that nobody downstream has to join tables, and
carries a sequence number that orders it among the rows of *all* tables. Strings and addresses are interned: a row
holds a small integer, :class:`Batch` knows what it stands for. Secrets are 64-bit keyed hashes here
(SipHash under a key that never leaves memory) and never leave the process in any form but dense numbers.

Conventions
    ``*_ns``            nanoseconds since the Unix epoch, or a duration in nanoseconds; 0 = not seen
    ``client``/``server``  address numbers (:attr:`Batch.addresses`), 0 = none; who opened the connection and who accepted it
    string columns      numbers into :attr:`Batch.strings`, 0 = absent
    ``*_c`` / ``*_s``   sent by the client / sent by the server
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lbtop.model.record import dataclass, field

Rows = npt.NDArray[np.void]


class Orientation(IntEnum):
    """Why one end is called the client. Everything above PORT is proof; PORT and UNKNOWN are guesses."""

    UNKNOWN = 0
    PORT = 1  # mid-stream: the end with a known listener, or the lower, registered port, is the server
    LISTENER = 2  # mid-stream: this address and port was proven to be a server by another connection
    PAYLOAD = 3  # the bytes say so: an HTTP request, a client hello, a PROXY header, a server banner
    SYN = 4  # the handshake was seen


class Protocol7(IntEnum):
    """What the first payload bytes are, after any PROXY headers."""

    UNKNOWN = 0
    HTTP1 = 1
    HTTP2 = 2  # cleartext HTTP/2, prior knowledge or upgraded
    TLS = 3
    SSH = 4
    POSTGRES = 5
    MYSQL = 6
    REDIS = 7
    SMTP = 8
    DNS = 9
    QUIC = 10
    DTLS = 11
    WEBSOCKET = 12  # upgraded from HTTP/1
    MQTT = 13
    OTHER_CLEAR = 14  # readable text or a recognised clear protocol without a name here
    NATS = 15
    SYSLOG = 16


class End(IntEnum):
    """How a connection ended, as far as this vantage saw."""

    OPEN = 0  # still open when the capture ended, or when the row was asked for
    FIN = 1
    RST = 2
    EXPIRED = 3  # silent for longer than the expiry (datagrams: 120 s)
    EVICTED = 4  # pushed out by the cap on live connections
    REUSED = 5  # a new SYN took the five-tuple over


class Side(IntEnum):
    NONE = 0
    CLIENT = 1
    SERVER = 2


class ConnFlag(IntFlag):
    SYN = 1 << 0  # the client's SYN was seen
    SYNACK = 1 << 1
    REFUSED = 1 << 2  # SYN answered by RST
    ONE_DIRECTION = 1 << 3  # packets of one direction only
    GAPS = 1 << 4  # bytes are missing in a direction that matters
    TRUNCATED = 1 << 5  # a packet of it was cut by the snap length
    UPGRADED = 1 << 6  # changed protocol (WebSocket, h2c, CONNECT, STARTTLS)
    STARTTLS = 1 << 7
    KEEPALIVE_RACE = 1 << 8  # a request's segment crossed the server's FIN and was answered by RST
    PROXIED = 1 << 9  # began with a PROXY header
    PROXIED_LOCAL = 1 << 10  # began with a PROXY v2 LOCAL header (a balancer's own health check)
    RST_AFTER_IDLE = 1 << 11  # RST directly after a segment that followed the longest idle gap
    NOT_DECODABLE = 1 << 12  # for example HTTP/2 joined mid-stream
    SIMULTANEOUS = 1 << 13
    ZERO_WINDOW = 1 << 14
    RST_BARE = 1 << 15  # the closing RST had window 0 and no options (the mark of a connection tracker)
    SILENT_END = 1 << 16  # last segment sent was retransmitted and never acknowledged
    DECRYPTED = 1 << 17  # its TLS was read with the operator's keys: requests, cookies and secrets of it are in the other tables
    FIN_SEEN = 1 << 18  # of either side, whatever ended the connection


class ReqFlag(IntFlag):
    """Facts of one request head. Tells that only matter together are weighed in the inference, not here."""

    TRUNCATED = 1 << 0  # the head was cut; counts as a request, cut values are no identities
    KEEPALIVE = 1 << 1  # the head asks to keep the connection (version default applied)
    WEBSOCKET = 1 << 2  # Upgrade: websocket
    H2C_UPGRADE = 1 << 3
    AUTHORIZATION = 1 << 4  # any Authorization header
    SEC_FETCH = 1 << 5  # Sec-Fetch-Site
    SEC_CH_UA = 1 << 6  # Sec-CH-UA
    BR_ZSTD = 1 << 7  # Accept-Encoding offers br or zstd
    SECURE_COOKIE_PREFIX = 1 << 8  # a cookie named __Secure-* or __Host-*
    HTTPS_ORIGIN = 1 << 9  # Origin or Referer is https:// with this request's own Host
    HTTP_ORIGIN = 1 << 10  # the same with http://
    TRACE_ID = 1 << 11  # X-Amzn-Trace-Id with a well-formed Root or Self
    VIA = 1 << 12
    BROWSER_UA = 1 << 13  # User-Agent of a mainstream browser (Mozilla/5.0 … with Chrome, Firefox, Safari, Edg)
    UPGRADE_INSECURE = 1 << 14  # Upgrade-Insecure-Requests: 1
    GRPC = 1 << 15
    SESSION = 1 << 16  # presents a session cookie
    MIXED_CASE_FORWARDED = 1 << 17  # X-Forwarded-* in canonical case while every end-to-end header is lower-case (ALB's mark)
    TLS_HEADER = (
        1 << 18
    )  # a header that only a TLS-terminating hop adds (X-Amzn-Tls-*, X-ARR-SSL, CF-Visitor https, Front-End-Https …)
    XREQUEST_ID = 1 << 19
    CONNECT = 1 << 20


class RespFlag(IntFlag):
    TRUNCATED = 1 << 0
    CLOSES = 1 << 1  # Connection: close (version default applied)
    LOGIN_REDIRECT = 1 << 2  # 3xx whose Location's path looks like a login
    SESSION_PRESENTED = 1 << 3  # its request presented a session cookie
    SESSION_REISSUED = 1 << 4  # and this response sets the same cookie to another value
    SESSION_ISSUED = 1 << 5  # sets a session cookie (whether or not one was presented)
    SESSION_DELETED = 1 << 6
    UNANSWERED = 1 << 7  # no response: the connection ended while this request was outstanding (status 0)


class CookieFlag(IntFlag):
    SET = 1 << 0  # from Set-Cookie; otherwise from Cookie
    SECURE = 1 << 1
    HTTP_ONLY = 1 << 2
    SAMESITE = 1 << 3
    DELETE = 1 << 4  # expires in the past or Max-Age <= 0
    SESSION = 1 << 5  # taken for an application session (known name, or a high-entropy value under a likely name)
    BALANCER = 1 << 6  # a load balancer's cookie by name (catalogue)
    CUT = 1 << 7  # the value was cut: not an identity
    HAS_PATH = 1 << 8
    DISCLOSES = 1 << 9  # the value decodes to a target's address (names, names_port)


class HelloFlag(IntFlag):
    GREASE = 1 << 0
    ECH = 1 << 1  # encrypted_client_hello present (browsers always send it: not a proof of use)
    POST_QUANTUM = 1 << 2  # an ML-KEM hybrid among the key shares
    TICKET_OFFERED = 1 << 3  # TLS <= 1.2 session ticket with data
    SESSION_ID_OFFERED = 1 << 4  # non-empty legacy session id in a hello that cannot be TLS 1.3
    PSK_OFFERED = 1 << 5  # TLS 1.3 pre_shared_key
    RETRY = 1 << 6  # a HelloRetryRequest and a second hello were seen; this row is the one connection
    SERVER_SEEN = 1 << 7  # server hello seen: version, cipher and RESUMED are meaningful
    RESUMED = 1 << 8  # the offered session was accepted
    CLIENT_SEEN = 1 << 9
    EARLY_DATA = 1 << 10
    ALERT = 1 << 11  # a fatal alert ended the handshake
    CLIENT_CERT_REQUESTED = 1 << 12
    SSLV2 = 1 << 13
    HAS_SNI = 1 << 14


class ProxyFlag(IntFlag):
    V2 = 1 << 0
    LOCAL = 1 << 1  # v2 LOCAL or v1 UNKNOWN: no addresses, whatever the family says
    SSL_TLV = 1 << 2
    SSL_CLIENT = 1 << 3  # bit 0x01 of the SSL TLV's client field: the client's hop was TLS
    CRC_PRESENT = 1 << 4
    CRC_OK = 1 << 5
    AWS_TLV = 1 << 6
    SECOND = 1 << 7  # a second PROXY header on the same connection


class SecretKind(IntEnum):
    """Classes of sensitive values. The value itself is hashed where it is parsed."""

    BASIC_AUTH = 1
    DIGEST_AUTH = 2
    BEARER_TOKEN = 3
    SESSION_COOKIE = 4
    PASSWORD = 5
    CARD_NUMBER = 6
    API_KEY = 7
    JWT = 8
    SET_COOKIE_SESSION = 9  # a session cookie being issued (server to client); reported as session_cookie


class SecretFlag(IntFlag):
    DECRYPTED = 1 << 0  # seen inside TLS, with the operator's keys: it does not cross in clear


# What the columns mean where the wire leaves a choice. Two independent decoders (the compiled one and the slow one of the
# tests) follow this text and are compared row by row.
#
# Connections
#   conn          dense from 1, in order of the first packet. at_ns of OPENED: the first payload packet; of CONNECTION: last_ns.
#   one SYN       is one connection: sent again, or seen after the SYN-ACK that acknowledges it (taps whose clocks differ), it
#                 is the same; another one on the same ports begins another connection.
#   opened_ns     the first packet. ttl_*: of the first packet in that direction. interface: the capture's own number for it
#                 (pcapng; else 0). vlan: outermost tag of the first packet. isn_c, mss, window (unscaled), tsval_c: of the
#                 client's SYN, 0 when it was not seen or the option is absent.
#   stack         "mss,window,scale,layout": decimal, "-" for an absent scale; one letter per option in order: M mss, N nop,
#                 W window scale, S SACK permitted, T timestamps, E end of list (stop there), ? anything else.
# "1460,64240,7,MSTNW"
#   fragments     an IP packet is there when the last of its fragments comes, with that one's time and TTL, whatever it holds and
#                 whatever holds it: in a tunnel too. One of which fragments are still missing after 30 s never was.
#   OTHER_CLEAR   UTF-8 without control codes but line ends and tabs, 64 bytes looked at. Of datagrams the first one, if 12 bytes
#                 or more of it are in the capture: fewer are text by chance.
#   packets_*     duplicates left out, retransmits included. bytes_*: distinct payload bytes by the lengths in the IP headers
#                 (so also those the snap length cut off), missing_bytes: sequence space between two seen segments that no
#                 packet carried, and at the end what was acknowledged and never seen (without the last number where no FIN was:
#                 it may be a FIN's).
#   retransmits_* segments with payload, SYN or FIN that lie wholly below the next expected sequence number, keep-alive
#                 probes and duplicates left out; one that fills a hole is late, not a retransmit.
#   hole          given up once its receiver acknowledged what lies behind it (a bare acknowledgement may overtake what it
#                 acknowledges: then 10 ms later), after 2 s where nobody acknowledges at all, at the bound of what waits
#                 (256 KB), and at the end. What comes after all is counted in bytes_* and read by nobody.
#   keep-alive probe  a segment of 0 or 1 byte without SYN, FIN, RST whose sequence number is the next expected one minus 1.
#   silence       time between two consecutive packets of the connection, whoever sent them. It is survived once a packet
#                 other than an RST came from the end that did not break it, before any FIN or RST.
#   idle_before_end_ns  an RST that answers a segment: the silence before that segment; any other RST or the first FIN: the
#                 silence before it; no end seen: last_ns to the end of the input.
#   end           RST: an RST before both FINs were seen. FIN: both, or one where only one direction is in view. first_closer:
#                 who sent the first FIN or RST, NONE without either. End of a refused attempt: RST.
#   GAPS          missing_bytes > 0. TRUNCATED: a packet was shorter in the capture than on the wire.
#   KEEPALIVE_RACE  server FIN seen, the client's last segment with payload neither acknowledges it nor is acknowledged, and an
#                 RST from the server after both, whichever of the two the capture shows first. A segment that is one TLS alert
#                 record, or in TLS 1.3 one record with an alert's size (19 bytes), asks for nothing and is no such segment.
#                 ZERO_WINDOW: window 0 on a segment that is not SYN or RST.
#   RST_AFTER_IDLE  the silence before the segment that the RST answers is the connection's longest, and a second or more.
#   SILENT_END    the last segment with payload or FIN of either end was sent again, and no acknowledgement covers it.
#   duplicates    the same packet seen again (same addresses, ports, IP id, sequence and acknowledgement numbers, flags,
#                 length) within 10 ms although nothing was lost: a mirror's or ``-i any``'s second copy, recognised by another
#                 file, interface, VLAN, TTL or link-layer address, or for an IPv4 packet with a non-zero id by the id itself.
#                 With both, within a second: files of several hosts may be merged whose clocks differ. A TCP segment without an
#                 id (0, or IPv6) has to have the same window and, unless it is a SYN, the same options; it is then also a copy
#                 at the same place, within 1 ms: what is sent again comes later.
# Heads
#   at_ns         the time of the packet that completed the head in order (the later of its own packets). delay_ns: likewise.
#   path          request target up to "?" or "#", of an absolute target only its path, of CONNECT the authority;
#                 strings are bounded: path, user agent and header values shown 256 bytes, header_shape 1024, names 64.
# Surrounding blanks stripped.
#   forwarded*    all X-Forwarded-For lines joined in order, else all Forwarded: for=; rightmost first. What is no address
#                 (unknown, _hidden) keeps its place as 0. forwarded_count: all places. real_ip: the first such header that
#                 holds an address.
#   cookie names  as sent; pairs split at ";", blanks stripped, a pair without "=" is left out; surrounding quotes belong to the
#                 value.
#   Only the first 64 KB of a head, 256 header lines and 128 cookies of it are looked at.
#   In a direction whose beginning was not seen, and after a hole, the next segment that starts with a head is one.
#   Where a connection's start is in view and no head of its client was lost, HTTP/1 responses that outnumber the requests came
#   before theirs (taps whose clocks differ): they answer none by number (request 0), and the requests that follow are answered.
#   After a hole of the server the requests before the newest one are taken for answered; none is called unanswered. A hole at
#   its end is one too, unless it lies inside a body; and where no packet of the server is in view nobody knows what it answered.
#   Of a head that was cut the lines before the cut count, of a cut Cookie line its complete pairs; the cut pair is CUT.
# Handshakes
#   random, session, ja4, family, size: of the first hello. session: pre_shared_key's first identity, else the ticket, else the
#                 session id (only where supported_versions lacks 1.3). size: handshake message length. version/cipher: of the
#                 server hello that is no retry. at_ns: of the packet that completed the server hello, else the client hello.
# Secrets
#   One row per class a value belongs to: a bearer token that is a JWT has two, so has a session cookie that is one. A cookie is a
#   session by a known name, by a random value under a likely name, or by being a JWT; one whose value is cut is none.
#   Headers' credentials come first, then session cookies, then the query's parameters; the body's when its first 2 KB are there.
#   A password counts under its name unless it is empty, masked or "true"; keys and tokens only where the value looks random (16
#   bytes or more, letters and digits, ten different ones); card numbers under a card's name, or in groups under any name.
# Processes
#   Live: who accepts a connection, as procfs tells it (end SERVER): for the first 64 connections of a listener, then ever more
#   rarely. Captures: what ptcpdump writes into the comments of packets in pcapng. One row per connection and end, and another
#   when the facts change; the first with or after the connection's first payload. Of a command only the last part of its path,
#   of a container its name (else the first 12 digits of its id), of a pod "name.namespace", 64 bytes each. Arguments, users,
#   labels and annotations are left out: secrets are passed in them. end: of a packet marked as outbound its sender's, of one
#   marked as inbound its receiver's; NONE on the host's side of a container's or guest's link, where it is the other way round
#   for some.


def _dtype(*fields: tuple[str, str]) -> np.dtype[np.void]:
    """Natural alignment, checked: C structs in compiled code must see the same offsets."""
    return np.dtype(list(fields), align=True)


# A connection that counts: its first payload byte (either direction). Emitted once, in order of arrival.
OPENED = _dtype(
    ("seq", "u8"),
    ("at_ns", "i8"),
    ("conn", "u8"),
    ("syn_ns", "i8"),
    ("client", "u4"),
    ("server", "u4"),
    ("isn_c", "u4"),
    ("stack", "u4"),
    ("client_port", "u2"),
    ("server_port", "u2"),
    ("mss", "u2"),
    ("window", "u2"),
    ("proto", "u1"),
    ("orientation", "u1"),
    ("ttl_c", "u1"),
    ("ttl_s", "u1"),
    ("interface", "u2"),
    ("flags16", "u2"),
)
# stack: interned name of the client's SYN without its TTL, "mss,window,scale,option-layout"; 0 when no SYN was seen.

# A connection's whole life. Emitted when it ends, expires or is evicted; the still open ones at the end of the input.
# Payload-less ones appear here and only here (probes, refused).
CONNECTION = _dtype(
    ("seq", "u8"),
    ("at_ns", "i8"),
    ("conn", "u8"),
    ("opened_ns", "i8"),
    ("first_data_ns", "i8"),
    ("last_ns", "i8"),
    ("bytes_c", "u8"),
    ("bytes_s", "u8"),  # payload without retransmits and keep-alive probes
    ("connect_ns", "i8"),  # SYN to SYN-ACK at the vantage; 0 unknown
    ("ack_ns", "i8"),  # SYN-ACK to ACK at the vantage; 0 unknown
    ("turn_ns", "i8"),  # TLS: the server's hello (before 1.3: the end of its hellos) to the client's next byte; 0 unknown
    ("idle_survived_ns", "i8"),  # longest silence after which the peer answered
    ("idle_before_end_ns", "i8"),  # silence before the segment that drew the RST, or before FIN, or to the end
    ("missing_bytes", "u8"),
    ("client", "u4"),
    ("server", "u4"),
    ("isn_c", "u4"),
    ("stack", "u4"),
    ("packets_c", "u4"),
    ("packets_s", "u4"),
    ("retransmits_c", "u4"),
    ("retransmits_s", "u4"),
    ("requests", "u4"),
    ("responses", "u4"),
    ("keepalive_probes", "u4"),
    ("flags", "u4"),
    ("tsval_c", "u4"),
    ("duplicates", "u4"),
    ("client_port", "u2"),
    ("server_port", "u2"),
    ("mss", "u2"),
    ("window", "u2"),
    ("resets_c", "u2"),
    ("resets_s", "u2"),
    ("interface", "u2"),
    ("vlan", "u2"),
    ("proto", "u1"),
    ("protocol7", "u1"),
    ("orientation", "u1"),
    ("end", "u1"),
    ("first_closer", "u1"),
    ("ttl_c", "u1"),
    ("ttl_s", "u1"),
    ("data_order", "u1"),  # data_order: Side that sent payload first
)

# Both hellos of one TLS (or QUIC, DTLS) handshake, emitted at the server hello, or when the connection ends without one.
HANDSHAKE = _dtype(
    ("seq", "u8"),
    ("at_ns", "i8"),
    ("conn", "u8"),
    ("random", "u8"),  # keyed hash of ClientHello.random (first hello after a retry)
    ("session", "u8"),  # keyed hash of the offered ticket / PSK identity / session id; 0 none
    ("certificate", "u8"),  # keyed hash of the server's leaf certificate (TLS <= 1.2); 0 not seen
    ("not_before_ns", "i8"),
    ("not_after_ns", "i8"),
    ("client", "u4"),
    ("server", "u4"),
    ("sni", "u4"),
    ("alpn", "u4"),
    ("alpn_chosen", "u4"),
    ("ja4", "u4"),
    ("family", "u4"),  # family: JA4-like string without what resumption and padding change
    ("flags", "u4"),
    ("size", "u4"),
    ("client_port", "u2"),
    ("server_port", "u2"),
    ("version", "u2"),
    ("cipher", "u2"),  # negotiated; 0 unknown
    ("version_offered", "u2"),
    ("pad", "u2"),
)

PROXY = _dtype(
    ("seq", "u8"),
    ("at_ns", "i8"),
    ("conn", "u8"),
    ("client", "u4"),
    ("server", "u4"),
    ("source", "u4"),
    ("destination", "u4"),
    ("authority", "u4"),
    ("alpn", "u4"),
    ("tls_version", "u4"),
    ("flags", "u4"),
    ("client_port", "u2"),
    ("server_port", "u2"),
    ("source_port", "u2"),
    ("destination_port", "u2"),
)

# One request head. request: number of the request in this run, dense, in order of appearance.
REQUEST = _dtype(
    ("seq", "u8"),
    ("at_ns", "i8"),
    ("conn", "u8"),
    ("request", "u8"),
    ("client", "u4"),
    ("server", "u4"),
    ("forwarded0", "u4"),
    ("forwarded1", "u4"),
    ("forwarded2", "u4"),
    ("forwarded3", "u4"),  # rightmost first; X-Forwarded-For, else Forwarded for=
    ("real_ip", "u4"),  # X-Real-IP, CF-Connecting-IP, True-Client-IP, Fastly-Client-IP
    ("proxy_source", "u4"),  # client address of this connection's PROXY header
    ("method", "u4"),
    ("path", "u4"),
    ("host", "u4"),
    ("user_agent", "u4"),
    ("via", "u4"),
    ("header_shape", "u4"),  # interned names of all headers in order and case, joined by ","; at most 64
    ("flags", "u4"),
    ("index", "u4"),  # index: 0, 1, … on its connection
    ("client_port", "u2"),
    ("server_port", "u2"),
    ("forwarded_port", "u2"),
    ("forwarded_count", "u2"),
    ("cookies", "u2"),
    ("version", "u1"),  # cookies: rows of COOKIE that follow; version 10, 11, 20 (11 where the line was cut before it)
    ("forwarded_proto", "u1"),  # 0 absent, 1 http, 2 https, 3 something else
)

# One cookie of a request (after its REQUEST row) or one Set-Cookie (after its RESPONSE row).
COOKIE = _dtype(
    ("seq", "u8"),
    ("at_ns", "i8"),
    ("conn", "u8"),
    ("request", "u8"),
    ("value", "u8"),  # keyed hash
    ("presented", "u8"),  # Set-Cookie: keyed hash of the value its request carried under this name; 0 none
    ("lifetime_ns", "i8"),  # Set-Cookie: Max-Age or Expires - now; -1 = session cookie; 0 for Cookie
    ("client", "u4"),
    ("server", "u4"),
    ("forwarded0", "u4"),
    ("name", "u4"),
    ("flags", "u4"),
    ("names", "u4"),
    ("client_port", "u2"),
    ("server_port", "u2"),
    ("names_port", "u2"),
    ("decoder", "u2"),
)

# One response head, or the fact that a request was never answered (UNANSWERED). Interim 1xx heads have no row, 101 has.
RESPONSE = _dtype(
    ("seq", "u8"),
    ("at_ns", "i8"),
    ("conn", "u8"),
    ("request", "u8"),  # request it answers
    ("delay_ns", "i8"),  # request head complete to response head complete
    ("session", "u8"),  # keyed hash of the session cookie value its request presented; 0 none
    ("client", "u4"),
    ("server", "u4"),
    ("session_name", "u4"),
    ("flags", "u4"),
    ("server_header", "u4"),
    ("client_port", "u2"),
    ("server_port", "u2"),
    ("status", "u2"),
    ("set_cookies", "u2"),
)

SECRET = _dtype(
    ("seq", "u8"),
    ("at_ns", "i8"),
    ("conn", "u8"),
    ("value", "u8"),
    ("client", "u4"),
    ("server", "u4"),
    ("name", "u4"),  # name: of the header, cookie or parameter
    ("client_port", "u2"),
    ("server_port", "u2"),
    ("kind", "u1"),
    ("sender", "u1"),
    ("pad", "u2"),
    ("flags", "u4"),
)

# Which process is at an end of a connection: as this host knows it, or as the capturing program wrote it beside a packet.
PROCESS = _dtype(
    ("seq", "u8"),
    ("at_ns", "i8"),
    ("conn", "u8"),
    ("client", "u4"),
    ("server", "u4"),
    ("pid", "u4"),  # 0 unknown
    ("process", "u4"),
    ("container", "u4"),
    ("pod", "u4"),
    ("client_port", "u2"),
    ("server_port", "u2"),
    ("end", "u1"),  # end: Side the process is at; NONE where the packet's direction does not tell
    ("pad8", "u1"),
    ("pad", "u2"),
)

TABLES: dict[str, np.dtype[np.void]] = {
    "opened": OPENED,
    "handshakes": HANDSHAKE,
    "proxies": PROXY,
    "requests": REQUEST,
    "cookies": COOKIE,
    "responses": RESPONSE,
    "secrets": SECRET,
    "connections": CONNECTION,
    "processes": PROCESS,
}

ADDRESS_COLUMNS = frozenset(
    ("client", "server", "source", "destination", "forwarded0", "forwarded1", "forwarded2", "forwarded3", "real_ip",
     "proxy_source", "names")
)  # fmt: skip
"""Columns that hold numbers into :attr:`Batch.addresses`, in whatever table."""


class Interner(Protocol):
    """Append-only numbering of byte strings in order of first appearance. Number 0 is the empty string (absent).

    When its cap is reached every new string gets number 1, ``b"(more)"``, and the cap is reported.
    """

    def __getitem__(self, number: int) -> bytes: ...
    def __len__(self) -> int: ...


@dataclass(slots=True)
class Batch:
    """Rows of every table, each ordered by ``seq``, and what their numbers stand for."""

    tables: dict[str, Rows]
    strings: Interner
    addresses: Interner  # 16 bytes each; IPv4 as ::ffff:a.b.c.d
    final: bool = False  # no rows follow

    def __getitem__(self, table: str) -> Rows:
        return self.tables[table]

    def __len__(self) -> int:
        return sum(len(rows) for rows in self.tables.values())


@dataclass(frozen=True, slots=True)
class InsideTls:
    """What was read inside TLS on this host (``--tls-plaintext``), against what its packets show."""

    ports: tuple[int, ...]  # of the chosen processes
    connections: int  # to them over TLS that carried more than a handshake
    read: int  # of these with heads that were read
    lost: int  # heads that were told and could not be taken
    unreadable: tuple[str, ...] = ()  # programs that speak TLS in a way that cannot be read, and why

    @property
    def share(self) -> float | None:
        """Of the connections, 0..1."""
        return self.read / self.connections if self.connections else None

    @property
    def told(self) -> str:
        """As a sentence."""
        where = "inside TLS" + (f" on port {', '.join(map(str, self.ports))}" if self.ports else "")
        if self.share is None:
            return f"{where} nothing was asked yet"
        return f"{where} the heads of {self.read:,} of {self.connections:,} connections were read ({self.share:.1%})"


@dataclass(frozen=True, slots=True)
class KernelTcp:
    """What this host's kernel counted of its own connections that have a port in common."""

    port: int  # the service's: our own, or where we connected to
    sent_again: int  # segments
    resets_sent: tuple[tuple[str, int], ...]  # by the kernel's own reason
    resets_received: int
    accepted: int
    connected: int
    connects_failed: int

    @property
    def told(self) -> str:
        """What there is to be told of it, as a sentence; empty where nothing went wrong."""
        reasons = ", ".join(f"{count:,} {why}" for why, count in self.resets_sent)
        parts = [
            f"{self.sent_again:,} segments sent again" if self.sent_again else "",
            f"{sum(count for _, count in self.resets_sent):,} resets sent ({reasons})" if reasons else "",
            f"{self.resets_received:,} resets received" if self.resets_received else "",
            f"{self.connects_failed:,} connects failed" if self.connects_failed else "",
        ]
        said = ", ".join(part for part in parts if part)
        return f"this host's kernel, port {self.port}: {said}" if said else ""


@dataclass(frozen=True, slots=True, eq=False)
class SourceStats:
    """What a source has read so far and what it could not."""

    kind: str  # capture, packet, ebpf, recording
    inputs: tuple[str, ...] = ()
    started_ns: int = 0  # first and last packet
    ended_ns: int = 0
    packets: int = 0  # each once: duplicates of a mirror are left out
    bytes: int = 0  # of those packets on the wire, link layer included
    undecoded_packets: int = 0  # not Ethernet/IP/TCP/UDP as far as this decoder knows
    truncated_packets: int = 0  # cut by the snap length
    duplicate_packets: int = 0
    dropped_packets: int | None = None  # None: nobody counted
    cut_at_byte: int | None = None  # the file ends in the middle of a packet
    half_open_evicted: int = 0  # attempts never answered that were dropped from the table at its cap
    caps_reached: tuple[str, ...] = ()
    read_bytes: int = 0  # progress
    total_bytes: int | None = None
    notes: tuple[str, ...] = field(default=())  # sentences for a person: damaged blocks skipped, clocks that differ …
    inside_tls: InsideTls | None = None
    kernel_tcp: tuple[KernelTcp, ...] = ()
    keepalives: tuple[tuple[int, int, float], ...] = ()
    """Live, of this host's own sockets: port, accepted connections with keepalive on, seconds of silence before the probe."""


class Source(Protocol):
    """Anything that yields observations: a capture file, the live ring, a recording."""

    def poll(self, timeout_s: float = 0.0) -> Batch | None:
        """The next rows; None when there are none now. The last batch has ``final`` set, and calls after it return None."""

    def live(self) -> Rows:
        """CONNECTION rows of the connections open now, for a snapshot in the middle. They will come again when they end."""

    def stats(self) -> SourceStats: ...

    def close(self) -> None: ...


def empty(table: str) -> Rows:
    """No rows of a table."""
    return np.zeros(0, TABLES[table])
