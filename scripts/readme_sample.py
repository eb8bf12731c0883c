"""Puts the output of ``lbtop diagnose`` into README.md, between its marks: ``make docs``. What stands there was run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MARKS = re.compile(r"(<!-- sample: (\S+) -->\n).*?(<!-- end of sample -->)", re.S)
SHOWN = 46
"""Lines of it: the rest repeats the form."""


def with_sample(readme: str) -> str:
    def sample(match: re.Match[str]) -> str:
        command = [sys.executable, "-m", "lbtop", "diagnose", match[2]]
        lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
        shown = lines[:SHOWN] + ["…"] * (len(lines) > SHOWN)
        return f"{match[1]}```\n$ lbtop diagnose {match[2]}\n" + "\n".join(shown) + f"\n```\n{match[3]}"

    return MARKS.sub(sample, readme)


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(with_sample(path.read_text("utf-8")), "utf-8")
