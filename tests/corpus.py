"""The committed captures and the truth about each (format: captures/README.md)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CAPTURES = ROOT / "captures"
SHARED_CAPTURES = ROOT.parent / "shared" / "captures"
SUFFIXES = (".pcap", ".pcapng", ".pcap.gz", ".pcapng.gz")


@dataclass(frozen=True, slots=True)
class Capture:
    """One committed recording with its truth file."""

    name: str
    path: Path
    truth: dict[str, Any]

    @property
    def secrets(self) -> list[str]:
        """Every secret the capture holds or may hold."""
        return list(self.truth.get("secrets", {}).get("values", []))

    def __str__(self) -> str:
        return self.name


@cache
def committed() -> tuple[Capture, ...]:
    """All whose recording is there, by name; :func:`orphans` names the others, and a test wants there to be none."""
    return tuple(capture for capture in _declared() if capture.path.is_file())


def orphans() -> list[str]:
    return [capture.name for capture in _declared() if not capture.path.is_file()]


def _declared() -> list[Capture]:
    truths = {path: tomllib.loads(path.read_text()) for path in sorted(CAPTURES.glob("*.toml"))}
    return [Capture(path.stem, CAPTURES / truth["file"], truth) for path, truth in truths.items()]
