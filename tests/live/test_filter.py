"""Observations with the filter are the observations without it: over every committed capture, and in the cases that bite."""

from __future__ import annotations

import pytest
from lbtop.probes.ebpf.program import Effort
from lbtop.probes.live.blocks import Blocks

from lbtop.model.observation import ConnFlag
from tests.corpus import Capture, committed
from tests.live.model import ETHERNET, FOREVER, RAW, Filter, flow_name, through, unlike
from tests.reference.files import CaptureFile, Record
from tests.tools.crafting import CLIENT, Talk
from tests.tools.crafting import SERVER as SERVER_SIDE

LIVE = [capture for capture in committed() if "-snap-" not in capture.name]
"""A ring has no snap length: a packet that lacks bytes lacks them because of the filter."""


def records(capture: Capture) -> list[Record]:
    return [record for record in CaptureFile(capture.path) if record.linktype in (ETHERNET, RAW)]


@pytest.mark.parametrize("capture", LIVE, ids=str)
def test_the_filter_changes_no_observation(capture: Capture) -> None:
    packets = records(capture)
    plain, _ = through(packets, None)
    for together in (1, 60):
        model = Filter()
        filtered, blocks = through(packets, model, together=together)
        assert unlike(filtered, plain) == []
        assert blocks.cut == model.cut and blocks.stale == blocks.damaged == 0


SERVER = ("10.0.0.11", 8080)
CALLER = ("10.0.1.5", 40000)
ASK = b"GET /download HTTP/1.1\r\nHost: shop.example\r\n\r\n"
LARGE = 400_000


def answer(size: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)


def with_and_without(packets: list[Record], together: int = 1) -> tuple[Filter, Blocks]:
    """The same rows with the filter and without; what the filter cut."""
    plain, _ = through(packets, None)
    model = Filter()
    filtered, blocks = through(packets, model, together=together)
    assert unlike(filtered, plain) == []
    assert len(plain["requests"]) == len(plain["responses"]) > 0
    return model, blocks


@pytest.mark.parametrize("segment", [1400, 60_000], ids=["as sent", "merged by offload"])
def test_bodies_stay_in_the_kernel_and_heads_do_not(segment: int) -> None:
    script = [(CLIENT, ASK), (SERVER_SIDE, answer(LARGE))] * 4
    packets = Talk(CALLER, SERVER, segment=segment).say(script)
    model, blocks = with_and_without(packets)
    assert blocks.cut == model.cut > (LARGE // segment - 2) * 3


def test_ports_used_again_at_once() -> None:
    """The marks of the first connection are written while the second one has already begun."""
    first = Talk(CALLER, SERVER)
    packets = first.say([(CLIENT, ASK), (SERVER_SIDE, answer(LARGE))])
    again = Talk(CALLER, SERVER, clock=first.clock)
    packets += [
        Record(record.ts_ns, record.linktype, 0, record.wire_length, shifted(record.data, 77_777))
        for record in again.say([(CLIENT, ASK), (SERVER_SIDE, answer(2000))] * 5)
    ]
    for together in (1, 7, 100):
        with_and_without(packets, together)


def test_a_mark_that_came_too_late_is_taken_back() -> None:
    """User space marks a connection whose ports are in use by the next one: told, and mended with the next block."""
    talk = Talk(CALLER, SERVER)
    packets = talk.say([(CLIENT, ASK), (SERVER_SIDE, answer(900))] * 40)
    ends = (bytes(10) + b"\xff\xff" + bytes((10, 0, 1, 5)), 40000), (bytes(10) + b"\xff\xff" + bytes((10, 0, 0, 11)), 8080)
    flow = flow_name(6, *ends)

    class Late(Filter):
        def length(self, frame: bytes, at: int, kind: int, size: int) -> int:
            if sum(self.packets.values()) == 20:
                self.marks[(flow, ends[1])] = (FOREVER, 0)
            return super().length(frame, at, kind, size)

    model = Late()
    rows, blocks = through(packets, model, together=4)
    assert 0 < blocks.stale == model.cut <= 4 and blocks.cut == 0
    assert len(rows["requests"]) == 40 and rows["connections"]["flags"][0] & ConnFlag.TRUNCATED
    assert not model.marks[(flow, ends[1])][0]


def test_less_effort_costs_heads_and_no_counts() -> None:
    packets = Talk(CALLER, SERVER).say([(CLIENT, ASK), (SERVER_SIDE, answer(3000))] * 30)
    plain, _ = through(packets, None)
    for effort in (Effort.HANDSHAKES, Effort.LEDGER):
        rows, blocks = through(packets, Filter(effort=effort), together=10, sparing=True)
        assert blocks.spared > 30 and blocks.stale == 0
        for column in ("bytes_c", "bytes_s", "packets_c", "packets_s", "retransmits_c", "retransmits_s", "missing_bytes", "end"):
            assert rows["connections"][column].tolist() == plain["connections"][column].tolist()
        assert rows["connections"]["flags"][0] & ConnFlag.TRUNCATED


def shifted(frame: bytes, by: int) -> bytes:
    """The frame with other sequence numbers: those of a new connection."""
    seq, ack = (int.from_bytes(frame[at : at + 4], "big") for at in (38, 42))
    moved = (seq + by) & 0xFFFFFFFF, (ack + by) & 0xFFFFFFFF if ack else 0
    return frame[:38] + moved[0].to_bytes(4, "big") + moved[1].to_bytes(4, "big") + frame[46:]


def test_a_vlan_tag_is_where_capture_files_have_it() -> None:
    plain = Talk(CALLER, SERVER).say([(CLIENT, ASK), (SERVER_SIDE, answer(LARGE))])
    tagged = [Record(r.ts_ns, r.linktype, 0, r.wire_length + 4, r.data[:12] + b"\x81\x00\x60\x2a" + r.data[12:]) for r in plain]
    model, _ = with_and_without(tagged)
    assert model.cut > 200
    rows, blocks = through(tagged, Filter())
    assert rows["connections"]["vlan"].tolist() == [42]
    assert blocks.delivered == len(tagged)
    untagged, _ = through(plain, None)
    assert rows["connections"]["bytes_s"].tolist() == untagged["connections"]["bytes_s"].tolist()
