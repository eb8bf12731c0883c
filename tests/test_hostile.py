"""Everything a parser may meet (the test suite of tcpdump: fuzzed, cut, odd, looping), through the front door."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import subprocess
import traceback
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import pytest

from lbtop.cli import main
from tests.corpus import SHARED_CAPTURES

SECONDS, MEGABYTES = 1.0, 300
HANG_S = 20
FILES = sorted((SHARED_CAPTURES / "hostile").glob("*")) if SHARED_CAPTURES.is_dir() else []


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file in a process of its own. ``cpu_s`` is processor time: other work on the machine does not count."""

    name: str
    cpu_s: float
    megabytes: float
    error: str


def attempt(arguments: list[str]) -> Outcome:
    """Runs the command in a fork of this process, which may be lost: a hang ends it."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        resource.setrlimit(resource.RLIMIT_CPU, (HANG_S, HANG_S))
        with os.fdopen(write, "w") as report:
            report.write(complaints(arguments))
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as report:
        error = report.read()
    _, ended, usage = os.wait4(child, 0)
    if ended:
        error += f"ended by signal {os.WTERMSIG(ended)}"
    return Outcome(Path(arguments[-1]).name, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, error)


def attempts(command: list[str], files: list[Path]) -> list[Outcome]:
    """What became of each file, from small processes: a fork of one that has run thousands of tests takes ten times as long."""
    with ProcessPoolExecutor(
        mp_context=get_context("spawn"), initializer=complaints, initargs=([*command, str(files[0])],)
    ) as pool:
        return list(pool.map(attempt, [[*command, str(path)] for path in files], chunksize=20))


def complaints(arguments: list[str]) -> str:
    """What is wrong with how a command ended; empty when nothing is."""
    output, said = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(said):
            status = main(arguments)
    except BaseException:
        return traceback.format_exc()
    if status not in (0, 1, 2):
        return f"status {status}: {said.getvalue()[-600:]}"
    if status == 2 and len(said.getvalue().splitlines()) != 1:
        return f"not one line: {said.getvalue()!r}"
    return ""


def test_every_file_is_read_or_refused_in_one_line(shared_captures: Path) -> None:
    """No traceback, each under a second and 300 MB; a fresh process for every file."""
    command = ["diagnose", "--json"]
    assert len(FILES) > 800
    outcomes = attempts(command, FILES)
    assert not [(outcome.name, outcome.error) for outcome in outcomes if outcome.error]
    assert not [(outcome.name, outcome.cpu_s) for outcome in outcomes if outcome.cpu_s > SECONDS]
    assert not [(outcome.name, outcome.megabytes) for outcome in outcomes if outcome.megabytes > MEGABYTES]


@pytest.mark.parametrize("command", [["diagnose", "--evidence"], ["observe"], ["observe", "--format", "csv"]], ids=" ".join)
def test_every_other_output_of_every_file(command: list[str], shared_captures: Path) -> None:
    assert not [(path.name, wrong) for path in FILES if (wrong := complaints([*command, str(path)]))]


@pytest.mark.parametrize("path", FILES[::60], ids=lambda path: path.name)
def test_a_sample_as_whole_processes(path: Path, lbtop: list[str]) -> None:
    done = subprocess.run([*lbtop, "diagnose", "--json", str(path)], capture_output=True, timeout=60, check=False)
    assert done.returncode in (0, 1, 2), done.stderr
    assert b"Traceback" not in done.stderr
