"""Completion scripts are accepted by their shells and offer what the parsers take; the manual page is up to date and sound."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from lbtop.cli import COMMANDS
from lbtop.cli.completion import bash, commands, fish, zsh
from scripts.man_page import page

ROOT = Path(__file__).resolve().parent.parent.parent
LINES = tuple(commands())


def complete(*words: str) -> list[str]:
    """What bash offers after these words."""
    typed = " ".join(repr(word) for word in words)
    asked = f"COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; _lbtop; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    script = bash(LINES) + asked
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split()


def test_bash_offers_commands_options_and_choices() -> None:
    assert set(COMMANDS) <= set(complete("lbtop", ""))
    assert complete("lbtop", "diagnose", "--js") == ["--json"]
    assert "load_balancer" in complete("lbtop", "diagnose", "--vantage", "")
    assert complete("lbtop", "explain", "weak-t") == ["weak-tls"]


@pytest.mark.parametrize(("shell", "script"), [("bash", bash(LINES)), ("zsh", zsh(LINES)), ("fish", fish(LINES))])
def test_the_shell_accepts_it(shell: str, script: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: it did not parse its completion script")
    (tmp_path / "script").write_text(script)
    subprocess.run([shell, "-n", str(tmp_path / "script")], check=True, timeout=20)


def test_every_option_of_every_command_is_offered() -> None:
    script = fish(LINES)
    for line in LINES:
        for option in line.options:
            assert any(f"-l {flag[2:]}" in script or f"-s {flag[1:]}" in script for flag in option.flags), (
                line.name,
                option.flags,
            )


def test_the_manual_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "lbtop.1").read_text("utf-8") == page(), "run: make docs"
