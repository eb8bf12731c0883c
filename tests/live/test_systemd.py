"""The units as they are packaged: their text is what systemd takes, and lbtop works within what they allow.

Where no systemd runs, the restrictions that a process can be put under without it are: user, capabilities, bounding set,
NoNewPrivileges, SystemCallFilter, RestrictAddressFamilies, MemoryDenyWriteExecute. Mounts and control groups are not.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.net_base import Namespace, stop
from tests.live.beside import judged, packet_sockets
from tests.live.test_leftovers import held, namespace  # noqa: F401  a fixture
from tests.live.test_privileges import SYSTEM_PYTHON, effective

ROOT = Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "packaging" / "systemd").glob("*.service"))
NUMBERS = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
NOBODY = 65534
REQUESTS = 23


def settings(unit: Path) -> dict[str, str]:
    rows = (line.partition("=") for line in unit.read_text().splitlines() if line and line[0] not in "#[")
    return {name: value for name, _, value in rows}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_takes_the_unit(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("not installed: systemd-analyze")
    there = tmp_path / unit.name
    there.write_text(unit.read_text().replace("/usr/bin/lbtop", "/bin/true"))
    done = subprocess.run(("systemd-analyze", "verify", "--man=no", str(there)), capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr
    said = subprocess.run(
        ("systemd-analyze", "security", "--offline=true", "--threshold=20", str(there)), capture_output=True, text=True
    )
    assert said.returncode == 0, said.stdout  # at most 2.0 of 10


def allowed(unit: Path) -> list[int]:
    """Numbers of the system calls in SystemCallFilter=, its groups as systemd-analyze lists them."""
    numbers = dict(re.findall(r"^#define __NR_(\w+) (\d+)", NUMBERS.read_text(), re.M))
    names: set[str] = set()
    waiting = settings(unit)["SystemCallFilter"].split()
    while waiting:
        word = waiting.pop()
        if word.startswith("@"):
            text = subprocess.run(("systemd-analyze", "syscall-filter", word), capture_output=True, text=True, check=True).stdout
            waiting += [line.strip() for line in text.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
        else:
            names.add(word)
    names |= {"execve", "exit", "exit_group", "rt_sigreturn"}  # what systemd adds by itself
    return sorted(int(numbers[name]) for name in names if name in numbers)


def unable() -> str:
    """Why a unit's restrictions cannot be put on a process here; empty where they can."""
    missing = [name for name in ("setpriv", "systemd-analyze", "curl") if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if platform.machine() != "x86_64" or not NUMBERS.exists():
        return "numbers of system calls are known here for x86-64 only, from libc's headers"
    version = subprocess.run(
        (SYSTEM_PYTHON, "-c", "import sys; print(sys.implementation.cache_tag)"), capture_output=True, text=True
    )
    if version.stdout.strip() != sys.implementation.cache_tag:
        return f"{SYSTEM_PYTHON} is another Python than the one lbtop is compiled for here"
    readable = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "test", "-r")
    if subprocess.run((*readable, str(Path(sysconfig.get_paths()["purelib"]) / "numpy" / "__init__.py"))).returncode:
        return "other users may not read this installation"
    return ""


def command(unit: Path, folder: Path) -> tuple[str, ...]:
    """What ExecStart= says, under the unit's restrictions, with its log folder at ``folder``."""
    told = settings(unit)
    given = ",".join("+" + name.removeprefix("CAP_").lower() for name in told["AmbientCapabilities"].split())
    assert told["CapabilityBoundingSet"] == told["AmbientCapabilities"] and told["NoNewPrivileges"] == "yes"
    assert told["MemoryDenyWriteExecute"] == "yes" and told["DynamicUser"] == "yes"
    asked = {
        "site": sysconfig.get_paths()["purelib"],
        "syscalls": allowed(unit),
        "families": sorted(int(getattr(socket, name)) for name in told["RestrictAddressFamilies"].split()),
    }
    (folder / "asked.json").write_text(json.dumps(asked))
    arguments = [word.replace("/var/log/lbtop", str(folder)).replace("%%", "%") for word in shlex.split(told["ExecStart"])[1:]]
    return (
        *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"),
        *(f"--bounding-set=-all,{given}", f"--inh-caps=-all,{given}", f"--ambient-caps=-all,{given}"),
        *(SYSTEM_PYTHON, str(Path(__file__).with_name("restricted.py")), str(folder / "asked.json"), *arguments, "-i", "lo"),
    )


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that the user nobody may write to."""
    with tempfile.TemporaryDirectory(prefix="lbtop-unit-", dir="/var/tmp") as name:
        os.chown(name, NOBODY, NOBODY)
        yield Path(name)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_it_works_within_the_units_restrictions(unit: Path, namespace: Namespace, folder: Path, tmp_path: Path) -> None:  # noqa: F811
    why = unable()
    if why:
        pytest.skip(why)
    log = tmp_path / "lbtop.log"
    server = namespace.start(SYSTEM_PYTHON, "-m", "http.server", "8080", "--bind", "127.0.0.1", cwd=tmp_path)
    process = namespace.start(*command(unit, folder), log=log)
    try:
        deadline = time.monotonic() + 20
        while packet_sockets(namespace) == 0 or "1F90" not in namespace.run("cat", "/proc/net/tcp"):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.05)
        while effective(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert effective(process.pid) == 0  # given up as soon as all is open
        assert held(process.pid)[0]  # the filter, not only the plain ring
        for _ in range(REQUESTS):
            namespace.run("curl", "-s", "-o", "/dev/null", "http://127.0.0.1:8080/")
        if "serve" in unit.stem:
            time.sleep(2.0)
            told = namespace.run("curl", "-s", "http://127.0.0.1:9469/metrics")
            assert re.search(rf'^lbtop_target_requests\w*{{.*target="127.0.0.1:8080".*}} {REQUESTS}(\.0)?$', told, re.M), told
        time.sleep(0.5)
    finally:
        stop(process, signal.SIGINT, 20)
        stop(server)
    assert process.returncode in (0, 1), log.read_text(errors="replace")
    if "record" in unit.stem:
        verdict = judged(*folder.glob("*.lbtop"))
        (service,) = verdict["services"]
        assert sum(target["requests"] for target in service["targets"]) == REQUESTS
