"""What is fuzzed: each target turns bytes into traffic, decodes it, and checks what was observed.

A target takes any bytes, raises nothing on a healthy decoder, and is a pure function of them. Where structure is needed to get
far (packets, turns of a conversation, pieces), it is cut from the input itself, so that a mutation anywhere stays meaningful.
"""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import asdict

from lbtop.probes.files import open_capture
from lbtop.probes.wire.decoder import Decoder
from lbtop.probes.wire.keylog import KeyLog
from lbtop.probes.wire.recognition import Recognition

from lbtop.catalog.recognition import recognition
from lbtop.engine import diagnose
from lbtop.faces.json import render
from lbtop.model.errors import LbtopError
from lbtop.recording import open_recording
from lbtop.recording.format import MAGIC, VERSION, write_frame
from tests.fuzz import oracle
from tests.fuzz.pieces import Conversation, Datagrams, turns
from tests.readers import read_all

KEY = bytes(16)
LINKTYPES = (1, 0, 12, 101, 108, 113, 276, 228, 229, 9, 50, 51, 104, 109, 14)
# Columns that tell how bytes were cut into packets, or when packets came.
ABOUT_PACKETS = frozenset(
    ("seq", "at_ns", "last_ns", "opened_ns", "first_data_ns", "turn_ns", "packets_c", "packets_s", "ack_ns", "idle_survived_ns",
     "idle_before_end_ns", "delay_ns", "lifetime_ns")
)  # fmt: skip
Target = Callable[[bytes], None]


def decoder() -> Decoder:
    """Small tables: what a cap does is met early, and a decoder costs less."""
    return Decoder(
        key=KEY,
        recognition=_recognition(),
        connections=64,
        half_open=32,
        strings=4096,
        addresses=4096,
        area_size=1 << 17,
        pool=1 << 20,
    )


def _recognition() -> Recognition:
    return recognition()


def capture(data: bytes) -> None:
    """A whole file (pcap, pcapng, gzip or zstd of them): at once, and read in pieces with batches of a few rows."""
    with _file(data) as path:
        try:
            whole, stats = read_all(open_capture([path], key=KEY, recognition=_recognition(), connections=64))
        except LbtopError as refused:
            assert "\n" not in str(refused)
            return
        oracle.check(whole, _unpacked(data, stats.bytes))
        assert stats.truncated_packets + stats.undecoded_packets <= 2 * stats.packets
        pieces, again = read_all(
            open_capture([path], key=KEY, recognition=_recognition(), connections=64, chunk=1 + len(data) % 97, rows=5)
        )
        oracle.same(whole, pieces)
        # How far a damaged file was read ahead is a matter of how it was read.
        told, again_told = ({**asdict(each), "read_bytes": 0} for each in (stats, again))
        assert told == again_told, f"{stats} and {again}"


def packets(data: bytes) -> None:
    """Packets of one link type: two bytes of length, one of time, one of interface and of what the snap length cut off."""
    if not data:
        return
    link = LINKTYPES[data[0] % len(LINKTYPES)]
    one, other = decoder(), decoder()
    at, now, fed = 1, 10**18, 1
    while at + 4 <= len(data):
        size, step, more = struct.unpack_from(">HBB", data, at)
        packet = data[at + 4 : at + 4 + size]
        now += step * step * 10**6 - 5 * 10**6
        for each in (one, other):
            each.packet(link, now, len(packet), len(packet) + (more >> 4) * 100, packet, more & 3)
            if more & 8:
                each.live()
        at += 4 + size
        fed += 1
    first = one.finish()
    oracle.check(first, len(data) + 2 * fed)
    oracle.same(first, other.finish())  # the seeds of the tables differ, the rows do not


def segments(data: bytes) -> None:
    """TCP segments of any flags and numbers, six bytes each: the assembly and the connection table."""
    one = Conversation(decoder(), 40000, 8080)
    for at in range(0, len(data) - 5, 6):
        kind, flags, seq, ack, size, step = data[at : at + 6]
        one.segment(
            kind & 1, seq - 64 if kind & 2 else seq * 1009 << 16, ack, flags & 0x3F, b"G" * (size * (1 + (kind >> 6) * 40)), step
        )
        if kind & 4:
            one.decoder.live()
    batch = one.finish()
    oracle.check(batch, len(data) + ROWS_PER_SEGMENT * (len(data) // 6))
    for row in batch["connections"]:
        for name in ("bytes_c", "bytes_s", "missing_bytes"):
            assert int(row[name]) < (len(data) + 1) << 31, f"{name} {row[name]}"


ROWS_PER_SEGMENT = 4


def stream(data: bytes) -> None:
    """Both directions of a TCP connection, joined at its start: what is said, not how it is cut, makes the rows."""
    if len(data) < 2:
        return
    cuts, said = data[0] << 8 | data[1], list(turns(data[2:]))
    whole, cut = (Conversation(decoder(), 40000, 8080) for _ in range(2))
    for each in (whole, cut):
        each.handshake()
    size = 0
    for who, text in said:
        whole.say(who, text)
        for piece in _pieces(text, cuts + size):
            cut.say(who, piece)
        size += len(text)
    placeless = whole.lost() or cut.lost()
    one, other = whole.finish(), cut.finish()
    oracle.check(one, size)
    oracle.check(other, size)
    if not placeless:
        # Where a direction lost its place, the next segment that begins with a head is one: there, segments count.
        oracle.same(one, other, ABOUT_PACKETS)


def joined(data: bytes) -> None:
    """The same without the handshake, with holes and cut packets: nothing but that it ends well."""
    if not data:
        return
    one = Conversation(decoder(), 40000, 8080 if data[0] & 1 else 443)
    size = len(data)
    for number, (who, text) in enumerate(turns(data[1:])):
        if data[0] & 2 and number % 3 == 2:
            one.lose(who, len(text))
        else:
            one.say(who, text, cut=len(text) // 2 if data[0] & 4 and number % 4 == 3 else 0)
    oracle.check(one.finish(), size)


def http2(data: bytes) -> None:
    """Frames behind a preface."""
    if len(data) > 2:
        stream(data[:2] + _turn(0, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") + data[2:])


def hello(data: bytes) -> None:
    """The bodies of both hellos and what follows them, in records of a size of the input's choosing."""
    if len(data) < 5:
        return
    size, middle = 1 + data[2], int.from_bytes(data[3:5], "big")
    client, server = data[5 : 5 + middle], data[5 + middle :]
    said = _turn(0, _records(_message(1, client), size * 8)) + _turn(
        1, _records(_message(2, server[:512]) + server[512:], size * 8)
    )
    stream(data[:2] + said)


def datagrams(data: bytes) -> None:
    """UDP both ways: QUIC, DTLS, DNS, and whatever looks like them. Two decoders must agree."""
    if len(data) < 1:
        return
    port = (443, 53, 4433, 514)[data[0] & 3]
    one, other = (Datagrams(decoder(), 50000, port) for _ in range(2))
    count = 0
    for who, text in turns(data[1:]):
        one.say(who, text)
        other.say(who, text)
        count += 1
    first = one.finish()
    oracle.check(first, len(data) + 2 * count)
    oracle.same(first, other.finish())


def quic(data: bytes) -> None:
    """The frames inside a client's and a server's QUIC Initial packet, which are protected here as a real end would."""
    from tests.fuzz.pieces import protected

    said = list(turns(data))
    one = Datagrams(decoder(), 50000, 443)
    for number, (who, text) in enumerate(said):
        one.say(who, protected(who, text[:1300], number))
    oracle.check(one.finish(), len(data) + 2 * len(said))


def keylog(data: bytes) -> None:
    """A key log of any bytes, and a TLS 1.3 connection whose sealed records hold any bytes under keys that are in it."""
    from tests.fuzz.pieces import Sealer

    with _file(data) as path:
        KeyLog().open(path)
    sealer = Sealer()
    one = Conversation(decoder(), 40000, 443)
    keys = KeyLog()
    keys.add(sealer.log)
    one.decoder.streams.unseal_with(keys)
    one.handshake()
    for who, text in sealer.hellos:
        one.say(who, text)
    for who, text in turns(data):
        one.say(who, sealer.sealed(who, text[:16384]))
    oracle.check(one.finish(), len(data))


def recording(data: bytes) -> None:
    """A recording, whole, altered or forged with checksums that are right, up to the verdict: told, or refused in one line."""
    if not data.startswith(MAGIC):
        forged = io.BytesIO(MAGIC + VERSION.to_bytes(2, "little"))
        forged.seek(0, io.SEEK_END)
        for _, frame in turns(data):
            if frame:
                write_frame(forged, frame[0], frame[1:])
        data = forged.getvalue()
    with _file(data) as path:
        try:
            source = open_recording(path)
        except LbtopError as refused:
            assert "\n" not in str(refused)
            return
        json.loads(render(diagnose(source)))


TARGETS: dict[str, Target] = {
    "pcap": capture,
    "pcapng": capture,
    "packets": packets,
    "segments": segments,
    "http": stream,
    "tls": stream,
    "proxy": stream,
    "prelude": stream,
    "joined": joined,
    "hello": hello,
    "http2": http2,
    "datagrams": datagrams,
    "quic": quic,
    "keylog": keylog,
    "recording": recording,
}
"""By name; several names of one function differ in where they begin and what their dictionary holds."""


class _file:
    """A file with these bytes for as long as the block runs, in memory."""

    def __init__(self, data: bytes) -> None:
        self._number = os.memfd_create("fuzz")
        os.write(self._number, data)
        os.lseek(self._number, 0, 0)

    def __enter__(self) -> str:
        return f"/proc/self/fd/{self._number}"

    def __exit__(self, *_: object) -> None:
        os.close(self._number)


def _unpacked(data: bytes, observed: int) -> int:
    """Bytes that rows may be caused by: a compressed capture holds more than the file."""
    return max(len(data), observed) + len(data)


def _pieces(text: bytes, seed: int) -> Iterator[bytes]:
    """The text in pieces whose sizes follow from a number: mostly of a few bytes, some longer."""
    at = 0
    while at < len(text):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        size = 1 + (seed >> 16) % ((1, 3, 7, 40, 700)[(seed >> 8) % 5])
        yield text[at : at + size]
        at += size


def _turn(who: int, text: bytes) -> bytes:
    """In the form that :func:`turns` reads."""
    pieces = [text[at : at + 0x7FFF] for at in range(0, len(text), 0x7FFF)] or [b""]
    return b"".join((who << 15 | len(piece)).to_bytes(2, "big") + piece for piece in pieces)


def _message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def _records(message: bytes, size: int) -> bytes:
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts)
