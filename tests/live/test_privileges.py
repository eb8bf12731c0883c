"""Privileges really given up: what /proc says of the process, what it can no longer do, and that reading still works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.lab.net_base import Namespace, stop
from tests.live.beside import Listening
from tests.live.test_leftovers import namespace  # noqa: F401  a fixture

MODULE = Path(__file__).resolve().parents[2] / "probes" / "live" / "privileges.py"
SYSTEM_PYTHON = "/usr/bin/python3"

PROGRAM = """
import json, os, runpy, socket, sys
from pathlib import Path
drop = runpy.run_path(sys.argv[1], run_name="privileges")["drop"]
packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
writes = Path(sys.argv[2]) if sys.argv[2] else None
said = drop(maps=True, writes=writes, code=[Path(path) for path in sys.argv[3:]] or None)
def tried(work):
    try:
        work()
        return True
    except OSError:
        return False
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps({
    "said": said, "uid": os.getresuid(), "groups": os.getgroups(),
    **{name: int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")}, "NoNewPrivs": int(status["NoNewPrivs"]),
    "packet": tried(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)),
    "shadow": tried(lambda: open("/etc/shadow").close()),
    "back": tried(lambda: os.setresuid(0, 0, 0)) if os.getuid() else False,
    "statistics": len(packet.getsockopt(263, 6, 8)),
    "writes": writes is not None and tried(lambda: (writes / "written").write_text("x")),
}))
"""


def dropped(tmp_path: Path, writes: Path | None = None, *code: Path) -> dict[str, object]:
    if not Path(SYSTEM_PYTHON).exists():
        pytest.skip(f"no {SYSTEM_PYTHON}")
    script = tmp_path / "drop.py"
    script.write_text(PROGRAM)
    command = (SYSTEM_PYTHON, str(script), str(MODULE), str(writes or ""), *map(str, code))
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_the_process_becomes_nobody_and_keeps_its_sockets(root: None, tmp_path: Path) -> None:
    found = dropped(tmp_path, None, Path(SYSTEM_PYTHON))
    assert found["CapEff"] == found["CapPrm"] == found["CapInh"] == found["CapAmb"] == 0
    assert found["NoNewPrivs"] == 1 and found["groups"] == []
    assert 0 not in found["uid"] and len(set(found["uid"])) == 1  # type: ignore[operator, call-overload]
    assert not found["packet"] and not found["shadow"] and not found["back"]
    assert found["statistics"] == 8


def test_where_its_code_is_unreadable_to_others_it_stays_root_without_capabilities(root: None, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "module.py").write_text("")
    found = dropped(tmp_path, None, hidden / "module.py")
    assert found["uid"] == [0, 0, 0] and found["CapEff"] == found["CapPrm"] == 0 and not found["packet"]
    assert "module.py" in str(found["said"])


def test_who_writes_becomes_the_owner_of_the_folder(root: None, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        os.chown(folder, 12345, 12345)
        found = dropped(tmp_path, folder, Path(SYSTEM_PYTHON))
        assert found["uid"] == [12345] * 3 and found["writes"] and found["CapEff"] == 0
        assert (folder / "written").stat().st_uid == 12345


def test_live_goes_on_without_them(namespace: Namespace, tmp_path: Path) -> None:  # noqa: F811
    """The installed command: no capability left while it listens, and its verdict is complete."""
    listening = Listening(namespace, ("lo",), "ebpf", tmp_path / "lbtop.log")
    deadline = time.monotonic() + 5
    while effective(listening.process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert effective(listening.process.pid) == 0
    server = namespace.start(sys.executable, "-m", "http.server", "8080", "--bind", "127.0.0.1", cwd=tmp_path)
    try:
        curl = shutil.which("curl")
        if curl is None:
            pytest.skip("curl is not installed")
        time.sleep(1.0)
        (tmp_path / "big").write_bytes(bytes(3_000_000))
        for _ in range(5):
            namespace.run(curl, "-s", "-o", "/dev/null", "http://127.0.0.1:8080/big")
        time.sleep(0.2)
    finally:
        stop(server)
    verdict = listening.finish()
    (service,) = verdict["services"]
    assert verdict["source"]["kind"] == "ebpf" and verdict["source"]["dropped_packets"] == 0
    assert sum(target["requests"] for target in service["targets"]) == 5
    assert sum(target["bytes_out"] for target in service["targets"]) > 15_000_000


def effective(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1], 16) for line in text.splitlines() if line.startswith("CapEff"))
