"""Conversations for the wire tests: lists of turns, each an end and what it says, whole messages at a time."""

from __future__ import annotations

import contextlib
import datetime
import functools
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from h2.config import H2Configuration
from h2.connection import H2Connection

from tests.wire.talk import CLIENT, SERVER

Turns = list[tuple[str, bytes]]

REQUEST = (
    b"GET /cart?id=7 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Mozilla/5.0 (X11) Firefox/120.0\r\n"
    b"X-Forwarded-For: 198.51.100.7, 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n"
    b"Cookie: JSESSIONID=0123456789ABCDEF; AWSALB=xyz; theme=dark\r\n\r\n"
)
ANSWER = b"HTTP/1.1 200 OK\r\nServer: app/1\r\nSet-Cookie: JSESSIONID=fresh; Path=/; HttpOnly\r\nContent-Length: 5\r\n\r\nhello"
FORM = b"user=ann&password=hunter2&card=4111111111111111"
POST = (
    b"POST /login HTTP/1.1\r\nHost: shop.example\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Content-Length: %d\r\n\r\n%s"
    % (len(FORM), FORM)
)
JSON = b'{"user": "ann", "password": "hunter\\"2", "n": 1}'
CHUNKED = (
    b"POST /api HTTP/1.1\r\nHost: shop.example\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"%x\r\n%s\r\n3;x=y\r\nabc\r\n0\r\nTrailer: 1\r\n\r\n" % (len(JSON), JSON)
)
CHUNKED_ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
V1 = b"PROXY TCP4 198.51.100.7 203.0.113.9 51234 443\r\n"
V2 = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x17\xc6\x33\x64\x07\xcb\x00\x71\x09\xc8\x22\x01\xbb"
    b"\x20\x00\x08\x01\x00\x00\x00\x00\x21\x00\x00"
)


def plain_http() -> Turns:
    return [
        (CLIENT, REQUEST), (SERVER, ANSWER), (CLIENT, POST), (SERVER, b"HTTP/1.1 100 Continue\r\n\r\n" + EMPTY),
        (CLIENT, CHUNKED), (SERVER, CHUNKED_ANSWER), (CLIENT, REQUEST + REQUEST), (SERVER, ANSWER + ANSWER),
        (CLIENT, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"), (SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"),
        (CLIENT, b"GET /old HTTP/1.0\nHost: a\n\n"), (SERVER, b"HTTP/1.0 200 OK\r\n\r\nuntil the end GET / HTTP/1.1\r\n\r\n"),
    ]  # fmt: skip


def websocket() -> Turns:
    upgrade = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    agreed = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    return [
        (CLIENT, upgrade),
        (SERVER, agreed),
        (CLIENT, b"\x81\x85GET / HTTP/1.1\r\n\r\n"),
        (SERVER, b"\x81\x05HTTP/1.1 200\r\n"),
    ]


def tunnel() -> Turns:
    asked = [(CLIENT, b"CONNECT db.example:443 HTTP/1.1\r\nHost: db.example:443\r\n\r\n")]
    return [*asked, (SERVER, b"HTTP/1.1 200 Connection established\r\n\r\n"), *tls("1.3")]


def proxied() -> Turns:
    return [(CLIENT, V2 + V1 + REQUEST), (SERVER, ANSWER)]


def socks() -> Turns:
    greeting = [(CLIENT, b"\x05\x01\x00"), (SERVER, b"\x05\x00")]
    connect = [(CLIENT, b"\x05\x01\x00\x03\x0bexample.org\x01\xbb"), (SERVER, b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")]
    return [*greeting, *connect, *tls("1.2")]


def postgres() -> Turns:
    return [(CLIENT, b"\x00\x00\x00\x08\x04\xd2\x16\x2f"), (SERVER, b"S"), *tls("1.3")]


def smtp() -> Turns:
    return [
        (SERVER, b"220 mail.example ESMTP\r\n"), (CLIENT, b"EHLO me\r\n"), (SERVER, b"250-mail.example\r\n250 STARTTLS\r\n"),
        (CLIENT, b"STARTTLS\r\n"), (SERVER, b"220 ready\r\n"), *tls("1.2"),
    ]  # fmt: skip


def in_small_records(turns: Turns, size: int) -> Turns:
    """The same TLS conversation with its handshake records cut into records of ``size`` bytes, as far as they are in clear."""
    result, hidden = [], False
    for who, data in turns:
        out, at = b"", 0
        while at < len(data):
            length = int.from_bytes(data[at + 3 : at + 5], "big")
            body = data[at + 5 : at + 5 + length]
            hidden = hidden or data[at] == 20
            if data[at] == 22 and not hidden:
                for start in range(0, length, size):
                    part = body[start : start + size]
                    out += data[at : at + 3] + len(part).to_bytes(2, "big") + part
            else:
                out += data[at : at + 5 + length]
            at += 5 + length
        result.append((who, out))
    return result


@functools.cache
def _certificate() -> tuple[Path, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example")])
    start = datetime.datetime(2024, 2, 29, 12, 30, 15, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
        .not_valid_before(start).not_valid_after(start.replace(year=2051, day=28)).sign(key, hashes.SHA256())
    )  # fmt: skip
    file = Path(tempfile.mkdtemp()) / "certificate.pem"
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(key.private_bytes(*form) + certificate.public_bytes(serialization.Encoding.PEM))
    return file, certificate


def certificate_file() -> Path:
    """Key and certificate, as a server loads them."""
    return _certificate()[0]


def certificate() -> x509.Certificate:
    return _certificate()[1]


def tls(version: str, session: ssl.SSLSession | None = None, context: ssl.SSLContext | None = None) -> Turns:
    """What a real client and a real server say to each other, from OpenSSL."""
    return tls_with_session(version, session, context)[0]


def tls_with_session(
    version: str, session: ssl.SSLSession | None = None, context: ssl.SSLContext | None = None, groups: str = ""
) -> tuple[Turns, ssl.SSLSession | None, ssl.SSLContext, ssl.SSLContext]:
    exact = ssl.TLSVersion.TLSv1_3 if version == "1.3" else ssl.TLSVersion.TLSv1_2
    mine = context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    mine.check_hostname, mine.verify_mode = False, ssl.CERT_NONE
    mine.maximum_version = exact
    mine.set_alpn_protocols(["h2", "http/1.1"])
    other = _server(groups)
    turns: Turns = []
    c_in, c_out, s_in, s_out = ssl.MemoryBIO(), ssl.MemoryBIO(), ssl.MemoryBIO(), ssl.MemoryBIO()
    client = mine.wrap_bio(c_in, c_out, server_hostname="shop.example", session=session)
    server = other.wrap_bio(s_in, s_out, server_side=True)
    for _ in range(10):
        for side, out, target, who in ((client, c_out, s_in, CLIENT), (server, s_out, c_in, SERVER)):
            try:
                side.do_handshake()
                if who == CLIENT:
                    side.write(b"GET / HTTP/1.1\r\n\r\n")
                else:
                    side.read(100)
            except ssl.SSLWantReadError:
                pass
            said = out.read()
            if said:
                turns.append((who, said))
                target.write(said)
    with contextlib.suppress(ssl.SSLError):
        client.read(100)
    return turns, client.session, mine, other


@functools.cache
def _server(groups: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate()[0])
    context.set_alpn_protocols(["http/1.1"])
    if groups:
        context.set_ecdh_curve(groups)
    return context


def http2(requests: int = 3, upgraded: bool = False) -> Turns:
    """Requests and answers over cleartext HTTP/2, one after the other with the first answer last."""
    client = H2Connection(H2Configuration(client_side=True, header_encoding=None))
    server = H2Connection(H2Configuration(client_side=False, header_encoding=None))
    turns: Turns = []
    if upgraded:
        settings = client.initiate_upgrade_connection()
        server.initiate_upgrade_connection(settings)
        asked = (
            b"GET /up HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: "
        )
        turns.append((CLIENT, asked + settings + b"\r\n\r\n"))
        turns.append((SERVER, b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"))
        server.send_headers(1, [(b":status", b"200")], end_stream=True)
    else:
        client.initiate_connection()
        server.initiate_connection()

    def exchange() -> None:
        for one, other, who in ((client, server, CLIENT), (server, client, SERVER)):
            data = one.data_to_send()
            if data:
                turns.append((who, data))
                other.receive_data(data)

    exchange()
    exchange()
    streams = [2 * number + (3 if upgraded else 1) for number in range(requests)]
    for number, stream in enumerate(streams):
        names = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":authority", b"shop.example"),
            (b":path", b"/rpc/%d?x" % number),
        ]
        names += [(b"content-type", b"application/grpc"), (b"cookie", b"a=1"), (b"cookie", b"JSESSIONID=s%d" % number)]
        client.send_headers(stream, [*names, (b"x-forwarded-for", b"198.51.100.7")])
        client.send_data(stream, b"\x00\x00\x00\x00\x05hello", end_stream=True)
        exchange()
    for stream in streams[::-1]:
        server.send_headers(stream, [(b":status", b"200"), (b"server", b"app/2"), (b"set-cookie", b"JSESSIONID=n; Path=/")])
        server.send_data(stream, b"x" * 300)
        server.send_headers(stream, [(b"grpc-status", b"0")], end_stream=True)
        exchange()
    return turns
