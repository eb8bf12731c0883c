"""The documents say what the program does: made pages are up to date, links lead somewhere, shown commands are understood."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from lbtop.cli import COMMANDS
from lbtop.cli.command import load, parser, signed_values
from lbtop.findings import RULES
from scripts.findings_page import page
from scripts.readme_sample import with_sample

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "captures" / "README.md"]


def test_the_page_of_findings_is_made_from_the_rules() -> None:
    assert (ROOT / "docs" / "findings.md").read_text("utf-8") == page(), "run: make docs"


def test_the_readme_shows_what_the_program_prints() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert readme == with_sample(readme), "run: make docs"


@pytest.mark.parametrize("document", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text("utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), target


def test_the_architecture_names_files_that_are_there() -> None:
    named = re.findall(r"`([\w./]+(?:\.(?:py|c|bpf|tsv)|/))`", (ROOT / "docs" / "architecture.md").read_text("utf-8"))
    there = [
        str(path.relative_to(ROOT)) + "/" * path.is_dir()
        for folder in ("lbtop", "probes", "captures", "tests")
        for path in (ROOT / folder, *(ROOT / folder).rglob("*"))
    ]
    assert len(named) > 80
    assert [name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in there)] == []


def shown_commands() -> list[str]:
    found: dict[str, None] = {}
    for document in PAGES:
        for block in re.findall(r"```\n(.*?)```", document.read_text("utf-8"), re.S):
            for line in block.splitlines():
                for part in re.split(r" \| ", line.partition("  #")[0]):
                    match = re.match(r"\s*(?:\$ )?(?:sudo )?(?:\.venv/bin/)?(lbtop \S.*)", part)
                    if match and "COMMAND" not in match[1]:
                        found[match[1].strip()] = None
    for name in COMMANDS:
        for example in load(name).EXAMPLES:
            for part in re.split(r" \| |\$\(|\)", example):
                if match := re.match(r"(?:sudo )?(lbtop \S[^\"]*)", part.strip()):
                    found[match[1].partition(" >")[0].strip()] = None
    return list(found)


@pytest.mark.parametrize("command", shown_commands())
def test_shown_commands_are_understood(command: str) -> None:
    words = shlex.split(command)[1:]
    if not words or words[0] in ("--version", "--help"):
        return
    name = words[0] if words[0] in COMMANDS else "live"
    assert name in COMMANDS, command
    parser(name, load(name)).parse_args(signed_values(words[1:] if words[0] in COMMANDS else words))


def test_every_document_is_reached_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for path in sorted((ROOT / "docs").glob("*.md")):
        assert f"docs/{path.name}" in readme, path.name


def test_every_rule_explains_itself() -> None:
    for rule in RULES.values():
        assert len(rule.explanation) > 200, f"{rule.id}: what it means, how it is inferred, how to confirm it, how to mend it"
        assert rule.summary and "\n" not in rule.summary
