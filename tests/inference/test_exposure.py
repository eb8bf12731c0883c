"""How much can be read, and what TLS agreed on."""

from __future__ import annotations

import numpy as np

from lbtop.engine import diagnose
from lbtop.model.observation import Protocol7, SecretKind
from lbtop.model.snapshot import Exposure
from lbtop.reconstruct.ledgers.exposure import DISTINCT_CAP, DistinctValues
from lbtop.testing import Traffic


def exposure_of(traffic: Traffic) -> Exposure:
    (service,) = diagnose(traffic.source()).services
    return service.exposure


def test_plain_and_encrypted_bytes_are_counted_apart() -> None:
    traffic = Traffic()
    for turn in range(9):
        conn = traffic.connect(f"203.0.113.{turn + 1}", "10.0.0.11:443", at=turn, ttl=50 + turn)
        if turn < 4:
            conn.request(at=turn + 0.01, size=300).respond(200, size=700)
        else:
            conn.hello(at=turn + 0.01, size=495).data(500, 3600)
        conn.close()
    found = exposure_of(traffic)
    assert (found.plaintext_connections, found.tls_connections) == (4, 5)
    assert found.plaintext_bytes == 4 * 1000
    assert found.tls_bytes == 5 * (500 + 1400 + 500 + 3600)


def test_a_protocol_nobody_knows_is_neither() -> None:
    traffic = Traffic()
    for turn in range(5):
        traffic.connect("203.0.113.1", "10.0.0.11:9999", at=turn, protocol7=Protocol7.UNKNOWN).data(100, 100).close()
    found = exposure_of(traffic)
    assert (found.plaintext_connections, found.tls_connections, found.plaintext_bytes, found.tls_bytes) == (0, 0, 0, 0)


def test_secrets_are_counted_by_kind_and_told_apart_without_being_known() -> None:
    traffic = Traffic()
    for turn in range(10):
        conn = traffic.connect("10.0.9.1", "10.0.0.11:8080", at=turn)
        conn.request(at=turn + 0.01).respond(200)
        conn.secret(SecretKind.BEARER_TOKEN, f"token {turn % 3}", at=turn + 0.01)
        conn.close()
    (entry,) = exposure_of(traffic).sensitive
    assert (entry.kind, entry.count, entry.distinct) == ("bearer_token", 10, 3)
    assert entry.last_ns - entry.first_ns == 9_000_000_000


def test_tls_facts_name_what_was_agreed_on() -> None:
    traffic = Traffic()
    for turn in range(12):
        old = turn % 4 == 0
        conn = traffic.connect(f"203.0.113.{turn + 1}", "10.0.0.11:8443", at=turn, ttl=50 + turn)
        conn.hello(
            at=turn + 0.01,
            version=0x0303 if old else 0x0304,
            cipher=0xC02F if old else 0x1301,
            sni="shop.example",
            alpn="h2",
            session="ticket" if turn else "",
            resumed=turn > 6,
        )
        conn.close()
    tls = exposure_of(traffic).tls
    assert tls.versions == {"TLS 1.2": 3, "TLS 1.3": 9}
    assert tls.ciphers == {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": 3, "TLS_AES_128_GCM_SHA256": 9}
    assert (tls.sni, tls.alpn) == ({"shop.example": 12}, {"h2": 12})
    assert (tls.resumption_offered, tls.resumption_accepted) == (11, 5)


def test_distinct_values_are_exact_up_to_a_cap() -> None:
    few = DistinctValues()
    for part in range(40):
        few.add(np.arange(part * 500, part * 500 + 1000, dtype=np.uint64))
    assert few.count() == 20_500
    many = DistinctValues()
    for part in range(10):
        many.add(np.arange(part * 10_000, (part + 1) * 10_000, dtype=np.uint64))
    assert many.count() == DISTINCT_CAP


def test_values_from_the_wire_are_shown_safely_and_only_the_most_frequent() -> None:
    traffic = Traffic()
    for turn in range(60):
        conn = traffic.connect(f"203.0.113.{turn % 12 + 1}", "10.0.0.11:8443", at=turn, ttl=50 + turn % 12)
        conn.hello(sni=f"host{turn % 30}\x1b[31m.example", at=turn + 0.01)
        conn.close()
    tls = exposure_of(traffic).tls
    assert len(tls.sni) == 20
    assert not any("\x1b" in name for name in tls.sni)
