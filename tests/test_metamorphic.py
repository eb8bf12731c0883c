"""The same traffic, captured otherwise: a verdict stays what it was, or becomes `unknown` where evidence was taken away."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lbtop.model.address import endpoint_text
from tests.corpus import committed, sampled
from tests.diagnosing import Diagnosis, diagnosis_of, parted, unordered
from tests.readers import by_reference
from tests.reference.files import Record
from tests.tools import rewrite, writing

CAPTURES = {capture.name: capture for capture in committed()}
Change = Callable[[list[Record]], list[Record]]


def rewritten(name: str, change: Change, folder: Path) -> Diagnosis:
    return diagnosis_of(writing.write(folder / "changed.pcapng", change(writing.read(CAPTURES[name].path))))


def original(name: str, folder: Path) -> Diagnosis:
    if name not in ORIGINALS:
        ORIGINALS[name] = diagnosis_of(writing.write(folder / "original.pcapng", writing.read(CAPTURES[name].path)))
    return copy.deepcopy(ORIGINALS[name])


ORIGINALS: dict[str, Diagnosis] = {}


@pytest.mark.parametrize("name", sampled(CAPTURES, 5))
def test_other_addresses_and_ports_change_nothing_but_the_numbers(name: str, tmp_path: Path) -> None:
    before = json.loads(rewrite.new_text(json.dumps(original(name, tmp_path))))
    after = rewritten(name, rewrite.renumbered, tmp_path)
    if any(finding["id"] == "cookie-discloses-target" for finding in before["findings"]):
        # the cookie still holds the old address, or its digest: that it names another target now is what differs
        modes = [[service["termination"]["mode"] for service in found["services"]] for found in (before, after)]
        assert modes[0] == modes[1]
        return
    assert not parted(unordered(with_ports_renumbered(before)), unordered(after))


def with_ports_renumbered(found: Diagnosis) -> Diagnosis:
    """Services that are called by their port are called by the new one."""
    text = json.dumps(found)
    for service in found["services"]:
        if service["service"].isdigit():
            port = service["service"]
            text = text.replace(f'"{port}"', f'"{rewrite.new_port(int(port))}"')
    renamed: Diagnosis = json.loads(text)
    return renamed


LINKS: dict[str, Change] = {
    "in a VLAN": rewrite.in_vlan,
    "cooked": rewrite.cooked,
    "cooked, version 2": rewrite.cooked2,
    "raw IP": rewrite.raw_ip,
    "mirrored in VXLAN": rewrite.in_vxlan,
    "mirrored in VXLAN, in fragments": lambda records: rewrite.in_fragments(rewrite.in_vxlan(records)),
}


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("name", sampled(CAPTURES, 16))
def test_the_link_layer_changes_nothing_but_the_bytes(name: str, link: str, tmp_path: Path) -> None:
    if any(record.linktype != 1 for record in writing.read(CAPTURES[name].path)):
        pytest.skip("recorded on another link than Ethernet")
    before, after = original(name, tmp_path), rewritten(name, LINKS[link], tmp_path)
    for found in (before, after):
        found["source"]["bytes"] = None
        if link.endswith("in fragments"):
            found["source"]["packets"] = None  # each fragment is one that was captured
    assert not parted(before, after)


def verdicts(found: Diagnosis) -> dict[str, tuple[str, str, list[tuple[str, int, int]]]]:
    return {
        service["service"]: (
            service["termination"]["mode"],
            (service["stickiness"] or {}).get("mechanism", "unknown"),
            sorted((target["target"], target["connections"], target["requests"]) for target in service["targets"]),
        )
        for service in found["services"]
    }


SHAPES: dict[str, Change] = {
    "segments of 100 bytes": lambda records: rewrite.split(records, 100),
    "segments of 31 bytes": lambda records: rewrite.split(records, 31),
    "neighbours exchanged": rewrite.reordered,
    "every packet twice": rewrite.doubled,
    "every packet twice to the byte": rewrite.mirrored_twice,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", sampled(CAPTURES, 10))
def test_how_the_bytes_were_cut_into_packets_changes_no_verdict_and_no_count(name: str, shape: str, tmp_path: Path) -> None:
    assert verdicts(rewritten(name, SHAPES[shape], tmp_path)) == verdicts(original(name, tmp_path))


SOUND = [name for name in CAPTURES if not name.startswith("defect-")]
EVIDENCE = sampled(SOUND, 6, "offload-zones-targets", "offload-broken-cookie-lost-one", "passthrough-nlb-source-ip-targets")
"""With those on which a verdict has been turned round before."""
LOSSES: dict[str, Change] = {
    "10 % dropped": rewrite.dropped,
    "without its start": rewrite.without_start,
    "towards the servers only": lambda records: rewrite.one_direction(records, to_server=True),
    "from the servers only": lambda records: rewrite.one_direction(records, to_server=False),
    "96 bytes of each packet": rewrite.snapped,
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", EVIDENCE)
def test_less_evidence_never_turns_a_verdict_round(name: str, loss: str, tmp_path: Path) -> None:
    """A target's mode and mechanism stay or become unknown, and nobody becomes a target who accepted no connection."""
    before, after = original(name, tmp_path), rewritten(name, LOSSES[loss], tmp_path)
    assert by_target(after).keys() <= servers(CAPTURES[name].path)
    for target, (mode, mechanism) in by_target(after).items():
        if target in by_target(before):
            was_mode, was_mechanism = by_target(before)[target]
            assert (target, mode) in {(target, was_mode), (target, "unknown")} or was_mode == "unknown"
            assert (target, mechanism) in {(target, was_mechanism), (target, "unknown")} or was_mechanism == "unknown"


def by_target(found: Diagnosis) -> dict[str, tuple[str, str]]:
    return {
        target["target"]: (service["termination"]["mode"], (service["stickiness"] or {}).get("mechanism", "unknown"))
        for service in found["services"]
        for target in service["targets"]
    }


def servers(path: Path) -> set[str]:
    """Every end that accepted a connection in the whole capture."""
    batch, _ = by_reference(path)
    return {endpoint_text(batch.addresses[int(row["server"])], int(row["server_port"])) for row in batch["connections"]}
