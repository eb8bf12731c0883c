"""Both sides of recognising secrets, on what real traffic looks like: no alarm for what only resembles one, none missed.

The tables are the product's catalogue; the reference applies its own rules to the same lines.
"""

from __future__ import annotations

import pytest

from lbtop.catalog.recognition import recognition
from lbtop.model.observation import SecretKind as Kind
from tests.reference import heads, secrets
from tests.wire.talk import CLIENT, Talk, plain
from tests.wire.test_secrets import JWT, TOKEN

FORM = b"application/x-www-form-urlencoded"
UUID = b"550e8400-e29b-41d4-a716-446655440000"
MD5 = b"5e8ff9bf55ba3508199d22e984129be6"
SHA1 = b"e83c5163316f89bfbde7d9ab23ca2e25604af290"
GOOGLE = b"AIzaSyDaGmWKa4JsXZ-HjGw7ISLn_3namBGewQe"
GITHUB = b"ghp_16C7e42F292c6912E7710c838347Ae178B4a"
PNG = b"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CARD = b"4111111111111111"  # a number whose check digit is right, as one in ten order numbers' is


def raw(line: bytes = b"", path: bytes = b"/", json: bytes = b"", form: bytes = b"") -> tuple[bytes, bytes, bytes]:
    """Head, body, content type."""
    body, kind = (json, b"application/json") if json else (form, FORM)
    head = b"GET %s HTTP/1.1\r\nHost: a\r\n" % path + (line + b"\r\n" if line else b"")
    if body:
        head += b"Content-Type: %s\r\nContent-Length: %d\r\n" % (kind, len(body))
    return head + b"\r\n", body, kind


def found(request: dict[str, bytes]) -> list[Kind]:
    head, body, _ = raw(**request)
    return [Kind(row["kind"]) for row in plain(Talk(recognition()).say(CLIENT, head + body).end().rows(), "secrets")]


def by_reference(request: dict[str, bytes]) -> list[Kind]:
    text, body, kind = raw(**request)
    head, names = heads.parse(text, False), recognition()
    rows = [*secrets.in_request(head, list(head.cookies()), names), *(secrets.in_body(body, kind, names) if body else ())]
    return [row[0] for row in rows]


HARMLESS: dict[str, list[dict[str, bytes]]] = {
    "UUIDs and hashes": [
        {"path": b"/orders/" + UUID},
        {"path": b"/r?id=" + UUID},
        {"path": b"/kv?key=users/" + UUID},
        {"path": b"/kv?cache_key=" + MD5},
        {"path": b"/s.js?v=" + MD5},
        {"path": b"/diff?sha=" + SHA1},
        {"json": b'{"commit":"%s"}' % SHA1},
        {"line": b'If-None-Match: "%s"' % MD5},
        {"line": b'If-None-Match: W/"%s"' % SHA1},
        {"line": b"X-Request-ID: " + TOKEN},
        {"line": b"Idempotency-Key: " + UUID},
        {"line": b"X-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793"},
        {"line": b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        {"line": b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="},
    ],
    "tokens against forgery": [
        {"line": b"X-CSRF-Token: " + TOKEN},
        {"line": b"X-XSRF-TOKEN: " + TOKEN},
        {"line": b"Cookie: XSRF-TOKEN=" + TOKEN},
        {"line": b"Cookie: csrftoken=" + TOKEN},
        {"line": b"Cookie: __RequestVerificationToken=" + TOKEN},
        {"line": b"Cookie: .AspNetCore.Antiforgery.abc_login=" + TOKEN},
        {"path": b"/oauth/callback?state=" + TOKEN},
        {"path": b"/a?g-recaptcha-response=03AGdBq24PBCbwiDRaS_MJ7Z"},
    ],
    "analytics": [
        {"line": b"Cookie: _ga=GA1.2.349209205.1532525440; _ga_ABC123DEF4=GS1.1.1700000000.1.1.1700000100.0.0.0; _gid=GA1.2.1.2"},
        {"line": b"Cookie: _gcl_au=1.1.123456789.1700000000; _fbp=fb.1.1596403881668.1116446470; ajs_anonymous_id=" + UUID},
        {"line": b"Cookie: _hjSessionUser_12345=eyJpZCI6IjEyMzQ1Njc4IiwiY3JlYXRlZCI6MTcwMDAwMDAwMDAwMH0="},
        {"line": b"Cookie: _uetsid=%s; _pin_unauth=dWlkPU5HRXdOREUxTkdFdE5XWTNaQzAw; __stripe_sid=%sabc" % (MD5, UUID)},
        {"line": b"Cookie: ai_session=abc123def456|1700000000|1700000100; _pk_ses.1.1fff=1700000000abcdef12345"},
        {"line": b"Cookie: intercom-id-abc=%s; hubspotutk=%s; OptanonConsent=isGpcEnabled=0&datestamp=Mon" % (UUID, MD5)},
        {"line": b"Cookie: cf_clearance=abcDEF123456789012345; __cf_bm=abcDEF123456789012345.xyz-1700000000-1-Aabc"},
        {"line": b"Cookie: visitor_id=%s; lang=en-US; cart_count=3; ab_test=variant-b-20240101" % UUID},
        {"line": b"Cookie: session_timeout=1800; last_session=2024-01-01T10:00:00Z1234; remember_me=true"},
    ],
    "numbers that resemble cards": [
        {"path": b"/a?order=" + CARD},
        {"path": b"/t?tracking=4012888888881881"},
        {"json": b'{"order_number":"%s"}' % CARD},
        {"json": b'{"trackingNumber":4012888888881881}'},
        {"json": b'{"imei":"490154203237518","mobile":"4916409457367128"}'},
        {"json": b'{"phone":"+49 151 23456789","fax":"4111-1111-1111-1111-22"}'},
        {"json": b'{"phone":"+1 (555) 010-9999","isbn":"978-3-16-148410-0"}'},
        {"json": b'{"timestamp":1700000000123456,"nanos":1700000000123456789}'},
        {"json": b'{"iban":"DE89370400440532013000","coords":"4532 0151 1283 0366 77"}'},
        {"json": b'{"pan":"4111111111111112"}'},
        {"path": b"/gps?loc=4111.1111,1111.1111"},
    ],
    "what resembles a JWT or a key": [
        {"path": b"/lib?v=1.2.3"},
        {"path": b"/x?host=eu-west-1.compute.internal"},
        {"path": b"/x?f=jquery.validate.min.js"},
        {"path": b"/x?v=eyJhbGciOi.example.com"},
        {"path": b"/x?n=eyes.open.wide"},
        {"json": b'{"image":"%s"}' % PNG},
        {"json": b'{"branch":"gh_pages_2024_build_v10_release1","host":"sg.shop-17.example-22.com"}'},
        {"path": b"/list?next_token=eyJsYXN0IjoiMTIzNDU2Nzg5MCJ9abc"},
        {"path": b"/list?pageToken=CAEQAA&cursor=" + TOKEN},
        {"path": b"/a?sort_key=created_at_2024_descending1"},
        {"path": b"/map?key=home"},
    ],
    "passwords that are none": [
        {"path": b"/login?password="},
        {"path": b"/help?topic=password"},
        {"path": b"/docs/reset-password"},
        {"path": b"/a?reset_password=true&forgot-password=1&pin=12345"},
        {"form": b"text=How+to+set+password%3Dsecret+in+config"},
        {"form": b"password=&user=ann"},
        {"form": b"show_password=on"},
        {"json": b'{"message":"your password: please choose one"}'},
        {"json": b'{"doc":"set \\"password\\":\\"x\\" in the file"}'},
        {"json": b'{"password":null,"hasPassword":true,"password_changed_at":"2024-01-01"}'},
        {"json": b'{"password":{"min_length":8},"passwordPolicy":"strong"}'},
        {"json": b'{"password":"********"}'},
    ],
}

SENSITIVE: list[tuple[dict[str, bytes], list[Kind]]] = [
    ({"line": b"Proxy-Authorization: Basic dXNlcjpwYXNz"}, [Kind.BASIC_AUTH]),
    ({"line": b"Authorization: Bearer " + GITHUB}, [Kind.BEARER_TOKEN]),
    ({"line": b"X-Goog-Api-Key: " + GOOGLE}, [Kind.API_KEY]),
    ({"line": b"X-Vault-Token: hvs.CAESIabc123DEF456ghi789"}, [Kind.API_KEY]),
    ({"line": b"Ocp-Apim-Subscription-Key: " + MD5}, [Kind.API_KEY]),
    ({"line": b"DD-API-KEY: " + MD5}, [Kind.API_KEY]),
    ({"path": b"/maps/api?key=" + GOOGLE}, [Kind.API_KEY]),
    ({"path": b"/hook?x=" + GITHUB}, [Kind.API_KEY]),
    ({"json": b'{"slack":"xoxb-123456789012-abcdefABCDEF"}'}, [Kind.API_KEY]),
    ({"json": b'{"stripe":"sk_live_4eC39HqLyjWDarjtT1zdp7dc"}'}, [Kind.API_KEY]),
    ({"path": b"/a?client_secret=" + TOKEN}, [Kind.API_KEY]),
    ({"path": b"/a?id_token=" + JWT}, [Kind.JWT]),
    ({"path": b"/a?refresh_token=" + TOKEN}, [Kind.BEARER_TOKEN]),
    ({"path": b"/login?user=ann&pass=hunter2"}, [Kind.PASSWORD]),
    ({"form": b"user%5Bemail%5D=a&user%5Bpassword%5D=hunter2"}, [Kind.PASSWORD]),
    ({"form": b"user[password]=hunter2&user[password_confirmation]=hunter2"}, [Kind.PASSWORD, Kind.PASSWORD]),
    ({"form": b"log=admin&pwd=hunter2&wp-submit=Log+In"}, [Kind.PASSWORD]),
    ({"form": b"j_username=a&j_password=hunter2"}, [Kind.PASSWORD]),
    ({"form": b"grant_type=password&username=a&password=hunter2&client_secret=" + TOKEN}, [Kind.PASSWORD, Kind.API_KEY]),
    ({"json": b'{"user":{"password" : "hu\\"nter2"}}'}, [Kind.PASSWORD]),
    ({"json": b'{"newPassword":"hunter2","current_password":"x"}'}, [Kind.PASSWORD, Kind.PASSWORD]),
    ({"json": b'{"apiKey":"%s"}' % TOKEN}, [Kind.API_KEY]),
    ({"line": b"Cookie: PHPSESSID=4m0a1b2c3d4e5f6g7h8i9j0k1l"}, [Kind.SESSION_COOKIE]),
    ({"line": b"Cookie: connect.sid=s%3AabcDEF1234567890abcdefgh.signature"}, [Kind.SESSION_COOKIE]),
    ({"line": b"Cookie: __Host-session=" + TOKEN}, [Kind.SESSION_COOKIE]),
    ({"line": b"Cookie: _game_session=" + TOKEN}, [Kind.SESSION_COOKIE]),
    ({"line": b"Cookie: remember_web_59ba36=" + TOKEN}, [Kind.SESSION_COOKIE]),
    ({"line": b"Cookie: wordpress_logged_in_5e8ff9bf55ba3508=admin%7C1700000000%7Cabc"}, [Kind.SESSION_COOKIE]),
    ({"line": b"Cookie: next-auth.session-token=" + TOKEN}, [Kind.SESSION_COOKIE]),
    ({"line": b"Cookie: .AspNetCore.Identity.Application=CfDJ8abcDEF1234567890"}, [Kind.SESSION_COOKIE]),
    ({"json": b'{"cardNumber":"4242424242424242","cvc":"123"}'}, [Kind.CARD_NUMBER]),
    ({"form": b"number=4242+4242+4242+4242"}, [Kind.CARD_NUMBER]),
    ({"form": b"card%5Bnumber%5D=4242424242424242"}, [Kind.CARD_NUMBER]),
    ({"json": b'{"creditCard":{"number":"5555555555554444"}}'}, [Kind.CARD_NUMBER]),
    ({"json": b'{"ccnum":"6011111111111117"}'}, [Kind.CARD_NUMBER]),
    ({"form": b"CARDNO=378282246310005"}, [Kind.CARD_NUMBER]),
]


@pytest.mark.parametrize("what", HARMLESS)
def test_what_only_resembles_a_secret_raises_no_alarm(what: str) -> None:
    alarms = [(request, kinds) for request in HARMLESS[what] if (kinds := found(request))]
    assert not alarms


@pytest.mark.parametrize(("request_", "kinds"), SENSITIVE, ids=lambda value: None)
def test_secrets_are_recognised(request_: dict[str, bytes], kinds: list[Kind]) -> None:
    assert found(request_) == kinds


def test_the_reference_agrees() -> None:
    requests = [*(request for group in HARMLESS.values() for request in group), *(request for request, _ in SENSITIVE)]
    assert [request for request in requests if found(request) != by_reference(request)] == []
