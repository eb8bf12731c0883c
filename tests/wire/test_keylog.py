"""With a key log, the heads inside TLS are those of the same conversation in clear; without the right keys nothing changes."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lbtop.probes.wire.keylog import KeyLog

from lbtop.catalog.recognition import recognition
from lbtop.model.observation import Batch, ConnFlag, Protocol7, SecretFlag
from tests.wire import spoken
from tests.wire.spoken import Turns
from tests.wire.talk import CLIENT, SERVER, Talk, heads

CIPHERS_12 = (
    "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA384", "ECDHE-ECDSA-AES128-CCM",
    "ECDHE-ECDSA-AES256-CCM8",
)  # fmt: skip
INSIDE = spoken.plain_http()[:10]


def sealed(inside: Turns, log: Path, *, version: str = "1.3", ciphers: str = "", groups: str = "", update: bool = False) -> Turns:
    """The conversation as its TLS records, with the client's secrets in ``log``."""
    exact = ssl.TLSVersion.TLSv1_3 if version == "1.3" else ssl.TLSVersion.TLSv1_2
    mine = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    mine.check_hostname, mine.verify_mode, mine.maximum_version = False, ssl.CERT_NONE, exact
    mine.keylog_filename = str(log)
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    other.load_cert_chain(spoken.certificate_file())
    if groups:
        other.set_ecdh_curve(groups)  # another group than the client's first guess: a HelloRetryRequest
    if ciphers:
        for context in (mine, other):
            context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    c_in, c_out, s_in, s_out = ssl.MemoryBIO(), ssl.MemoryBIO(), ssl.MemoryBIO(), ssl.MemoryBIO()
    client = mine.wrap_bio(c_in, c_out, server_hostname="shop.example")
    server = other.wrap_bio(s_in, s_out, server_side=True)
    ends = {CLIENT: (client, c_out, s_in), SERVER: (server, s_out, c_in)}
    turns: Turns = []

    def exchange() -> None:
        for who, (_, out, target) in ends.items():
            said = out.read()
            if said:
                turns.append((who, said))
                target.write(said)

    for _ in range(4):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
            exchange()
    for who, text in inside:
        ends[who][0].write(text)
        exchange()
        other_end = ends[SERVER if who == CLIENT else CLIENT][0]
        with contextlib.suppress(ssl.SSLWantReadError):
            while other_end.read(65536):
                pass
    return turns


def observed(turns: Turns, log: Path | None = None, cuts: list[int] | None = None) -> Batch:
    talk = Talk(recognition())
    if log is not None:
        keys = KeyLog()
        keys.open(str(log))
        talk.decoder.streams.unseal_with(keys)
    for who, text in turns:
        talk.pieces(who, text, cuts or [])
    return talk.rows()


def inside(batch: Batch) -> dict[str, list[dict[str, object]]]:
    """Rows above TLS; secrets without the mark that they were sealed."""
    found = heads(batch)
    del found["handshakes"]
    for row in found["secrets"]:
        del row["flags"]
    return found


CLEAR = inside(observed(INSIDE))


@pytest.mark.parametrize("ciphers", CIPHERS_12)
def test_tls12_of_every_kind_of_suite(ciphers: str, tmp_path: Path) -> None:
    log = tmp_path / "keys"
    batch = observed(sealed(INSIDE, log, version="1.2", ciphers=ciphers), log)
    assert inside(batch) == CLEAR


@pytest.mark.parametrize("groups", ["", "secp384r1"], ids=["at once", "after a retry"])
def test_tls13(groups: str, tmp_path: Path) -> None:
    log = tmp_path / "keys"
    batch = observed(sealed(INSIDE, log, groups=groups), log)
    assert inside(batch) == CLEAR
    row = batch["connections"][0]
    assert row["protocol7"] == Protocol7.TLS
    assert row["flags"] & ConnFlag.DECRYPTED
    assert (int(row["requests"]), int(row["responses"])) == (len(batch["requests"]), len(batch["responses"]))
    assert np.all(batch["secrets"]["flags"] == SecretFlag.DECRYPTED)


def test_http2_inside(tmp_path: Path) -> None:
    log = tmp_path / "keys"
    said = spoken.http2()
    assert inside(observed(sealed(said, log), log)) == inside(observed(said))


@settings(max_examples=40)
@given(cuts=st.lists(st.integers(1, 1500), max_size=8))
def test_any_segmentation(cuts: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    log = tmp_path_factory.getbasetemp() / "segmented"
    turns = _once(log)
    assert inside(observed(turns, log, cuts)) == CLEAR


def test_keys_of_others_change_nothing(tmp_path: Path) -> None:
    """No keys, keys of another connection, and a wrong secret under the right random: the rows are those without a log."""
    log, other = tmp_path / "keys", tmp_path / "other"
    turns = sealed(INSIDE, log)
    sealed(INSIDE, other)
    wrong = tmp_path / "wrong"
    lines = [line.split(" ") for line in log.read_text().splitlines() if not line.startswith("#")]
    wrong.write_text("".join(f"{label} {random} {secret[::-1]}\n" for label, random, secret in lines))
    empty = tmp_path / "empty"
    empty.write_bytes(b"# nothing\nCLIENT_RANDOM zz\n\xff\xfe\0" + b"A" * 5000)
    without = observed(turns)
    for file in (other, wrong, empty):
        found = observed(turns, file)
        assert heads(found) == heads(without)
        assert found["connections"][0]["flags"] == without["connections"][0]["flags"]


def test_a_log_that_grows_is_read_on(tmp_path: Path) -> None:
    log, growing = tmp_path / "keys", tmp_path / "growing"
    turns = sealed(INSIDE, log)
    growing.write_bytes(b"# begun\n")
    talk = Talk(recognition())
    keys = KeyLog()
    keys.open(str(growing))
    talk.decoder.streams.unseal_with(keys)
    growing.write_bytes(growing.read_bytes() + log.read_bytes())
    for who, text in turns:
        talk.say(who, text)
    assert inside(talk.rows()) == CLEAR


def test_a_lost_segment_costs_its_record_only(tmp_path: Path) -> None:
    """Inside a record whose header was seen, the next one is found again; its request is not invented."""
    log = tmp_path / "keys"
    body = b"x" * 3000
    said: Turns = [
        (CLIENT, spoken.REQUEST),
        (SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n"),
        (SERVER, body),
        (CLIENT, spoken.REQUEST),
        (SERVER, spoken.ANSWER),
    ]
    turns = sealed(said, log)
    talk = Talk(recognition())
    keys = KeyLog()
    keys.open(str(log))
    talk.decoder.streams.unseal_with(keys)
    for who, text in turns:
        if len(text) > 3000:
            talk.say(who, text[:1000]).lose(who, 1000).say(who, text[2000:])
        else:
            talk.say(who, text)
    batch = talk.rows()
    assert len(batch["requests"]) == 2
    assert batch["responses"]["status"].tolist() == [200, 200]


_TURNS: dict[Path, Turns] = {}


def _once(log: Path) -> Turns:
    if log not in _TURNS:
        _TURNS[log] = sealed(INSIDE, log, version="1.2")
    return _TURNS[log]
