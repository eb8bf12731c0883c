"""The reference reader holds what it promises, and the compiled decoder sees what it sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.comparison import differences
from tests.corpus import SHARED_CAPTURES, committed, orphans, sampled
from tests.readers import by_decoder, by_reference
from tests.reference.files import Record
from tests.tools import rewrite, writing

CAPTURES = {capture.name: capture.path for capture in committed()}
FOREIGN = {path.name: path for path in sorted((SHARED_CAPTURES / "ja4").glob("*.*cap*"))}


def test_every_truth_has_its_recording() -> None:
    assert not orphans()


@pytest.mark.parametrize("name", CAPTURES)
def test_decoder_and_reference_see_the_same(name: str) -> None:
    """Row by row, every column, on every committed capture."""
    (reference, told), (decoder, counted) = by_reference(CAPTURES[name]), by_decoder(CAPTURES[name])
    assert not differences(reference, decoder)[:20]
    for figure in ("packets", "bytes", "undecoded_packets", "truncated_packets", "duplicate_packets", "started_ns", "ended_ns"):
        assert (figure, getattr(counted, figure)) == (figure, getattr(told, figure))


@pytest.mark.parametrize("name", FOREIGN)
def test_decoder_and_reference_see_the_same_in_foreign_captures(name: str, tmp_path: Path) -> None:
    path = FOREIGN[name]
    if b"TRAFFIC_SECRET" in path.read_bytes():  # keys are for the decoder alone
        path = writing.write(tmp_path / "without_keys.pcapng", writing.read(path))
    (reference, told), (decoder, counted) = by_reference(path), by_decoder(path)
    assert not differences(reference, decoder)[:20]
    assert (counted.packets, counted.duplicate_packets) == (told.packets, told.duplicate_packets)


CHANGES: dict[str, Callable[[list[Record]], list[Record]]] = {
    "10 % dropped": rewrite.dropped,
    "40 % dropped": lambda records: rewrite.dropped(records, 0.4, 7),
    "without its start": rewrite.without_start,
    "towards the servers only": lambda records: rewrite.one_direction(records, True),
    "from the servers only": lambda records: rewrite.one_direction(records, False),
    "96 bytes of each packet": rewrite.snapped,
    "300 bytes of each packet": lambda records: rewrite.snapped(records, 300),
    "segments of 100 bytes": lambda records: rewrite.split(records, 100),
    "segments of 7 bytes": lambda records: rewrite.split(records, 7),
    "neighbours exchanged": rewrite.reordered,
    "every packet twice": rewrite.doubled,
    "every packet twice to the byte": rewrite.mirrored_twice,
    "other numbers": rewrite.renumbered,
    "mirrored in VXLAN": rewrite.in_vxlan,
    "mirrored in VXLAN, in fragments": lambda records: rewrite.in_fragments(rewrite.in_vxlan(records)),
    "cooked": rewrite.cooked,
    "cooked, version 2": rewrite.cooked2,
    "in a VLAN": rewrite.in_vlan,
    "raw IP": rewrite.raw_ip,
}
SMALL = [name for name, path in CAPTURES.items() if path.stat().st_size < 60_000 and "twice" not in name]
"""Without one in which each packet is there twice: cut to pieces, thousands of copies stand in one instant, and that is more
than the table that recognises them is made for."""
SAMPLE = sampled(SMALL, 12)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", SAMPLE)
def test_decoder_and_reference_see_the_same_in_damaged_captures(name: str, change: str, tmp_path: Path) -> None:
    """Loss, cuts, copies, disorder and other links: what is left is read alike."""
    records = writing.read(CAPTURES[name])
    if any(record.linktype != 1 for record in records):
        pytest.skip("recorded on another link than Ethernet")
    path = writing.write(tmp_path / "changed.pcapng", CHANGES[change](records))
    (reference, told), (decoder, counted) = by_reference(path), by_decoder(path)
    assert not differences(reference, decoder)[:20]
    assert (counted.packets, counted.duplicate_packets) == (told.packets, told.duplicate_packets)


@pytest.mark.parametrize(
    "name", ["offload-lb-cookie-one", "plain-alb-lb-cookie-one", "offload-keepalive-race-one", "l4-tls-scripts-one"]
)
def test_answers_before_what_they_answer_are_read_alike_and_change_no_count(name: str, tmp_path: Path) -> None:
    """Two taps, and the clock of the one that shows the servers is 2 ms behind."""
    records = writing.read(CAPTURES[name])
    before, after = (
        writing.write(tmp_path / f"{number}.pcap", each) for number, each in enumerate((records, rewrite.answers_early(records)))
    )
    reference, decoder = by_reference(after)[0], by_decoder(after)[0]
    assert not differences(reference, decoder)[:20]
    original = by_decoder(before)[0]
    for table in ("opened", "connections", "requests", "responses", "cookies"):
        assert (table, len(decoder[table])) == (table, len(original[table]))
    for column in ("requests", "responses", "bytes_c", "bytes_s", "retransmits_c", "retransmits_s", "missing_bytes"):
        assert (column, decoder["connections"][column].sum()) == (column, original["connections"][column].sum())


FORMATS = {
    "big-endian": lambda records: writing.pcap(records, ">", nanoseconds=True),
    "pcapng": lambda records: writing.pcapng(records),
    "pcapng, big-endian, with an offset": lambda records: writing.pcapng(records, ">", 9, 1_000_000),
}


@pytest.mark.parametrize("form", FORMATS)
def test_reference_reads_every_form_alike(form: str, tmp_path: Path) -> None:
    records = writing.read(CAPTURES["offload-lb-cookie-one"])
    plain = writing.write(tmp_path / "plain.pcap", records)
    other = tmp_path / "other"
    other.write_bytes(FORMATS[form](records))
    assert not differences(by_reference(plain)[0], by_reference(other)[0])


def test_reference_reassembles(tmp_path: Path) -> None:
    """Heads cut into pieces of 7 bytes are the same heads; only packets are counted differently, and a FIN stands alone."""
    records = writing.read(CAPTURES["offload-lb-cookie-one"])
    whole = by_reference(writing.write(tmp_path / "whole.pcap", records))[0]
    pieces = by_reference(writing.write(tmp_path / "pieces.pcap", rewrite.split(records, 7)))[0]
    assert not differences(whole, pieces, frozenset({"packets_c", "packets_s", "idle_before_end_ns"}))


def test_reference_counts_each_packet_of_a_mirror_once(tmp_path: Path) -> None:
    records = writing.read(CAPTURES["offload-lb-cookie-one"])
    once, single = by_reference(writing.write(tmp_path / "once.pcap", records))
    twice, double = by_reference(writing.write(tmp_path / "twice.pcap", rewrite.doubled(records)))
    assert not differences(once, twice, frozenset({"duplicates"}))
    assert (double.packets, double.duplicate_packets) == (single.packets, single.packets)
