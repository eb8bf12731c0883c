"""What is taken for a secret, and what is not."""

from __future__ import annotations

import base64

import pytest

from lbtop.model.observation import SecretKind as Kind
from tests.wire.talk import CLIENT, SERVER, Talk, plain

JWT = (
    base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")
    + b".eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlLXNpZ25hdHVyZQ"
)
TOKEN = b"f3a9C1b7e5D2084613af9Bcd"


def kinds(head: bytes = b"", path: bytes = b"/", body: bytes = b"", form: bytes = b"") -> list[Kind]:
    lines = b"GET %s HTTP/1.1\r\nHost: a\r\n%s" % (path, head)
    if body:
        lines += b"Content-Type: %s\r\nContent-Length: %d\r\n" % (form or b"application/json", len(body))
    rows = Talk().say(CLIENT, lines + b"\r\n" + body).end().rows()
    return [Kind(row["kind"]) for row in plain(rows, "secrets")]


HEADERS = [
    (b"Authorization: Basic YW5uOmh1bnRlcjI=", [Kind.BASIC_AUTH]),
    (b"authorization: bearer " + TOKEN, [Kind.BEARER_TOKEN]),
    (b"Authorization: Bearer " + JWT, [Kind.BEARER_TOKEN, Kind.JWT]),
    (b'Authorization: Digest username="ann", realm="r", nonce="n", response="x"', [Kind.DIGEST_AUTH]),
    (b"Authorization: Negotiate YII", []),
    (b"Authorization: AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=abc", []),
    (b"Authorization: Basic", []),
    (b"X-Api-Key: 0123456789abcdef", [Kind.API_KEY]),
    (b"X-Request-Id: 0123456789abcdef", []),
    (b"Cookie: JSESSIONID=1", [Kind.SESSION_COOKIE]),
    (b"Cookie: my_auth=" + TOKEN, [Kind.SESSION_COOKIE]),
    (b"Cookie: my_auth=yes", []),
    (b"Cookie: csrf_token=" + TOKEN, []),
    (b"Cookie: _ga=GA1.2.349209205.1532525440; theme=dark; AWSALB=" + TOKEN, []),
    (b"Cookie: id=" + JWT, [Kind.SESSION_COOKIE, Kind.JWT]),
]


@pytest.mark.parametrize(("head", "expected"), HEADERS)
def test_headers(head: bytes, expected: list[Kind]) -> None:
    assert kinds(head + b"\r\n") == expected


PATHS = [
    (b"/a?access_token=" + TOKEN, [Kind.BEARER_TOKEN]),
    (b"/a?api_key=" + TOKEN + b"&x=1", [Kind.API_KEY]),
    (b"/a?password=x", [Kind.PASSWORD]),
    (b"/a?id=" + JWT, [Kind.JWT]),
    (b"/a?key=name", []),
    (b"/a?token=42", []),
    (b"/a?q=password", []),
    (b"/a?q=4111111111111111", []),
    (b"/a?card=4111111111111111", [Kind.CARD_NUMBER]),
    (b"/a?time=1532525440123456", []),
]


@pytest.mark.parametrize(("path", "expected"), PATHS)
def test_queries(path: bytes, expected: list[Kind]) -> None:
    assert kinds(path=path) == expected


BODIES = [
    (b'{"user":"ann","password":"hunter2"}', [Kind.PASSWORD]),
    (b'{"a":{"Password" : "x"}}', [Kind.PASSWORD]),
    (b'{"password":""}', []),
    (b'{"password":"********"}', []),
    (b'{"password":true}', []),
    (b'{"number":"4111 1111 1111 1111"}', [Kind.CARD_NUMBER]),
    (b'{"pan":4111111111111111}', [Kind.CARD_NUMBER]),
    (b'{"note":"5500-0000-0000-0004"}', [Kind.CARD_NUMBER]),
    (b'{"pan":4111111111111112}', []),
    (b'{"orderId":4111111111111111}', []),
    (b'{"card":"9111111111111111"}', []),
    (b'{"phone":"4111 1111 1111 1112"}', []),
    (b'{"card_number":"378282246310005","cvv":"123"}', [Kind.CARD_NUMBER]),
    (b'{"when":"2024-01-01 10:00"}', []),
    (b'{"unclosed":"', []),
]


@pytest.mark.parametrize(("body", "expected"), BODIES)
def test_json_bodies(body: bytes, expected: list[Kind]) -> None:
    assert kinds(body=body) == expected


def test_forms() -> None:
    form = b"application/x-www-form-urlencoded; charset=utf-8"
    assert kinds(body=b"u=ann&passwd=x&cc=4111+1111+1111+1111", form=form) == [Kind.PASSWORD, Kind.CARD_NUMBER]


def test_other_bodies_are_not_looked_at() -> None:
    assert kinds(body=b'{"password":"x"}', form=b"application/octet-stream") == []


def test_only_the_beginning_of_a_body_is_looked_at() -> None:
    assert kinds(body=b'{"pad":"' + b"x" * 4000 + b'","password":"x"}') == []


def test_set_cookie_of_a_session() -> None:
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: JSESSIONID=1; Path=/\r\nSet-Cookie: theme=dark\r\nContent-Length: 0\r\n\r\n"
    rows = Talk().say(CLIENT, b"GET / HTTP/1.1\r\n\r\n").say(SERVER, answer).end().rows()
    assert [(row["kind"], row["sender"]) for row in plain(rows, "secrets")] == [(Kind.SET_COOKIE_SESSION, 2)]


def test_mail_passwords() -> None:
    talk = Talk().say(SERVER, b"+OK POP3 server ready\r\n").say(CLIENT, b"USER ann\r\n").say(SERVER, b"+OK\r\n")
    assert [row["kind"] for row in plain(talk.say(CLIENT, b"PASS hunter2\r\n").end().rows(), "secrets")] == [Kind.PASSWORD]


def test_no_value_is_kept_anywhere() -> None:
    """A planted value is in no string that the decoder keeps."""
    secret = b"Zq7pLanTed9x8Secret5Value"
    head = b"GET /p?token=%s HTTP/1.1\r\nAuthorization: Bearer %s\r\nCookie: JSESSIONID=%s; a=%s\r\nX-Api-Key: %s\r\n\r\n"
    rows = Talk().say(CLIENT, head % ((secret,) * 5)).end().rows()
    assert len(rows["secrets"]) == 4
    assert not any(secret[:8] in rows.strings[number] for number in range(len(rows.strings)))
