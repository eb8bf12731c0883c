"""Frames on their way: packed and unpacked, kept within bounds, from a thread or from the engine's process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from lbtop.faces.tui.feed import ProcessFeed, ThreadFeed
from lbtop.faces.tui.frames import History, Lately, Packed, moment_of, pack
from lbtop.faces.tui.screens.prompts import parse_moment
from lbtop.faces.tui.widgets.timeline import Timeline, rate_now
from lbtop.model.errors import LbtopError
from lbtop.model.snapshot import Snapshot
from tests.cli import frames
from tests.tui.driving import SECOND, SHOP, read


def test_a_packed_frame_opens_as_it_was() -> None:
    frame = read(SHOP)[-1]
    packed = pack(frame)
    opened = packed.open()
    assert opened.at_ns == frame.at_ns and opened.services[0].detail is None
    assert [f.title for f in opened.findings] == [f.title for f in frame.findings]
    detail, before = packed.detail("shop.example"), frame.services[0].detail
    assert detail is not None and before is not None
    assert [row.key for row in detail.sessions] == [row.key for row in before.sessions]
    assert packed.detail("elsewhere") is None and packed.size < 100_000


def test_the_history_is_bounded_in_number_and_in_bytes() -> None:
    history = History(limit=100)
    first = pack(frames.busy())
    for second in range(1000):
        history.add(Packed(replace(first.moment, at_ns=second * SECOND), first.core, {}))
    times = [frame.at_ns // SECOND for frame in history.frames]
    assert len(times) <= 100 and times == sorted(times) and times[-1] == 999
    assert times[-50:] == list(range(950, 1000)) or times[1] - times[0] > times[-1] - times[-2]
    small = History(limit=10_000, most_bytes=10 * first.size)
    for second in range(200):
        small.add(Packed(replace(first.moment, at_ns=second), first.core, {}))
    assert sum(frame.size for frame in small.frames) == small.bytes <= 11 * first.size


def test_an_hour_is_kept_and_a_moment_found() -> None:
    history = History()
    packed = pack(frames.busy())
    for second in range(100):
        history.add(Packed(replace(packed.moment, at_ns=second * SECOND), packed.core, {}))
    assert history.at(50 * SECOND + 1) == 50 and history.at(-1) == 0 and history.at(10**18) == 99
    assert history.forget_before(40 * SECOND) and history.frames[0].at_ns == 40 * SECOND
    assert not history.forget_before(40 * SECOND)


def test_findings_stand_where_they_happened_or_were_first_known() -> None:
    history = History()
    frame = frames.busy()
    dated = replace(frame.findings[0], at_ns=frame.at_ns - 90 * SECOND)
    for second in (-3, -2, -1, 0):
        found = (dated,) if second < -1 else (dated, frame.findings[1])
        history.add(pack(replace(frame, at_ns=frame.at_ns + second * SECOND, findings=found)))
    assert sorted(history.first_seen().values()) == [
        (frame.at_ns - 90 * SECOND, "critical"),
        (frame.at_ns - SECOND, "warning"),
    ]


def test_the_timeline_is_in_time_and_not_in_frames() -> None:
    """Two frames in the first second and one at the end: the columns between show the time between."""
    frame = frames.busy()
    moments = [moment_of(replace(frame, at_ns=frame.source.started_ns + at * SECOND)) for at in (1, 2, 100)]

    class Wide(Timeline):
        columns = 100  # type: ignore[assignment]

    line = Wide()
    line.moments = moments
    slices = line.slices()
    assert len(slices) == 100
    assert [piece.index for piece in slices].count(1) > 90 and slices[-1].index == 2
    line._slices = slices
    assert line.column_of(2) == 99 and line.column_of(0) < 3
    assert rate_now(moments, 2) == 0.0 and rate_now([], -1) is None


@pytest.mark.parametrize(
    ("text", "second"),
    [("+30s", 30), ("-1m", 240), ("+500ms", 0.5), ("12:01", 60), ("12:01:30", 90), ("12:01:30.5", 90.5), (" +2 ", 2)],
)
def test_moments_are_understood(text: str, second: float) -> None:
    assert parse_moment(text, frames.START, frames.START + 300 * SECOND) == frames.START + int(second * SECOND)


def test_what_is_no_moment_is_none() -> None:
    for text in ("", "soon", "25:00", "12:61", "+x", "++1"):
        assert parse_moment(text, frames.START, frames.START + SECOND) is None


def collected(feed: ThreadFeed | ProcessFeed) -> tuple[list[Packed], str | None]:
    got: list[Packed] = []
    ended = threading.Event()
    problem: list[str | None] = []

    def end(said: str | None) -> None:
        problem.append(said)
        ended.set()

    feed.start(got.append, end)
    assert ended.wait(20)
    feed.stop()
    return got, problem[0]


@pytest.mark.parametrize("kind", [ThreadFeed, ProcessFeed])
def test_every_frame_arrives_and_the_end(kind: type[ThreadFeed] | type[ProcessFeed]) -> None:
    got, problem = collected(kind(lambda *attend: read(SHOP), "x"))
    assert not problem and [frame.at_ns for frame in got] == [frame.at_ns for frame in read(SHOP)]


@pytest.mark.parametrize("kind", [ThreadFeed, ProcessFeed])
def test_what_goes_wrong_in_the_engine_is_said(kind: type[ThreadFeed] | type[ProcessFeed]) -> None:
    def broken(*attend: object) -> Iterator[Snapshot]:
        yield frames.busy()
        raise ValueError("no more")

    got, problem = collected(kind(broken, "x"))
    assert len(got) == 1 and problem == "ValueError: no more"


@pytest.mark.parametrize("kind", [ThreadFeed, ProcessFeed])
def test_a_sentence_is_said_without_its_kind(kind: type[ThreadFeed] | type[ProcessFeed]) -> None:
    def broken(*attend: object) -> Iterator[Snapshot]:
        yield frames.busy()
        raise LbtopError("cannot read x.pcap: Input/output error")

    assert collected(kind(broken, "x"))[1] == "cannot read x.pcap: Input/output error"


def test_an_engine_that_dies_is_noticed() -> None:
    def dies(attend: object) -> Iterator[Snapshot]:
        yield frames.busy()
        os._exit(9)

    _, problem = collected(ProcessFeed(dies, "x"))
    assert problem is not None and "before its time" in problem


def test_questions_are_answered_while_frames_are_made_and_after() -> None:
    """Also several at once, and where the answer is an error. The engine goes on meanwhile."""

    def some(attend: Callable[[], None]) -> Iterator[Snapshot]:
        for _ in range(50):
            attend()
            time.sleep(0.01)
        yield frames.busy()

    def answer(what: str, number: int) -> object:
        if what == "wrong":
            raise RuntimeError("that is not kept")
        time.sleep(0.2)
        return (number, os.getpid())

    feed = ProcessFeed(some, "x", answer=answer)
    ended = threading.Event()
    got: list[object] = []
    feed.start(lambda frame: None, lambda problem: ended.set())
    threads = [threading.Thread(target=lambda i=i: got.append(feed.ask("right", i))) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(number for number, _ in got) == [0, 1, 2, 3] and feed.pid not in {pid for _, pid in got}
    assert ended.wait(20)
    assert feed.ask("right", 9)[0] == 9
    with pytest.raises(RuntimeError, match="that is not kept"):
        feed.ask("wrong", 0)
    feed.stop()
    with pytest.raises(RuntimeError, match="does not answer"):
        feed.ask("right", 1)


def test_stopping_ends_the_process() -> None:
    def forever(attend: object) -> Iterator[Snapshot]:
        while True:
            yield frames.busy()
            time.sleep(0.01)

    feed = ProcessFeed(forever, "x")
    pid = feed.pid
    assert pid is not None
    feed.start(lambda frame: None, lambda problem: None)
    feed.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def counted(at: int, *counts: int, returns: int = 0, affinity: float | None = None) -> Snapshot:
    """A service whose targets have had so many requests."""
    targets = tuple(frames.target(f"10.0.0.{i}", 0.1, count, connections=0) for i, count in enumerate(counts))
    stickiness = frames.service().stickiness
    assert stickiness is not None
    made = frames.service(targets=targets, stickiness=replace(stickiness, returns=returns, affinity=affinity))
    return replace(frames.snapshot(made), at_ns=frames.START + at * SECOND)


def test_skew_and_affinity_of_the_timeline_are_of_the_last_arrivals() -> None:
    """An hour of balance does not hide a minute of imbalance; what is too little to tell is not told."""
    lately = Lately()
    even = [moment_of(counted(i, 100 * i, 100 * i, returns=100 * i, affinity=1.0), lately) for i in range(10)]
    assert even[0].skew is None and [moment.skew for moment in even[1:]] == [1.0] * 9
    assert even[0].affinity is None and even[-1].affinity == 1.0
    # Then one target gets all of a hundred requests, and of a hundred returns every second one goes elsewhere.
    later = moment_of(counted(11, 1000, 900, returns=1000, affinity=0.95), lately)
    assert later.skew == 2.0 and later.affinity == pytest.approx(0.5)


def test_few_arrivals_are_gathered_over_several_frames() -> None:
    lately = Lately()
    skews = [moment_of(counted(i, 3 * i, i), lately).skew for i in range(20)]
    first = next(i for i, skew in enumerate(skews) if skew is not None)
    assert first == 10 and all(skew == 1.5 for skew in skews[first:])
