"""What TCP segments do to their connection: every column of CONNECTION and OPENED that is not about payload."""

from __future__ import annotations

import struct

import pytest
from lbtop.probes.wire.decoder import Decoder

from lbtop.model.observation import ConnFlag, End, Orientation, Side
from tests.wire.segments import (
    ACK,
    CLIENT,
    FIN,
    KEY,
    MS,
    PSH,
    RAW_IP,
    RST,
    SECOND,
    SERVER,
    START_NS,
    SYN,
    SYN_OPTIONS,
    Wire,
    ipv4,
    only,
    packed,
    tcp,
    udp,
)

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
MAPPED = b"\0" * 10 + b"\xff\xff"


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_a_whole_connection(wire: Wire) -> None:
    wire.handshake()
    wire.segment(40, CLIENT, 1001, 5001, PSH | ACK, b"x" * 100)
    wire.segment(50, SERVER, 5001, 1101, PSH | ACK, b"y" * 300)
    wire.segment(60, SERVER, 5301, 1101, FIN | ACK)
    wire.segment(70, CLIENT, 1101, 5302, FIN | ACK)
    wire.segment(80, SERVER, 5302, 1102, ACK)
    batch = wire.finish()
    row = only(batch)
    assert (row["bytes_c"], row["bytes_s"], row["packets_c"], row["packets_s"]) == (100, 300, 4, 4)
    assert (row["connect_ns"], row["ack_ns"]) == (20 * MS, 10 * MS)
    assert row["end"] == End.FIN and row["first_closer"] == Side.SERVER and row["data_order"] == Side.CLIENT
    assert row["orientation"] == Orientation.SYN
    assert row["flags"] == ConnFlag.SYN | ConnFlag.SYNACK | ConnFlag.FIN_SEEN
    assert (row["opened_ns"], row["first_data_ns"], row["last_ns"]) == (START_NS, START_NS + 40 * MS, START_NS + 80 * MS)
    assert (row["mss"], row["window"], row["tsval_c"], row["isn_c"]) == (1460, 64240, 42, 1000)
    assert batch.strings[row["stack"]] == b"1460,64240,7,MSTNW"
    opened = only(batch, "opened")
    assert batch.addresses[opened["client"]] == MAPPED + packed(CLIENT[0])
    assert (opened["client_port"], opened["server_port"]) == (40000, 8080)
    assert opened["at_ns"] == START_NS + 40 * MS and opened["syn_ns"] == START_NS


def test_payloadless_connections_are_no_opened_rows(wire: Wire) -> None:
    wire.handshake()
    wire.segment(40, CLIENT, 1001, 5001, RST | ACK, window=0)
    batch = wire.finish()
    assert len(batch["opened"]) == 0
    row = only(batch)
    assert row["end"] == End.RST and row["resets_c"] == 1 and row["first_data_ns"] == 0
    assert row["flags"] & ConnFlag.RST_BARE


def test_refused(wire: Wire) -> None:
    wire.segment(0, CLIENT, 1000, 0, SYN)
    wire.segment(1, SERVER, 0, 1001, RST | ACK, window=0)
    row = only(wire.finish())
    assert row["flags"] & ConnFlag.REFUSED and row["end"] == End.RST


def test_retransmits_are_counted_once_each_and_their_bytes_never(wire: Wire) -> None:
    wire.handshake()
    for at in (40, 250, 700):
        wire.segment(at, CLIENT, 1001, 5001, PSH | ACK, b"x" * 100)
    wire.segment(710, SERVER, 5001, 1101, ACK)
    row = only(wire.finish())
    assert (row["bytes_c"], row["retransmits_c"], row["duplicates"]) == (100, 2, 0)
    assert not row["flags"] & ConnFlag.SILENT_END


def test_silent_end(wire: Wire) -> None:
    wire.handshake()
    for at in (40, 250, 700):
        wire.segment(at, CLIENT, 1001, 5001, PSH | ACK, b"x" * 100)
    assert only(wire.finish())["flags"] & ConnFlag.SILENT_END


def test_syn_sent_again_is_one_connection(wire: Wire) -> None:
    wire.segment(-1000, CLIENT, 1000, 0, SYN)
    wire.handshake()
    row = only(wire.finish())
    assert row["retransmits_c"] == 1
    assert row["connect_ns"] == 1020 * MS


def test_another_syn_on_the_same_ports_is_another_connection(wire: Wire) -> None:
    wire.handshake()
    wire.segment(40, CLIENT, 1001, 5001, PSH | ACK, b"x")
    wire.handshake(isn_c=900_000, isn_s=77)
    wire.segment(41, CLIENT, 900_001, 78, PSH | ACK, b"y")
    rows = wire.finish()["connections"]
    assert [int(end) for end in rows["end"]] == [End.REUSED, End.OPEN]
    assert list(rows["bytes_c"]) == [1, 1]


@pytest.mark.parametrize("answered", [False, True], ids=["the handshake", "the first response"])
def test_a_syn_that_comes_after_its_answer_is_of_the_same_connection(wire: Wire, answered: bool) -> None:
    """Two taps, and the clock of the one that shows the server is behind."""
    end = 1001 + len(REQUEST)
    wire.segment(0, SERVER, 5000, 1001, SYN | ACK)
    wire.segment(1, SERVER, 5001, end, ACK, b"HTTP/1.1 204 No Content\r\n\r\n")
    wire.segment(2, CLIENT, 1000, 0, SYN, window=64240, options=SYN_OPTIONS)
    wire.segment(3, CLIENT, 1001, 5001, ACK)
    wire.segment(4, CLIENT, 1001, 5001, ACK, REQUEST)
    if answered:
        wire.segment(3, SERVER, 5028, end, FIN | ACK)
    batch = wire.finish()
    row = only(batch)
    assert row["flags"] & ConnFlag.SYN and row["flags"] & ConnFlag.SYNACK and row["orientation"] == Orientation.SYN
    assert (row["isn_c"], row["mss"], row["bytes_c"], row["missing_bytes"]) == (1000, 1460, len(REQUEST), 0)
    assert (row["connect_ns"], row["retransmits_c"], row["retransmits_s"]) == (0, 0, 0)
    assert (row["requests"], row["responses"]) == (1, 1) and len(batch["responses"]) == 1


def test_a_syn_that_a_syn_ack_does_not_answer_is_another_connection(wire: Wire) -> None:
    wire.segment(0, SERVER, 5000, 1001, SYN | ACK)
    wire.segment(1, CLIENT, 7000, 0, SYN)
    wire.segment(2, SERVER, 8000, 7001, SYN | ACK)
    batch = wire.finish()
    assert [int(row["isn_c"]) for row in batch["connections"]] == [0, 7000]


def test_a_request_that_comes_after_its_answer_is_answered(wire: Wire) -> None:
    """Each answer is that of the request which follows it, until clocks are right or a request is lost."""
    answer, seq, ack = b"HTTP/1.1 204 No Content\r\n\r\n", 1001, 5001
    wire.handshake()
    for turn in range(4):
        steps = [(CLIENT, seq, ack, REQUEST), (SERVER, ack, seq + len(REQUEST), answer)]
        for source, number, acked, data in steps if turn == 2 else steps[::-1]:
            wire.segment(100 + 10 * turn, source, number, acked, ACK, data)
        seq, ack = seq + len(REQUEST), ack + len(answer)
    wire.segment(200, CLIENT, seq, ack, ACK, REQUEST)
    wire.segment(210, SERVER, ack, seq + len(REQUEST), ACK)
    rows = wire.finish()["responses"]
    assert [(int(row["request"]), int(row["status"])) for row in rows] == [(0, 204), (0, 204), (3, 204), (0, 204), (5, 0)]


def test_keepalive_probes_are_no_payload(wire: Wire) -> None:
    wire.handshake()
    wire.segment(40, CLIENT, 1001, 5001, PSH | ACK, b"x" * 10)
    wire.segment(50, SERVER, 5001, 1011, ACK)
    wire.segment(60_000, CLIENT, 1010, 5001, ACK)
    wire.segment(60_010, SERVER, 5001, 1011, ACK)
    wire.segment(120_000, CLIENT, 1010, 5001, ACK, b"\0")
    row = only(wire.finish())
    assert (row["keepalive_probes"], row["bytes_c"], row["retransmits_c"]) == (2, 10, 0)


def test_sequence_numbers_wrap(wire: Wire) -> None:
    isn = 0xFFFFFFF0
    wire.handshake(isn_c=isn)
    data = bytes(range(100))
    wire.segment(40, CLIENT, isn + 51, 5001, ACK, data[50:])
    wire.segment(41, CLIENT, isn + 1, 5001, ACK, data[:50])
    wire.segment(42, CLIENT, isn + 1, 5001, ACK, data[:50])
    row = only(wire.finish())
    assert (row["bytes_c"], row["missing_bytes"], row["retransmits_c"]) == (100, 0, 1)


def test_a_hole_is_missing_bytes_and_what_comes_late_is_not_sent_again(wire: Wire) -> None:
    wire.handshake()
    wire.segment(40, CLIENT, 1001, 5001, ACK, b"x" * 10)
    wire.segment(41, CLIENT, 1031, 5001, ACK, b"x" * 10)
    wire.segment(60, SERVER, 5001, 1041, ACK, b"answer")  # the server has it all: waiting is over
    wire.segment(61, CLIENT, 1011, 5007, ACK, b"x" * 5)
    row = only(wire.finish())
    assert (row["bytes_c"], row["missing_bytes"], row["retransmits_c"]) == (25, 15, 0)
    assert row["flags"] & ConnFlag.GAPS


@pytest.mark.parametrize(("answers", "before"), [(True, 300), (False, 5)])
def test_reset_after_idling(wire: Wire, answers: bool, before: int) -> None:
    wire.handshake()
    wire.segment(40, CLIENT, 1001, 5001, ACK, b"x")
    wire.segment(50, SERVER, 5001, 1002, ACK, b"y")
    wire.segment(350_050 - 50_000, CLIENT, 1002, 5002, ACK, b"z")
    if not answers:
        wire.segment(300_051, SERVER, 5002, 1003, ACK)
        wire.segment(305_051, SERVER, 5002, 1003, RST, window=0)
    else:
        wire.segment(300_051, SERVER, 5002, 1003, RST, window=0)
    row = only(wire.finish())
    assert row["idle_before_end_ns"] // SECOND == before
    assert bool(row["flags"] & ConnFlag.RST_AFTER_IDLE) == answers
    assert (row["idle_survived_ns"] // SECOND == 300) != answers


@pytest.mark.parametrize("closes", [False, True], ids=["", "the client closes too"])
@pytest.mark.parametrize("crossing", [True, False], ids=["seen at the server", "seen at the client"])
def test_keepalive_race(wire: Wire, crossing: bool, closes: bool) -> None:
    wire.handshake()
    wire.segment(40, CLIENT, 1001, 5001, ACK, REQUEST)
    end = 1001 + len(REQUEST)
    wire.segment(50, SERVER, 5001, end, ACK, b"answer")
    steps = [
        lambda at: wire.segment(at, SERVER, 5007, end, FIN | ACK),
        lambda at: wire.segment(at, CLIENT, end, 5007, PSH | ACK, REQUEST),
    ]
    for at, step in zip((5000, 5001), steps if crossing else steps[::-1], strict=True):
        step(at)
    if closes:
        wire.segment(5001.5, CLIENT, end + len(REQUEST), 5008, FIN | ACK)
    wire.segment(5002, SERVER, 5008, 0, RST, window=0)
    assert only(wire.finish())["flags"] & ConnFlag.KEEPALIVE_RACE


def test_a_request_answered_before_the_reset_is_no_race(wire: Wire) -> None:
    wire.handshake()
    wire.segment(40, CLIENT, 1001, 5001, ACK, REQUEST)
    end = 1001 + len(REQUEST)
    wire.segment(50, SERVER, 5001, end, ACK, b"answer")
    wire.segment(60, SERVER, 5007, end, FIN | ACK)
    wire.segment(70, CLIENT, end, 5008, ACK)
    wire.segment(80, SERVER, 5008, end, RST, window=0)
    assert not only(wire.finish())["flags"] & ConnFlag.KEEPALIVE_RACE


@pytest.mark.parametrize("alert", [b"\x15\x03\x03\x00\x1a" + bytes(26), b"\x17\x03\x03\x00\x13" + bytes(19)], ids=["1.2", "1.3"])
def test_a_closing_alert_that_crosses_a_fin_is_no_race(wire: Wire, alert: bytes) -> None:
    wire.handshake()
    wire.segment(40, CLIENT, 1001, 5001, ACK, REQUEST)
    end = 1001 + len(REQUEST)
    wire.segment(50, SERVER, 5001, end, ACK, b"answer")
    wire.segment(60, SERVER, 5007, end, FIN | ACK)
    wire.segment(61, CLIENT, end, 5007, PSH | ACK, alert)
    wire.segment(62, SERVER, 5008, 0, RST, window=0)
    assert not only(wire.finish())["flags"] & ConnFlag.KEEPALIVE_RACE


def test_simultaneous_open(wire: Wire) -> None:
    wire.segment(0, CLIENT, 1000, 0, SYN)
    wire.segment(0, SERVER, 5000, 0, SYN)
    wire.segment(10, CLIENT, 1000, 5001, SYN | ACK)
    wire.segment(10, SERVER, 5000, 1001, SYN | ACK)
    wire.segment(20, CLIENT, 1001, 5001, ACK, b"x")
    row = only(wire.finish())
    assert row["flags"] & ConnFlag.SIMULTANEOUS and row["bytes_c"] == 1


def test_zero_window_and_one_direction(wire: Wire) -> None:
    wire.segment(0, CLIENT, 1000, 5000, ACK, b"x" * 10, window=0)
    row = only(wire.finish())
    assert row["flags"] & ConnFlag.ZERO_WINDOW and row["flags"] & ConnFlag.ONE_DIRECTION
    assert row["orientation"] == Orientation.PORT


def test_what_the_snap_length_cut_was_there(wire: Wire) -> None:
    wire.handshake()
    wire.segment(40, CLIENT, 1001, 5001, ACK, b"x" * 1000, cut=900)
    wire.segment(41, CLIENT, 2001, 5001, ACK, b"x" * 10)
    row = only(wire.finish())
    assert (row["bytes_c"], row["missing_bytes"]) == (1010, 0)
    assert row["flags"] & ConnFlag.TRUNCATED


class TestCopies:
    """A mirror of both sides of a device, or of every interface of a host, shows a packet twice."""

    def twice(self, wire: Wire, delay_ms: float, **change: int) -> tuple[int, int, int]:
        wire.handshake()
        wire.segment(40, CLIENT, 1001, 5001, ACK, b"x" * 10, identity=7)
        wire.segment(40 + delay_ms, CLIENT, 1001, 5001, ACK, b"x" * 10, **{"identity": 7, **change})
        row = only(wire.finish())
        return row["duplicates"], row["retransmits_c"], wire.decoder.packets

    def test_the_same_number(self, wire: Wire) -> None:
        assert self.twice(wire, 0.02) == (1, 0, 4)

    def test_another_number_is_a_packet_sent_again(self, wire: Wire) -> None:
        assert self.twice(wire, 0.02, identity=8) == (0, 1, 5)

    def test_much_later_is_a_packet_sent_again(self, wire: Wire) -> None:
        assert self.twice(wire, 200) == (0, 1, 5)

    @pytest.mark.parametrize("change", [{"ttl": 63}, {"interface": 1}], ids=str)
    def test_without_a_number_the_place_tells(self, wire: Wire, change: dict[str, int]) -> None:
        wire.handshake()
        wire.segment(40, CLIENT, 1001, 5001, ACK, b"x" * 10, identity=0)
        wire.segment(40.02, CLIENT, 1001, 5001, ACK, b"x" * 10, identity=0, **change)
        assert only(wire.finish())["duplicates"] == 1

    @pytest.mark.parametrize(
        ("delay_ms", "change", "copies", "resent"),
        [
            (0, {}, 1, 0),
            (0.02, {}, 1, 0),
            (5, {}, 0, 1),  # a tail loss probe may be that quick
            (0.02, {"options": b"\1\1\x08\x0a\0\0\0\x2b\0\0\0\7"}, 0, 1),  # another time stamp
            (0.02, {"window": 501}, 0, 1),
        ],
        ids=["at the same instant", "at once", "5 ms later", "with another time stamp", "with another window"],
    )
    def test_without_a_number_at_the_same_place(
        self, wire: Wire, delay_ms: float, change: dict[str, int | bytes], copies: int, resent: int
    ) -> None:
        stamped = {"options": b"\1\1\x08\x0a\0\0\0\x2a\0\0\0\7", "identity": 0}
        wire.handshake()
        wire.segment(40, CLIENT, 1001, 5001, ACK, b"x" * 10, **stamped)  # type: ignore[arg-type]
        wire.segment(40 + delay_ms, CLIENT, 1001, 5001, ACK, b"x" * 10, **{**stamped, **change})  # type: ignore[arg-type]
        row = only(wire.finish())
        assert (row["duplicates"], row["retransmits_c"], row["bytes_c"]) == (copies, resent, 10)

    def test_a_window_update_without_a_number_is_no_copy(self, wire: Wire) -> None:
        wire.handshake()
        for window in (502, 1024):
            wire.segment(50, SERVER, 5001, 1001, ACK, identity=0, window=window)
        row = only(wire.finish())
        assert (row["duplicates"], row["packets_s"]) == (0, 3)

    def test_equal_datagrams_without_a_number_are_not_copies(self, wire: Wire) -> None:
        for at in (40, 40.02):
            wire.packet(at, ipv4(CLIENT[0], SERVER[0], 17, udp(CLIENT, (SERVER[0], 8125), b"requests:1|c"), identity=0))
        row = only(wire.finish())
        assert (row["duplicates"], row["bytes_c"]) == (0, 24)

    def test_acknowledgements_too(self, wire: Wire) -> None:
        wire.handshake()
        for _ in range(2):
            wire.segment(50, SERVER, 5001, 1001, ACK, identity=9)
        assert only(wire.finish())["duplicates"] == 1


class TestOrientation:
    """Who is the client of a connection whose start was missed."""

    def client_of(self, wire: Wire) -> tuple[int, int]:
        row = wire.finish()["connections"][-1]
        return int(row["client_port"]), int(row["orientation"])

    def test_the_lower_port_serves(self, wire: Wire) -> None:
        wire.segment(0, SERVER, 1, 1, ACK, b"\x01\x02\x03")
        assert self.client_of(wire) == (CLIENT[1], Orientation.PORT)

    def test_a_proven_listener_serves(self, wire: Wire) -> None:
        listener = ("10.0.0.2", 50000)
        wire.segment(0, ("10.0.0.9", 61000), 1, 0, SYN, target=listener)
        wire.segment(1, listener, 1, 2, SYN | ACK, target=("10.0.0.9", 61000))
        wire.segment(2, listener, 1, 1, ACK, b"\x01\x02", target=("10.0.0.9", 45000))
        assert self.client_of(wire) == (45000, Orientation.LISTENER)

    def test_a_request_proves_its_sender_the_client(self, wire: Wire) -> None:
        odd = ("10.0.0.2", 61234)
        wire.segment(0, CLIENT, 1, 1, ACK, REQUEST, target=odd)
        assert self.client_of(wire) == (CLIENT[1], Orientation.PAYLOAD)

    def test_a_response_proves_its_sender_the_server(self, wire: Wire) -> None:
        wire.segment(0, ("10.0.0.2", 61234), 1, 1, ACK, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert self.client_of(wire) == (CLIENT[1], Orientation.PAYLOAD)

    def test_syn_ack_alone(self, wire: Wire) -> None:
        wire.segment(0, CLIENT, 5000, 1001, SYN | ACK)
        assert self.client_of(wire) == (SERVER[1], Orientation.SYN)


def test_datagrams_are_one_flow_until_two_minutes_of_silence(wire: Wire) -> None:
    def say(at_s: float, source: tuple[str, int], target: tuple[str, int]) -> None:
        wire.packet(at_s * 1000, ipv4(source[0], target[0], 17, udp(source, target, b"hello"), identity=int(at_s) + 1))

    say(0, CLIENT, SERVER)
    say(100, SERVER, CLIENT)
    say(210, CLIENT, SERVER)
    say(331, CLIENT, SERVER)
    rows = wire.finish()["connections"]
    assert [(int(r["packets_c"]), int(r["packets_s"]), int(r["end"])) for r in rows] == [(2, 1, End.EXPIRED), (1, 0, End.OPEN)]


def test_silent_connections_expire() -> None:
    wire = Wire()
    wire.handshake()
    wire.segment(40, CLIENT, 1001, 5001, ACK, b"x")
    other = ("10.0.0.9", 1234)
    for hour in range(1, 8):
        wire.segment(hour * 3_600_000, other, hour, 1, ACK, b"tick", target=SERVER)
    rows = wire.decoder.flush()["connections"]
    assert [int(row["end"]) for row in rows] == [End.EXPIRED]


def test_live_shows_and_keeps() -> None:
    wire = Wire()
    wire.handshake()
    wire.segment(40, CLIENT, 1001, 5001, ACK, b"x" * 7)
    live = wire.decoder.live()
    assert [int(row["bytes_c"]) for row in live] == [7]
    before = wire.decoder.flush()
    assert len(before["connections"]) == 0
    assert list(before["opened"]["seq"]) == [0]
    assert only(wire.finish())["seq"] == 1


def test_a_flood_pushes_out_attempts_not_connections() -> None:
    wire = Wire(Decoder(key=KEY, connections=64, half_open=16))
    wire.handshake()
    wire.segment(40, CLIENT, 1001, 5001, ACK, b"x")
    for n in range(1000):
        wire.segment(50, ("10.1.2.3", 1024 + n), n * 7919, 0, SYN, target=SERVER)
    wire.segment(60, CLIENT, 1002, 5001, ACK, b"y")
    decoder = wire.decoder
    assert decoder.connections.half_open_evicted == 1000 - 16
    assert decoder.connections.evicted == 0
    assert decoder.caps_reached()
    rows = wire.finish()["connections"]
    assert max(int(row["bytes_c"]) for row in rows) == 2


def test_the_cap_on_connections_ends_the_quietest() -> None:
    wire = Wire(Decoder(key=KEY, connections=32))
    for n in range(100):
        wire.segment(n, ("10.1.2.3", 2000 + n), 1, 1, ACK, b"data", target=SERVER)
        wire.segment(n + 0.5, ("10.9.9.9", 999), 1 + n, 1, ACK, b"z", target=SERVER)
    rows = wire.finish()["connections"]
    busy = [row for row in rows if row["bytes_c"] == 100 or row["bytes_s"] == 100]
    assert len(busy) == 1 and busy[0]["end"] == End.OPEN
    assert sum(row["end"] == End.EVICTED for row in rows) == 101 - 32


def test_ip_version_six_and_extension_headers() -> None:
    wire = Wire()
    source, target = bytes(15) + b"\x01", bytes(15) + b"\x02"
    body = tcp(CLIENT, SERVER, 1, 1, ACK, b"x" * 9)
    chain = bytes([60, 0]) + bytes(6) + bytes([6, 1]) + bytes(14) + body  # hop by hop, then destination options
    header = struct.pack(">IHBB", 0x60000000, len(chain), 0, 64) + source + target
    wire.packet(0, header + chain)
    batch = wire.finish()
    row = only(batch)
    assert row["bytes_c"] == 9 and batch.addresses[row["client"]] == source


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0, 1)], ids=str)
def test_fragments_are_put_together(order: tuple[int, ...]) -> None:
    wire = Wire()
    whole = tcp(CLIENT, SERVER, 1, 1, ACK, REQUEST * 20)
    cuts = [0, 160, 320, len(whole)]
    for n in order:
        more = 0x2000 if n < 2 else 0
        piece = ipv4(CLIENT[0], SERVER[0], 6, whole[cuts[n] : cuts[n + 1]], identity=5, fragment=more | cuts[n] // 8)
        wire.packet(n, piece)
    batch = wire.finish()
    assert only(batch)["bytes_c"] == 20 * len(REQUEST)
    assert len(batch["requests"]) == 20
    assert wire.decoder.undecoded == 0


def test_padding_is_no_payload() -> None:
    wire = Wire()
    packet = ipv4(CLIENT[0], SERVER[0], 6, tcp(CLIENT, SERVER, 1, 1, ACK, b"abc"))
    wire.packet(0, packet + bytes(46 - len(packet) % 46))
    assert only(wire.finish())["bytes_c"] == 3


def test_options_that_lie_about_their_length() -> None:
    for options in (b"\x02\x00\x05\xb4", b"\x08\x0a\x00\x00", b"\x03\xff\x07\x00", b"\x05\x01\x01\x01"):
        wire = Wire()
        wire.segment(0, CLIENT, 1, 0, SYN, options=options)
        assert only(wire.finish())["mss"] == 0


def test_syn_options_are_named_in_order() -> None:
    wire = Wire()
    wire.segment(0, CLIENT, 1, 0, SYN, options=SYN_OPTIONS + b"\x1e\x02\x00\x00", window=1024)
    batch = wire.finish()
    assert batch.strings[only(batch)["stack"]] == b"1460,1024,7,MSTNW?E"


def test_packets_shorter_than_their_headers() -> None:
    whole = ipv4(CLIENT[0], SERVER[0], 6, tcp(CLIENT, SERVER, 1, 1, ACK, b"data"))
    for size in range(len(whole)):
        decoder = Decoder(key=KEY)
        decoder.packet(RAW_IP, START_NS, size, len(whole), whole[:size])
        assert decoder.packets == 1
        assert decoder.undecoded == (size < 40)


def test_what_comes_after_a_fin_survives_nothing(wire: Wire) -> None:
    """A proxy closes after 3 s of silence; the server still has something to say (TLS does), which draws an RST."""
    wire.handshake()
    wire.segment(40, CLIENT, 1001, 5001, PSH | ACK, b"x" * 100)
    wire.segment(50, SERVER, 5001, 1101, PSH | ACK, b"y" * 300)
    wire.segment(3050, CLIENT, 1101, 5301, FIN | ACK)
    wire.segment(3060, SERVER, 5301, 1102, PSH | ACK, b"z" * 31)
    wire.segment(3070, CLIENT, 1102, 0, RST, window=0)
    row = only(wire.finish())
    assert row["end"] == End.RST and row["first_closer"] == Side.CLIENT and row["flags"] & ConnFlag.FIN_SEEN
    assert row["idle_before_end_ns"] == 3000 * MS
    assert row["idle_survived_ns"] < 100 * MS
    assert not row["flags"] & ConnFlag.RST_AFTER_IDLE
