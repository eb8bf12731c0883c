"""Everything a parser may meet (the test suite of tcpdump: fuzzed, cut, odd, looping), through the front door."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import resource
import subprocess
import traceback
from dataclasses import dataclass
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
    status: int
    cpu_s: float
    megabytes: float
    error: str


def attempt(arguments: list[str]) -> Outcome:
    resource.setrlimit(resource.RLIMIT_CPU, (HANG_S, HANG_S))
    before = resource.getrusage(resource.RUSAGE_SELF)
    output, complaint = io.StringIO(), io.StringIO()
    status, error = -1, ""
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(complaint):
            status = main(arguments)
    except BaseException:
        error = traceback.format_exc()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if status == 2 and len(complaint.getvalue().splitlines()) != 1:
        error = f"not one line: {complaint.getvalue()!r}"
    return Outcome(Path(arguments[-1]).name, status, cpu_s, after.ru_maxrss / 1024, error)


@pytest.mark.parametrize("command", [["diagnose", "--json"], ["diagnose"], ["observe"]], ids=" ".join)
def test_every_file_is_read_or_refused_in_one_line(command: list[str], shared_captures: Path) -> None:
    """No traceback, each under a second and 300 MB; a fresh process for every file."""
    assert len(FILES) > 800
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        outcomes = pool.map(attempt, [[*command, str(path)] for path in FILES], chunksize=1)
    assert not [(outcome.name, outcome.error) for outcome in outcomes if outcome.error]
    assert {outcome.status for outcome in outcomes} <= {0, 1, 2}
    assert not [(outcome.name, outcome.cpu_s) for outcome in outcomes if outcome.cpu_s > SECONDS]
    assert not [(outcome.name, outcome.megabytes) for outcome in outcomes if outcome.megabytes > MEGABYTES]


@pytest.mark.parametrize("path", FILES[::60], ids=lambda path: path.name)
def test_a_sample_as_whole_processes(path: Path, lbtop: list[str]) -> None:
    done = subprocess.run([*lbtop, "diagnose", "--json", str(path)], capture_output=True, timeout=60, check=False)
    assert done.returncode in (0, 1, 2), done.stderr
    assert b"Traceback" not in done.stderr
