"""QUIC as aioquic speaks it, without a network: both versions, retries, negotiation, hellos in any pieces; tshark reads along."""

from __future__ import annotations

import datetime
import os
import random
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from lbtop.probes.wire.decoder import Decoder

from lbtop.model.observation import HelloFlag, Orientation, Protocol7
from tests.reference.files import Record
from tests.tools import writing
from tests.wire.talk import CLIENT, RAW_IP, SERVER, START_NS, plain

pytest.importorskip("aioquic", reason="aioquic speaks QUIC")

import itertools

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import QuicProtocolVersion, encode_quic_retry, encode_quic_version_negotiation
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

V1, V2 = int(QuicProtocolVersion.VERSION_1), int(QuicProtocolVersion.VERSION_2)
NAME = "shop.example"
Said = list[tuple[str, bytes]]
ADDRESS = ("192.0.2.1", 443)


@cache
def certificate() -> tuple[Any, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    day = datetime.datetime(2026, 1, 1)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
    return made.not_valid_before(day).not_valid_after(day.replace(year=2036)).sign(key, hashes.SHA256()), key


def configured(client: bool, versions: list[int], **more: Any) -> QuicConfiguration:
    own = (
        {"server_name": NAME, "verify_mode": 0}
        if client
        else dict(zip(("certificate", "private_key"), certificate(), strict=True))
    )
    return QuicConfiguration(is_client=client, alpn_protocols=["h3"], supported_versions=versions, **own, **more)


def destination(datagram: bytes) -> bytes:
    return datagram[6 : 6 + datagram[5]]


def source(datagram: bytes) -> bytes:
    at = 6 + datagram[5]
    return datagram[at + 1 : at + 1 + datagram[at]]


def handshake(
    client_versions: list[int],
    server_versions: list[int],
    *,
    retry: bool = False,
    original: int | None = None,
    long: bool = False,
) -> Said:
    """What both ends say until the handshake is over."""
    client = QuicConnection(
        configuration=configured(True, client_versions, original_version=original, quantum_readiness_test=long)
    )
    client.connect(ADDRESS, 0.0)
    said: Said = []
    first: bytes | None = None
    retried: bytes | None = None
    server: QuicConnection | None = None
    for now in range(1, 8):
        for datagram, _ in client.datagrams_to_send(now / 10):
            said.append((CLIENT, datagram))
            version = int.from_bytes(datagram[1:5], "big")
            if server is None and version not in server_versions:
                answer = encode_quic_version_negotiation(
                    source_cid=destination(datagram), destination_cid=source(datagram), supported_versions=server_versions
                )
            elif server is None and retry and retried is None:
                first, retried = destination(datagram), os.urandom(8)
                answer = encode_quic_retry(version, retried, source(datagram), first, b"token")
            else:
                if server is None:
                    server = QuicConnection(
                        configuration=configured(False, server_versions),
                        original_destination_connection_id=first or destination(datagram),
                        retry_source_connection_id=retried,
                    )
                server.receive_datagram(datagram, ADDRESS, now / 10)
                continue
            said.append((SERVER, answer))
            client.receive_datagram(answer, ADDRESS, now / 10)
            break  # the rest of this flight is sent again
        for datagram, _ in server.datagrams_to_send(now / 10) if server else []:
            said.append((SERVER, datagram))
            client.receive_datagram(datagram, ADDRESS, now / 10)
    assert client._handshake_complete and server is not None and server._handshake_complete
    return said


def records(said: Said, ports: tuple[int, int] = (50000, 443)) -> list[Record]:
    from scapy.layers.inet import IP, UDP

    made = []
    for number, (who, datagram) in enumerate(said):
        ends = {"src": "10.0.0.1", "dst": "10.0.0.2"} if who == CLIENT else {"src": "10.0.0.2", "dst": "10.0.0.1"}
        sport, dport = ports if who == CLIENT else ports[::-1]
        data = bytes(IP(id=number + 1, **ends) / UDP(sport=sport, dport=dport) / datagram)
        made.append(Record(START_NS + number * 10**6, RAW_IP, 0, len(data), data))
    return made


def observed(said: Said, **more: Any) -> Any:
    decoder = Decoder(key=bytes(16))
    for record in records(said, **more):
        decoder.packet(RAW_IP, record.ts_ns, len(record.data), len(record.data), record.data)
    return decoder.finish()


def by_tshark(tshark: str, said: Said, path: Path) -> tuple[set[str], set[str], set[int]]:
    """Server names and ALPN that clients offer, and cipher suites that servers choose (0: none was seen)."""
    writing.write(path, records(said))
    names = (
        "tls.handshake.extensions_server_name",
        "tls.handshake.extensions_alpn_str",
        "tls.handshake.type",
        "tls.handshake.ciphersuite",
    )
    command = [tshark, "-n", "-r", str(path), "-T", "fields", "-E", "occurrence=a"]
    for name in names:
        command += ["-e", name]
    found: tuple[set[str], set[str], set[int]] = (set(), set(), set())
    for line in subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines():
        sni, alpn, kinds, suites = line.split("\t")
        found[0].update(filter(None, sni.split(",")))
        found[1].update(filter(None, alpn.split(",")) if "1" in kinds.split(",") else ())
        if "2" in kinds.split(","):
            found[2].add(int(suites.split(",")[-1], 16))
    return found


CONVERSATIONS = {
    "version 1": lambda: handshake([V1], [V1]),
    "version 2": lambda: handshake([V2], [V2]),
    "version 1, answered in version 2": lambda: handshake([V2, V1], [V2, V1], original=V1),
    "retry": lambda: handshake([V1], [V1], retry=True),
    "retry in version 2": lambda: handshake([V2], [V2], retry=True),
    "version negotiation": lambda: handshake([V2, V1], [V1], original=V2),
    "a hello over several packets": lambda: handshake([V1], [V1], long=True),
    "a hello over several packets, and a retry": lambda: handshake([V1], [V1], long=True, retry=True),
}


@pytest.mark.parametrize("what", CONVERSATIONS)
def test_both_hellos_of_a_real_conversation(what: str, tmp_path: Path, tshark: str) -> None:
    said = CONVERSATIONS[what]()
    batch = observed(said)
    (row,) = plain(batch, "handshakes")
    assert (row["sni"], row["alpn"], row["version"]) == (NAME.encode(), b"h3", 0x0304)
    assert row["flags"] & HelloFlag.SERVER_SEEN and row["ja4"].startswith(b"q13d")
    (connection,) = plain(batch, "connections")
    assert connection["protocol7"] == Protocol7.QUIC and connection["orientation"] >= Orientation.PAYLOAD
    assert (connection["client_port"], connection["server_port"]) == (50000, 443)
    names, alpn, suites = by_tshark(tshark, said, tmp_path / "x.pcap")
    if "version 2" not in what:  # tshark 4.0 knows drafts of it only
        assert (names, alpn, suites) == ({NAME}, {"h3"}, {row["cipher"]})


@pytest.mark.parametrize("seed", range(6))
def test_client_datagrams_in_any_order(seed: int) -> None:
    """A hello over several datagrams that overtake each other, before the server has said anything."""
    said = handshake([V1], [V1], long=True)
    answer = next(number for number, (who, _) in enumerate(said) if who == SERVER)
    assert answer > 1, "the hello fits one packet"
    flight = said[:answer]
    random.Random(seed).shuffle(flight)
    (row,) = plain(observed(flight + said[answer:]), "handshakes")
    (expected,) = plain(observed(said), "handshakes")
    assert {name: row[name] for name in ("sni", "ja4", "version", "size")} == {
        name: expected[name] for name in ("sni", "ja4", "version", "size")
    }


def test_ports_do_not_decide_who_is_the_client() -> None:
    (row,) = plain(observed(handshake([V1], [V1]), ports=(443, 50000)), "opened")
    assert (row["client_port"], row["server_port"], row["orientation"]) == (443, 50000, Orientation.PAYLOAD)


def number(value: int) -> bytes:
    return (value | 2 << 30).to_bytes(4, "big")


def initial(frames: bytes, packet_number: int, connection_id: bytes, version: int) -> bytes:
    """A client's Initial packet with these frames, sealed by aioquic's own packet protection."""
    pair = CryptoPair()
    pair.setup_initial(connection_id, is_client=True, version=version)
    frames += bytes(max(0, 1162 - len(frames)))
    kind = 0xD3 if version == V2 else 0xC3
    head = bytes([kind]) + version.to_bytes(4, "big") + bytes([len(connection_id)]) + connection_id + b"\0\0"
    head += (0x4000 | 4 + len(frames) + 16).to_bytes(2, "big") + packet_number.to_bytes(4, "big")
    sealed: bytes = pair.encrypt_packet(head, frames, packet_number)
    return sealed


def crypto(hello: bytes, begin: int, end: int) -> bytes:
    piece = hello[begin:end]
    return b"\6" + number(begin) + number(len(piece)) + piece


@pytest.mark.parametrize("version", [V1, V2], ids=["version 1", "version 2"])
@pytest.mark.parametrize("seed", range(8))
def test_a_hello_in_any_pieces(seed: int, version: int) -> None:
    """As Chrome scatters it: CRYPTO frames in any order, with PING and PADDING in between, some twice and cut otherwise."""
    from tests.wire import spoken

    hello = spoken.tls("1.3")[0][1][5:]
    rng = random.Random(seed)
    marks = sorted({0, len(hello), *rng.sample(range(1, len(hello)), 9)})
    frames = [crypto(hello, *ends) for ends in itertools.pairwise(marks)]
    for _ in range(4):
        begin = rng.randrange(len(hello) - 2)
        frames.append(crypto(hello, begin, rng.randrange(begin + 1, len(hello))))
    rng.shuffle(frames)
    half = len(frames) // 2
    said = []
    for at, part in enumerate((frames[:half], frames[half:])):
        body = b"".join(frame + rng.choice([b"", b"\1", bytes(3)]) for frame in part)
        said.append((CLIENT, initial(body, at, b"12345678", version)))
    (row,) = plain(observed(said), "handshakes")
    assert (row["sni"], row["size"]) == (b"shop.example", len(hello))


def test_without_the_piece_in_the_middle_nothing_is_made_up() -> None:
    from tests.wire import spoken

    hello = spoken.tls("1.3")[0][1][5:]
    body = crypto(hello, 0, 100) + crypto(hello, 150, len(hello))
    batch = observed([(CLIENT, initial(body, 0, b"12345678", V1))])
    assert not len(batch["handshakes"]) and int(batch["connections"][0]["protocol7"]) == Protocol7.QUIC


def test_a_version_that_nobody_knows_is_quic_all_the_same() -> None:
    """A client that forces version negotiation (RFC 9000 section 15), and a server that only answers."""
    head = b"\xc0\x1a\x2a\x3a\x4a\x08" + bytes(range(8)) + b"\x08" + bytes(range(8, 16))
    answer = encode_quic_version_negotiation(
        source_cid=bytes(range(8)), destination_cid=bytes(range(8, 16)), supported_versions=[V1]
    )
    for said in ([(CLIENT, head + bytes(1200 - len(head))), (SERVER, answer)], [(SERVER, answer)]):
        (row,) = plain(observed(said, ports=(443, 50000)), "connections")
        assert row["protocol7"] == Protocol7.QUIC and row["client_port"] == 443
