"""Input that cannot be used gets one clear line: what is wrong, what would work. Input that is cut is used up to the cut."""

from __future__ import annotations

import gzip
import json
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.corpus import committed
from tests.tools import writing

WHOLE = next(capture.path for capture in committed() if capture.path.name.endswith(("-one.pcap", "-one.pcap.gz")))
HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)


def run(command: list[str], *arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*command, *map(str, arguments)], input=stdin, capture_output=True, timeout=60, check=False)


def write(content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "given.pcap"
        path.write_bytes(content)
        return path

    return make


def a_directory(folder: Path) -> Path:
    (folder / "x.pcap").mkdir()
    return folder / "x.pcap"


UNUSABLE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a missing file": (lambda folder: folder / "absent.pcap", "no such file|does not exist|not found"),
    "an empty file": (write(b""), "empty"),
    "a directory": (a_directory, "directory"),
    "a text file": (write(b"10:00:01.5 IP 10.0.0.1.80 > 10.0.0.2.4711: Flags [S]\n" * 20), "pcap"),
    "half a file header": (write(HEADER[:11]), "pcap|header|cut|short"),
    "an unknown link type": (write(HEADER[:20] + struct.pack("<I", 147) + b"\0" * 16 + b"x" * 60), "link"),
    "a compressed text file": (write(gzip.compress(b"nothing to see here\n" * 50)), "pcap"),
    "noise": (write(bytes((at * 97 + at // 7) & 0xFF for at in range(5000))), "pcap"),
}


@pytest.mark.parametrize("arguments", [["diagnose"], ["diagnose", "--json"], ["observe"]], ids=" ".join)
@pytest.mark.parametrize("what", UNUSABLE)
def test_one_clear_line(what: str, arguments: list[str], lbtop: list[str], tmp_path: Path) -> None:
    """Exit status 2, nothing on standard output, one line that names the input."""
    make, words = UNUSABLE[what]
    path = make(tmp_path)
    done = run(lbtop, *arguments, path)
    text = done.stderr.decode()
    assert (done.returncode, done.stdout) == (2, b"")
    assert len(text.splitlines()) == 1, text
    assert text.startswith("lbtop: ")
    assert path.name in text
    assert any(word in text.lower() for word in words.split("|")), text


def test_standard_input_without_a_byte(lbtop: list[str]) -> None:
    done = run(lbtop, "diagnose", "-")
    assert (done.returncode, done.stdout) == (2, b"")
    assert len(done.stderr.splitlines()) == 1 and b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["diagnos"], ["diagnose", "--jsn"], ["diagnose", "--since", "yesterday", "x"]], ids=str
)
def test_wrong_usage(arguments: list[str], lbtop: list[str]) -> None:
    done = run(lbtop, *arguments)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("share", [0.35, 0.6, 0.95])
def test_a_capture_cut_in_the_middle_is_read_up_to_the_cut_and_says_so(share: float, lbtop: list[str], tmp_path: Path) -> None:
    content = writing.pcap(writing.read(WHOLE))
    path = tmp_path / "cut.pcap"
    path.write_bytes(content[: int(len(content) * share)])
    whole_packets = len(writing.read(path))
    done = run(lbtop, "diagnose", "--json", path)
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    assert found["source"]["packets"] == whole_packets
    assert "partial-capture" in [finding["id"] for finding in found["findings"]]


def test_a_compressed_capture_cut_in_the_middle(lbtop: list[str], tmp_path: Path) -> None:
    content = gzip.compress(writing.pcap(writing.read(WHOLE)))
    path = tmp_path / "cut.pcap.gz"
    path.write_bytes(content[: len(content) // 2])
    done = run(lbtop, "diagnose", "--json", path)
    assert done.returncode in (0, 1), done.stderr
    assert "partial-capture" in [finding["id"] for finding in json.loads(done.stdout)["findings"]]


def test_unknown_interfaces_beside_known_ones_do_not_stop_it(lbtop: list[str], tmp_path: Path) -> None:
    """A pcapng of Ethernet and of something else is read as far as it can be."""
    records = writing.read(WHOLE)
    other = [records[0].__class__(record.ts_ns, 147, 1, record.wire_length, record.data) for record in records[:5]]
    path = tmp_path / "mixed.pcapng"
    path.write_bytes(writing.pcapng([*records, *other]))
    done = run(lbtop, "diagnose", "--json", path)
    assert done.returncode in (0, 1), done.stderr
    assert json.loads(done.stdout)["source"]["undecoded_packets"] >= 5
