"""The parts of reading inside TLS: what both sides of the ring agree on, processes and libraries, coverage."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from lbtop.probes.ebpf import elf, libraries, plaintext, tracefs
from lbtop.probes.ebpf.coverage import Coverage
from lbtop.probes.ebpf.plaintext import Direction, Session, SessionKey
from lbtop.probes.ebpf.toolchain import Unavailable
from lbtop.probes.wire.decoder import Decoder

from lbtop.cli import main
from lbtop.model.observation import Batch, ConnFlag, InsideTls, Protocol7, empty
from lbtop.testing.interner import TextInterner

REQUEST = b"GET /of/some/length HTTP/1.1\r\nHost: here\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
BODY = b"words"


def test_both_sides_agree_on_the_layout(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    lines = [
        "#include <stdio.h>",
        "#include <stddef.h>",
        "#include <stdint.h>",
        "typedef uint8_t u8; typedef uint16_t u16; typedef uint32_t u32; typedef uint64_t u64;",
        f'#include "{plaintext.HERE / "plaintext.h"}"',
        'int main(void) { printf("%d %zu\\n", COUNTS, sizeof(struct event));',
    ]
    expected = [f"{len(plaintext.COUNTS)} 56"]
    for name, structure in {"session_key": SessionKey, "direction": Direction, "session": Session}.items():
        lines.append(f'printf("{name} %zu\\n", sizeof(struct {name}));')
        expected.append(f"{name} {ctypes.sizeof(structure)}")
        for column, *_ in structure._fields_:
            lines.append(f'printf("{name}.{column} %zu\\n", offsetof(struct {name}, {column}));')
            expected.append(f"{name}.{column} {getattr(structure, column).offset}")
    for number, column in enumerate(
        ("at_ns", "passed", "local", "remote", "local_port", "remote_port", "size", "written", "flags")
    ):
        lines.append(f'printf("{column} %zu\\n", offsetof(struct event, {column}));')
        expected.append(f"{column} {(0, 8, 16, 32, 48, 50, 52, 54, 55)[number]}")
    (tmp_path / "layout.c").write_text("\n".join([*lines, "return 0; }"]))
    subprocess.run((compiler, "-o", str(tmp_path / "layout"), str(tmp_path / "layout.c")), check=True)
    assert subprocess.run((str(tmp_path / "layout"),), capture_output=True, text=True).stdout.split("\n")[:-1] == expected


def test_functions_lie_where_nm_says(tmp_path: Path) -> None:
    nm = shutil.which("nm")
    paths = [path for path in Path("/usr/lib").glob("*/lib*.so.*") if path.name.startswith(("libssl.", "libgnutls.", "libcurl."))]
    if nm is None or not paths:
        pytest.skip("no nm, or no library to look at")
    for path in paths:
        names = [name for name in libraries.FUNCTIONS if name.startswith(("SSL_", "gnutls_"))]
        said = subprocess.run((nm, "-D", "--defined-only", str(path)), capture_output=True, text=True, check=True).stdout
        theirs = {words[2].partition("@")[0]: int(words[0], 16) for words in map(str.split, said.splitlines()) if len(words) == 3}
        assert elf.function_offsets(path, names) == {name: theirs[name] for name in names if name in theirs}


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"\x7fELF\x02\x01" + bytes(100), b"\x7fELF\x02\x01" + b"\xff" * 500])
def test_what_is_no_library_has_no_functions(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert elf.function_offsets(path, ["SSL_read"]) == {}


def test_who_listens_is_found_with_its_children_and_its_library() -> None:
    """This process listens, a child of it has Python's ssl loaded."""
    program = "import ssl, sys; print(1, flush=True); sys.stdin.read()"
    child = subprocess.Popen((sys.executable, "-c", program), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None and child.stdout.readline() == "1\n"
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            by_port = libraries.find(libraries.Scope(ports=frozenset({port, 1})))
            by_pid = libraries.find(libraries.Scope(processes=frozenset({os.getpid()})))
    finally:
        child.communicate("")
    assert os.getpid() in by_port.by_port and not by_port.whole and by_port.ports == {port, 1}
    assert "nobody listens on port 1" in by_port.unreadable
    assert {os.getpid(), child.pid} <= by_pid.whole and port in by_pid.ports
    mapped = Path(f"/proc/{os.getpid()}/maps").read_text()
    if "libssl.so" in mapped:
        assert any("libssl" in library.path.name for library in by_pid.libraries)
    assert libraries.find(libraries.Scope(processes=frozenset({1 << 21}))).unreadable == (f"no process {1 << 21}",)


def test_what_is_chosen_must_be_a_port_or_a_process(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("443", "port:0", "port:70000", "pid:x", "port:443,", "user:root"):
        assert main(["diagnose", "--for", "1s", "--tls-plaintext", wrong]) == 2
        assert "neither port:NUMBER nor pid:NUMBER" in capsys.readouterr().err


def batch(*connections: tuple[int, int, int, int], hellos: tuple[tuple[int, int, int], ...] = ()) -> Batch:
    """Connections as (number, server's port, the client's bytes, flags), hellos as (number, size, version)."""
    rows, shakes = empty("connections"), empty("handshakes")
    rows = np.zeros(len(connections), rows.dtype)
    shakes = np.zeros(len(hellos), shakes.dtype)
    for row, values in zip(rows, connections, strict=True):
        row["conn"], row["server_port"], row["bytes_c"], row["flags"] = values
        row["protocol7"] = Protocol7.TLS
    for row, values in zip(shakes, hellos, strict=True):
        row["conn"], row["size"], row["version"] = values
    return Batch({"connections": rows, "handshakes": shakes}, TextInterner(), TextInterner())


def test_connections_that_only_shook_hands_are_not_expected() -> None:
    coverage = Coverage(frozenset({443}))
    coverage.ended(
        batch(
            (1, 443, 517 + 100, 0),  # TLS 1.3: Finished and an alert
            (2, 443, 517 + 300, 0),  # a request that was not read
            (3, 443, 517 + 300, int(ConnFlag.DECRYPTED)),
            (4, 8443, 5000, 0),  # another port
            (5, 443, 200 + 180, 0),  # TLS 1.2: key exchange, Finished and an alert
            hellos=((1, 517, 0x304), (2, 517, 0x304), (3, 517, 0x304), (4, 517, 0x304), (5, 200, 0x303)),
        )
    )
    assert coverage.connections() == (2, 1)
    coverage.live(batch((6, 443, 9000, int(ConnFlag.DECRYPTED)))["connections"])
    coverage.live(batch((6, 443, 9500, int(ConnFlag.DECRYPTED)))["connections"])
    assert coverage.connections() == (3, 2)


def test_coverage_is_told_as_a_sentence() -> None:
    assert InsideTls((443, 8443), 200, 199, 0).told == (
        "inside TLS on port 443, 8443 the heads of 199 of 200 connections were read (99.5%)"
    )
    assert InsideTls((443,), 0, 0, 0).share is None and "nothing was asked" in InsideTls((443,), 0, 0, 0).told


def test_tracefs_is_read_without_being_left_mounted(root: None) -> None:
    before = Path("/proc/self/mounts").read_text()
    found = tracefs.tracepoints([*plaintext.TRACEPOINTS, "no/such_thing"])
    assert Path("/proc/self/mounts").read_text() == before
    if not found:
        pytest.skip("this kernel has no tracepoints")
    assert "no/such_thing" not in found and found[plaintext.RECEIVED].number > 0
    assert found[plaintext.RECEIVED].fields["saddr_v6"][1] == 16


def talk(folder: Path, times: int) -> None:
    """Requests over TLS between a client and a server of this process."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(folder / "cert", folder / "key")
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            peer, _ = listener.accept()
            with server.wrap_socket(peer, server_side=True) as stream:
                while stream.recv(4096):
                    stream.sendall(RESPONSE + BODY)

        thread = threading.Thread(target=answer)
        thread.start()
        with client.wrap_socket(socket.create_connection(listener.getsockname())) as stream:
            for _ in range(times):
                stream.sendall(REQUEST)
                stream.recv(4096)
        thread.join()


def test_heads_are_copied_and_bodies_are_not_and_when_it_must_nothing_is_read(root: None, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None or "libssl.so" not in Path("/proc/self/maps").read_text():
        pytest.skip("no openssl, or this Python has no libssl of its own")
    make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out cert -days 9 -subj /CN=x"
    subprocess.run((openssl, *make.split()), cwd=tmp_path, check=True, capture_output=True)
    try:
        inside = plaintext.Plaintext(libraries.Scope(processes=frozenset({os.getpid()})), Decoder())
    except Unavailable as why:
        pytest.skip(str(why))
    try:
        talk(tmp_path, 10)
        first = inside.counts()
        inside.spare(True)
        talk(tmp_path, 10)
        spared = inside.counts()
        inside.spare(False)
        talk(tmp_path, 10)
        again = inside.counts()
    finally:
        inside.close()
    assert first["calls"] == 40 and first["bytes"] == 20 * len(REQUEST + RESPONSE + BODY)
    assert first["copied"] == 20 * len(REQUEST + RESPONSE) and first["events"] == 40
    assert first["lost"] == first["broken"] == first["no_room"] == 0
    assert spared["calls"] == first["calls"] and again["calls"] == 2 * first["calls"]
    assert inside.drain(0, everything=True) == 0  # closed
