"""A recording says the same as its capture, holds no secret, and opens up to where it is cut."""

from __future__ import annotations

import contextlib
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lbtop.probes.files import open_capture

from lbtop.catalog.recognition import recognition
from lbtop.cli import main
from lbtop.engine import diagnose, snapshots
from lbtop.faces import json as json_face
from lbtop.model.errors import LbtopError
from lbtop.model.observation import TABLES, InsideTls, KernelTcp, Source, SourceStats
from lbtop.recording import Recorder, format, is_recording, open_recording, reader
from lbtop.recording.format import OPEN, layout, read_frames, row_layouts, unpack_batch
from lbtop.recording.magic import MAGIC
from lbtop.recording.privacy import IDENTITIES, TEXTS, Identities
from tests import reference
from tests.corpus import CAPTURES, Capture, committed

SHOP = CAPTURES / "offload-target-removed-lost-targets.pcap.gz"
SOME = [capture for capture in committed() if capture.name.startswith(("offload", "bridging-targets", "plain-nlb", "l4-tls"))]


def record(source: Source, path: Path, **options: int) -> Recorder:
    recorder = Recorder(path, kind="capture", inputs=["x.pcap"], **options)
    while True:
        batch = source.poll()
        assert batch is not None
        recorder.add(batch, source.stats())
        if batch.final:
            break
    recorder.close(source.stats())
    return recorder


def said(source: Source) -> dict[str, Any]:
    diagnosis: dict[str, Any] = json.loads(json_face.render(diagnose(source)))
    for finding in diagnosis["findings"]:
        finding.pop("confirm")  # names the file that was read
    diagnosis["source"] = {name: value for name, value in diagnosis["source"].items() if name not in ("kind", "inputs")}
    return diagnosis


@pytest.mark.parametrize("capture", SOME, ids=str)
def test_a_recording_says_what_its_capture_says(capture: Capture, tmp_path: Path) -> None:
    recorder = record(reference.open_capture(capture.path), tmp_path / "x.lbtop")
    assert recorder.rows > 0
    assert said(open_recording(str(tmp_path / "x.lbtop"))) == said(reference.open_capture(capture.path))


@pytest.mark.parametrize("capture", [c for c in SOME if c.secrets], ids=str)
def test_no_secret_and_no_hash_is_in_the_file(capture: Capture, tmp_path: Path) -> None:
    record(reference.open_capture(capture.path), tmp_path / "x.lbtop")
    with open(tmp_path / "x.lbtop", "rb") as file:
        file.seek(len(format.MAGIC) + 2)
        content = b"".join(body for _, body in format.read_frames(file))
    for secret in capture.secrets:
        assert secret.encode() not in content
    source = reference.open_capture(capture.path)
    while (batch := source.poll()) is not None:
        for table, columns in IDENTITIES.items():
            for column in columns:
                for value in np.unique(batch[table][column]):
                    assert not value or int(value).to_bytes(8, "little") not in content


def test_every_column_of_text_or_identity_has_a_rule() -> None:
    """Numbers below are addresses, ports, times, counts and flags; anything else must be named in privacy.py."""
    plain = {"client", "server", "source", "destination", "real_ip", "proxy_source", "index", "names", "size", "flags", "isn_c"}
    plain |= {"packets_c", "packets_s", "retransmits_c", "retransmits_s", "requests", "responses", "tsval_c", "duplicates"}
    plain |= {"pid", "keepalive_probes", "forwarded0", "forwarded1", "forwarded2", "forwarded3"}
    sized = {"seq", "conn", "request", "bytes_c", "bytes_s", "missing_bytes"}
    for table, dtype in TABLES.items():
        for column in dtype.names or ():
            kind = dtype[column].str[1:]
            if kind == "u4":
                assert column in plain or column in TEXTS.get(table, {}), f"{table}.{column}"
            if kind == "u8":
                assert column in sized or column in IDENTITIES.get(table, ()), f"{table}.{column}"


def test_a_cut_recording_opens_up_to_the_cut(tmp_path: Path) -> None:
    capture = SOME[0]
    record(reference.open_capture(capture.path), tmp_path / "x.lbtop")
    whole = (tmp_path / "x.lbtop").read_bytes()
    (tmp_path / "cut.lbtop").write_bytes(whole[:-40])
    source = open_recording(str(tmp_path / "cut.lbtop"))
    snapshot = diagnose(source)
    assert snapshot.services
    assert any("recording" in note for note in source.stats().notes)


def test_rotation_keeps_the_newest_files_and_each_stands_alone(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "x.lbtop", kind="capture", inputs=[], max_bytes=1, keep=2)
    for capture in SOME[:5]:
        source = reference.open_capture(capture.path)
        while (batch := source.poll()) is not None:
            recorder.add(batch, source.stats())
            recorder.flush(source.stats())
    recorder.close(source.stats())
    assert recorder.files >= 5
    assert {path.name for path in tmp_path.iterdir()} == {"x.lbtop", "x.lbtop.1", "x.lbtop.2"}
    found = [diagnose(open_recording(str(path))).services for path in tmp_path.iterdir()]
    assert any(found)


def test_a_file_that_is_no_recording_is_refused_with_a_way_on(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"hello world, no recording")
    assert not is_recording(str(tmp_path / "x"))
    with pytest.raises(LbtopError, match="lbtop diagnose"):
        open_recording(str(tmp_path / "x"))
    (tmp_path / "new").write_bytes(format.MAGIC + b"\x63\x00")
    with pytest.raises(LbtopError, match="another version"):
        open_recording(str(tmp_path / "new"))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_an_altered_recording_never_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = _small_recording(tmp_path_factory)
    at = data.draw(st.integers(len(format.MAGIC) + 2, len(whole) - 1))
    altered = whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :]
    path = tmp_path_factory.getbasetemp() / "altered.lbtop"
    path.write_bytes(altered[: data.draw(st.integers(at, len(whole)))])
    with contextlib.suppress(LbtopError):
        diagnose(open_recording(str(path)))


_SMALL: list[bytes] = []


def _small_recording(factory: pytest.TempPathFactory) -> bytes:
    if not _SMALL:
        path = factory.mktemp("small") / "x.lbtop"
        record(reference.open_capture(SOME[0].path), path)
        _SMALL.append(path.read_bytes())
    return _SMALL[0]


def test_a_frame_that_swells_is_refused(tmp_path: Path) -> None:
    """A decompression bomb: 1 GB of zeros in a frame of a megabyte."""
    bomb = zlib.compress(b"\x02" + bytes(format.MAX_FRAME + 10), 9)
    frame = len(bomb).to_bytes(4, "little") + zlib.crc32(bomb).to_bytes(4, "little") + bomb
    path = tmp_path / "bomb.lbtop"
    path.write_bytes(_small_recording_head(tmp_path) + frame)
    source = open_recording(str(path))
    batch = source.poll()
    assert batch is not None and batch.final
    assert any("damaged" in note for note in source.stats().notes)


def _small_recording_head(folder: Path) -> bytes:
    recorder = Recorder(folder / "head.lbtop", kind="capture", inputs=[])
    recorder._file.flush()
    return (folder / "head.lbtop").read_bytes()


def test_identities_are_numbered_in_order_of_first_appearance_and_bounded() -> None:
    identities = Identities()
    assert identities.number(np.array([9, 0, 4, 9], np.uint64)).tolist() == [1, 0, 2, 1]
    identities.LIMIT = 2
    assert identities.number(np.array([7, 9], np.uint64)).tolist() == [3, 4]


def test_forged_sequence_numbers_cost_no_time(tmp_path: Path) -> None:
    """Rows an eternity apart: the windows between them are not gone through one by one."""
    source = reference.open_capture(SOME[0].path)
    recorder = Recorder(tmp_path / "x.lbtop", kind="capture", inputs=[])
    while (batch := source.poll()) is not None:
        for rows in batch.tables.values():
            half = len(rows) // 2
            rows["seq"][half:] += np.uint64(1 << 60)
        recorder.add(batch, source.stats())
    recorder.close(source.stats())
    assert diagnose(open_recording(str(tmp_path / "x.lbtop"))).final


@pytest.mark.parametrize("fields", [[], [["seq", "<u8"]], [["end", "|u1"]]])
def test_rows_of_next_to_no_bytes_are_refused(fields: list[list[str]], tmp_path: Path) -> None:
    """Four thousand million rows of no columns would fit into any frame."""
    path = tmp_path / "x.lbtop"
    with path.open("wb") as out:
        out.write(format.MAGIC + struct.pack("<H", format.VERSION))
        format.write_frame(out, format.LAYOUT, json.dumps({"tables": {**format.layout(), "opened": fields}}).encode())
        format.write_frame(out, format.BATCH, bytes(8) + b"\x06opened" + struct.pack("<I", 0xFFFFFFFF))
    with pytest.raises(LbtopError, match="its layout lacks what every row has"):
        open_recording(str(path))


def test_rows_out_of_order_are_damage(tmp_path: Path) -> None:
    source = reference.open_capture(SOME[0].path)
    recorder = Recorder(tmp_path / "x.lbtop", kind="capture", inputs=[])
    while (batch := source.poll()) is not None:
        batch["connections"]["seq"][:] = batch["connections"]["seq"][::-1].copy()
        recorder.add(batch, source.stats())
    recorder.close(source.stats())
    read = open_recording(str(tmp_path / "x.lbtop"))
    assert diagnose(read).final
    assert any("not in order" in note for note in read.stats().notes)


def test_a_replay_knows_the_connections_that_are_open(tmp_path: Path) -> None:
    """In the middle of a recording the verdict is what it was in the middle of the capture, and not unknown until they close."""
    file = tmp_path / "x.lbtop"
    assert main(["record", "-o", str(file), str(SHOP)]) == 0
    source, capture = open_recording(str(file)), open_capture([str(SHOP)], rows=256, recognition=recognition())
    compared = 0
    while (batch := source.poll(1.0)) is not None and not batch.final:
        capture.poll(1.0)
        recorded, live = source.live(), capture.live()
        if len(live) and compared < 8:
            compared += 1
            assert sorted(recorded["conn"]) == sorted(live["conn"])
            for column in ("opened_ns", "last_ns", "bytes_c", "bytes_s", "protocol7", "requests", "flags"):
                assert np.array_equal(recorded[column], live[column]), column
    assert compared == 8
    frames = list(snapshots(open_recording(str(file)), 1_000_000_000))
    early = frames[len(frames) // 4]
    assert early.services[0].termination.verdict.token == "offload" and any(target.live for target in early.services[0].targets)


def test_open_connections_are_a_small_part_of_a_file(tmp_path: Path) -> None:
    """They are written more rarely the more of them there are."""
    source = open_capture([str(SHOP)], rows=64, recognition=recognition())
    with_marks, without = (Recorder(tmp_path / name, kind="capture", inputs=()) for name in ("with", "without"))
    many = None
    while (batch := source.poll(1.0)) is not None and not batch.final:
        for recorder in (with_marks, without):
            recorder.add(batch, source.stats())
        live = source.live()
        many = live if many is None or len(live) > len(many) else many
        if with_marks.wants_open:
            with_marks.mark_open(np.repeat(many, 40), source.stats())  # as if forty times as many were open
    for recorder in (with_marks, without):
        recorder.close(source.stats())
    marks = [body for kind, body in frames_of(tmp_path / "with") if kind == OPEN]
    rows = sum(len(unpack_batch(body, row_layouts(layout()))[2]["connections"]) for body in marks)
    assert marks and rows <= with_marks.rows / 2


def frames_of(file: Path) -> list[tuple[int, bytes]]:
    with file.open("rb") as opened:
        opened.seek(len(MAGIC) + 2)
        return list(read_frames(opened))


def test_what_a_live_host_told_of_itself_is_kept(tmp_path: Path) -> None:
    inside = InsideTls((443,), 12, 11, 0, ("caddy: Go's own TLS, not readable",))
    kernel = (KernelTcp(443, 3, (("abort on close", 2),), 1, 12, 0, 0),)
    stats = SourceStats("ebpf", inside_tls=inside, kernel_tcp=kernel)
    path = tmp_path / "live.lbtop"
    recorder = Recorder(path, kind="ebpf", inputs=["lo"])
    recorder.close(stats)
    read = open_recording(str(path))
    while read.poll() is not None:
        pass
    assert read.stats().inside_tls == inside and read.stats().kernel_tcp == kernel


@pytest.mark.parametrize(
    "forged",
    [
        {"inside_tls": 7, "kernel_tcp": {"port": 1}},
        {"inside_tls": {"ports": "443"}, "kernel_tcp": [7, {"port": 443}]},
        {"inside_tls": {"ports": [], "connections": None, "read": [], "lost": 0, "unreadable": []}, "kernel_tcp": [[]]},
        {"kernel_tcp": [{**dict.fromkeys(KernelTcp.__match_args__, 0), "resets_sent": [["why"], [1, 2], "x"], "port": "443"}]},
    ],
)
def test_what_is_forged_of_it_is_left_out(forged: dict[str, Any]) -> None:
    assert reader._inside_tls(forged.get("inside_tls")) is None
    assert reader._kernel_tcp(forged["kernel_tcp"]) == ()
