"""Imports go one way. What import-linter cannot see, because probes/ lies beside the package, is read from the sources."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ["cli", "engine", "assemble", "faces", "findings", "inference", "reconstruct", "recording", "catalog", "model"]
"""Top to bottom. A module may import from its own layer and from those below it."""
ALLOWED = {
    "probes": {"model.observation", "model.errors", "model.text", "model.record"},
    "faces": {"faces", "model"},
    "model": {"model"},
    "catalog": {"catalog", "model", "probes.wire.recognition"},
}


def modules(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*.py")):
        if "__pycache__" not in path.parts:
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join((name, *(part for part in parts if part != "__init__"))).rstrip("."), path


SOURCES = [*modules(ROOT / "lbtop", "lbtop"), *modules(ROOT / "probes", "lbtop.probes")]


def imported(path: Path) -> set[str]:
    """The modules of lbtop that a file imports, wherever in it, without the leading ``lbtop.``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    found = {name.removeprefix("cython.cimports.") for name in found}
    return {name.removeprefix("lbtop.") for name in found if name.startswith("lbtop.")}


def layer(module: str) -> str:
    return module.removeprefix("lbtop.").split(".")[0]


@pytest.mark.parametrize(("module", "path"), SOURCES, ids=[name for name, _ in SOURCES])
def test_imports_go_down(module: str, path: Path) -> None:
    own = layer(module)
    if own in LAYERS:
        below = LAYERS[LAYERS.index(own) :]
        wrong = {name for name in imported(path) if layer(name) in LAYERS and layer(name) not in below}
        assert not wrong, f"{module} imports from above: {sorted(wrong)}"


@pytest.mark.parametrize("own", sorted(ALLOWED))
def test_what_a_package_may_know(own: str) -> None:
    allowed = ALLOWED[own] | {own}
    for module, path in SOURCES:
        if layer(module) != own:
            continue
        for name in imported(path):
            known = {".".join(name.split(".")[:depth]) for depth in range(1, name.count(".") + 2)}
            above = {parent for entry in allowed for parent in (entry.rpartition(".")[0],) if parent}
            assert known & allowed or name in above or name in ("__version__", "data"), f"{module} imports lbtop.{name}"


def test_findings_and_faces_do_not_know_each_other() -> None:
    for module, path in SOURCES:
        for one, other in (("faces", "findings"), ("findings", "faces")):
            if layer(module) == one:
                assert not {name for name in imported(path) if layer(name) == other}, module


@pytest.mark.parametrize("package", ["textual", "rich", "psutil", "bcc", "hpack", "cryptography", "zstandard", "pyarrow"])
def test_optional_and_heavy_packages_are_imported_late(package: str) -> None:
    """Only the dashboard may import Textual at the top of a module; the others are imported where they are used."""
    for module, path in SOURCES:
        if module.startswith("lbtop.faces.tui") and package in ("textual", "rich"):
            continue
        for node in ast.parse(path.read_text("utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert package not in {name.split(".")[0] for name in names}, f"{module} imports {package} when it is imported"


def test_import_linter_agrees() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(command), "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
