"""The table of all captures in captures/README.md."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- table: written by python -m tests.lab --table -->", "<!-- end of table -->"
VANTAGES = {
    "all_targets": "all targets",
    "two_targets": "two targets",
    "one_target": "one target",
    "load_balancer": "balancer",
    "load_balancer_any": "balancer, -i any",
    "client": "a client",
}


def rewrite(readme: Path) -> None:
    """Put the table of the truth files beside ``readme`` between its two markers."""
    text = readme.read_text()
    head, rest = text.split(BEGIN)
    readme.write_text(f"{head}{BEGIN}\n{table(readme.parent)}\n{END}{rest.split(END)[1]}")


def table(captures: Path) -> str:
    """One row per truth file, in Markdown."""
    rows = [
        "| capture | set up | seen from | mode | mechanism | must be found | what the wire shows |",
        "|---|---|---|---|---|---|---|",
    ]
    for path in sorted(captures.glob("*.toml")):
        truth = tomllib.loads(path.read_text())
        service = truth["service"][0]
        cells = (
            f"`{truth['file']}`",
            _scenario(truth),
            VANTAGES[truth["vantage"]],
            service["mode"],
            service["mechanism"],
            "healthy" if truth["healthy"] else ", ".join(truth["findings"]["must"]),
            truth["shows"],
        )
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _scenario(truth: dict[str, Any]) -> str:
    return str(truth["scenario"]) + (f"; {truth['defect']}" if truth.get("defect") else "")
