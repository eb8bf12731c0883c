"""Independent programs agree on what a capture holds: connections, bytes, retransmits, requests, hellos, JA4."""

from __future__ import annotations

import csv
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lbtop.model.address import ip_text
from lbtop.model.observation import Batch, ConnFlag, HelloFlag
from tests.corpus import SHARED_CAPTURES, committed, sampled
from tests.oracles.tshark import Stream, streams
from tests.readers import READERS
from tests.tools import rewrite, writing

CAPTURES = {capture.name: capture.path for capture in committed()}
LOOKED_AT = sampled(CAPTURES, 4, "defect-thinned-offload", "offload-h2c-targets", "bridging-weak-tls-targets")
FOREIGN = {path.name: path for path in sorted((SHARED_CAPTURES / "ja4").glob("*.*cap*"))}
Key = tuple[tuple[str, int], tuple[str, int]]


def key_of(batch: Batch, row: object) -> Key:
    """Both ends, the client's first."""
    client, server = (ip_text(batch.addresses[int(row[side])]) for side in ("client", "server"))  # type: ignore[index]
    return (client, int(row["client_port"])), (server, int(row["server_port"]))  # type: ignore[index]


def expected_counts(found: list[Stream]) -> dict[frozenset[object], Counter[tuple[int, ...]]]:
    """Both ends in either order to bytes, bytes of the busier direction, requests and responses of each connection."""
    counts: dict[frozenset[object], Counter[tuple[int, ...]]] = {}
    for stream in found:
        if stream.bytes.total():
            figures = (stream.bytes.total(), max(stream.bytes.values()), stream.requests, stream.responses)
            counts.setdefault(frozenset(stream.ends), Counter())[figures] += 1
    return counts


def own_counts(batch: Batch) -> dict[frozenset[object], Counter[tuple[int, ...]]]:
    counts: dict[frozenset[object], Counter[tuple[int, ...]]] = {}
    for row in batch["connections"]:
        if row["proto"] == 6 and row["first_data_ns"]:
            carried = int(row["bytes_c"]), int(row["bytes_s"])
            figures = (sum(carried), max(carried), int(row["requests"]), int(row["responses"]))
            counts.setdefault(frozenset(key_of(batch, row)), Counter())[figures] += 1
    return counts


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", LOOKED_AT)
def test_connections_bytes_and_heads_as_tshark_counts_them(name: str, reader: str, tshark: str) -> None:
    """Where bytes are missing, dissectors differ in which heads they still find: there only the bytes must agree."""
    batch, _ = READERS[reader](CAPTURES[name])
    found = streams(tshark, CAPTURES[name])
    own, told = own_counts(batch), expected_counts(found)
    assert own.keys() == told.keys()
    for ends in {frozenset(stream.ends) for stream in found if stream.lossy} & told.keys():
        own[ends], told[ends] = (Counter(figures[:2] for figures in counts[ends].elements()) for counts in (own, told))
    assert own == told


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", LOOKED_AT)
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
@pytest.mark.parametrize("name", LOOKED_AT)
def test_hellos_as_tshark_counts_them(name: str, reader: str, tshark: str) -> None:
    """One handshake a TCP connection: a second hello after a retry belongs to the first."""
    batch, _ = READERS[reader](CAPTURES[name])
    told = streams(tshark, CAPTURES[name])
    connections = batch["connections"]
    rows = batch["handshakes"]
    rows = rows[np.isin(rows["conn"], connections["conn"][connections["proto"] == 6])]
    assert int(((rows["flags"] & HelloFlag.CLIENT_SEEN) != 0).sum()) == sum(one.client_hellos > 0 for one in told)
    assert int(((rows["flags"] & HelloFlag.SERVER_SEEN) != 0).sum()) == sum(one.server_hellos > 0 for one in told)


ECH, POST_QUANTUM_GROUPS = 65037, frozenset((4587, 4588, 4589, 25497, 25498))
BROWSERS = ["direct-tls-one", "l4-tls-browsers-balancer", "bridging-balancer"]


def offers(tshark: str, path: Path) -> Counter[tuple[bool, bool]]:
    """Of each first client hello: whether it holds encrypted_client_hello, and a post-quantum key share."""
    command = [tshark, "-n", "-r", str(path), "-Y", "tls.handshake.type == 1", "-T", "fields", "-E", "occurrence=a"]
    for name in ("tcp.stream", "tls.handshake.extension.type", "tls.handshake.extensions_key_share_group"):
        command += ["-e", name]
    found: dict[str, tuple[bool, bool]] = {}
    for line in subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout.splitlines():
        stream, kinds, groups = line.split("\t")
        shares = {int(group) for group in groups.split(",") if group}
        found.setdefault(stream, (str(ECH) in kinds.split(","), not POST_QUANTUM_GROUPS.isdisjoint(shares)))
    return Counter(found.values())


@pytest.mark.parametrize("size", [1460, 100])
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", [name for name in BROWSERS if name in CAPTURES])
def test_what_browsers_offer_as_tshark_tells(name: str, reader: str, size: int, tshark: str, tmp_path: Path) -> None:
    """Hellos of 1.7 KB with ECH and ML-KEM shares, over two segments or over twenty."""
    path = writing.write(tmp_path / "x.pcapng", rewrite.split(writing.read(CAPTURES[name]), size))
    batch, _ = READERS[reader](path)
    flags = batch["handshakes"]["flags"][(batch["handshakes"]["flags"] & HelloFlag.CLIENT_SEEN) != 0]
    own = Counter((bool(each & HelloFlag.ECH), bool(each & HelloFlag.POST_QUANTUM)) for each in flags.tolist())
    assert own == offers(tshark, path)
    assert own[True, True]


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
