"""``python -m scripts.live_picture``: the dashboard listening live in a namespace of the lab, as docs/images/live.png.

Needs root, haproxy, nginx, tmux and rsvg-convert: a real terminal beside a real balancer.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from scripts.screenshots import WIDTH, spaced
from tests.live.screen import SIZE
from tests.live.test_screen import watched

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "live.png"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="lbtop-picture-") as name, pytest.MonkeyPatch.context() as patch:
        seen = watched("alb-offload", Path(name), patch)
    print(f"verdict on the screen {seen.verdict_s} s after the first packets")
    console = Console(record=True, width=SIZE[0], file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(seen.last.rstrip("\n")), end="")
    svg = console.export_svg(title="sudo lbtop", theme=MONOKAI)
    subprocess.run(("rsvg-convert", "-w", str(WIDTH), "-o", str(PICTURE)), input=spaced(svg).encode(), check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
