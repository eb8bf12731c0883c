"""Independent programs agree on what a capture holds: connections, bytes, retransmits, requests, hellos, JA4."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from lbtop.model.address import ip_text
from lbtop.model.observation import Batch, ConnFlag, HelloFlag
from tests.corpus import SHARED_CAPTURES, committed
from tests.oracles.tshark import Stream, streams
from tests.readers import READERS

CAPTURES = {capture.name: capture.path for capture in committed()}
FOREIGN = {path.name: path for path in sorted((SHARED_CAPTURES / "ja4").glob("*.*cap*"))}
Key = tuple[tuple[str, int], tuple[str, int]]


def key_of(batch: Batch, row: object) -> Key:
    """Both ends, the client's first."""
    client, server = (ip_text(batch.addresses[int(row[side])]) for side in ("client", "server"))  # type: ignore[index]
    return (client, int(row["client_port"])), (server, int(row["server_port"]))  # type: ignore[index]


def expected_counts(found: list[Stream]) -> Counter[tuple[object, ...]]:
    """What must be equal, by both ends in either order: one entry per connection with payload."""
    return Counter(
        (frozenset(stream.ends), stream.bytes[stream.ends[0]] + stream.bytes[stream.ends[1]],
         max(stream.bytes.values()), stream.requests, stream.responses)
        for stream in found if stream.bytes.total()
    )  # fmt: skip


def own_counts(batch: Batch) -> Counter[tuple[object, ...]]:
    return Counter(
        (frozenset(key_of(batch, row)), int(row["bytes_c"] + row["bytes_s"]), int(max(row["bytes_c"], row["bytes_s"])),
         int(row["requests"]), int(row["responses"]))
        for row in batch["connections"] if row["proto"] == 6 and row["first_data_ns"]
    )  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", CAPTURES)
def test_connections_bytes_and_heads_as_tshark_counts_them(name: str, reader: str, tshark: str) -> None:
    batch, _ = READERS[reader](CAPTURES[name])
    assert own_counts(batch) == expected_counts(streams(tshark, CAPTURES[name]))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", CAPTURES)
def test_retransmits_as_tshark_counts_them(name: str, reader: str, tshark: str) -> None:
    """Where nothing is missing or late: there tshark guesses by timing, and this decoder counts only what was seen twice."""
    batch, _ = READERS[reader](CAPTURES[name])
    holes = {frozenset(key_of(batch, row)) for row in batch["connections"] if row["flags"] & ConnFlag.GAPS}
    told = Counter({frozenset(one.ends): one.retransmits.total() for one in streams(tshark, CAPTURES[name]) if not one.lossy})
    own: Counter[frozenset[object]] = Counter()
    for row in batch["connections"]:
        if row["proto"] == 6:
            own[frozenset(key_of(batch, row))] += int(row["retransmits_c"] + row["retransmits_s"])
    assert {ends: own[ends] for ends in told if ends not in holes} == {ends: told[ends] for ends in told if ends not in holes}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", CAPTURES)
def test_hellos_as_tshark_counts_them(name: str, reader: str, tshark: str) -> None:
    """One handshake a connection: a second hello after a retry belongs to the first."""
    batch, _ = READERS[reader](CAPTURES[name])
    told = streams(tshark, CAPTURES[name])
    rows = batch["handshakes"]
    assert int(((rows["flags"] & HelloFlag.CLIENT_SEEN) != 0).sum()) == sum(one.client_hellos > 0 for one in told)
    assert int(((rows["flags"] & HelloFlag.SERVER_SEEN) != 0).sum()) == sum(one.server_hellos > 0 for one in told)


SPECIFICATION_DECIDES = {
    ("tls-non-ascii-alpn.pcapng", "t13d151699_8daaf6152771_e5627efa2ab1"): "t13d1516bd_8daaf6152771_e5627efa2ab1",
}
"""The reference implementation prints 99 for an ALPN that starts with bytes BA AD; the text of the specification (JA4.md,
ALPN) says first and last hexadecimal digit of such a value."""


def expected_ja4() -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    table = SHARED_CAPTURES / "ja4" / "expected.tsv"
    if table.is_file():
        with table.open() as lines:
            for row in csv.DictReader(lines, delimiter="\t"):
                if row["ja4"].startswith("t"):
                    found.setdefault(row["capture"], []).append(row)
    return found


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("capture", expected_ja4())
def test_ja4_as_its_authors_compute_it(capture: str, reader: str, shared_captures: Path) -> None:
    """Every hello over TCP. A second hello of one stream follows a HelloRetryRequest: the connection has one row, its first."""
    batch, _ = READERS[reader](shared_captures / "ja4" / capture)
    own: Counter[tuple[object, ...]] = Counter(
        (*key_of(batch, row), batch.strings[int(row["ja4"])].decode()) for row in batch["handshakes"]
    )
    told: Counter[tuple[object, ...]] = Counter()
    streams_seen: set[str] = set()
    for row in expected_ja4()[capture]:
        if row["stream"] in streams_seen:
            continue
        streams_seen.add(row["stream"])
        ja4 = SPECIFICATION_DECIDES.get((capture, row["ja4"]), row["ja4"])
        told[((row["src"], int(row["sport"])), (row["dst"], int(row["dport"])), ja4)] += 1
    missing = told - own
    assert not missing


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", FOREIGN)
def test_connections_of_foreign_captures_as_tshark_counts_them(name: str, reader: str, tshark: str) -> None:
    batch, _ = READERS[reader](FOREIGN[name])
    told = Counter(frozenset(one.ends) for one in streams(tshark, FOREIGN[name]) if one.bytes.total())
    own = Counter(frozenset(key_of(batch, row)) for row in batch["connections"] if row["proto"] == 6 and row["first_data_ns"])
    assert own == told
