"""Observations as rows for other tools: one row each, in order, and nothing in them that identifies a person or a secret.

What may be written is a list (:data:`COLUMNS`); a column that is not on it is left out. Keyed hashes (cookie values, session
tickets, credentials) become dense numbers in order of first appearance: equal numbers are equal values within one run,
and nothing else can be learned from them.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from enum import IntFlag
from typing import Any

import numpy as np

from lbtop.model.address import endpoint_text, ip_text
from lbtop.model.observation import (
    Batch,
    ConnFlag,
    CookieFlag,
    End,
    HelloFlag,
    Orientation,
    Protocol7,
    ProxyFlag,
    ReqFlag,
    RespFlag,
    SecretKind,
    Side,
)
from lbtop.model.record import dataclass
from lbtop.model.text import bare_path, known_method, safe_text
from lbtop.model.times import iso_utc

Row = dict[str, Any]
TEXT, NUMBER, SECONDS, TEXTS = "text", "number", "seconds", "texts"
"""What a column holds, for formats that must know before the first row."""

KINDS = {
    "opened": "opened", "handshakes": "handshake", "proxies": "proxy_header", "requests": "request",
    "cookies": "cookie", "responses": "response", "secrets": "sensitive", "connections": "connection",
    "processes": "process",
}  # fmt: skip
"""Table to the word its rows carry as ``kind``."""

_VERSIONS = {
    0x0002: "SSLv2",
    0x0300: "SSLv3",
    0x0301: "1.0",
    0x0302: "1.1",
    0x0303: "1.2",
    0x0304: "1.3",
    0xFEFF: "DTLS 1.0",
    0xFEFD: "DTLS 1.2",
    0xFEFC: "DTLS 1.3",
}
_MOST_IDENTITIES = 1_000_000
_SCHEMES = (None, "http", "https", "other")


class Values:
    """Turns the numbers of a batch into what is written. One of these for a whole run: its numbering goes on."""

    def __init__(self) -> None:
        self._identities: dict[int, int] = {}
        self._numbered = 0
        self.batch: Batch | None = None
        self._strings: dict[int, str | None] = {}
        self._ips: dict[int, str | None] = {}

    def use(self, batch: Batch) -> None:
        self.batch = batch

    def identity(self, value: int) -> int | None:
        """1, 2, … in order of first appearance; None for absent. Bounded: after a million values old ones get new numbers."""
        if not value:
            return None
        number = self._identities.get(value)
        if number is None:
            if len(self._identities) >= _MOST_IDENTITIES:
                self._identities.clear()
            self._numbered += 1
            number = self._identities[value] = self._numbered
        return number

    def text(self, number: int) -> str | None:
        if number not in self._strings:
            assert self.batch is not None
            self._strings[number] = safe_text(self.batch.strings[number]) if number else None
        return self._strings[number]

    def names(self, number: int) -> list[str]:
        """The names in a comma-separated string, each shown like any text."""
        assert self.batch is not None
        return [safe_text(name) for name in self.batch.strings[number].split(b",")] if number else []

    def path(self, number: int) -> str | None:
        assert self.batch is not None
        return safe_text(bare_path(self.batch.strings[number])) if number else None

    def method(self, number: int) -> str | None:
        assert self.batch is not None
        return safe_text(known_method(self.batch.strings[number])) if number else None

    def ip(self, number: int) -> str | None:
        if number not in self._ips:
            assert self.batch is not None
            self._ips[number] = ip_text(self.batch.addresses[number]) if number else None
        return self._ips[number]

    def endpoint(self, number: int, port: int) -> str | None:
        if not number:
            return None
        assert self.batch is not None
        return endpoint_text(self.batch.addresses[number], port) if port else self.ip(number)


@dataclass(frozen=True, slots=True)
class Column:
    value: Callable[[Values, Any], Any]
    type: str = TEXT


def _int(name: str) -> Column:
    return Column(lambda values, row: int(row[name]), NUMBER)


def _known(name: str) -> Column:
    """A number where 0 means that it was not seen."""
    return Column(lambda values, row: int(row[name]) or None, NUMBER)


def _time(name: str) -> Column:
    return Column(lambda values, row: iso_utc(int(row[name])) if row[name] else None)


def _seconds(name: str) -> Column:
    return Column(lambda values, row: round(int(row[name]) / 1e9, 6) if row[name] else None, SECONDS)


def _text(name: str) -> Column:
    return Column(lambda values, row: values.text(int(row[name])))


def _ip(name: str) -> Column:
    return Column(lambda values, row: values.ip(int(row[name])))


def _endpoint(name: str, port: str) -> Column:
    return Column(lambda values, row: values.endpoint(int(row[name]), int(row[port])))


def _identity(name: str) -> Column:
    return Column(lambda values, row: values.identity(int(row[name])), NUMBER)


def _word(name: str, words: type[Any]) -> Column:
    known = {int(member): member.name.lower() for member in words}
    return Column(lambda values, row: known.get(int(row[name]), "unknown"))


def _flags(flags: type[IntFlag], name: str = "flags") -> Column:
    known = [(int(flag), (flag.name or "").lower()) for flag in flags]
    return Column(lambda values, row: [word for bit, word in known if int(row[name]) & bit], TEXTS)


def _version(name: str) -> Column:
    return Column(lambda values, row: _VERSIONS.get(int(row[name]), f"0x{int(row[name]):04x}") if row[name] else None)


_ENDS: dict[str, Column] = {
    "connection": _int("conn"),
    "client": _endpoint("client", "client_port"),
    "server": _endpoint("server", "server_port"),
}

COLUMNS: dict[str, dict[str, Column]] = {
    "opened": {
        **_ENDS,
        "transport": Column(lambda v, r: {6: "tcp", 17: "udp"}.get(int(r["proto"]), str(int(r["proto"])))),
        "syn": _time("syn_ns"),
        "orientation": _word("orientation", Orientation),
        "tcp_stack": _text("stack"),
        "ttl": _known("ttl_c"),
    },
    "handshakes": {
        **_ENDS,
        "sni": _text("sni"),
        "alpn": _text("alpn"),
        "alpn_chosen": _text("alpn_chosen"),
        "ja4": _text("ja4"),
        "tls_version": _version("version"),
        "tls_version_offered": _version("version_offered"),
        "cipher": Column(lambda v, r: f"0x{int(r['cipher']):04x}" if r["cipher"] else None),
        "client_random": _identity("random"),
        "offered_session": _identity("session"),
        "certificate": _identity("certificate"),
        "certificate_from": _time("not_before_ns"),
        "certificate_until": _time("not_after_ns"),
        "flags": _flags(HelloFlag),
    },
    "proxies": {
        **_ENDS,
        "source": _endpoint("source", "source_port"),
        "destination": _endpoint("destination", "destination_port"),
        "authority": _text("authority"),
        "alpn": _text("alpn"),
        "flags": _flags(ProxyFlag),
    },
    "requests": {
        **_ENDS,
        "request": _int("request"),
        "index": _int("index"),
        "method": Column(lambda v, r: v.method(int(r["method"]))),
        "host": _text("host"),
        "path": Column(lambda v, r: v.path(int(r["path"]))),
        "http_version": Column(lambda v, r: {10: "1.0", 11: "1.1", 20: "2"}.get(int(r["version"]))),
        "forwarded_for": Column(lambda v, r: [v.ip(int(r[f"forwarded{i}"])) for i in range(4) if r[f"forwarded{i}"]], TEXTS),
        "forwarded_proto": Column(lambda v, r: _SCHEMES[int(r["forwarded_proto"]) & 3]),
        "forwarded_port": _known("forwarded_port"),
        "real_ip": _ip("real_ip"),
        "proxy_source": _ip("proxy_source"),
        "headers": Column(lambda v, r: v.names(int(r["header_shape"])), TEXTS),
        "cookies": _int("cookies"),
        "flags": _flags(ReqFlag),
    },
    "cookies": {
        **_ENDS,
        "request": _int("request"),
        "name": _text("name"),
        "value": _identity("value"),
        "presented": _identity("presented"),
        "lifetime_s": Column(
            lambda v, r: None if int(r["lifetime_ns"]) in (0, -1) else round(int(r["lifetime_ns"]) / 1e9, 3), SECONDS
        ),
        "names": _endpoint("names", "names_port"),
        "flags": _flags(CookieFlag),
    },
    "responses": {
        **_ENDS,
        "request": _int("request"),
        "status": _known("status"),
        "delay_s": _seconds("delay_ns"),
        "session_name": _text("session_name"),
        "session": _identity("session"),
        "set_cookies": _int("set_cookies"),
        "flags": _flags(RespFlag),
    },
    "secrets": {
        **_ENDS,
        "class": _word("kind", SecretKind),
        "name": _text("name"),
        "value": _identity("value"),
        "sender": _word("sender", Side),
    },
    "connections": {
        **_ENDS,
        "transport": Column(lambda v, r: {6: "tcp", 17: "udp"}.get(int(r["proto"]), str(int(r["proto"])))),
        "protocol": _word("protocol7", Protocol7),
        "orientation": _word("orientation", Orientation),
        "end": _word("end", End),
        "first_closer": _word("first_closer", Side),
        "opened_at": _time("opened_ns"),
        "first_data_at": _time("first_data_ns"),
        "last_at": _time("last_ns"),
        "bytes_client": _int("bytes_c"),
        "bytes_server": _int("bytes_s"),
        "packets_client": _int("packets_c"),
        "packets_server": _int("packets_s"),
        "retransmits_client": _int("retransmits_c"),
        "retransmits_server": _int("retransmits_s"),
        "resets_client": _int("resets_c"),
        "resets_server": _int("resets_s"),
        "missing_bytes": _int("missing_bytes"),
        "connect_s": _seconds("connect_ns"),
        "idle_survived_s": _seconds("idle_survived_ns"),
        "idle_before_end_s": _seconds("idle_before_end_ns"),
        "requests": _int("requests"),
        "responses": _int("responses"),
        "keepalive_probes": _int("keepalive_probes"),
        "tcp_stack": _text("stack"),
        "ttl_client": _known("ttl_c"),
        "ttl_server": _known("ttl_s"),
        "vlan": _known("vlan"),
        "flags": _flags(ConnFlag),
    },
    "processes": {
        **_ENDS,
        "end": _word("end", Side),
        "pid": _known("pid"),
        "process": _text("process"),
        "container": _text("container"),
        "pod": _text("pod"),
    },
}


def columns_of(tables: Container[str]) -> dict[str, str]:
    """The columns of these tables together, each once, with what they hold."""
    types = {"kind": TEXT, "seq": NUMBER, "at": TEXT}
    for table in COLUMNS:
        if table in tables:
            types.update({name: column.type for name, column in COLUMNS[table].items()})
    return types


def rows(batch: Batch, values: Values, kinds: frozenset[str] = frozenset(KINDS)) -> Iterator[Row]:
    """The rows of a batch in the order in which things were seen. ``kinds`` are tables to include."""
    values.use(batch)
    tables = [name for name in COLUMNS if name in kinds and len(batch[name])]
    if not tables:
        return
    seqs = np.concatenate([batch[name]["seq"] for name in tables])
    owners = np.concatenate([np.full(len(batch[name]), i, np.intp) for i, name in enumerate(tables)])
    places = np.concatenate([np.arange(len(batch[name])) for name in tables])
    for at in np.argsort(seqs, kind="stable").tolist():
        name = tables[owners[at]]
        row = batch[name][places[at]]
        written: Row = {"kind": KINDS[name], "seq": int(row["seq"]), "at": iso_utc(int(row["at_ns"]))}
        for label, column in COLUMNS[name].items():
            written[label] = column.value(values, row)
        yield written
