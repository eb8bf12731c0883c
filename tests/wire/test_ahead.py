"""Threads that read and decode ahead change nothing but the time, and none of them outlives what it works for."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from lbtop.probes.files import CaptureSource, decoded_ahead, open_capture
from lbtop.probes.files.ahead import NICER, Ahead
from lbtop.probes.files.feed import Feed
from lbtop.probes.files.reading import WORTH_BYTES

from lbtop.engine import diagnose
from lbtop.model.errors import LbtopError
from lbtop.model.observation import Batch
from tests.wire.test_files import FORMS, PACKETS, files, observations, pcap, read

PLAIN = [form for form in FORMS if not form.startswith("gzip")]


@pytest.fixture(autouse=True)
def nobody_is_left_behind() -> Iterator[None]:
    yield
    assert not working()


def working() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("lbtop")]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "x.pcap"
    path.write_bytes(FORMS["pcap"])
    return path


@pytest.mark.parametrize("chunk", [1, 7, 1000, None])
@pytest.mark.parametrize("form", [*PLAIN, "gzip"])
def test_reading_ahead_is_reading(form: str, chunk: int | None, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(FORMS[form])
    (plainly, told), (ahead, told_ahead) = read(str(path), ahead=False), read(str(path), ahead=True, chunk=chunk)
    assert observations(ahead) == observations(plainly)
    assert (told.packets, told.read_bytes, told.notes) == (told_ahead.packets, told_ahead.read_bytes, told_ahead.notes)
    assert told.read_bytes == told.total_bytes == path.stat().st_size


@pytest.mark.parametrize("size", range(24, len(FORMS["pcap"]), 131))
def test_a_cut_file_says_where(size: int, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(FORMS["pcap"][:size])
    told = [read(str(path), ahead=ahead, chunk=50)[1] for ahead in (False, True)]
    assert told[0].cut_at_byte == told[1].cut_at_byte and told[0].notes == told[1].notes


def test_a_record_larger_than_the_area_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(pcap([*PACKETS[:5], (PACKETS[5][0], bytes(700_000)), *PACKETS[5:]]))
    told = [read(str(path), ahead=ahead)[1] for ahead in (False, True)]
    assert told[0].packets == told[1].packets == len(PACKETS)
    assert told[0].notes == told[1].notes == ("1 packets larger than the read buffer were left out",)


def test_damage_and_the_end_of_a_slice_end_the_reading(tmp_path: Path) -> None:
    path = tmp_path / "x"
    half = len(pcap(PACKETS[:20]))
    path.write_bytes(FORMS["pcap"][:half] + b"\xff" * 16 + FORMS["pcap"][half:])
    told = [read(str(path), ahead=ahead, chunk=100)[1] for ahead in (False, True)]
    assert told[0].packets == told[1].packets == 20
    assert told[0].notes == told[1].notes and "damaged" in told[0].notes[0]
    path.write_bytes(FORMS["pcap"] + pcap([(PACKETS[-1][0] + 10**12, PACKETS[-1][1])])[24:] * 3)
    until_ns = PACKETS[7][0]
    assert read(str(path), ahead=True, chunk=100, until_ns=until_ns)[1].packets == 7


def test_files_side_by_side_and_one_after_the_other(tmp_path: Path) -> None:
    third = len(PACKETS) // 3
    halves = [PACKETS[0::2], PACKETS[1::2]]
    parts = [PACKETS[:third], PACKETS[third : 2 * third], PACKETS[2 * third :]]
    for n, cuts in enumerate((halves, parts)):
        folder = tmp_path / str(n)
        folder.mkdir()
        paths = files(folder, (pcap(cut) for cut in cuts))
        assert observations(read(paths, ahead=True, chunk=60)[0]) == observations(read(paths, ahead=False)[0])


def batches(source: CaptureSource | Ahead) -> list[Batch]:
    found = []
    while not found or not found[-1].final:
        batch = source.poll(5.0)
        assert batch is not None
        found.append(batch)
    assert source.poll() is None
    return found


@pytest.mark.parametrize("rows", [1, 10, 1000])
def test_decoding_ahead_gives_the_same_batches(rows: int, capture: Path) -> None:
    plain, ahead = open_capture(str(capture), rows=rows), Ahead(open_capture(str(capture), rows=rows))
    assert [[len(rows) for rows in batch.tables.values()] for batch in batches(plain)] == [
        [len(rows) for rows in batch.tables.values()] for batch in batches(ahead)
    ]
    assert ahead.stats().packets == plain.stats().packets == len(PACKETS)
    ahead.close()
    plain.close()


def test_what_is_told_is_what_was_handed_over(capture: Path) -> None:
    """Not what the decoder has read since: progress and the rows belong together."""
    source = Ahead(open_capture(str(capture), rows=1))
    assert source.stats().packets == 0
    told = []
    while (batch := source.poll(5.0)) is not None:
        told.append(source.stats().packets)
        if batch.final:
            break
    source.close()
    assert told == sorted(told) and told[0] < told[-1] == len(PACKETS)


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_closing_in_the_middle_ends_every_thread(taken: int, capture: Path) -> None:
    source = Ahead(open_capture(str(capture), rows=1, ahead=True, chunk=40))
    for _ in range(taken):
        assert source.poll(5.0) is not None
    source.close()
    half_read = open_capture(str(capture), rows=1, ahead=True, chunk=40)
    for _ in range(taken):
        half_read.poll()
    half_read.close()


def test_stopping_gives_the_verdict_on_what_was_read(capture: Path) -> None:
    """As Ctrl-C does, which arrives in whoever waits for a batch."""
    calls = 0

    def interrupted(stats: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt

    source = Ahead(open_capture(str(capture), rows=1))
    snapshot = diagnose(source, progress=interrupted)
    source.close()
    assert 0 < snapshot.source.packets < len(PACKETS)


def test_what_the_decoder_raises_is_raised_where_batches_are_asked_for(capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    polls = 0
    poll = CaptureSource.poll

    def fails(self: CaptureSource, timeout_s: float = 0.0) -> Batch | None:
        nonlocal polls
        polls += 1
        if polls == 3:
            raise LbtopError("the disk is gone")
        return poll(self, timeout_s)

    monkeypatch.setattr(CaptureSource, "poll", fails)
    source = Ahead(open_capture(str(capture), rows=1))
    assert source.poll(5.0) is not None and source.poll(5.0) is not None
    with pytest.raises(LbtopError, match="the disk is gone"):
        source.poll(5.0)
    assert source.poll(5.0) is None
    source.close()


def test_a_read_that_fails_is_an_error_in_words(capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)  # opens, and cannot be read
    try:
        monkeypatch.setattr(Feed, "plain", lambda self: (SimpleNamespace(fileno=lambda: folder), 24))
        source = open_capture(str(capture), ahead=True)
        with pytest.raises(LbtopError, match=r"cannot read .*x\.pcap: Is a directory"):
            source.poll()
        source.close()
    finally:
        os.close(folder)


def test_no_threads_on_one_processor_and_none_for_what_still_grows(capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    source = open_capture(str(capture))
    assert decoded_ahead(source) is source
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    growing = open_capture(str(capture), follow=True, ahead=True)
    assert decoded_ahead(growing) is growing and not working()
    ahead = decoded_ahead(source)
    assert isinstance(ahead, Ahead)
    ahead.close()
    growing.close()


def priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_who_folds_gives_way_where_three_threads_have_two_processors(capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for available, way in (({0, 1}, NICER), ({0, 1, 2}, 0)):
        before = priority()  # who is not root does not get it back
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, available=available: available)
        source = Ahead(open_capture(str(capture), rows=10))
        assert priority() == before + way
        batches(source)
        if os.geteuid() == 0:
            assert priority() == before
        source.close()


def test_a_priority_that_may_not_be_changed_is_left(capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(which: int, who: int, priority: int) -> None:
        raise PermissionError

    before = priority()
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    with monkeypatch.context() as patched:
        patched.setattr(os, "setpriority", refused)
        source = Ahead(open_capture(str(capture)))
        assert priority() == before and batches(source)[-1].final
        source.close()
    source = Ahead(open_capture(str(capture)))
    with monkeypatch.context() as patched:
        patched.setattr(os, "setpriority", refused)
        assert batches(source)[-1].final  # as for everybody but root
        source.close()
        assert priority() == before + NICER
    if os.geteuid() == 0:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), before)


def test_where_no_thread_may_be_started_it_goes_without(capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    plainly, told = read(str(capture), ahead=False)
    monkeypatch.setattr(threading.Thread, "start", refused)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    found, told_ahead = read(str(capture), ahead=True)
    assert observations(found) == observations(plainly)
    assert (told.packets, told.read_bytes, told.notes) == (told_ahead.packets, told_ahead.read_bytes, told_ahead.notes)
    source = open_capture(str(capture))
    assert decoded_ahead(source) is source
    source.close()


def test_what_was_read_ahead_counts_as_read_when_it_ends_early(capture: Path) -> None:
    source = open_capture(str(capture), ahead=True, rows=1)
    source.poll()
    source.stop()
    source.poll()
    stats = source.stats()
    assert stats.read_bytes == stats.total_bytes == capture.stat().st_size
    assert stats.notes == (f"reading was ended early: {stats.read_bytes:,} of {stats.total_bytes:,} bytes were read",)
    source.close()


def test_one_processor_says_what_two_say(lbtop: list[str], tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    records = FORMS["pcap"][24:]
    path.write_bytes(FORMS["pcap"] + records * (WORTH_BYTES // len(records) + 1))

    def said(processors: set[int]) -> bytes:
        done = subprocess.run(
            [*lbtop, "diagnose", "--json", str(path)],
            capture_output=True,
            check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, processors),
        )
        assert done.returncode in (0, 1), done.stderr
        return done.stdout

    available = os.sched_getaffinity(0)
    assert said(available) == said({min(available)})
