"""What ptcpdump writes beside packets: who is at a connection's end, told in rows and in the verdict, and nothing more of it."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path

import pytest
from lbtop.probes.files import open_capture
from lbtop.probes.files.processes import process_of

from lbtop.cli import main
from lbtop.model.address import endpoint_text
from lbtop.model.observation import Batch, Side
from lbtop.model.text import safe_text
from tests.corpus import CAPTURES
from tests.readers import by_decoder, read_all
from tests.reference.files import Record
from tests.reference.packets import decode
from tests.tools import writing

CAPTURE = CAPTURES / "offload-lb-cookie-one.pcap"
TARGET = "10.0.1.11:8080"
SECRET = "hunter2-and-more"
COMMENTS = (
    f"PID: 700\nCmd: /usr/sbin/nginx\nArgs: nginx -g daemon off; --password={SECRET}",
    "UserId: 33",
    f"ParentPID: 1\nParentCmd: /sbin/init\nParentArgs: init {SECRET}",
    f"ContainerName: web-1\nContainerId: 36f0310403b1aa\nContainerImage: nginx:1.25\nContainerLabels: token={SECRET}",
    f"PodName: web\nPodNamespace: shop\nPodUID: 9c1f\nPodLabels: key={SECRET}\nPodAnnotations: {SECRET}",
)
"""As ptcpdump 0.3x writes them: one comment for the process, and one each for its user, parent, container and pod."""
INBOUND, OUTBOUND = 1, 2
Facts = tuple[str, str, int, int, str, str, str]


def direction(record: Record, at: str = TARGET) -> int:
    packet = decode(record)
    assert packet is not None
    return OUTBOUND if endpoint_text(packet.source, packet.source_port) == at else INBOUND


def written(
    path: Path, order: str = "<", name: str = "eth0", comments: tuple[str, ...] = COMMENTS, at: str = TARGET, until: int = 1 << 30
) -> Path:
    """The capture as ptcpdump would have written it at the target; only the first packets with comments."""
    numbers = iter(range(1 << 30))

    def options(record: Record) -> writing.Options:
        said = [(1, comment.encode()) for comment in comments] if next(numbers) < until else []
        return [*said, (2, struct.pack(order + "I", direction(record, at)))]

    path.write_bytes(writing.pcapng(writing.read(CAPTURE), order, name=name, options=options))
    return path


def told(batch: Batch) -> set[Facts]:
    """Client, server, end, process id, program, container and pod of every row."""
    found = set()
    for row in batch["processes"]:
        ends = (endpoint_text(batch.addresses[int(row[end])], int(row[f"{end}_port"])) for end in ("client", "server"))
        texts = (batch.strings[int(row[name])].decode() for name in ("process", "container", "pod"))
        found.add((*ends, int(row["end"]), int(row["pid"]), *texts))
    return found


def by_tshark(tshark: str, path: Path, target: str = TARGET) -> set[Facts]:
    """The same, of packets with payload, from tshark's reading of comments and flags."""
    command = [tshark, "-n", "-r", str(path), "-Y", "tcp.len > 0", "-T", "fields", "-E", "aggregator=|"]
    for name in ("ip.src", "tcp.srcport", "ip.dst", "tcp.dstport", "frame.packet_flags", "frame.comment"):
        command += ["-e", name]
    found: set[Facts] = set()
    for line in subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines():
        source, source_port, sink, sink_port, flags, comments = line.split("\t")
        if not comments:
            continue
        said = dict(part.split(": ", 1) for part in comments.replace("|", "\\n").split("\\n") if ": " in part)
        sender, receiver = f"{source}:{source_port}", f"{sink}:{sink_port}"
        client, server = (receiver, sender) if sender == target else (sender, receiver)
        owner = sender if int(flags, 16) & 3 == OUTBOUND else receiver
        end = Side.SERVER if owner == server else Side.CLIENT
        program = said["Cmd"].rpartition("/")[2]
        found.add(
            (client, server, end, int(said["PID"]), program, said["ContainerName"], f"{said['PodName']}.{said['PodNamespace']}")
        )
    return found


@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
def test_every_connection_names_its_process_once(order: str, tmp_path: Path, tshark: str) -> None:
    path = written(tmp_path / "x.pcapng", order)
    batch, _ = by_decoder(path)
    assert told(batch) == by_tshark(tshark, path)
    assert len(batch["processes"]) == len(batch["connections"]) > 1


def test_the_rest_of_the_capture_is_what_it_was(tmp_path: Path) -> None:
    batch, stats = by_decoder(written(tmp_path / "x.pcapng"))
    without, plain = by_decoder(CAPTURE)
    assert stats.packets == plain.packets
    for table in ("opened", "requests", "cookies", "responses", "secrets", "connections"):
        assert len(batch[table]) == len(without[table])


def test_however_it_is_read(tmp_path: Path) -> None:
    path = str(written(tmp_path / "x.pcapng"))
    batches = [read_all(open_capture([path], **how))[0] for how in ({}, {"chunk": 100}, {"rows": 3})]
    assert all(told(batch) == told(batches[0]) for batch in batches)
    assert len({len(batch) for batch in batches}) == 1


def test_the_targets_processes_are_in_the_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(written(tmp_path / "x.pcapng"))
    assert main(["diagnose", "--json", path]) in (0, 1)
    (service,) = json.loads(capsys.readouterr().out)["services"]
    (target,) = service["targets"]
    assert target["processes"] == [{"pid": 700, "name": "nginx", "container": "web-1", "pod": "web.shop"}]
    assert main(["diagnose", path]) in (0, 1)
    assert "10.0.1.11:8080: nginx (pid 700, container web-1" in capsys.readouterr().out


def test_without_comments_nothing_is_added(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", "--json", str(CAPTURE)]) in (0, 1)
    assert "processes" not in capsys.readouterr().out


def test_a_process_at_the_clients_end_is_not_the_targets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Captured on the balancer's host: there the balancer's packets leave."""
    path = written(tmp_path / "x.pcapng", at="10.0.1.11:0")  # no packet comes from there: all are inbound, and marked so
    records = writing.read(CAPTURE)
    path.write_bytes(
        writing.pcapng(
            records,
            name="eth0",
            options=lambda record: [(1, COMMENTS[0].encode()), (2, struct.pack("<I", 3 - direction(record)))],
        )
    )
    assert {facts[2] for facts in told(by_decoder(path)[0])} == {Side.CLIENT}
    assert main(["diagnose", "--json", str(path)]) in (0, 1)
    assert "processes" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["veth18618a4a", "docker0", "cali0123"])
def test_on_the_hosts_side_of_a_link_the_direction_tells_nothing(name: str, tmp_path: Path) -> None:
    batch, _ = by_decoder(written(tmp_path / "x.pcapng", name=name))
    assert {facts[2] for facts in told(batch)} == {Side.NONE}


def test_arguments_and_labels_are_in_no_output(tmp_path: Path, lbtop: list[str]) -> None:
    path = written(tmp_path / "x.pcapng")
    for command in (["diagnose", "--evidence"], ["diagnose", "--json"], ["observe"], ["record", "-o"], ["report", "-o"]):
        out = tmp_path / "out.lbtop"
        arguments = [*command, str(out)] if command[-1] == "-o" else command
        done = subprocess.run([*lbtop, *arguments, str(path)], capture_output=True, timeout=60, check=False)
        assert done.returncode in (0, 1), done.stderr
        output = done.stdout + done.stderr + (out.read_bytes() if out.exists() else b"")
        assert SECRET.encode() not in output


def test_a_recording_keeps_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, kept = written(tmp_path / "x.pcapng"), tmp_path / "x.lbtop"
    assert main(["record", "-o", str(kept), str(path)]) == 0
    assert main(["observe", "--kind", "process", str(kept)]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert {(row["end"], row["pid"], row["process"], row["container"], row["pod"]) for row in rows} == {
        ("server", 700, "nginx", "web-1", "web.shop")
    }


def test_a_comment_on_the_first_packets_only(tmp_path: Path) -> None:
    """A connection's row waits for its first payload; a comment before that says nothing yet."""
    assert told(by_decoder(written(tmp_path / "x.pcapng", until=2))[0]) == set()
    assert len(told(by_decoder(written(tmp_path / "y.pcapng", until=3))[0])) == 1


def options_of(*comments: bytes) -> bytes:
    return b"".join(struct.pack("<HH", 1, len(comment)) + comment + b"\0" * (-len(comment) % 4) for comment in comments) + bytes(
        4
    )


@pytest.mark.parametrize(
    ("comments", "found"),
    [
        ((b"PID: 7\nCmd: /usr/bin/curl\nArgs: curl x",), (7, b"curl", b"", b"")),
        ((b"PID: 7\nCommand: curl",), (7, b"curl", b"", b"")),
        ((b"PID: 7\nCmd: /opt/very/long/pa...",), (7, b"pa", b"", b"")),
        ((b"PID: 99999999999999999999",), None),
        ((b"PID: -1\nCmd: ",), None),
        ((b"PID: \xd9\xa3",), None),
        ((b"ContainerName: \nContainerId: 0123456789abcdef",), (0, b"", b"0123456789ab", b"")),
        ((b"a remark by a person: look here",), None),
        ((b"PID: 7\nPID: 8",), (7, b"", b"", b"")),
        ((b"Cmd: " + b"x" * 60000,), (0, b"x" * 64, b"", b"")),
        ((), None),
    ],
)
def test_comments(comments: tuple[bytes, ...], found: tuple[int, bytes, bytes, bytes] | None) -> None:
    assert process_of(options_of(*comments), "<") == found


def test_what_a_comment_says_cannot_command_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "x.pcapng", comments=("PID: 7\nCmd: \x1b[2J\u202eevil\nArgs: x",))
    assert main(["diagnose", str(path)]) in (0, 1)
    shown = capsys.readouterr().out
    assert "evil (pid 7)" in shown and "\x1b" not in shown and "\u202e" not in shown
    assert safe_text("\x1b[2J\u202eevil") in shown
