"""The parts of the live probe that need neither root nor traffic."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from lbtop.probes.ebpf import toolchain
from lbtop.probes.live.budget import Budget
from lbtop.probes.live.listeners import container
from lbtop.probes.live.losses import HostLosses


def package(folder: Path, *modules: str) -> Path:
    (folder / "bcc").mkdir(parents=True)
    for module in modules:
        (folder / "bcc" / module).write_text("")
    return folder


def only(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    monkeypatch.setattr(toolchain, "_folders", lambda: iter(folders))
    monkeypatch.delitem(sys.modules, "bcc", raising=False)


def test_the_unrelated_package_of_the_same_name_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, package(tmp_path / "site", "__init__.py"))
    with pytest.raises(toolchain.Unavailable, match="unrelated"):
        toolchain.find_bcc()
    real = package(tmp_path / "dist", "__init__.py", "libbcc.py")
    only(monkeypatch, tmp_path / "site", real)
    assert toolchain.find_bcc() == real


def test_where_it_is_missing_the_commands_that_install_it_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, tmp_path)
    with pytest.raises(toolchain.Unavailable, match=r"python3-bpfcc.*python3-bcc"):
        toolchain.find_bcc()


def test_one_without_its_library_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = package(tmp_path, "__init__.py", "libbcc.py")
    (folder / "bcc" / "__init__.py").write_text("raise OSError('libbcc.so.0: cannot open shared object file')")
    only(monkeypatch, folder)
    with pytest.raises(toolchain.Unavailable, match="libbcc"):
        toolchain.load_bcc()
    assert "bcc" not in sys.modules
    (folder / "bcc" / "__init__.py").write_text("")
    with pytest.raises(toolchain.Unavailable, match="has no BPF"):
        toolchain.load_bcc()


class Clock:
    def __init__(self) -> None:
        self.now = self.cpu = 0.0

    def run(self, budget: Budget, seconds: int, share: float) -> int:
        """That many seconds at that load; the step at their end."""
        for _ in range(seconds * 10):
            self.now += 0.1
            self.cpu += 0.1 * share
            budget.look()
        return budget.step


def test_a_budget_goes_down_step_by_step_and_comes_back() -> None:
    clock = Clock()
    budget = Budget(0.05, 2, spent=lambda: clock.cpu, clock=lambda: clock.now)
    assert clock.run(budget, 10, 0.04) == 0
    assert clock.run(budget, 2, 0.2) == 1
    assert clock.run(budget, 30, 0.2) == 2
    assert clock.run(budget, 30, 0.04) == 2  # within the budget, and no room for more
    assert clock.run(budget, 60, 0.01) == 0


def test_a_budget_does_not_swing() -> None:
    """Reading all costs too much, reading less costs little: the step back is tried ever more rarely."""
    clock = Clock()
    budget = Budget(0.05, 2, spent=lambda: clock.cpu, clock=lambda: clock.now)
    changes, before = 0, 0
    for _ in range(1800):
        step = clock.run(budget, 1, 0.2 if budget.step == 0 else 0.01)
        changes += step != before
        before = step
    assert changes < 30


def written(proc: Path, dropped: int, backlog: int, overflows: int) -> Path:
    proc.mkdir(exist_ok=True)
    (proc / "dev").write_text(
        "Inter-| Receive\n face |bytes packets errs drop\n"
        f"    lo: 1 1 0 99 0\n  eth0: 5 5 0 {dropped} 0 0\n  eth1:5 5 0 {dropped} 0 0\n"
    )
    (proc / "softnet_stat").write_text(f"00ff 0000 0000\n00aa {backlog:08x} 0000\n")
    (proc / "netstat").write_text(f"TcpExt: SyncookiesSent ListenOverflows\nTcpExt: 7 {overflows}\nIpExt: InNoRoutes\nIpExt: 3\n")
    return proc


def test_what_the_host_lost_is_told_since_the_start(tmp_path: Path) -> None:
    losses = HostLosses((), written(tmp_path, 4, 6, 1))
    one = HostLosses(("eth1",), tmp_path)
    assert losses.notes() == []
    written(tmp_path, 1504, 22, 3)
    said = losses.notes()
    assert [note.split()[index] for note, index in zip(said, (3, 3, 0), strict=True)] == ["3,000", "16", "2"]
    assert "1,500" in one.notes()[0]
    assert HostLosses((), tmp_path / "absent").notes() == []


ID = "3f2a9b1c0d4e" + "5" * 52


@pytest.mark.parametrize(
    ("cgroup", "told"),
    [
        (f"0::/system.slice/docker-{ID}.scope\n", "3f2a9b1c0d4e"),
        (f"12:cpu:/docker/{ID}\n11:pids:/docker/{ID}\n", "3f2a9b1c0d4e"),
        (f"0::/kubepods.slice/kubepods-pod12.slice/cri-containerd-{ID}.scope\n", "3f2a9b1c0d4e"),
        (f"0::/machine.slice/libpod-{ID}.scope/container\n", "3f2a9b1c0d4e"),
        ("0::/lxc.payload.web1/system.slice/nginx.service\n", "web1"),
        ("0::/system.slice/nginx.service\n", None),
        ("", None),
    ],
)
def test_the_container_of_a_process(cgroup: str, told: str | None) -> None:
    assert container(cgroup) == told
