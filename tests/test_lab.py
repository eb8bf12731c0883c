"""The lab itself: truth files are TOML, rewrites keep what they should, and a scenario can be recorded again."""

from __future__ import annotations

import os
import shutil
import string
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.corpus import CAPTURES
from tests.lab import rewrite, scenario, truth

TEXT = st.text(string.printable + 'äß→"\\', max_size=30)
SCALARS = st.one_of(st.booleans(), st.integers(-(10**9), 10**9), TEXT, st.lists(TEXT, max_size=4))
NAMES = st.text(string.ascii_lowercase + "_", min_size=1, max_size=8)
NEEDED = ("ip", "nft", "tcpdump", "tshark", "mergecap")


@given(st.dictionaries(NAMES, SCALARS, max_size=6), st.lists(st.dictionaries(NAMES, SCALARS, min_size=1, max_size=4), max_size=3))
def test_truth_files_are_toml(scalars: dict[str, object], rows: list[dict[str, object]]) -> None:
    """What is written is what tomllib reads."""
    written = {**{f"a{key}": value for key, value in scalars.items()}, "part": dict(scalars), "rows": rows}
    assert tomllib.loads(truth.text(written)) == written


def packets() -> list[rewrite.Packet]:
    """Two made-up frames: IPv4, TCP, towards port 8080 and back."""
    there = (
        b"\x02" * 12
        + b"\x08\x00"
        + bytes.fromhex("450000280000400040060000c612000a0a00010b")
        + b"\x9c\x40\x1f\x90"
        + b"\x00" * 16
    )
    back = (
        b"\x02" * 12
        + b"\x08\x00"
        + bytes.fromhex("4500002800004000400600000a00010bc612000a")
        + b"\x1f\x90\x9c\x40"
        + b"\x00" * 16
    )
    return [rewrite.Packet(1_700_000_000_000_001, there, len(there)), rewrite.Packet(1_700_000_000_000_900, back, len(back))]


KEPT = [("towards_targets", 1), ("from_targets", 1), ("twice", 4), ("cut_packets", 2), ("without_link_layer", 2)]


@pytest.mark.parametrize(("name", "count"), KEPT)
def test_rewrites(tmp_path: Path, name: str, count: int) -> None:
    """Each rewrite yields the number of packets it promises, in the order of time."""
    source, output = tmp_path / "a.pcap", tmp_path / "b.pcap"
    rewrite.write(source, packets())
    getattr(rewrite, name)(source, output)
    result = list(rewrite.read(output))
    assert len(result) == count
    assert [packet.time for packet in result] == sorted(packet.time for packet in result)


def test_every_scenario_is_well_formed() -> None:
    """Captures have names of their own; `unknown` has a reason; a healthy capture must not have findings."""
    outputs = [output for spec in scenario.load_all().values() for output in spec.outputs]
    assert len({output.name for output in outputs}) == len(outputs)
    for output in outputs:
        assert output.mode != "unknown" or output.mode_because, output.name
        assert output.mechanism != "unknown" or output.mechanism_because, output.name
        assert not output.healthy or output.must in ((), ("udp-affinity",)), output.name


def test_every_capture_has_its_scenario() -> None:
    """What is committed can be recorded again."""
    yields = {output.file for spec in scenario.load_all().values() for output in spec.outputs if output.committed}
    folders = (CAPTURES, CAPTURES / scenario.UNSEEN)
    committed = {path.name for folder in folders for path in folder.iterdir() if path.suffix in (".pcap", ".pcapng", ".gz")}
    assert committed == yields


@pytest.mark.usefixtures("root")
def test_a_scenario_can_be_recorded_again(tmp_path: Path) -> None:
    """One run of the lab: its namespaces are gone afterwards, and the truth is as committed."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    scenario.run(scenario.load_all()["dns-source-ip"], tmp_path, say=lambda _: None)
    read = tomllib.loads((tmp_path / "plain-dns-source-ip-targets.toml").read_text())
    assert sum(row["connections"] for row in read["service"][0]["target"]) == 180
    assert not list(Path("/run/netns").glob(f"lbtoplab{os.getpid()}-*"))
