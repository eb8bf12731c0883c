"""The real program in a real terminal: it draws, answers, goes, and leaves the terminal as it was."""

from __future__ import annotations

import gzip
import itertools
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from lbtop.probes.files.reading import WORTH_BYTES

from tests.tui.driving import SHOP

PATIENCE_S = 30.0
_numbers = itertools.count()


@dataclass
class Terminal:
    """One tmux server of our own, one window."""

    tmux: str
    socket: str

    def run(self, *arguments: str) -> str:
        command = [self.tmux, "-f", "/dev/null", "-L", self.socket, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def open(self, command: str, width: int, height: int) -> None:
        self.run("new-session", "-d", "-x", str(width), "-y", str(height), f"{command}; echo GONE $?; exec sleep 60")

    def keys(self, *keys: str) -> None:
        self.run("send-keys", *keys)

    def text(self) -> str:
        return self.run("capture-pane", "-p")

    def until(self, holds: Callable[[str], bool]) -> str:
        deadline = time.monotonic() + PATIENCE_S
        while not holds(text := self.text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert holds(text), text
        return text


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    found = shutil.which("tmux")
    if found is None:
        pytest.skip("tmux is not installed")
    made = Terminal(found, f"lbtop-test-{os.getpid()}-{next(_numbers)}")
    yield made
    made.run("kill-server")


def replay(*options: str, environment: str = "COLORTERM=truecolor") -> str:
    return f"env {environment} {sys.executable} -m lbtop replay {SHOP} {' '.join(options)}"


def test_it_draws_answers_and_leaves(terminal: Terminal) -> None:
    terminal.open(replay(), 80, 24)
    text = terminal.until(lambda text: "end " in text and "shop.example" in text)
    assert "clients ══" in text and "┊" in text and "arrivals/s" in text
    terminal.keys("Enter")
    terminal.until(lambda text: "1 Targets" in text and "10.0.1.12:8080" in text)
    terminal.keys("2")
    terminal.until(lambda text: "targets of its last arrivals" in text)
    terminal.keys("?")
    terminal.until(lambda text: "choose a row" in text)
    terminal.keys("Escape")
    terminal.until(lambda text: "targets of its last arrivals" in text)
    terminal.keys("q")
    text = terminal.until(lambda text: "GONE" in text)
    assert "GONE 0" in text and "clients" not in text  # the screen from before is back


@pytest.mark.parametrize("environment", ["NO_COLOR=1", "TERM=screen COLORTERM=", "TEXTUAL_FPS=15 SSH_CONNECTION=x"])
def test_colour_is_never_the_only_carrier(terminal: Terminal, environment: str) -> None:
    terminal.open(replay(environment=environment), 80, 24)
    text = terminal.until(lambda text: "end " in text and "!!" in text)
    assert "offload" in text and "══ (TLS) ══" in text.replace("═" * 3, "═").replace("═══", "══")


def test_without_colour_everything_is_in_the_terminals_own(terminal: Terminal) -> None:
    """Whatever those are: a colour of ours beside one of theirs may be black on black."""
    terminal.open(replay(environment="NO_COLOR=1"), 80, 24)
    terminal.until(lambda text: "end " in text and "!!" in text)
    looks = re.findall(r"\x1b\[([\d;]*)m", terminal.run("capture-pane", "-p", "-e"))
    codes = {int(code or 0) for look in looks for code in look.split(";")}
    assert codes and not codes & {*range(30, 39), *range(40, 49), *range(90, 108)}, codes


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_restores_the_terminal(terminal: Terminal, number: signal.Signals, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    terminal.open(f"sh -c 'echo $$ > {pid}; exec {replay()}'", 80, 24)
    terminal.until(lambda text: "shop.example" in text)
    os.kill(int(pid.read_text()), number)
    text = terminal.until(lambda text: "GONE" in text)
    assert f"GONE {128 + number}" in text
    assert terminal.run("display-message", "-p", "#{alternate_on}#{mouse_any_flag}#{cursor_flag}").strip() == "001"


def test_no_process_is_left_when_the_terminal_vanishes(terminal: Terminal, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    terminal.open(f"sh -c 'echo $$ > {pid}; exec {replay()}'", 80, 24)
    terminal.until(lambda text: "shop.example" in text)
    children = _children(int(pid.read_text()))
    terminal.run("kill-server")
    deadline = time.monotonic() + PATIENCE_S
    while any(map(_alive, [int(pid.read_text()), *children])) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_alive, [int(pid.read_text()), *children]))


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in tasks.read_text().split()] if tasks.exists() else []


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_standard_input_may_be_the_capture(terminal: Terminal) -> None:
    terminal.open(f"zcat {SHOP} | {sys.executable} -m lbtop replay -", 80, 24)
    terminal.until(lambda text: "end " in text and "shop.example" in text)
    terminal.keys("q")
    assert "GONE 0" in terminal.until(lambda text: "GONE" in text)


def test_without_a_terminal_it_prints_the_diagnosis() -> None:
    done = subprocess.run([sys.executable, "-m", "lbtop", "replay", str(SHOP)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "shop.example" in done.stdout and "no terminal here" in done.stderr
    assert "\x1b" not in done.stdout


def test_an_unusable_file_is_said_before_the_screen_is_taken() -> None:
    """Also on a terminal: nothing of the dashboard may appear first."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "lbtop", "replay", "/nonexistent.pcap"])
    said = b""
    while select.select([terminal], [], [], PATIENCE_S)[0]:
        try:
            said += os.read(terminal, 4096)
        except OSError:
            break
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 2 and b"no such file" in said and b"\x1b[?1049h" not in said


def test_a_crash_restores_the_terminal_and_is_told(terminal: Terminal, tmp_path: Path) -> None:
    """A bug in drawing: the traceback stands on the screen from before, and the status is that of a bug."""
    script = tmp_path / "crashing.py"
    script.write_text(
        "import sys\n"
        "from lbtop.faces.tui.screens.overview import OverviewScreen\n"
        "def draw(screen, frame): raise ZeroDivisionError('made up')\n"
        "OverviewScreen.draw = draw\n"
        "from lbtop.cli import process\n"
        "process()\n"
    )
    terminal.open(f"env COLORTERM=truecolor {sys.executable} {script} replay {SHOP}", 80, 40)
    text = terminal.until(lambda text: "GONE" in text)
    assert "GONE 70" in text and "ZeroDivisionError: made up" in text
    assert terminal.run("display-message", "-p", "#{alternate_on}#{mouse_any_flag}#{cursor_flag}").strip() == "001"


def test_a_large_capture_is_read_by_the_engine(terminal: Terminal, tmp_path: Path) -> None:
    """Large enough to be read by threads elsewhere: they would not come along when the engine's process is forked."""
    large = tmp_path / "large.pcap"
    with gzip.open(SHOP) as packed:
        capture = packed.read()
    header, packets = capture[:24], capture[24:]
    with large.open("wb") as file:
        file.write(header)
        while file.tell() <= 4 * WORTH_BYTES:
            file.write(packets)
    terminal.open(f"env COLORTERM=truecolor {sys.executable} -m lbtop replay {large}", 80, 24)
    terminal.until(lambda text: "end " in text and "shop.example" in text)
