"""Doctor: right about this host, and about hosts it was not run on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lbtop.probes.ebpf import toolchain
from lbtop.probes.ebpf.prebuilt import is_for_this_host
from lbtop.probes.ebpf.toolchain import kernel_version

from lbtop.cli import host, main


def test_every_missing_thing_names_the_command_that_mends_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "lbtop.doctor/1"
    assert {check["state"] for check in found["checks"]} <= {host.WORKS, host.PARTLY, host.MISSING}
    assert found["capture"].startswith("sudo tcpdump -i any")
    for check in found["checks"]:
        assert check["state"] != host.MISSING or check["mend"] or "needs" in check["detail"] or "no AF_PACKET" in check["detail"]


def test_text_shows_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert all(check.name in shown for check in host.checks())
    assert "$ sudo tcpdump" in shown


def test_the_unrelated_package_called_bcc_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lattice, bindings = tmp_path / "site", tmp_path / "dist"
    (lattice / "bcc").mkdir(parents=True)
    (lattice / "bcc" / "__init__.py").write_text("raise SystemExit('never import what you do not know')")
    monkeypatch.setattr(toolchain, "_folders", lambda: iter([lattice]))
    check = host._bcc()
    assert check.state == (host.PARTLY if is_for_this_host() else host.MISSING)
    assert "unrelated" in check.detail and check.mend
    (bindings / "bcc").mkdir(parents=True)
    (bindings / "bcc" / "__init__.py").touch()
    (bindings / "bcc" / "libbcc.py").touch()
    monkeypatch.setattr(toolchain, "_folders", lambda: iter([lattice, bindings]))
    assert host._bcc().state == host.WORKS


@pytest.mark.parametrize(
    ("release", "command"),
    [
        ("ID=debian\n", "apt-get install python3-bpfcc"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', "apt-get install python3-bpfcc"),
        ('ID="amzn"\nID_LIKE="fedora"\n', "dnf install python3-bcc"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "dnf install python3-bcc"),
        ("ID=arch\n", "pacman -S python-bcc"),
        ("", "not PyPI's bcc"),
    ],
)
def test_installing_bcc(release: str, command: str) -> None:
    assert command in host.install_bcc(release)[0]


def test_capabilities_are_read_from_the_kernels_own_words() -> None:
    assert host.capabilities("Name:\tx\nCapEff:\t000001fffeffffff\n") >= {
        "CAP_NET_RAW",
        "CAP_BPF",
        "CAP_PERFMON",
        "CAP_SYS_ADMIN",
    }
    assert host.capabilities("CapEff:\t0000000000002000\n") == {"CAP_NET_RAW"}
    assert host.capabilities("") == frozenset()


@pytest.mark.parametrize(
    ("release", "version"), [("6.1.0-18-amd64", (6, 1)), ("5.10.0", (5, 10)), ("4.18.0-553.el8.x86_64", (4, 18)), ("?", (0, 0))]
)
def test_kernel_versions(release: str, version: tuple[int, int]) -> None:
    assert kernel_version(release) == version


def test_the_capture_line_names_the_ports_that_serve() -> None:
    def listener(port: int) -> host.Listener:
        return host.Listener("0.0.0.0", port, None)

    assert host.tcpdump_command([listener(22), listener(8080), listener(443)]).endswith("'port 443 or port 8080'")
    assert host.tcpdump_command([listener(22)]).endswith("'tcp port 8080'")
