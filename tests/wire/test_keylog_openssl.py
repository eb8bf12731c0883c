"""OpenSSL's own client and server, their keys, and tshark with the same keys: as much is read inside TLS here as there."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from lbtop.probes.files import open_capture

from lbtop.catalog.recognition import recognition
from lbtop.model.observation import HelloFlag, Side
from tests.attacks import ACK, Attack, address
from tests.readers import read_all
from tests.wire import spoken

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl speaks TLS (Debian: apt-get install openssl)")

REQUEST = b"GET /cart/7 HTTP/1.1\r\nHost: shop.example\r\nCookie: JSESSIONID=6f1d2c3b4a5968778695a4b3c2d1e0f9\r\n\r\n"
EARLY = REQUEST.replace(b"/cart/7", b"/early")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
PORT = 8443
Said = list[tuple[Side, bytes]]


class Between:
    """A relay that keeps what both ends say, in order."""

    def __init__(self, target: int) -> None:
        self.said: Said = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._target = target
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            near, _ = self._listener.accept()
            far = socket.create_connection(("127.0.0.1", self._target))
            for source, sink, who in ((near, far, Side.CLIENT), (far, near, Side.SERVER)):
                threading.Thread(target=self._pass, args=(source, sink, who), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, who: Side) -> None:
        try:
            while piece := source.recv(65536):
                self.said.append((who, piece))
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the other side went first


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Server:
    """``openssl s_server`` that answers what it is told to."""

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        command = ["openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-cert", spoken.certificate_file(), *options]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            time.sleep(0.02)
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
        time.sleep(0.1)

    def say(self, text: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def ask(server: Server, log: Path, steps: list[bytes], *options: str) -> Said:
    """One connection: the client writes the steps one after the other (a line "K" updates its keys), the server answers each."""
    between = Between(server.port)
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{between.port}", "-servername", "shop.example"]
    command += ["-keylogfile", str(log), *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client:
        assert client.stdin is not None
        wait_for(between, 3)
        for step in steps:
            count = len(between.said)
            client.stdin.write(step)
            client.stdin.flush()
            wait_for(between, count + 1)
            if step != b"K\n":
                server.say(ANSWER)
                wait_for(between, count + 2)
        client.communicate(b"Q\n", timeout=10)  # in order: a session that was cut off is not resumed
    time.sleep(0.05)
    return list(between.said)


def wait_for(between: Between, count: int) -> None:
    """Until so many pieces were said, and a moment more for those that belong to them."""
    deadline = time.monotonic() + 5
    while len(between.said) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)


def written(said: Said, path: Path) -> Path:
    attack = Attack()
    client, server = address(1), address(2)
    attack.connect(client, 40000, server, PORT)
    for who, text in said:
        for at in range(0, len(text), 1400):
            ends = (client, 40000, server, PORT) if who is Side.CLIENT else (server, PORT, client, 40000)
            attack.tcp(*ends, ACK, text[at : at + 1400])
    attack.close(client, 40000, server, PORT)
    path.write_bytes(attack.taken())
    return path


def by_tshark(tshark: str, path: Path, log: Path) -> tuple[list[str], list[int]]:
    """Requests' paths and responses' codes that its own decryption shows."""
    command = [tshark, "-n", "-r", str(path), "-o", f"tls.keylog_file:{log}", "-d", f"tcp.port=={PORT},tls"]
    command += [
        "-d",
        f"tls.port=={PORT},http",
        "-T",
        "fields",
        "-E",
        "occurrence=a",
        "-e",
        "http.request.uri",
        "-e",
        "http.response.code",
    ]
    lines = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    rows = [line.split("\t") for line in lines]
    uris = [uri for row in rows for uri in row[0].split(",") if uri]
    return uris, [int(code) for row in rows for code in row[1].split(",") if code]


def agree(said: Said, log: Path, tshark: str, tmp_path: Path, paths: list[str]) -> int:
    """Both read these paths and as many answers; the flags of the handshake."""
    path = written(said, tmp_path / "x.pcap")
    batch, _ = read_all(open_capture([str(path)], recognition=recognition(), keylog=str(log)))
    ours = [batch.strings[int(row["path"])].decode() for row in batch["requests"]]
    codes = [int(row["status"]) for row in batch["responses"] if row["status"]]
    assert (ours, codes) == by_tshark(tshark, path, log)
    assert ours == paths and len(codes) >= 1
    assert [int(row["flags"]) & 1 for row in batch["secrets"]] == [1] * len(paths)  # the session cookie of each, sealed
    return int(batch["handshakes"][0]["flags"])


SUITES = {
    "TLS 1.3, AES-128-GCM": (["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"], []),
    "TLS 1.3, AES-256-GCM": (["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"], []),
    "TLS 1.3, ChaCha20-Poly1305": (["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"], []),
    "TLS 1.3, AES-128-CCM": (["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"], []),
    "TLS 1.3, AES-128-CCM-8": (["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_8_SHA256"], []),
    "TLS 1.2, ChaCha20-Poly1305": (["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], []),
    "TLS 1.2, AES-GCM": (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"], []),
    "TLS 1.2, AES-CCM": (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-CCM"], []),
    "TLS 1.2, AES-CCM-8": (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-CCM8"], []),
    "TLS 1.2, AES-CBC, encrypt then MAC": (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"], []),
    "TLS 1.2, AES-CBC, MAC then encrypt": (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"], ["-no_etm"]),
    "TLS 1.2, AES-CBC-SHA256, MAC then encrypt": (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"], ["-no_etm"]),
    "TLS 1.2, AES-CBC-SHA384, MAC then encrypt": (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384"], ["-no_etm"]),
}


@pytest.mark.parametrize("suite", SUITES)
def test_every_suite(suite: str, tmp_path: Path, tshark: str) -> None:
    both, more = SUITES[suite]
    log = tmp_path / "keys"
    with Server(*both, *(["-no_etm"] if more else [])) as server:
        said = ask(server, log, [REQUEST, REQUEST], *both, *more)
    agree(said, log, tshark, tmp_path, ["/cart/7", "/cart/7"])


def test_keys_that_are_updated(tmp_path: Path, tshark: str) -> None:
    """The client updates its keys twice and asks the server to do so, with requests before, between and after."""
    log = tmp_path / "keys"
    with Server("-tls1_3") as server:
        said = ask(server, log, [REQUEST, b"K\n", REQUEST, b"K\n", REQUEST], "-tls1_3")
    agree(said, log, tshark, tmp_path, ["/cart/7"] * 3)


def test_early_data(tmp_path: Path, tshark: str) -> None:
    """A request in the first flight of a resumed session, before the handshake is over."""
    log, first, session, early = (tmp_path / name for name in ("keys", "first", "session", "early"))
    early.write_bytes(EARLY)
    with Server("-tls1_3", "-early_data", "-num_tickets", "2") as server:
        ask(server, first, [REQUEST], "-tls1_3", "-sess_out", str(session))
        said = ask(server, log, [REQUEST], "-tls1_3", "-sess_in", str(session), "-early_data", str(early))
    flags = agree(said, log, tshark, tmp_path, ["/early", "/cart/7"])
    assert flags & HelloFlag.EARLY_DATA and flags & HelloFlag.RESUMED
