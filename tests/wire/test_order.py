"""However a byte stream is cut into segments, in whatever order and however often they arrive: the same observations."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lbtop.model.observation import Batch, ConnFlag
from tests.wire.segments import ACK, CLIENT, FIN, PSH, SERVER, Wire
from tests.wire.talk import heads

REQUESTS = b"".join(
    b"POST /path/%d?q=1 HTTP/1.1\r\nHost: shop.example\r\nCookie: sid=value%d; AWSALB=x\r\nContent-Length: %d\r\n\r\n%s"
    % (n, n, 40 * n, b"b" * 40 * n)
    for n in range(6)
)
RESPONSES = b"".join(
    b"HTTP/1.1 200 OK\r\nSet-Cookie: sid=value%d; Path=/\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
    % (n, 70 + n, b"r" * (70 + n))
    for n in range(6)
)
ISN_C, ISN_S = 0xFFFFFF00, 0x7FFFFF80  # both wrap: one past 2**32, one past the sign


@st.composite
def segments(draw: st.DrawFn, data: bytes) -> list[tuple[int, int]]:
    """(begin, end) of pieces that cover the data, some more than once, out of order within a window."""
    marks = sorted(draw(st.sets(st.integers(1, len(data) - 1), max_size=12)))
    pieces = list(zip([0, *marks], [*marks, len(data)], strict=True))
    for _ in range(draw(st.integers(0, 4))):
        begin = draw(st.integers(0, len(data) - 2))
        pieces.insert(draw(st.integers(0, len(pieces))), (begin, draw(st.integers(begin + 1, len(data)))))
    shifts = [draw(st.integers(0, 4)) for _ in pieces]
    order = sorted(range(len(pieces)), key=lambda n: (n + shifts[n], n))
    return [pieces[n] for n in order]


def observe(requests: list[tuple[int, int]], responses: list[tuple[int, int]]) -> Batch:
    wire = Wire()
    wire.handshake(ISN_C, ISN_S)
    at = 100.0
    for begin, end in requests:
        at += 1
        wire.segment(at, CLIENT, ISN_C + 1 + begin, ISN_S + 1, PSH | ACK, REQUESTS[begin:end])
    done = ISN_C + 1 + len(REQUESTS)
    for begin, end in responses:
        at += 1
        wire.segment(at, SERVER, ISN_S + 1 + begin, done, PSH | ACK, RESPONSES[begin:end])
    wire.segment(at + 1, CLIENT, done, ISN_S + 1 + len(RESPONSES), FIN | ACK)
    wire.segment(at + 2, SERVER, ISN_S + 1 + len(RESPONSES), done + 1, FIN | ACK)
    return wire.finish()


WHOLE = observe([(0, len(REQUESTS))], [(0, len(RESPONSES))])


@given(segments(REQUESTS), segments(RESPONSES))
def test_any_segmentation_order_and_duplication(requests: list[tuple[int, int]], responses: list[tuple[int, int]]) -> None:
    batch = observe(requests, responses)
    assert heads(batch) == heads(WHOLE)
    row = batch["connections"][0]
    assert (row["bytes_c"], row["bytes_s"], row["missing_bytes"]) == (len(REQUESTS), len(RESPONSES), 0)
    assert not row["flags"] & ConnFlag.GAPS


@given(segments(REQUESTS), st.data())
def test_bytes_are_counted_whatever_is_lost(pieces: list[tuple[int, int]], data: st.DataObject) -> None:
    kept = [piece for piece in pieces if data.draw(st.booleans())]
    seen: set[int] = set()
    for begin, end in kept:
        seen.update(range(begin, end))
    batch = observe(kept, [(0, len(RESPONSES))])
    row = batch["connections"][0]
    assert int(row["bytes_c"]) == len(seen)
    assert int(row["missing_bytes"]) == len(REQUESTS) - len(seen)


def test_six_requests_are_observed() -> None:
    assert len(WHOLE["requests"]) == 6
    assert len(WHOLE["responses"]) == 6
