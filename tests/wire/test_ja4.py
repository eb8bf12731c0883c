"""JA4 against the published vectors and the values that its authors' own program gives for their captures."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from lbtop.probes.wire.ja4 import family, ja4

from lbtop.model.address import ip_text
from tests.readers import by_decoder

CIPHERS = "1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035"
EXTENSIONS = "001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015"
ALGORITHMS = "0403,0804,0401,0503,0805,0501,0806,0601"
VECTORS = [
    (CIPHERS, EXTENSIONS, ALGORITHMS, "t13d1516h2_8daaf6152771_e5627efa2ab1"),
    (CIPHERS, EXTENSIONS.replace(",0015", ""), ALGORITHMS, "t13d1515h2_8daaf6152771_f37e75b10bcc"),
    (CIPHERS, EXTENSIONS.replace("0015", "0029"), ALGORITHMS, "t13d1516h2_8daaf6152771_9b887d9acb53"),
    (CIPHERS, EXTENSIONS, "", "t13d1516h2_8daaf6152771_6d807ffa2a79"),
    ("1a1a," + CIPHERS, "2a2a," + EXTENSIONS + ",fafa", "0a0a," + ALGORITHMS, "t13d1516h2_8daaf6152771_e5627efa2ab1"),
]
ALPN = {
    b"\xab": "ab", b"\xab\xcd": "ad", b"\x20\x61": "21", b"\x30\xab": "3b", b"\x30\x31\xab\xcd": "3d", b"h2": "h2", b"x": "xx",
    b"http/1.1": "h1", b"": "00", None: "00", b"\xba\xad": "bd",
}  # fmt: skip
ELSEWHERE = {"tls-non-ascii-alpn.pcapng"}
"""Where the program and the specification differ, the latter holds: an ALPN that is not ASCII is written in hexadecimal."""


def numbers(text: str) -> list[int]:
    return [int(part, 16) for part in text.split(",") if part]


@pytest.mark.parametrize(("ciphers", "extensions", "algorithms", "expected"), VECTORS)
def test_published_vectors(ciphers: str, extensions: str, algorithms: str, expected: str) -> None:
    assert ja4("t", 0x0304, numbers(ciphers), numbers(extensions), b"h2", numbers(algorithms)) == expected


@pytest.mark.parametrize(("protocol", "mark"), ALPN.items())
def test_alpn_marks(protocol: bytes | None, mark: str) -> None:
    assert ja4("t", 0x0304, [0x1301], [0, 16], protocol, [])[8:10] == mark


def test_family_is_what_resumption_leaves() -> None:
    first = family("t", 0x0304, numbers(CIPHERS), numbers(EXTENSIONS), b"h2", numbers(ALGORITHMS))
    resumed = numbers(EXTENSIONS.replace("0015", "0029").replace(",0023", ""))
    assert family("t", 0x0304, numbers(CIPHERS), resumed, b"h2", numbers(ALGORITHMS)) == first


def test_every_tcp_hello_of_the_reference_captures(shared_captures: Path) -> None:
    """Each expected value once per connection; the second hello after a retry is part of the first one's handshake."""
    expected: dict[str, list[dict[str, str]]] = {}
    with (shared_captures / "ja4" / "expected.tsv").open() as file:
        for row in csv.DictReader(file, delimiter="\t"):
            expected.setdefault(row["capture"], []).append(row)
    missing, seen = [], 0
    for capture, rows in expected.items():
        batch = by_decoder(shared_captures / "ja4" / capture)[0]
        found: Counter[tuple[str, int, int, str]] = Counter()
        for hello in batch["handshakes"]:
            ports = int(hello["client_port"]), int(hello["server_port"])
            found[ip_text(batch.addresses[int(hello["client"])]), *ports, batch.strings[int(hello["ja4"])].decode()] += 1
        hellos: Counter[tuple[str, int]] = Counter()
        for row in rows:
            end = row["src"], int(row["sport"])
            hellos[end] += 1
            key = (*end, int(row["dport"]), row["ja4"])
            if found[key]:
                found[key] -= 1
                seen += 1
            elif hellos[end] == 1 and capture not in ELSEWHERE:
                missing.append((capture, key))
    assert not missing
    assert seen >= 145
