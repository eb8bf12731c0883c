"""``python -m tests.scoreboard``: prints the scoreboard; ``--write`` puts it into docs/scoreboard.md. Some minutes."""

from __future__ import annotations

import argparse
import sys
import time

from tests.corpus import ROOT
from tests.scoreboard import page
from tests.scoreboard.board import measure

PAGE = ROOT / "docs" / "scoreboard.md"


def main() -> int:
    """Exit status 0: figures are reported, not judged; the gate is tests/test_scoreboard.py."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.scoreboard", description=__doc__, epilog="example: make scoreboard ARGS=--write"
    )
    parser.add_argument("--write", action="store_true", help="also write docs/scoreboard.md")
    parser.add_argument("--services", type=int, default=2000, help="made-up services per simulated claim (default 2000)")
    options = parser.parse_args()
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"[{time.monotonic() - began:5.0f} s] {what}", file=sys.stderr)

    text = page.text(measure(options.services, say))
    sys.stdout.write(text)
    if options.write:
        PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
