"""Where fuzzing begins: real captures, cut to their first packets, and conversations that exercise every parser."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path

from tests.corpus import SHARED_CAPTURES, committed
from tests.reference.files import CaptureFile, Record
from tests.tools import rewrite, writing

LARGEST = 20_000
"""Bytes of a seed. Small ones are mutated faster and to more effect."""
Said = list[tuple[str, bytes]]

TOKENS: dict[str, tuple[bytes, ...]] = {
    "http": (
        b"GET ", b"POST ", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\r\n\r\n", b"Host: ", b"Cookie: ", b"Set-Cookie: ", b"; ",
        b"Content-Length: ", b"Transfer-Encoding: chunked", b"0\r\n\r\n", b"Authorization: Basic ", b"Bearer ", b"CONNECT ",
        b"X-Forwarded-For: ", b"Forwarded: for=", b"Connection: close", b"Upgrade: websocket", b"Upgrade: h2c", b"Expires=",
        b"101 Switching", b"Max-Age=", b"AWSALB=", b"JSESSIONID=", b"application/json", b"application/x-www-form-urlencoded",
        b'"password":', b"X-Amzn-Trace-Id: Root=1-", b"Via: 1.1 ", b"4111111111111111",
    ),
    "proxy": (b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", b"\x20\0",
              b"\x03\0\4", b"\xea\0"),
    "tls": (
        b"\x16\3\1", b"\x16\3\3", b"\x14\3\3\0\1\1", b"\x15\3\3\0\2\2\x28", b"\x17\3\3", b"\x0b\0", b"\x0e\0\0\0",
        b"\0\x2b\0\2\3\4",
    ),
    "prelude": (
        b"STARTTLS\r\n", b"EHLO ", b"220 ", b"250-", b"a1 OK", b"+OK", b"SSH-2.0-", b"*1\r\n$4\r\nPING\r\n", b"\5\1\0", b"MQTT",
        b"INFO {",
    ),
    "http2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0\0\0\4\0\0\0\0\0", b"\1\4\0\0\0\1", b"\1\5"),
}  # fmt: skip
"""Words that a parser looks for, per target."""


def seeds(target: str) -> Iterator[bytes]:
    """Inputs for a target, in its own form."""
    if target in ("pcap", "pcapng"):
        yield from _files(target)
    elif target == "packets":
        yield from _packets()
    elif target == "segments":
        yield bytes(range(0, 240))
        yield b"\0\x18\0\0\x20\x01\1\x18\0\0\x40\x01" * 8 + b"\0\x11\0\0\0\1\1\x11\0\0\0\1"
        yield b"\0\x02\0\0\0\1\1\x12\0\0\0\1\0\x10\0\0\0\1\2\x18\x80\0\x20\1\2\x18\x40\0\x40\1\1\x04\0\0\0\x10"
    elif target in ("datagrams", "quic"):
        yield from _datagrams(target)
    elif target == "recording":
        yield from _recordings()
    elif target == "keylog":
        for said in ([*spoken_http(), ("C", b"\x18\0\0\1\0\x16")], [("C", b"\x14\0\0\x20" + bytes(32) + b"\x16")]):
            yield b"".join(turn(who, text + b"\x17") for who, text in said)
        yield b"CLIENT_RANDOM " + b"01" * 32 + b" " + b"02" * 48 + b"\n"
    elif target == "hello":
        yield from _hellos()
    else:
        for said in _conversations(target):
            prefix = b"\1" if target == "joined" else b"\1\2"
            yield prefix + b"".join(turn(who, text) for who, text in said)


def turn(who: str, text: bytes) -> bytes:
    end = 0x8000 if who == "S" else 0
    pieces = [text[at : at + 0x7FFF] for at in range(0, len(text), 0x7FFF)]
    return b"".join((end | len(piece)).to_bytes(2, "big") + piece for piece in pieces)


def dictionary(target: str) -> str:
    """In libFuzzer's form; empty where there is none."""
    name = {"hello": "tls", "joined": "http"}.get(target, target)
    return "".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in TOKENS.get(name, ()))


def captures() -> list[Path]:
    found = [capture.path for capture in committed()]
    if SHARED_CAPTURES.is_dir():
        found += sorted(SHARED_CAPTURES.glob("ja4/*")) + sorted(SHARED_CAPTURES.glob("hostile/*"))
    return found


def _first(path: Path, size: int) -> list[Record]:
    """The packets of a capture that make ``size`` bytes; none where the slow reader of the tests cannot read it."""
    records: list[Record] = []
    try:
        for record in CaptureFile(path):
            records.append(record)
            size -= len(record.data) + 16
            if size <= 0:
                break
    except Exception:  # a hostile file: as a seed it serves as it is
        pass
    return records


def _files(target: str) -> Iterator[bytes]:
    for path in captures():
        hostile = path.parent.name == "hostile"
        if hostile and path.stat().st_size <= LARGEST:
            data = path.read_bytes()
            if (data[:4] == b"\x0a\x0d\x0d\x0a") == (target == "pcapng"):
                yield data
        elif not hostile:
            records = _first(path, LARGEST)
            if records:
                one_link = len({record.linktype for record in records}) == 1
                if target == "pcapng" or one_link:
                    yield writing.pcapng(records) if target == "pcapng" else writing.pcap(records)
    records = _first(committed()[0].path, 6000)
    if target == "pcap":
        yield gzip.compress(writing.pcap(records))
        yield writing.pcap(records, ">", nanoseconds=True)
    else:
        yield writing.pcapng(records, ">", 6, 1_700_000_000)
        said = b"PID: 7\nCmd: /usr/bin/curl", b"ContainerName: web-1\nContainerId: 36f0\nPodName: web\nPodNamespace: shop"
        options = [(2, b"\2\0\0\0"), *((1, comment) for comment in said)]
        yield writing.pcapng(records, name="eth0", options=lambda record: options)


def _packets() -> Iterator[bytes]:
    from tests.fuzz.targets import LINKTYPES

    ethernet = [record for record in _first(committed()[0].path, 3000) if record.linktype == 1]
    fragments = rewrite.in_fragments(rewrite.in_vxlan(ethernet), 160)
    for records in (fragments, *(_first(path, 5000) for path in captures())):
        linktypes = {record.linktype for record in records} & set(LINKTYPES)
        for linktype in linktypes:
            yield bytes([LINKTYPES.index(linktype)]) + b"".join(
                struct.pack(">HBB", len(record.data), 3, record.interface & 3) + record.data
                for record in records
                if record.linktype == linktype and len(record.data) < 1 << 16
            )


def _conversations(target: str) -> Iterator[Said]:
    from tests.wire import spoken

    http = [spoken.plain_http(), spoken.websocket(), spoken.tunnel()]
    tls: list[Said] = [spoken.tls("1.3"), spoken.tls("1.2"), spoken.in_small_records(spoken.tls("1.2"), 40)]
    if target == "http":
        yield from http
        for path in captures():
            if "offload" in path.name or "hostile" in path.parts:
                yield from _recorded(path)
    elif target == "tls":
        yield from tls
        for path in captures():
            if "passthrough" in path.name or "bridging" in path.name or "ja4" in path.parts:
                yield from _recorded(path)
    elif target == "proxy":
        yield spoken.proxied()
        yield [("C", spoken.V1 + spoken.REQUEST), ("S", spoken.ANSWER)]
        for path in captures():
            if "proxy" in path.name:
                yield from _recorded(path)
    elif target == "prelude":
        yield from (spoken.socks(), spoken.postgres(), spoken.smtp())
        yield [("S", b"J\0\0\0\x0a8.0.36\0" + bytes(66)), ("C", b"\x20\0\0\1\x05\xae\xff\0" + bytes(28)), *spoken.tls("1.2")]
        yield [("S", b"* OK imap\r\n"), ("C", b"a1 STARTTLS\r\n"), ("S", b"a1 OK\r\n"), *spoken.tls("1.2")]
        yield [("S", b"SSH-2.0-x\r\n"), ("C", b"SSH-2.0-y\r\n")]
        yield [("C", b"*1\r\n$4\r\nPING\r\n"), ("S", b"+PONG\r\n")]
    elif target == "http2":
        for upgraded in (False, True):
            yield spoken.http2(upgraded=upgraded)
        yield [(who, text.removeprefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")) for who, text in spoken.http2()]
    else:
        yield from (*http, *tls, spoken.http2(), spoken.proxied(), spoken.smtp())


def _recorded(path: Path) -> Iterator[Said]:
    """What the first connection of a capture said, as far as its packets come in order."""
    said: Said = []
    first: tuple[bytes, bytes] | None = None
    for record in _first(path, LARGEST):
        found = _payload(record)
        if found is None:
            continue
        ends, text = found
        if first is None and text:
            first = ends
        if first and text and ends in (first, first[::-1]):
            said.append(("C" if ends == first else "S", text))
    if said:
        yield said


def _payload(record: Record) -> tuple[tuple[bytes, bytes], bytes] | None:
    """((one end, other end), TCP payload) of a plain IPv4 packet."""
    skip = {1: 14, 113: 16, 276: 20, 101: 0, 12: 0}.get(record.linktype)
    data = record.data
    if skip is None or len(data) < skip + 40 or data[skip] != 0x45 or data[skip + 9] != 6:
        return None
    ip = data[skip : skip + int.from_bytes(data[skip + 2 : skip + 4], "big")]
    if len(ip) < 40:
        return None
    return (ip[12:16] + ip[20:22], ip[16:20] + ip[22:24]), ip[20 + (ip[32] >> 4) * 4 :]


def _datagrams(target: str) -> Iterator[bytes]:
    from tests.wire import spoken

    hello = next(text for who, text in spoken.tls("1.3") if who == "C")[5:]
    if target == "quic":
        crypto = b"\x06\0" + (0x4000 | min(len(hello), 1200)).to_bytes(2, "big") + hello[:1200]
        yield turn("C", crypto)
        yield turn("C", crypto) + turn("S", b"\x02\0\0\0\0" + crypto)
        return
    from tests.fuzz.pieces import protected

    yield b"\0" + turn("C", protected(0, b"\x06\0\x41\0" + hello[:256], 0))
    yield b"\1" + turn("C", bytes.fromhex("123401000001000000000000076578616d706c6503636f6d0000010001"))
    yield b"\2" + turn(
        "C", b"\x16\xfe\xfd" + bytes(8) + (len(hello) + 8).to_bytes(2, "big") + hello[:4] + bytes(5) + hello[1:4] + hello[4:]
    )
    for path in captures():
        if any(word in path.name for word in ("udp", "quic", "dtls", "dns", "datagram")):
            for record in _first(path, LARGEST):
                if record.linktype == 1 and record.data[12:15] == b"\x08\0\x45" and record.data[23] == 17:
                    yield b"\0" + turn("C", record.data[42:])


def spoken_http() -> Said:
    from tests.wire import spoken

    return spoken.plain_http()


def _hellos() -> Iterator[bytes]:
    from tests.wire import spoken

    for version in ("1.3", "1.2"):
        said = spoken.tls(version)
        client = next(text for who, text in said if who == "C")[9:]
        server = next(text for who, text in said if who == "S")
        size = int.from_bytes(server[6:9], "big")
        for records in (b"\x08", b"\xff"):
            yield b"\1\2" + records + len(client).to_bytes(2, "big") + client + server[9 : 9 + size]


def _recordings() -> Iterator[bytes]:
    """Of short conversations: the file, and its frames in the form of turns, which the target seals again."""
    import contextlib
    import io
    import tempfile

    from lbtop.cli import main
    from lbtop.recording.format import MAGIC, read_frames
    from tests.attacks import conversation
    from tests.wire import spoken

    for said in (spoken.plain_http(), spoken.tls("1.2"), spoken.proxied()):
        with tempfile.TemporaryDirectory() as folder:
            capture, path = Path(folder) / "a.pcap", Path(folder) / "a.lbtop"
            capture.write_bytes(conversation(*said))
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                main(["record", "-o", str(path), str(capture)])
            yield path.read_bytes()
            with path.open("rb") as file:
                file.seek(len(MAGIC) + 2)
                yield b"".join(turn("C", bytes([kind]) + body) for kind, body in read_frames(file))
