"""The compiled filter does what its model does, packet by packet, and shares its structures with user space."""

from __future__ import annotations

import ctypes
import ipaddress
import os
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lbtop.probes.ebpf import prebuilt
from lbtop.probes.ebpf import program as program_module
from lbtop.probes.ebpf.keys import flow_key, flow_keys
from lbtop.probes.ebpf.prebuilt import FILE, Prebuilt
from lbtop.probes.ebpf.program import Control, Effort, Flow4, Flow6, FlowBulk, FlowLedger, Program
from lbtop.probes.ebpf.toolchain import Unavailable

from lbtop.model.observation import CONNECTION
from scripts.filter import digest
from tests.corpus import committed
from tests.live import kernel
from tests.live.model import ETHERNET, FOREVER, NONE, UNTIL, VLAN, WHOLE, Filter, flow_name, parse, through
from tests.reference.files import CaptureFile, Record
from tests.tools.crafting import ethernet

LARGEST = 3000
"""What the kernel takes for a test run is bounded by a page."""
SAMPLE = (
    "passthrough-nlb-source-ip-targets",
    "mixed-termination-targets",
    "offload-ipv6-targets",
    "offload-h2c-targets",
    "defect-vxlan-offload",
    "defect-vlan-offload",
)


def load(entries: int, *, compiled: bool = False) -> Program:
    try:
        return Program(entries, compiled=compiled)
    except Unavailable as why:
        pytest.skip(f"no eBPF here: {why}")


@pytest.fixture(params=["beforehand", "by bcc"])
def program(request: pytest.FixtureRequest, root: None) -> Iterator[Program]:
    loaded = load(4096, compiled=request.param == "by bcc")
    assert loaded.compiled == (request.param == "by bcc")
    yield loaded
    loaded.close()


def as_tested(record: Record) -> Record:
    """A frame as the kernel hands it to a program in a test run: without VLAN tag, and no longer than a page."""
    data = record.data
    if data[12:14] == VLAN.to_bytes(2, "big"):
        data = data[:12] + data[16:]
    return Record(record.ts_ns, ETHERNET, record.interface, len(data[:LARGEST]), data[:LARGEST])


@pytest.mark.parametrize("capture", [c for c in committed() if c.name in SAMPLE], ids=str)
@pytest.mark.parametrize("effort", Effort, ids=lambda effort: effort.name)
def test_it_decides_as_its_model(program: Program, capture: object, effort: Effort) -> None:
    """The kernel leaves the link header out of a test run's packet: the model is told so."""
    packets = [as_tested(record) for record in CaptureFile(capture.path) if record.linktype == ETHERNET]  # type: ignore[attr-defined]
    program.set_effort(effort)
    model = Filter(effort=effort)
    decided = []

    class Asked(Filter):
        def length(self, frame: bytes, at: int, kind: int, size: int) -> int:
            return model.length(frame, at, kind, size - 14)

    def compare(record: Record, length: int) -> None:
        decided.append(length != WHOLE)
        assert kernel.run(program, record.data)[0] == length

    asked = Asked()
    asked.marks = model.marks
    through(packets, asked, together=3, also=compare, write=lambda flow, marks: kernel.write(program, flow, marks))
    counters = program.counters()
    assert len(packets) == len(decided)
    assert counters["cut"] == sum(decided) == model.cut
    assert counters["not_parsed"] == model.not_parsed and counters["no_room"] == 0
    for flow, count in model.packets.items():
        (one, one_port), (other, other_port) = flow[1:]
        entry = program.look(flow_key(one, one_port, other, other_port, flow[0])[0])
        assert entry is not None and sum(entry.packets) == count
        assert sum(entry.bytes) == sum(model.sent.get((flow, end), 0) for end in flow[1:])


@given(
    head=st.binary(min_size=0, max_size=120),
    kind=st.sampled_from([0x0800, 0x86DD, 0x0806, 0x8100, 0x8847]),
    first=st.sampled_from([0x45, 0x46, 0x4F, 0x60, 0x00, 0x55]),
)
def test_it_survives_anything(head: bytes, kind: int, first: int) -> None:
    loaded = _shared_program()
    frame = bytes(12) + kind.to_bytes(2, "big") + bytes([first]) + head
    frame += bytes(max(0, 60 - len(frame)))
    model = Filter()
    assert kernel.run(loaded, frame)[0] == model.length(frame, 14, kind, len(frame) - 14)


_loaded: list[Program] = []


def _shared_program() -> Program:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if not _loaded:
        _loaded.append(load(64))
    return _loaded[0]


MAPPED = bytes(10) + b"\xff\xff"
addresses = st.one_of(st.ip_addresses(v=4).map(lambda a: MAPPED + a.packed), st.ip_addresses(v=6).map(lambda a: a.packed))
ports = st.integers(0, 65535)


def between(one: bytes, one_port: int, other: bytes, other_port: int, payload: int = 0) -> bytes:
    """A segment from one end to the other: over IPv4 where both addresses are."""
    header = struct.pack(">HHIIBBHHH", one_port, other_port, 1, 0, 5 << 4, 16, 100, 0, 0) + bytes(payload)
    if one.startswith(MAPPED) and other.startswith(MAPPED):
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(header), 1, 0, 64, 6, 0) + one[12:] + other[12:]
        return bytes(12) + b"\x08\x00" + ip + header
    return bytes(12) + b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, len(header), 6, 64) + one + other + header


@given(one=addresses, other=addresses, one_port=ports, other_port=ports)
def test_keys_are_ordered_as_the_kernel_orders_them(one: bytes, other: bytes, one_port: int, other_port: int) -> None:
    loaded = _shared_program()
    packet = between(one, one_port, other, other_port)
    key, swapped = flow_key(one, one_port, other, other_port)
    loaded.forget(key, len(key))
    kernel.run(loaded, packet)
    assert flow_key(other, other_port, one, one_port)[0] == key
    entry = loaded.look(key)
    assert entry is not None and entry.packets[1 if swapped and (one, one_port) != (other, other_port) else 0] == 1
    loaded.forget(key, len(key))


@given(one=addresses, other=addresses, one_port=ports, other_port=ports)
def test_a_mark_is_found_where_user_space_says_there_is_one(one: bytes, other: bytes, one_port: int, other_port: int) -> None:
    loaded = _shared_program()
    packet = between(one, one_port, other, other_port, 1000)
    key, _ = flow_key(one, one_port, other, other_port)
    assert kernel.run(loaded, packet)[0] == WHOLE
    assert loaded.mark(key, bytes(FlowBulk(mode=(FOREVER, FOREVER))))
    assert kernel.run(loaded, packet)[0] == 18 + (40 if packet[12] == 8 else 60)
    loaded.forget(key, len(key))
    assert kernel.run(loaded, packet)[0] == WHOLE
    loaded.forget(key, len(key))


def test_keys_of_many_connections_are_the_keys_of_each() -> None:
    draw = random.Random(23)
    known = [b"", *(draw.choice((MAPPED + draw.randbytes(4), draw.randbytes(16))) for _ in range(40))]
    rows = np.zeros(500, CONNECTION)
    for column, top in (("client", 41), ("server", 41), ("client_port", 65536), ("server_port", 65536)):
        rows[column] = [draw.randrange(1, top) for _ in rows]
    rows["server"][:100] = rows["client"][:100]
    rows["proto"] = [draw.choice((6, 17)) for _ in rows]
    each = [
        flow_key(known[row["client"]], int(row["client_port"]), known[row["server"]], int(row["server_port"]), int(row["proto"]))
        for row in rows
    ]
    found = {int(row): key.tobytes() for which, keys in flow_keys(rows, known) for row, key in zip(which, keys, strict=True)}
    assert [found[number] for number in range(len(rows))] == [key for key, _ in each]
    assert {len(key) for key in found.values()} == {16, 40}


CLIENT, SERVER = "198.51.100.7", "10.0.0.11"


def segment(seq: int, size: int, flags: int = 16, source: str = CLIENT, target: str = SERVER, options: bytes = b"") -> bytes:
    header = struct.pack(">HHIIBBHHH", 40000, 443, seq & 0xFFFFFFFF, 1, (20 + len(options)) // 4 << 4, flags, 100, 0, 0)
    return ethernet(source, target, 6, header + options + bytes(size), 7)


def ends() -> tuple[tuple[bytes, int], tuple[bytes, int]]:
    mapped = [bytes(10) + b"\xff\xff" + ipaddress.ip_address(text).packed for text in (CLIENT, SERVER)]
    return (mapped[0], 40000), (mapped[1], 443)


def test_what_is_marked_is_cut_and_nothing_else(program: Program) -> None:
    client, server = ends()
    flow = flow_name(6, client, server)
    until = 0xFFFFFF00
    assert kernel.run(program, segment(until - 1000, 1000))[0] == WHOLE
    kernel.write(program, flow, {client: (UNTIL, until), server: (NONE, 0)})
    cases = [
        (segment(until - 1000, 1000), 18 + 40),
        (segment(until - 1000, 1000, options=bytes([1]) * 12), 18 + 52),
        (segment(until - 1000, 1001), WHOLE),  # reaches beyond: whole
        (segment(until, 1000), WHOLE),
        (segment(until + 1000, 1000), WHOLE),  # across the end of the sequence numbers
        (segment(until - (1 << 30), 1000), 18 + 40),
        (segment(until - (3 << 29), 1000), WHOLE),  # too far back to be that stretch
        (segment(until - 1000, 100), WHOLE),  # not worth it
        (segment(until - 1000, 1000, flags=17), WHOLE),  # FIN
        (segment(until - 1000, 1000, flags=20), WHOLE),  # RST
    ]
    for frame, expected in cases:
        assert kernel.run(program, frame)[0] == expected
    kernel.write(program, flow, {client: (FOREVER, 0), server: (NONE, 0)})
    assert kernel.run(program, segment(5, 1000))[0] == 18 + 40


def test_a_syn_voids_what_was_known_of_its_ports(program: Program) -> None:
    client, server = ends()
    kernel.write(program, flow_name(6, client, server), {client: (FOREVER, 0), server: (FOREVER, 0)})
    assert kernel.run(program, segment(1, 500))[0] == 58
    assert kernel.run(program, segment(1, 0, flags=18))[0] == WHOLE  # the answer to a SYN does not
    assert kernel.run(program, segment(1, 500))[0] == 58
    kernel.run(program, segment(1, 0, flags=2))
    assert kernel.run(program, segment(1, 500))[0] == WHOLE


def not_taken_apart() -> dict[str, bytes]:
    whole = segment(1, 1000)
    ipv6 = ethernet("2001:db8::1", "2001:db8::2", 6, whole[34:], 1)
    behind = (
        ipv6[:18] + struct.pack(">HBB", 8 + len(whole[34:]), 0, 64) + ipv6[22:54] + bytes([6, 0, 1, 4, 0, 0, 0, 0]) + whole[34:]
    )
    return {
        "second VLAN tag": whole[:12] + b"\x81\x00\x40\x05" + whole[12:],  # with priority 2 it looks like IPv4
        "first fragment": whole[:20] + b"\x20" + whole[21:],
        "last fragment": whole[:20] + b"\x00\x40" + whole[22:],
        "extension header": behind,
        "IP in IP": ethernet(CLIENT, SERVER, 4, whole[14:], 3),
        "GRE": ethernet(CLIENT, SERVER, 47, b"\x00\x00\x08\x00" + whole[14:], 3),
        "ARP": whole[:12] + b"\x08\x06" + whole[14:],
    }


@pytest.mark.parametrize("what", not_taken_apart())
def test_what_is_not_taken_apart_is_delivered_whole(what: str) -> None:
    loaded = _shared_program()
    loaded.set_effort(Effort.LEDGER)
    before = loaded.counters()["not_parsed"]
    assert kernel.run(loaded, not_taken_apart()[what])[0] == WHOLE
    loaded.set_effort(Effort.HEADS)
    assert loaded.counters()["not_parsed"] == before + 1


def test_connections_beyond_the_bound_are_counted_and_delivered_whole(root: None) -> None:
    small = load(8)
    try:
        for number in range(40):
            frame = segment(1, 1000, source=f"198.51.100.{number + 1}")
            assert kernel.run(small, frame)[0] == WHOLE
        assert small.counters()["no_room"] >= 30
        assert small.forget_before(1 << 62) == 8
        refused = small.counters()["no_room"]
        for number in range(8):
            kernel.run(small, segment(1, 1000, source=f"198.51.100.{number + 101}"))
        assert small.counters()["no_room"] == refused
        assert small.forget_before(0) == 0
    finally:
        small.close()


def test_structures_are_laid_out_as_in_c(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    structures = {
        "flow4": Flow4,
        "flow6": Flow6,
        "flow_ledger": FlowLedger,
        "flow_bulk": FlowBulk,
        "control": Control,
    }
    lines = [
        "#include <stdio.h>",
        "#include <stddef.h>",
        "#include <stdint.h>",
        "typedef uint8_t u8; typedef uint16_t u16; typedef uint32_t u32; typedef uint64_t u64;",
        f'#include "{program_module.HERE / "ledger.h"}"',
        'int main(void) { printf("counters %d\\n", COUNTERS);',
    ]
    expected = [f"counters {len(program_module.NAMES)}"]
    for name, structure in structures.items():
        lines.append(f'printf("{name} %zu\\n", sizeof(struct {name}));')
        expected.append(f"{name} {ctypes.sizeof(structure)}")
        for column, *_ in structure._fields_:
            lines.append(f'printf("{name}.{column} %zu\\n", offsetof(struct {name}, {column}));')
            expected.append(f"{name}.{column} {getattr(structure, column).offset}")
    for effort in Effort:
        lines.append(f'printf("EFFORT_{effort.name} %d\\n", EFFORT_{effort.name});')
        expected.append(f"EFFORT_{effort.name} {int(effort)}")
    (tmp_path / "layout.c").write_text("\n".join([*lines, "return 0; }"]))
    subprocess.run((compiler, "-o", str(tmp_path / "layout"), str(tmp_path / "layout.c")), check=True)
    assert subprocess.run((str(tmp_path / "layout"),), capture_output=True, text=True).stdout.split("\n")[:-1] == expected


def test_what_was_compiled_beforehand_is_the_source_as_it_is() -> None:
    """Otherwise: make filter, as root, with python3-bpfcc."""
    assert Prebuilt(FILE.read_text("ascii")).source == digest()


def test_where_it_does_not_fit_bcc_compiles(root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prebuilt, "is_for_this_host", lambda: False)
    loaded = load(64)
    assert loaded.compiled
    loaded.close()
    monkeypatch.undo()
    monkeypatch.setattr(prebuilt, "SOCKET_FILTER", 77)  # a kernel that refuses it
    loaded = load(64)
    assert loaded.compiled
    loaded.close()

    def absent(*_: object) -> list[int]:
        raise Unavailable("bcc is not installed")

    monkeypatch.setattr(program_module, "load_socket_filter", absent)
    with pytest.raises(Unavailable, match=r"^the kernel refuses the filter \(Invalid argument\); bcc is not installed$"):
        Program(64)


def test_the_model_reads_its_own_packets() -> None:
    frame = segment(77, 500)
    found = parse(frame, 14, 0x0800, len(frame))
    client, server = ends()
    assert found == (flow_name(6, client, server), client, 40, 500, 77, 16, 540)
