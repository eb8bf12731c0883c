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
    """All of them, by name. A truth file whose recording is missing fails here, not in silence."""
    found = []
    for truth_path in sorted(CAPTURES.glob("*.toml")):
        truth = tomllib.loads(truth_path.read_text())
        path = CAPTURES / truth["file"]
        if not path.is_file():
            raise FileNotFoundError(f"{truth_path.name} names {truth['file']}, which is not there")
        found.append(Capture(truth_path.stem, path, truth))
    return tuple(found)
