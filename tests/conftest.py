"""Fixtures for everyone, and the list of what could not run here, by name."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.corpus import SHARED_CAPTURES, THOROUGH, Capture, committed

# Started in the background by a shell, we would ignore Ctrl-C and so would every process we start: tests that end one by it would
# wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("steady")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-pictures", action="store_true", help="store the dashboard's pictures anew (tests/tui/snapshots)")


@pytest.fixture(scope="session")
def shared_captures() -> Path:
    """The folder of captures from elsewhere: ``ja4/`` and ``hostile/``."""
    if not SHARED_CAPTURES.is_dir():
        pytest.skip("no folder shared/captures beside this checkout")
    return SHARED_CAPTURES


@pytest.fixture(scope="session")
def tshark() -> str:
    """The command; the tests that use it compare with an independent dissector."""
    return _command("tshark")


@pytest.fixture(scope="session")
def lbtop() -> list[str]:
    """The installed command, as a user starts it."""
    beside = Path(sys.executable).with_name("lbtop")
    return [str(beside) if beside.exists() else _command("lbtop")]


@pytest.fixture(scope="session")
def corpus() -> tuple[Capture, ...]:
    """The committed captures."""
    if not committed():
        pytest.skip("no committed captures")
    return committed()


@pytest.fixture
def root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")


def _command(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """What was left out and why: a test that did not run has shown nothing."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section(f"NOT RUN, by name: {len(skipped)}", sep="-")
        for report in skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            terminalreporter.line(f"{report.nodeid}: {reason.removeprefix('Skipped: ')}")
    if not THOROUGH:
        terminalreporter.line("Tests over the captures took a sample of them; LBTOP_THOROUGH=1 takes all.")
    yield
