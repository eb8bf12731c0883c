"""What the parsers see does not depend on how the bytes were cut, and no bytes make them fail."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbtop.model.observation import ConnFlag, HelloFlag, Protocol7, ProxyFlag, ReqFlag, RespFlag
from tests.wire import spoken
from tests.wire.spoken import ANSWER, REQUEST, Turns
from tests.wire.talk import CLIENT, SERVER, Talk, heads, plain

CONVERSATIONS = {
    "http": spoken.plain_http(),
    "websocket": spoken.websocket(),
    "tunnel": spoken.tunnel(),
    "proxied": spoken.proxied(),
    "tls 1.3": spoken.tls("1.3"),
    "tls 1.2": spoken.tls("1.2"),
    "tls 1.2 in records of 7 bytes": spoken.in_small_records(spoken.tls("1.2"), 7),
    "tls 1.3 in records of 100 bytes": spoken.in_small_records(spoken.tls("1.3"), 100),
    "socks": spoken.socks(),
    "postgres": spoken.postgres(),
    "smtp": spoken.smtp(),
    "http/2": spoken.http2(),
    "http/2 by upgrade": spoken.http2(upgraded=True),
}


def observed(turns: Turns, ends: list[int] | None = None, **settings: Any) -> dict[str, Any]:
    talk = Talk(**settings)
    for who, data in turns:
        talk.pieces(who, data, ends if ends is not None else [])
    rows = talk.end().rows()
    connection = plain(rows, "connections")[0]
    return heads(rows) | {"protocol7": connection["protocol7"], "flags": connection["flags"]}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_single_bytes_say_the_same(name: str) -> None:
    turns = CONVERSATIONS[name]
    whole = observed(turns)
    assert whole == observed(turns, list(range(1, 5000)))


@settings(max_examples=150)
@given(st.sampled_from(sorted(CONVERSATIONS)), st.lists(st.integers(1, 1500), max_size=12))
def test_any_split_says_the_same(name: str, ends: list[int]) -> None:
    assert observed(CONVERSATIONS[name]) == observed(CONVERSATIONS[name], ends)


@settings(max_examples=150)
@given(st.sampled_from(sorted(CONVERSATIONS)), st.integers(0, 3000), st.binary(max_size=400), st.sampled_from([CLIENT, SERVER]))
def test_garbage_after_a_valid_beginning(name: str, keep: int, garbage: bytes, who: str) -> None:
    talk, left = Talk(syn=False), keep
    for speaker, data in CONVERSATIONS[name]:
        talk.say(speaker, data[:left])
        left -= len(data)
        if left <= 0:
            break
    talk.say(who, garbage).say(who, garbage[::-1]).end().rows()


@settings(max_examples=150)
@given(st.lists(st.tuples(st.sampled_from([CLIENT, SERVER]), st.binary(max_size=60), st.integers(0, 300)), max_size=8))
def test_any_bytes_and_any_loss(said: list[tuple[str, bytes, int]]) -> None:
    talk = Talk(syn=False)
    for who, data, lost in said:
        talk.say(who, data)
        if lost > 250:
            talk.lose(who, lost)
    talk.rows()


def test_http_in_full() -> None:
    seen = observed(CONVERSATIONS["http"])
    assert [row["path"] for row in seen["requests"]] == [b"/cart", b"/login", b"/api", b"/cart", b"/cart", b"/", b"/old"]
    assert [row["request"] for row in seen["responses"]] == [1, 2, 3, 4, 5, 6, 7]
    assert [row["status"] for row in seen["responses"]] == [200, 204, 200, 200, 200, 200, 200]
    first = seen["requests"][0]
    assert first["forwarded0"].endswith("ffffcb007109") and first["forwarded1"].endswith("ffffc6336407")
    assert (first["forwarded_count"], first["forwarded_proto"], first["forwarded_port"], first["cookies"]) == (2, 2, 443, 3)
    assert first["flags"] & ReqFlag.SESSION and first["flags"] & ReqFlag.BROWSER_UA and first["flags"] & ReqFlag.KEEPALIVE
    assert seen["responses"][0]["flags"] == RespFlag.SESSION_PRESENTED | RespFlag.SESSION_REISSUED | RespFlag.SESSION_ISSUED
    assert seen["responses"][6]["flags"] & RespFlag.CLOSES
    assert [row["name"] for row in seen["secrets"] if row["kind"] in (5, 6)] == [b"password", b"card", b"password"]


def test_upgrade_and_tunnel() -> None:
    upgraded = observed(CONVERSATIONS["websocket"])
    assert upgraded["protocol7"] == Protocol7.WEBSOCKET and upgraded["flags"] & ConnFlag.UPGRADED
    assert len(upgraded["requests"]) == len(upgraded["responses"]) == 1
    inside = observed(CONVERSATIONS["tunnel"])
    assert inside["protocol7"] == Protocol7.TLS and inside["flags"] & ConnFlag.UPGRADED
    assert inside["requests"][0]["path"] == b"db.example:443" and inside["handshakes"][0]["sni"] == b"shop.example"


@pytest.mark.parametrize("name", ["postgres", "smtp"])
def test_change_to_tls_is_named(name: str) -> None:
    seen = observed(CONVERSATIONS[name])
    assert seen["flags"] & ConnFlag.STARTTLS and seen["handshakes"][0]["sni"] == b"shop.example"


def test_proxy_headers_in_front() -> None:
    seen = observed(CONVERSATIONS["proxied"])
    assert [row["flags"] for row in seen["proxies"]] == [
        ProxyFlag.V2 | ProxyFlag.SSL_TLV | ProxyFlag.SSL_CLIENT,
        ProxyFlag.SECOND,
    ]
    assert seen["requests"][0]["proxy_source"].endswith("ffffc6336407") and seen["flags"] & ConnFlag.PROXIED


def test_unanswered_requests_are_told() -> None:
    rows = Talk().say(CLIENT, REQUEST + REQUEST).say(SERVER, ANSWER).end().rows()
    assert [row["flags"] & RespFlag.UNANSWERED for row in plain(rows, "responses")] == [0, RespFlag.UNANSWERED]


def unanswered(talk: Talk) -> int:
    return sum(bool(row["flags"] & RespFlag.UNANSWERED) for row in plain(talk.rows(), "responses"))


@pytest.mark.parametrize("acknowledged", [0, 1, len(ANSWER)])
@pytest.mark.parametrize(("turns", "requests"), [([(CLIENT, REQUEST)], 1), (spoken.http2()[:6], 3)], ids=["HTTP/1", "HTTP/2"])
def test_an_answer_that_was_acknowledged_came(turns: Turns, requests: int, acknowledged: int) -> None:
    """The capture lacks its segments. One number more than is in view may be a FIN's, and then there was no answer."""
    talk = Talk()
    for who, data in turns:
        talk.say(who, data)
    batch = talk.say(SERVER, b"").lose(SERVER, acknowledged).say(CLIENT, b"").rows()
    (row,) = plain(batch, "connections")
    assert (row["requests"], row["missing_bytes"]) == (requests, max(0, acknowledged - 1))
    assert bool(row["flags"] & ConnFlag.GAPS) == (acknowledged > 1)
    assert not row["flags"] & ConnFlag.NOT_DECODABLE
    told = [row["flags"] & RespFlag.UNANSWERED for row in plain(batch, "responses")]
    assert told == [RespFlag.UNANSWERED] * (requests if acknowledged <= 1 else 0)


def test_an_answer_that_lies_before_a_fin_came() -> None:
    talk = Talk().say(CLIENT, REQUEST).lose(SERVER, 100).end()
    batch = talk.rows()
    assert not len(batch["responses"])
    assert plain(batch, "connections")[0]["missing_bytes"] == 100


def test_nobody_knows_what_a_server_says_that_is_not_in_view() -> None:
    talk = Talk(syn=False).say(CLIENT, REQUEST).say(CLIENT, REQUEST)
    batch = talk.rows()
    assert len(batch["requests"]) == 2 and not len(batch["responses"])
    assert unanswered(Talk(syn=False).say(CLIENT, REQUEST).say(SERVER, b"")) == 1


def test_a_body_that_is_missing_answers_no_other_request() -> None:
    talk = Talk().say(CLIENT, REQUEST + REQUEST).say(SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    assert unanswered(talk.lose(SERVER, 100).say(CLIENT, b"")) == 1
    talk = Talk().say(CLIENT, REQUEST + REQUEST).say(SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    assert unanswered(talk.lose(SERVER, 150).say(CLIENT, b"")) == 0


def test_an_orientation_guessed_wrong_is_turned() -> None:
    """Joined in the middle, with the lower port on the client's side."""
    rows = Talk(syn=False, ports=(80, 50000)).say(CLIENT, REQUEST).say(SERVER, ANSWER).end().rows()
    (request,), (connection,) = plain(rows, "requests"), plain(rows, "connections")
    assert (request["client_port"], request["server_port"]) == (80, 50000)
    assert (connection["client_port"], connection["server_port"]) == (80, 50000)


def test_a_hole_in_a_body_loses_nothing() -> None:
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 1000
    talk = Talk().say(CLIENT, REQUEST).say(SERVER, long).lose(SERVER, 3000).say(SERVER, b"x" * 1000 + ANSWER[:0])
    talk.say(CLIENT, REQUEST).say(SERVER, ANSWER)
    assert [row["status"] for row in plain(talk.end().rows(), "responses")] == [200, 200]


def test_a_lost_answer_does_not_shift_the_others() -> None:
    talk = Talk().say(CLIENT, REQUEST).lose(SERVER, 700).say(CLIENT, REQUEST).say(SERVER, ANSWER)
    responses = plain(talk.end().rows(), "responses")
    assert [(row["request"], row["status"]) for row in responses] == [(2, 200)]


def test_a_head_cut_by_the_snap_length() -> None:
    end = REQUEST.index(b"; AWSALB") - 4
    talk = Talk().say(CLIENT, REQUEST, cut=len(REQUEST) - end).say(SERVER, ANSWER)
    rows = talk.end().rows()
    (request,), cookies = plain(rows, "requests"), plain(rows, "cookies")
    assert request["flags"] & ReqFlag.TRUNCATED and request["host"] == b"shop.example"
    assert cookies[0]["name"] == b"JSESSIONID" and cookies[0]["flags"] & 128


@pytest.mark.parametrize("endless", [b"GET /" + b"a" * 200_000, b"GET / HTTP/1.1\r\nA: " + b"b" * 200_000])
def test_a_line_that_never_ends(endless: bytes) -> None:
    talk = Talk()
    for start in range(0, len(endless), 1400):
        talk.say(CLIENT, endless[start : start + 1400])
    (request,) = plain(talk.end().rows(), "requests")
    assert request["flags"] & ReqFlag.TRUNCATED and len(request["path"]) <= 256
    assert talk.decoder.streams.caps_reached()


def test_many_cookies_and_headers_are_bounded() -> None:
    cookies = b"; ".join(b"c%d=v" % number for number in range(5000))
    head = b"GET / HTTP/1.1\r\nCookie: " + cookies + b"\r\n" + b"X: y\r\n" * 3000 + b"\r\n"
    rows = Talk().pieces(CLIENT, head, list(range(0, len(head), 1400))).end().rows()
    assert plain(rows, "requests")[0]["cookies"] == len(rows["cookies"]) == 128


def test_tls_versions_and_resumption() -> None:
    for version, number in (("1.2", 0x303), ("1.3", 0x304)):
        turns, session, client, _ = spoken.tls_with_session(version)
        (full,) = observed(turns)["handshakes"]
        assert (full["version"], full["sni"], full["alpn"]) == (number, b"shop.example", b"h2,http/1.1")
        assert full["flags"] & HelloFlag.SERVER_SEEN and not full["flags"] & HelloFlag.RESUMED
        (again,) = observed(spoken.tls_with_session(version, session, client)[0])["handshakes"]
        assert again["flags"] & HelloFlag.RESUMED and again["session"] and again["family"] == full["family"]


def test_certificate_of_tls_1_2() -> None:
    (row,) = observed(CONVERSATIONS["tls 1.2"])["handshakes"]
    valid = spoken.certificate()
    assert row["not_before_ns"] == int(valid.not_valid_before_utc.timestamp()) * 10**9
    assert row["not_after_ns"] == int(valid.not_valid_after_utc.timestamp()) * 10**9
    assert row["certificate"] and row["alpn_chosen"] == b"http/1.1"


def test_hello_retry_is_one_handshake() -> None:
    turns = spoken.tls_with_session("1.3", groups="secp521r1")[0]
    (row,) = observed(turns)["handshakes"]
    assert row["flags"] & HelloFlag.RETRY and row["version"] == 0x304


def test_http2_in_full() -> None:
    seen = observed(CONVERSATIONS["http/2"])
    assert seen["protocol7"] == Protocol7.HTTP2
    assert [(row["method"], row["path"], row["host"], row["version"]) for row in seen["requests"]] == [
        (b"POST", b"/rpc/%d" % number, b"shop.example", 20) for number in range(3)
    ]
    assert all(row["flags"] & ReqFlag.GRPC and row["flags"] & ReqFlag.SESSION and row["cookies"] == 2 for row in seen["requests"])
    assert seen["requests"][0]["forwarded0"].endswith("ffffc6336407")
    assert [(row["request"], row["status"], row["set_cookies"]) for row in seen["responses"]] == [
        (3, 200, 1),
        (2, 200, 1),
        (1, 200, 1),
    ]
    assert all(row["flags"] & RespFlag.SESSION_REISSUED for row in seen["responses"])


def test_http2_by_upgrade() -> None:
    seen = observed(CONVERSATIONS["http/2 by upgrade"])
    assert seen["protocol7"] == Protocol7.HTTP2 and seen["flags"] & ConnFlag.UPGRADED
    assert [(row["version"], row["path"]) for row in seen["requests"]][:2] == [(11, b"/up"), (20, b"/rpc/0")]
    assert [row["status"] for row in seen["responses"]] == [101, 200, 200, 200]


def test_http2_joined_in_the_middle_is_not_guessed() -> None:
    talk = Talk(syn=False)
    for who, data in CONVERSATIONS["http/2"][4:]:
        talk.say(who, data)
    rows = talk.rows()
    (connection,) = plain(rows, "connections")
    assert connection["protocol7"] == Protocol7.HTTP2 and connection["flags"] & ConnFlag.NOT_DECODABLE
    assert len(rows["requests"]) == 0


def test_http2_after_a_loss_is_not_guessed() -> None:
    talk = Talk()
    for who, data in CONVERSATIONS["http/2"][:5]:
        talk.say(who, data)
    talk.lose(CLIENT, 60)
    for who, data in CONVERSATIONS["http/2"][5:]:
        talk.say(who, data)
    (connection,) = plain(talk.end().rows(), "connections")
    assert connection["flags"] & ConnFlag.NOT_DECODABLE


@pytest.mark.parametrize(
    ("seen", "protocol"),
    [
        (b"HTTP/1.1 101 Sw", Protocol7.HTTP1),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConn", Protocol7.WEBSOCKET),
    ],
    ids=["the status", "the status and what it changes to"],
)
def test_a_change_of_protocol_whose_head_was_cut(seen: bytes, protocol: Protocol7) -> None:
    """The snap length took the rest: that the protocol changed is known all the same."""
    (who, request), (_, answer) = spoken.websocket()[:2]
    assert answer.startswith(b"HTTP/1.1 101 ")
    said = Talk().say(who, request).say(SERVER, seen + bytes(300 - len(seen)), cut=300 - len(seen))
    said.say(SERVER, b"\x81\x05hello").say(CLIENT, b"\x81\x85\1\2\3\4iggnn")
    (row,) = plain(said.rows(), "connections")
    assert row["flags"] & ConnFlag.UPGRADED and row["protocol7"] == protocol
    assert (row["requests"], row["responses"]) == (1, 1)


@pytest.mark.parametrize("cut", [3, 15, 16, 20, 27])
def test_a_greeting_of_mysql_in_two_segments(cut: int) -> None:
    greeting = b"\x4a\0\0\0\x0a8.0.36-0ubuntu0.22.04.1\0" + bytes(49)
    said = Talk().say(SERVER, greeting[:cut]).say(SERVER, greeting[cut:])
    assert [row["protocol7"] for row in plain(said.rows(), "connections")] == [Protocol7.MYSQL]
