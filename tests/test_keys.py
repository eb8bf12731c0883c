"""What key logs open in whole captures: as much as tshark opens with them, nothing of it in clear, and no key in any output."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from lbtop.probes.files import open_capture

from lbtop.catalog.recognition import recognition
from lbtop.cli import main
from lbtop.model.observation import TABLES, ConnFlag, Protocol7, SecretFlag
from tests.comparison import differences
from tests.corpus import CAPTURES
from tests.readers import by_decoder, read_all
from tests.tools import writing

WITH_KEYS = CAPTURES / "keys" / "bridging-targets.pcapng"
"""``bridging-targets`` recorded once more, with the targets' own key log in its decryption secrets block."""
FOREIGN = ("http2-with-cookies.pcapng", "chrome-cloudflare-quic-with-secrets.pcapng")


def requests(path: Path) -> Counter[tuple[str, str]]:
    batch, _ = by_decoder(path)
    return Counter(
        (batch.strings[int(row["method"])].decode(), batch.strings[int(row["path"])].decode()) for row in batch["requests"]
    )


def by_tshark(tshark: str, path: Path) -> Counter[tuple[str, str]]:
    """Method and path of every request over TCP that its own decryption shows."""
    command = [tshark, "-n", "-r", str(path), "-Y", "tcp && (http2.headers.method || http.request)", "-T", "fields"]
    command += ["-E", "occurrence=a", "-E", "aggregator= "]
    for name in ("http2.headers.method", "http2.headers.path", "http.request.method", "http.request.uri"):
        command += ["-e", name]
    found: Counter[tuple[str, str]] = Counter()
    for line in subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines():
        methods2, paths2, methods1, paths1 = (column.split() for column in line.split("\t"))
        for method, path in [*zip(methods2, paths2, strict=True), *zip(methods1, paths1, strict=True)]:
            found[method, re.split("[?#]", path)[0][:256]] += 1
    return found


def test_as_much_as_tshark_opens(tshark: str) -> None:
    theirs = by_tshark(tshark, WITH_KEYS)
    assert theirs and requests(WITH_KEYS) == theirs


@pytest.mark.parametrize("name", FOREIGN)
def test_as_much_as_tshark_opens_of_a_browser(name: str, tshark: str, shared_captures: Path) -> None:
    path = shared_captures / "ja4" / name
    theirs = by_tshark(tshark, path)
    assert theirs and requests(path) == theirs


def secrets_of(path: Path) -> bytes:
    source = open_capture([str(path)])
    read_all(source)
    (keys,) = source.secrets
    return bytes(keys)


@pytest.fixture
def apart(tmp_path: Path) -> tuple[Path, Path]:
    """The capture without its keys, and the keys."""
    capture, keys = tmp_path / "sealed.pcapng", tmp_path / "keys"
    capture.write_bytes(writing.pcapng(writing.read(WITH_KEYS)))
    keys.write_bytes(secrets_of(WITH_KEYS))
    return capture, keys


def test_a_file_of_keys_is_as_good_as_keys_in_the_capture(apart: tuple[Path, Path]) -> None:
    capture, keys = apart
    opened, _ = read_all(open_capture([str(capture)], recognition=recognition(), keylog=str(keys)))
    assert not differences(opened, by_decoder(WITH_KEYS)[0])[:10]


def test_without_keys_or_with_those_of_others_nothing_is_read(apart: tuple[Path, Path], tmp_path: Path) -> None:
    capture, keys = apart
    others = tmp_path / "others"
    others.write_bytes(re.sub(rb"(?m)^(\w+ )(..)", rb"\1ff", keys.read_bytes()))
    without, _ = by_decoder(capture)
    assert not len(without["requests"]) and not len(without["cookies"]) and not len(without["secrets"])
    found, _ = read_all(open_capture([str(capture)], recognition=recognition(), keylog=str(others)))
    assert not differences(found, without)[:10]


def test_the_connection_stays_what_it_was(apart: tuple[Path, Path]) -> None:
    """Keys add rows and one flag; what was seen of packets and handshakes is the same to the byte."""
    capture, _ = apart
    with_keys, without = by_decoder(WITH_KEYS)[0], by_decoder(capture)[0]
    for table in ("opened", "handshakes", "connections"):
        assert len(with_keys[table]) == len(without[table])
    rows = with_keys["connections"]
    assert set(rows["protocol7"].tolist()) == {Protocol7.TLS}
    assert bool((rows["flags"] & ConnFlag.DECRYPTED).all())
    assert rows["bytes_c"].sum() == without["connections"]["bytes_c"].sum()
    assert len(with_keys["secrets"]) and bool((with_keys["secrets"]["flags"] & SecretFlag.DECRYPTED).all())
    assert sum(len(with_keys[table]) for table in TABLES) > sum(len(without[table]) for table in TABLES)


def diagnosed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert main(["diagnose", "--json", *arguments]) in (0, 1)
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_what_is_inside_tls_does_not_count_as_plaintext(capsys: pytest.CaptureFixture[str]) -> None:
    (service,) = diagnosed(capsys, str(WITH_KEYS))["services"]  # type: ignore[misc]
    assert service["termination"]["mode"] == "bridging"
    assert service["exposure"]["sensitive"] == []
    assert service["exposure"]["plaintext_bytes"] == service["exposure"]["plaintext_connections"] == 0
    assert sum(target["requests"] for target in service["targets"]) > 50
    assert service["stickiness"]["cookie"] == "AWSALB"


@pytest.mark.parametrize(
    "command",
    [["diagnose", "--evidence"], ["diagnose", "--json"], ["observe"], ["report", "-o"], ["record", "-o"]],
    ids=lambda command: "-".join(command),
)
def test_no_key_in_any_output(command: list[str], apart: tuple[Path, Path], tmp_path: Path, lbtop: list[str]) -> None:
    capture, keys = apart
    written = tmp_path / "out.lbtop"
    arguments = [*command, str(written)] if command[-1] == "-o" else command
    arguments += ["--keylog", str(keys), str(capture)]
    done = subprocess.run([*lbtop, *arguments], capture_output=True, timeout=60, check=False)
    assert done.returncode in (0, 1), done.stderr
    output = done.stdout + done.stderr + (written.read_bytes() if written.exists() else b"")
    for line in (line for line in keys.read_text().splitlines() if not line.startswith("#")):
        for word in line.split()[1:]:
            assert word.encode() not in output
            assert bytes.fromhex(word) not in output


def test_a_key_log_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["diagnose", "--keylog", str(tmp_path / "nothing"), str(WITH_KEYS)]) == 2
    said = capsys.readouterr().err
    assert "key log" in said and len(said.splitlines()) == 1
