"""The committed captures and the truth about each (format: captures/README.md)."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CAPTURES = ROOT / "captures"
SHARED_CAPTURES = ROOT.parent / "shared" / "captures"
THOROUGH = bool(os.environ.get("LBTOP_THOROUGH"))


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


def sampled(names: Iterable[str], step: int, *always: str) -> list[str]:
    """Every ``step``-th of the names, and those in ``always``; all of them where LBTOP_THOROUGH is set.

    A test over every capture and every way to spoil it takes minutes; a sample of each finds nearly the same.
    """
    names = list(names)
    if THOROUGH:
        return names
    return sorted({*names[::step], *(name for name in always if name in names)})


def orphans() -> list[str]:
    return [capture.name for capture in _declared() if not capture.path.is_file()]


def _declared() -> list[Capture]:
    truths = {path: tomllib.loads(path.read_text()) for path in sorted(CAPTURES.glob("*.toml"))}
    return [Capture(path.stem, CAPTURES / truth["file"], truth) for path, truth in truths.items()]
