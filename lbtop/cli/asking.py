"""What the dashboard may ask for beyond its snapshots, and who answers.

Captures and recordings are read once more, by another process of lbtop. What cannot be read again (live traffic, standard
input) is asked of the engine's process, which keeps the last observations in memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lbtop.cli.reading import STDIN
from lbtop.cli.whatif import BALANCING
from lbtop.model.errors import LbtopError

if TYPE_CHECKING:
    from lbtop.faces.tui.feed import Attend, ChannelFeed
    from lbtop.faces.tui.tools import Fields, Observed, Tools
    from lbtop.model.observation import Source
    from lbtop.model.snapshot import ConnectionRow, Snapshot

_MARGIN_NS = 1_000_000


def can_be_read_again(options: argparse.Namespace) -> bool:
    return bool(options.files) and STDIN not in options.files


def reading_tools(options: argparse.Namespace) -> Tools:
    """Asks lbtop itself, as another process: reading a capture once more must not hold up a key."""
    from lbtop.cli.reading import capture_files
    from lbtop.faces.tui.tools import Observed, Tools
    from lbtop.recording import is_recording

    files = capture_files(options.files)
    recording = is_recording(files[0])
    shared = [*files, *_given(options, "keylog")]
    known = [*_given(options, "vantage", "target", "lb", "name", "hosts")]

    def observations(row: ConnectionRow) -> Observed:
        command = ["observe", *shared]
        if not recording:  # which is read whole
            command += ["--until", _iso(row.last_ns + _MARGIN_NS)]
            if row.seen_from_start:  # else what tells who is client lies earlier
                command += ["--since", _iso(row.opened_ns - _MARGIN_NS)]
        note = "from a recording: numbers stand for what was told apart, values were never in it" if recording else ""
        return Observed(_observed(command, row), note)

    def whatif(service: str, algorithm: str, targets: str) -> Mapping[str, object]:
        command = ["whatif", *shared, *_given(options, "since", "until"), "--balancing", algorithm, "--service", service]
        with _lbtop([*command, "--targets", targets, "--json", *known]) as process:
            told, said = process.communicate()
            _check(process, said)
        answer: Mapping[str, object] = json.loads(told)
        return answer

    return Tools(observations, whatif, BALANCING)


def _observed(command: list[str], row: ConnectionRow) -> Iterator[Mapping[str, object]]:
    with _lbtop(command) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if row.client.encode() in line:
                fields = json.loads(line)
                if fields.get("client") == row.client and fields.get("server") == row.target:
                    yield fields
        _check(process, process.stderr.read() if process.stderr else b"")


def _given(options: argparse.Namespace, *names: str) -> Iterator[str]:
    """The options that were given, as they would be typed."""
    for name in names:
        value = getattr(options, name, None)
        for one in value if isinstance(value, list) else [value] if value is not None else []:
            yield f"--{name}={one}"


def _iso(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _lbtop(arguments: list[str]) -> subprocess.Popen[bytes]:
    nothing = subprocess.DEVNULL
    command = [sys.executable, "-m", "lbtop", *arguments]
    return subprocess.Popen(command, stdin=nothing, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _check(process: subprocess.Popen[bytes], said: bytes) -> None:
    """Raises RuntimeError with what it said, where it failed."""
    if process.wait() not in (0, 1):
        lines = said.decode(errors="replace").strip().splitlines()
        raise RuntimeError(lines[-1].removeprefix("lbtop: ") if lines else "lbtop could not read it again")


def memory_tools(feed: ChannelFeed) -> Tools:
    """Asks the engine's process."""
    from lbtop.faces.tui.tools import Observed, Tools

    def observations(row: ConnectionRow) -> Observed:
        answer: tuple[list[Fields], str] = feed.ask("observations", row.number, row.opened_ns)  # type: ignore[assignment]
        return Observed(*answer)

    def whatif(service: str, algorithm: str, targets: str) -> Mapping[str, object]:
        answer: Mapping[str, object] = feed.ask("whatif", service, algorithm, targets)  # type: ignore[assignment]
        return answer

    return Tools(observations, whatif, BALANCING, while_reading=True)


class Memory:
    """The engine's side: drives a source to snapshots, remembers the last of its observations, and answers from them."""

    def __init__(self, source: Source, frames: Callable[[Source], Iterable[Snapshot]]) -> None:
        from lbtop.recording.recent import Recent

        self._recent = Recent(source)
        self._frames = frames
        self._newest: Snapshot | None = None

    def snapshots(self, attend: Attend) -> Iterator[Snapshot]:
        self._recent.attend = attend
        for snapshot in self._frames(self._recent):
            self._newest = snapshot
            yield snapshot

    def answer(self, what: str, *arguments: object) -> object:
        """Raises RuntimeError with a sentence."""
        try:
            if what == "observations":
                return self._observations(*arguments)  # type: ignore[arg-type]
            return self._whatif(*arguments)  # type: ignore[arg-type]
        except LbtopError as error:
            raise RuntimeError(str(error)) from None

    def _observations(self, number: int, opened_ns: int) -> tuple[list[Mapping[str, object]], str]:
        """The rows of one connection, and what is missing of them."""
        from lbtop.faces.observe import Values, rows

        values = Values()
        found: list[Mapping[str, object]] = [row for batch in self._recent.connection(number) for row in rows(batch, values)]
        gone = self._recent.forgot and opened_ns < self._recent.since_ns
        return found, f"kept in memory since {_iso(self._recent.since_ns)[11:19]}: what came before is gone" if gone else ""

    def _whatif(self, service: str, algorithm: str, targets: str) -> Mapping[str, object]:
        from lbtop.cli.whatif import foretold

        if self._newest is None:
            raise RuntimeError("nothing was read yet")
        answer = foretold(self._newest, service, algorithm, targets, self._recent.again)
        return answer | {"kept_since_ns": self._recent.since_ns if self._recent.forgot else None}
