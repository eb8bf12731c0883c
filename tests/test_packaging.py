"""What is installed: metadata, data files, the command, licences; and what the repository promises to a stranger."""

from __future__ import annotations

import re
import stat
import subprocess
import tomllib
from importlib.metadata import distribution
from pathlib import Path

from lbtop import __version__

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split("\n")


def test_the_installed_version_is_this_one() -> None:
    installed = distribution("lbtop")
    assert installed.version == __version__
    assert installed.metadata["License-Expression"] == "Apache-2.0"
    assert [script.name for script in installed.entry_points] == ["lbtop"]


def test_lean_at_run_time() -> None:
    names = {re.split(r"[<>=]", requirement)[0] for requirement in PROJECT["project"]["dependencies"]}
    assert names == {"numpy", "textual", "psutil"}


def test_the_unrelated_package_called_bcc_is_never_asked_for() -> None:
    everything = str(PROJECT["project"]) + str(PROJECT["dependency-groups"])
    assert not re.search(r"['\"]bcc\b", everything)


def test_data_files_are_packaged() -> None:
    """Every suffix of a data file under the packages is on the list that setuptools copies."""
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["*"]
    for name in TRACKED:
        if name.startswith(("lbtop/", "probes/")) and not name.endswith((".py", ".pxd")):
            path = Path(name)
            assert any(path.match(pattern) for pattern in patterns), f"{name} would not be installed"


def test_every_compiled_module_has_both_halves() -> None:
    for name in TRACKED:
        if name.endswith(".pxd"):
            assert name.removesuffix(".pxd") + ".py" in TRACKED, name


def test_licences() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:200]
    assert "GNU GENERAL PUBLIC LICENSE" in (ROOT / "LICENSES" / "GPL-2.0-only.txt").read_text()[:200]
    for source in (ROOT / "probes" / "ebpf").rglob("*.c"):
        assert "SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only" in source.read_text()[:300], source


def test_continuous_integration_runs_what_a_person_runs() -> None:
    run = ROOT / ".ci" / "run"
    assert run.stat().st_mode & stat.S_IXUSR
    assert "make test" in run.read_text()


def test_make_names_every_target_it_promises() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in ("setup", "demo", "test", "bench", "captures", "lint", "docs", "scoreboard"):
        assert re.search(rf"^{target}:", makefile, re.M), target
    demo = re.search(r"^DEMO := (.*)$", makefile, re.M)
    assert demo and (ROOT / demo[1]).is_file()


def test_what_make_runs_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for module in re.findall(r"-m ((?:tests|scripts)[\w.]*)", makefile):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
    for path in re.findall(r"(?:scripts|tests)/[\w./-]+", makefile):
        assert (ROOT / path).exists(), path


def test_scripts_can_be_run() -> None:
    for script in (ROOT / "scripts").iterdir():
        if script.is_file() and not script.suffix:
            assert script.stat().st_mode & stat.S_IXUSR, script
            subprocess.run(["sh", "-n", str(script)], check=True)


def test_no_file_names_a_machine_or_a_registry() -> None:
    hosts = re.compile(rb"pypi" + rb"\.org|files\.pythonhosted|deb\.debian" + rb"\.org")
    for name in TRACKED:
        path = ROOT / name
        if name.endswith((".py", ".md", ".toml", ".sh", "Makefile", ".tsv", ".pxd")) or name.startswith((".ci/", "scripts/")):
            if name == "tests/test_packaging.py" or not path.is_file():
                continue
            assert not hosts.search(path.read_bytes()), name
