"""Where probes are placed: found in machine code made here, and in this host's own library as objdump reads it."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from lbtop.probes.ebpf import elf, libraries
from lbtop.probes.ebpf.places import cheapest

ENDBR64 = bytes.fromhex("f30f1efa")
READ, READ_EX, INNER = 0x100, 0x200, 0x40


def call(at: int, target: int) -> bytes:
    return b"\xe8" + (target - at - 5).to_bytes(4, "little", signed=True)


def library(path: Path, *, marked: bool, calls: int = INNER, inner: bytes = b"\x41\x55\x41\x54") -> Path:
    """SSL_read (stack protector, then a call) and SSL_read_ex (a call at once), as compilers write them."""
    mark = ENDBR64 if marked else b""
    code = bytearray(0x400)
    for at, text in (
        (INNER, mark + inner),
        (READ, mark + bytes.fromhex("4883ec1864488b042528000000")),
        (READ_EX, mark + bytes.fromhex("4883ec08")),
    ):
        code[at : at + len(text)] = text
        end = at + len(text)
        if at != INNER:
            code[end : end + 5] = call(end, calls if at == READ else INNER)
    path.write_bytes(code)
    return path


@pytest.mark.parametrize("marked", [False, True])
def test_one_place_for_both(tmp_path: Path, marked: bool) -> None:
    file = library(tmp_path / "lib", marked=marked)
    found = cheapest(file, {"SSL_read": READ, "SSL_read_ex": READ_EX}, "x86_64")
    assert found == {"SSL_read_ex": INNER + 4 * marked}


def test_only_where_both_lead_to_the_same(tmp_path: Path) -> None:
    both = {"SSL_read": READ, "SSL_read_ex": READ_EX}
    assert cheapest(library(tmp_path / "other", marked=False, calls=INNER + 8), both, "x86_64") == both
    assert cheapest(library(tmp_path / "dear", marked=False, inner=b"\x48\x85\xff"), both, "x86_64") == both
    marked = library(tmp_path / "marked", marked=True, calls=INNER + 8)
    assert cheapest(marked, both, "x86_64") == {"SSL_read": READ + 4, "SSL_read_ex": READ_EX + 4}


def test_other_machines_and_other_functions_are_left_alone(tmp_path: Path) -> None:
    file = library(tmp_path / "lib", marked=False)
    assert cheapest(file, {"SSL_read": READ, "SSL_read_ex": READ_EX}, "aarch64") == {"SSL_read": READ, "SSL_read_ex": READ_EX}
    assert cheapest(file, {"SSL_free": READ}, "x86_64") == {"SSL_free": READ}
    assert cheapest(file, {"SSL_read": 0x3FF, "SSL_read_ex": 0x5000}, "x86_64") == {"SSL_read": 0x3FF, "SSL_read_ex": 0x5000}


def test_this_hosts_library() -> None:
    """Every place is the beginning of an instruction, and what stands for a pair begins with a push."""
    paths = [path for path in Path("/usr/lib").glob("*/libssl.so.*") if elf.function_offsets(path, ["SSL_read"])]
    objdump = shutil.which("objdump")
    if not paths or objdump is None or platform.machine() != "x86_64":
        pytest.skip("no libssl, no objdump, or not x86-64")
    for path in paths:
        before = elf.function_offsets(path, libraries.FUNCTIONS)
        after = cheapest(path, before, platform.machine())
        for name, at in after.items():
            done = subprocess.run(
                (objdump, "-d", f"--start-address={at}", f"--stop-address={at + 16}", str(path)), capture_output=True, text=True
            )
            first = re.search(rf"^\s*{at:x}:\s+(?:[0-9a-f]{{2}} )+\s*(\w+)", done.stdout, re.M)
            assert first and first[1] not in ("endbr64", "bad"), (name, done.stdout)
            if name.endswith("_ex") and at != before[name]:
                assert first[1] == "push", (name, done.stdout)
