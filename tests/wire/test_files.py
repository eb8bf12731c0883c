"""Capture files in every form hold the same packets; damaged ones are read up to the damage."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lbtop.probes.files import open_capture

from lbtop.model.errors import LbtopError
from lbtop.model.observation import TABLES, Batch, SourceStats
from tests.wire.segments import ACK, CLIENT, KEY, PSH, SERVER, START_NS, SYN, ipv4, tcp
from tests.wire.talk import plain

Packet = tuple[int, bytes]  # nanoseconds, IP packet
RAW = 101
REQUEST = b"GET /%d HTTP/1.1\r\nHost: a\r\nCookie: sid=secret\r\n\r\n"


def conversation(connections: int = 5, requests: int = 4) -> list[Packet]:
    """A few interleaved connections; times are whole microseconds."""
    found: list[Packet] = []
    for n in range(connections):
        client = (CLIENT[0], 40000 + n)
        at, seq, identity = START_NS + n * 3_000_000, 1000, n * 100

        def add(data: bytes, flags: int, back: bool = False, n: int = n, client: tuple[str, int] = client) -> None:
            nonlocal at, seq, identity
            at += 7_000_000
            identity += 1
            ends = (SERVER, client) if back else (client, SERVER)
            body = tcp(*ends, 9000 if back else seq, seq if back else 9000, flags, data)
            found.append((at, ipv4(ends[0][0], ends[1][0], 6, body, identity=identity)))
            seq += 0 if back else len(data) + (flags & SYN > 0)

        add(b"", SYN)
        add(b"", SYN | ACK, back=True)
        for r in range(requests):
            add(REQUEST % (n * 10 + r), PSH | ACK)
    return sorted(found)


PACKETS = conversation()


def pcap(packets: list[Packet], order: str = "<", magic: int = 0xA1B2C3D4, unit: int = 1000, linktype: int = RAW) -> bytes:
    extra = bytes(8) if magic == 0xA1B2CD34 else b""
    found = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, linktype)
    for ts, data in packets:
        found += struct.pack(order + "IIII", ts // 10**9, ts % 10**9 // unit, len(data), len(data)) + extra + data
    return found


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, 12 + len(body)) + body + struct.pack(order + "I", 12 + len(body))


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def description(order: str, options: bytes = b"", linktype: int = RAW) -> bytes:
    return block(order, 1, struct.pack(order + "HHI", linktype, 0, 0) + options)


def enhanced(order: str, units: int, data: bytes, interface: int = 0) -> bytes:
    head = struct.pack(order + "IIIII", interface, units >> 32, units & 0xFFFFFFFF, len(data), len(data))
    return block(order, 6, head + data + bytes(-len(data) % 4) + option(order, 1, b"a comment") + bytes(4))


def pcapng(packets: list[Packet], order: str = "<", resolution: int | None = None, offset_s: int = 0) -> bytes:
    options = b""
    if resolution is not None:
        options += option(order, 9, bytes([resolution]))
    if offset_s:
        options += option(order, 14, struct.pack(order + "q", offset_s))
    found = section(order) + description(order, options) + block(order, 0x0BAD, b"custom")
    for ts, data in packets:
        ts -= offset_s * 10**9
        if resolution is None:
            units = ts // 1000
        elif resolution & 0x80:
            units = -(-(ts << (resolution & 0x7F)) // 10**9)  # rounded up: cut again on reading
        else:
            units = ts * 10**resolution // 10**9
        found += enhanced(order, units, data)
    return found


def two_sections(packets: list[Packet]) -> bytes:
    half = len(packets) // 2
    return pcapng(packets[:half], "<", 9) + pcapng(packets[half:], ">")


def old_packets(packets: list[Packet]) -> bytes:
    found = section("<") + description("<")
    for ts, data in packets:
        units = ts // 1000
        head = struct.pack("<HHIIII", 0, 0, units >> 32, units & 0xFFFFFFFF, len(data), len(data))
        found += block("<", 2, head + data)
    return found


FORMS = {
    "pcap": pcap(PACKETS),
    "pcap, big-endian": pcap(PACKETS, ">"),
    "pcap, nanoseconds": pcap(PACKETS, "<", 0xA1B23C4D, 1),
    "pcap, nanoseconds, big-endian": pcap(PACKETS, ">", 0xA1B23C4D, 1),
    "pcap, modified": pcap(PACKETS, "<", 0xA1B2CD34),
    "pcapng": pcapng(PACKETS),
    "pcapng, big-endian": pcapng(PACKETS, ">"),
    "pcapng, nanoseconds": pcapng(PACKETS, "<", 9),
    "pcapng, picoseconds": pcapng(PACKETS, "<", 10),
    "pcapng, 2^-30 s": pcapng(PACKETS, "<", 0x80 | 30),
    "pcapng, with an offset": pcapng(PACKETS, ">", 6, 1_600_000_000),
    "pcapng, two sections": two_sections(PACKETS),
    "pcapng, obsolete packet blocks": old_packets(PACKETS),
    "gzip": gzip.compress(pcap(PACKETS)),
    "gzip, two members": gzip.compress(pcap(PACKETS)[:777]) + gzip.compress(pcap(PACKETS)[777:]),
}


def read(paths: list[str] | str, **settings: object) -> tuple[Batch, SourceStats]:
    import numpy as np

    source = open_capture(paths, key=KEY, **settings)  # type: ignore[arg-type]
    batches = []
    while (batch := source.poll()) is not None:
        batches.append(batch)
    stats = source.stats()
    source.close()
    assert batches[-1].final
    tables = {name: np.concatenate([one[name] for one in batches]) for name in TABLES}
    return Batch(tables, batches[-1].strings, batches[-1].addresses, True), stats


def observations(batch: Batch) -> dict[str, object]:
    found: dict[str, object] = {name: plain(batch, name) for name in TABLES}
    for name in TABLES:
        found[name + " times"] = sorted(int(ns) // 1000 for ns in batch[name]["at_ns"])
    return found


@pytest.fixture(scope="module")
def plainly(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    path = tmp_path_factory.mktemp("files") / "x.pcap"
    path.write_bytes(FORMS["pcap"])
    batch, stats = read(str(path))
    assert (len(batch["opened"]), len(batch["requests"]), stats.packets) == (5, 20, len(PACKETS))
    return observations(batch)


@pytest.mark.parametrize("form", FORMS)
def test_every_form(form: str, tmp_path: Path, plainly: dict[str, object]) -> None:
    path = tmp_path / "x"
    path.write_bytes(FORMS[form])
    batch, stats = read(str(path))
    assert observations(batch) == plainly
    assert stats.cut_at_byte is None and stats.notes == ()
    assert abs(stats.started_ns - PACKETS[0][0]) < 1000


def test_zstd(tmp_path: Path, plainly: dict[str, object]) -> None:
    zstandard = pytest.importorskip("zstandard")
    path = tmp_path / "x.zst"
    data = FORMS["pcapng"]
    path.write_bytes(zstandard.compress(data[:500]) + zstandard.compress(data[500:]))
    assert observations(read(str(path))[0]) == plainly


@pytest.mark.parametrize("chunk", [1, 7, 24, 1000])
@pytest.mark.parametrize("form", ["pcap", "pcapng, two sections", "gzip"])
def test_reads_of_any_size(form: str, chunk: int, tmp_path: Path, plainly: dict[str, object]) -> None:
    path = tmp_path / "x"
    path.write_bytes(FORMS[form])
    assert observations(read(str(path), chunk=chunk)[0]) == plainly


def test_batches_of_one_row(tmp_path: Path, plainly: dict[str, object]) -> None:
    path = tmp_path / "x"
    path.write_bytes(FORMS["pcap"])
    batch, _ = read(str(path), rows=1)
    assert observations(batch) == plainly
    for name in TABLES:
        assert list(batch[name]["seq"]) == sorted(batch[name]["seq"])


def test_standard_input() -> None:
    program = (
        "from lbtop.probes.files import open_capture\n"
        "source = open_capture(['-'])\n"
        "while source.poll() is not None: pass\n"
        "print(source.stats().packets)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], input=FORMS["pcapng"], capture_output=True, check=True)
    assert int(done.stdout) == len(PACKETS)


def files(tmp_path: Path, parts: Iterator[bytes]) -> list[str]:
    paths = []
    for n, data in enumerate(parts):
        paths.append(str(tmp_path / f"x.pcap{n}"))
        Path(paths[-1]).write_bytes(data)
    return paths


def test_files_are_merged_by_time(tmp_path: Path, plainly: dict[str, object]) -> None:
    paths = files(tmp_path, (pcap(PACKETS[n::3], ">" if n else "<") for n in range(3)))
    for order in (paths, paths[::-1]):
        assert observations(read(order)[0]) == plainly


@pytest.mark.parametrize("behind_ms", [0, 3, 400, -400])
def test_both_ends_of_a_leg_whose_clocks_differ(behind_ms: int, tmp_path: Path, plainly: dict[str, object]) -> None:
    elsewhere = [(ts - behind_ms * 10**6, data[:8] + bytes([data[8] - 1]) + data[9:]) for ts, data in PACKETS]
    batch, stats = read(files(tmp_path, iter([pcap(PACKETS), pcap(elsewhere)])))
    assert (stats.packets, stats.duplicate_packets) == (len(PACKETS), len(PACKETS))
    assert len(batch["requests"]) == 20 and not batch["connections"]["retransmits_c"].any()


def test_a_rotated_set_may_be_longer_than_what_is_read_at_once(tmp_path: Path, plainly: dict[str, object]) -> None:
    count = len(PACKETS)
    paths = files(tmp_path, (pcapng(PACKETS[n : n + 1], "<", 9) for n in range(count)))
    batch, stats = read(paths)
    assert observations(batch) == plainly
    assert stats.packets == count and stats.read_bytes == stats.total_bytes


def test_too_many_files_side_by_side(tmp_path: Path) -> None:
    paths = files(tmp_path, (pcap(PACKETS) for _ in range(40)))
    with pytest.raises(LbtopError, match="overlap in time"):
        read(paths)


@pytest.mark.parametrize("form", ["pcap", "pcapng", "gzip"])
def test_a_file_that_is_cut_is_read_up_to_the_cut(form: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    for size in range(60, len(FORMS[form]), 97):
        path.write_bytes(FORMS[form][:size])
        try:
            _, stats = read(str(path))
        except LbtopError as error:
            assert form == "gzip" and "compressed" in str(error)
            continue
        assert stats.packets <= len(PACKETS)
        if form == "pcap":
            record = 24
            whole = 0
            for _, data in PACKETS:
                if record + 16 + len(data) > size:
                    break
                record += 16 + len(data)
                whole += 1
            assert stats.packets == whole
            assert stats.cut_at_byte == (record if record != size else None)
        elif form == "gzip":
            assert stats.cut_at_byte is not None


def test_damage_ends_a_file_and_is_told(tmp_path: Path) -> None:
    data = bytearray(FORMS["pcap"])
    second = 24 + 16 + len(PACKETS[0][1])
    data[second + 8 : second + 12] = b"\xff\xff\xff\xff"
    path = tmp_path / "x"
    path.write_bytes(data)
    _, stats = read(str(path))
    assert stats.packets == 1 and stats.cut_at_byte == second
    assert "damaged" in stats.notes[0]


def test_a_packet_larger_than_the_buffer_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "x"
    huge = (PACKETS[3][0], bytes(2 << 20))
    path.write_bytes(pcap([*PACKETS[:3], huge, *PACKETS[3:]]))
    _, stats = read(str(path))
    assert stats.packets == len(PACKETS)
    assert "larger than the read buffer" in stats.notes[0]


def test_a_block_of_four_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(pcapng(PACKETS[:2]) + struct.pack("<II", 6, 0xFFFFFFFC) + bytes(1000))
    _, stats = read(str(path))
    assert stats.packets == 2 and stats.cut_at_byte is not None


def test_a_slice_of_time(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(FORMS["pcap"])
    since, until = PACKETS[4][0], PACKETS[9][0]
    _, stats = read(str(path), since_ns=since, until_ns=until)
    assert stats.packets == sum(since <= ts < until for ts, _ in PACKETS)
    assert (stats.started_ns, stats.ended_ns) == (since, PACKETS[8][0])


def test_statistics_and_keys_of_pcapng(tmp_path: Path) -> None:
    path = tmp_path / "x"
    keys = b"CLIENT_RANDOM 00 00\n"
    data = pcapng(PACKETS[:2])
    data += block("<", 10, struct.pack("<II", 0x544C534B, len(keys)) + keys)
    data += block("<", 5, struct.pack("<III", 0, 0, 0) + option("<", 5, struct.pack("<Q", 17)) + bytes(4))
    path.write_bytes(data)
    source = open_capture(str(path))
    while source.poll() is not None:
        pass
    assert source.stats().dropped_packets == 17
    assert source.secrets == [keys]


def test_a_growing_file_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(FORMS["pcap"][:600])
    source = open_capture(str(path), follow=True)
    seen = 0
    while (batch := source.poll()) is not None:
        seen += len(batch["requests"])
    with path.open("ab") as file:
        file.write(FORMS["pcap"][600:])
    while (batch := source.poll()) is not None:
        assert not batch.final
        seen += len(batch["requests"])
    assert seen == 20
    source.close()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"hello, world\n" * 10, "is text, not a capture"),
        (bytes(range(256)) * 4, "is not a capture"),
        (bytes(257) + b"ustar\x0000" + bytes(400), "tar archive"),
        (b"\x04\x22\x4d\x18" + bytes(90), "lz4"),
        (FORMS["pcap"][:10], "ends inside its header"),
        (b"snoop\0\0\0" + bytes(100), "snoop"),
        (pcap(PACKETS, linktype=127), "radiotap"),
        (section("<") + description("<", linktype=195) + enhanced("<", 0, b"x" * 50), "802.15.4"),
    ],
)
def test_what_is_no_capture(data: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "x\x1b[31m"
    path.write_bytes(data)
    with pytest.raises(LbtopError, match=says) as caught:
        read(str(path))
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(LbtopError, match="is a directory"):
        open_capture(str(tmp_path))
    with pytest.raises(LbtopError, match="no such file"):
        open_capture(str(tmp_path / "absent"))
    (tmp_path / "x.pcapng.gz").touch()
    with pytest.raises(LbtopError, match=r"for example '.*/\*\.pcapng\.gz'"):
        open_capture(str(tmp_path))
    (tmp_path / "y.pcap0").touch()
    with pytest.raises(LbtopError, match=r"a rotated set of that name: give '.*y\.pcap\*'"):
        open_capture(str(tmp_path / "y.pcap"))
    (tmp_path / "z.etl").write_bytes(bytes(range(256)))
    with pytest.raises(LbtopError, match="pktmon etl2pcap"):
        open_capture(str(tmp_path / "z.etl"))


def test_one_unknown_link_type_among_others_is_a_note(tmp_path: Path) -> None:
    paths = files(tmp_path, iter([pcap(PACKETS), pcap(PACKETS, linktype=127)]))
    batch, stats = read(paths)
    assert len(batch["requests"]) == 20
    assert stats.undecoded_packets == len(PACKETS)
    assert "radiotap" in stats.notes[0]
