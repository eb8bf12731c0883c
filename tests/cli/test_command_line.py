"""The command line as a whole process: streams, exit statuses, what it imports."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lbtop import __version__
from lbtop.cli import COMMANDS
from tests.corpus import CAPTURES

FIRST = "offload-lb-cookie-targets.pcap.gz"


def run(*arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "lbtop", *arguments],
        input=stdin,
        capture_output=True,
        env={**os.environ, **environment},
        timeout=60,
    )


@pytest.fixture(scope="module")
def capture() -> Path:
    return CAPTURES / FIRST


def modules_after(code: str) -> set[str]:
    script = (
        "import sys, io\nfrom lbtop.cli import main\nsys.stdout = io.StringIO()\n"
        f"assert main({code}) in (0, 1)\nsys.stdout = sys.__stdout__\nprint(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_version_needs_nothing() -> None:
    done = run("--version")
    assert done.stdout.decode() == f"lbtop {__version__}\n"
    assert not modules_after("['--version']") & {"numpy", "argparse", "textual", "lbtop.engine", "json"}


def test_diagnose_imports_no_dashboard(capture: Path) -> None:
    heavy = {"textual", "rich", "psutil", "asyncio", "dpkt", "scapy", "hpack", "cryptography", "pyarrow", "bcc"}
    assert not modules_after(f"['diagnose', '--json', {str(capture)!r}]") & heavy


def test_explain_and_help_read_no_captures() -> None:
    for arguments in ("['explain', 'offload']", "['--help']"):
        assert not {name for name in modules_after(arguments) if name.startswith("lbtop.probes.wire")}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0 and done.stderr == b""
    assert b"examples:" in done.stdout and f"lbtop {command}".encode() in done.stdout
    assert run("help", command).stdout == done.stdout


def test_overview_lists_every_command() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert all(f"  {command} ".encode() in done.stdout for command in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["diagnoze"],
        ["diagnose", "--jsn", "x"],
        ["diagnose", FIRST, "--for", "5s"],
        ["diagnose", FIRST, "-i", "lo"],
        ["diagnose", "-i", "no-such-interface"],
        ["diagnose", "--for", "soon"],
        ["diagnose", "no-such-file.pcap"],
        ["diagnose", "no-such-*.pcap"],
        ["diagnose", "/"],
        ["diagnose", __file__],
        ["diagnose", os.devnull],
        ["diagnose", FIRST, "--vantage", "moon"],
        ["diagnose", FIRST, "--expect", "termination=edge"],
        ["diagnose", FIRST, "--accept", "no-such-finding"],
        ["diagnose", FIRST, "--since", "yesterday"],
        ["diagnose", "-", "--since", "+5s"],
        ["diagnose", FIRST, "--target", "web1"],
        ["observe"],
        ["observe", FIRST, "--format", "xml"],
        ["observe", FIRST, "--format", "parquet"],
        ["explain", "no-such-thing"],
    ],
)
def test_what_cannot_work_is_one_clear_line_and_status_2(arguments: list[str], capture: Path) -> None:
    done = run(*(str(capture) if argument == FIRST else argument for argument in arguments))
    assert done.returncode == 2, done
    assert done.stdout == b""
    assert done.stderr.startswith(b"lbtop: ") and done.stderr.count(b"\n") == 1, done.stderr


def test_a_capture_gives_one_object_and_nothing_else(capture: Path) -> None:
    done = run("diagnose", "--json", str(capture))
    assert done.returncode == 1 and done.stderr == b""
    assert json.loads(done.stdout)["services"][0]["termination"]["mode"] == "offload"
    assert run("diagnose", "--json", str(capture)).stdout == done.stdout


def test_standard_input_gives_the_same(capture: Path) -> None:
    from_file, from_pipe = (json.loads(run(*arguments).stdout) for arguments in (("diagnose", "--json", str(capture)),) * 2)
    from_pipe = json.loads(run("diagnose", "--json", "-", stdin=capture.read_bytes()).stdout)
    assert from_pipe["source"].pop("inputs") != from_file["source"].pop("inputs")
    assert from_pipe == from_file


def test_expectations_decide_the_status(capture: Path) -> None:
    accepted = ("--accept", "plaintext-backend-hop")
    kept = run("diagnose", str(capture), *accepted, "--expect", "termination=offload,mechanism=lb_cookie")
    missed = run("diagnose", str(capture), *accepted, "--expect", "termination=bridging")
    assert (kept.returncode, kept.stderr) == (0, b"")
    assert missed.returncode == 1 and b"expected termination=bridging" in missed.stderr
    assert b"plaintext-backend-hop@" in kept.stdout


def test_text_has_no_colour_away_from_a_terminal(capture: Path) -> None:
    assert b"\x1b" not in run("diagnose", str(capture)).stdout
    assert b"\x1b[" in run("diagnose", str(capture), "--color", "always").stdout


def test_an_ascii_terminal_gets_ascii(capture: Path) -> None:
    done = run("diagnose", str(capture), PYTHONIOENCODING="ascii")
    assert done.stdout.isascii() and b"clients ===" in done.stdout


def test_a_slice_of_time_has_fewer_packets(capture: Path) -> None:
    whole, early, late = (
        json.loads(run("diagnose", "--json", str(capture), *slice_).stdout)["source"]["packets"]
        for slice_ in ((), ("--until", "+2s"), ("--since", "-1s"))
    )
    assert 0 < early < whole and 0 < late < whole


def test_names_are_shown(capture: Path) -> None:
    done = run("diagnose", str(capture), "--name", "10.0.1.11=web1")
    assert b"web1 10.0.1.11:8080" in done.stdout


def test_who_calls_the_only_servers_balancers_is_told_that_no_target_is_in_view(capture: Path) -> None:
    servers = [
        target["target"] for target in json.loads(run("diagnose", "--json", str(capture)).stdout)["services"][0]["targets"]
    ]
    told = [option for server in servers for option in ("--lb", server.rpartition(":")[0])]
    said = " ".join(run("diagnose", str(capture), *told).stdout.decode().split())
    assert said.startswith("Nothing to judge: no connection in view ends at a target, as these are given")


def test_a_reader_that_has_seen_enough_is_no_error(capture: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "lbtop", "observe", str(capture)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


def test_observe_writes_a_file_and_leaves_one_alone_that_it_cannot_fill(capture: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.csv"
    assert run("observe", str(capture), "--kind", "request", "--format", "csv", "-o", str(out)).returncode == 0
    lines = out.read_text().splitlines()
    assert lines[0].startswith("kind,seq,at,connection,client,server") and len(lines) > 100
    assert run("observe", __file__, "-o", str(out)).returncode == 2
    assert out.read_text().splitlines() == lines


def interrupted(capture: Path, *arguments: str) -> str:
    """What ``lbtop diagnose`` prints that has read a capture through a pipe, waits for more and gets Ctrl-C: it has findings."""
    with subprocess.Popen(
        [sys.executable, "-m", "lbtop", "diagnose", *arguments, "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(capture.read_bytes())
        process.stdin.flush()
        wait_until_it_reads(process.pid)
        process.send_signal(signal.SIGINT)
        told = process.stdout.read().decode()
        assert process.wait(30) == 1
    return told


def test_ctrl_c_gives_the_verdict_on_what_was_read_so_far(capture: Path) -> None:
    found = json.loads(interrupted(capture, "--json"))
    assert found["source"]["packets"] > 100
    assert found["services"][0]["termination"]["mode"] == "offload"


def test_a_verdict_on_less_than_all_says_so(capture: Path) -> None:
    told = interrupted(capture)
    assert f"Reading was ended early: {capture.stat().st_size:,} bytes were read." in " ".join(told.split())


def wait_until_it_reads(pid: int) -> None:
    """The pipe is empty and the process sleeps: it waits for more."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        waiting = Path(f"/proc/{pid}/wchan").read_text() if os.access(f"/proc/{pid}/wchan", os.R_OK) else ""
        if "pipe" in waiting:
            return
        time.sleep(0.05)
    raise AssertionError("it never came to wait for more")


CAPTURE = str(CAPTURES / "offload-lb-cookie-one.pcap")
WRITING = [
    ["diagnose", CAPTURE],
    ["diagnose", "--json", CAPTURE],
    ["observe", CAPTURE],
    ["observe", "--format", "csv", CAPTURE],
    ["whatif", CAPTURE, "--balancing", "round_robin"],
    ["report", CAPTURE, "-o", "/dev/full"],
    ["record", "-o", "/dev/full", CAPTURE],
    ["observe", "-o", "/dev/full", CAPTURE],
    ["explain"],
    ["explain", "offload"],
    ["doctor"],
    ["completion", "bash"],
    ["diagnose", "--help"],
    ["--help"],
    ["--version"],
]


@pytest.mark.parametrize("command", WRITING, ids=lambda command: " ".join(command[:2]).replace(CAPTURE, "x.pcap"))
def test_a_full_disk_is_one_line(command: list[str], lbtop: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*lbtop, *command], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("lbtop: cannot write ") and done.stderr.endswith("No space left on device\n")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", [["observe", CAPTURE], ["diagnose", "--json", CAPTURE], ["--help"]], ids=lambda c: c[0])
def test_a_closed_pipe_is_quiet(command: list[str], lbtop: list[str]) -> None:
    with subprocess.Popen([*lbtop, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(60) in (0, 1) and said == b""


def test_closed_streams_are_no_error(lbtop: list[str]) -> None:
    words = " ".join(shlex.quote(word) for word in [*lbtop, "diagnose", CAPTURE])
    assert subprocess.run(["sh", "-c", f"{words} <&- >&- 2>&-"], timeout=60, check=False).returncode == 1
