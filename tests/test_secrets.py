"""No secret of any capture gets into any output, in any disguise; and only what is on the list gets there from the wire."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lbtop.cli import COMMANDS
from tests.corpus import committed, sampled
from tests.diagnosing import diagnosis_of
from tests.outputs import OUTPUTS, READ_NO_CAPTURE, disguises, found_in, unfolded
from tests.tools import crafting, writing
from tests.tools.crafting import CLIENT, SERVER, Talk

CAPTURES = {capture.name: capture for capture in committed()}


def test_every_command_is_looked_through() -> None:
    """A new command is either among the outputs or reads no capture."""
    covered = {word for name in OUTPUTS for word in name.replace(",", "").split() if not word.startswith("-")}
    assert set(COMMANDS) <= covered | READ_NO_CAPTURE


WITH_SECRETS = [name for name, capture in CAPTURES.items() if capture.secrets]
PLOTTED = set(WITH_SECRETS[::20])
"""A report takes seconds to draw, and draws from the same frames as everything else: a sample of captures is enough."""


@pytest.mark.parametrize("name", sampled(WITH_SECRETS, 4, "plain-secrets-targets", "offload-secrets-targets"))
def test_no_secret_in_any_output(name: str, tmp_path: Path) -> None:
    needles = {needle for secret in CAPTURES[name].secrets for needle in disguises(secret.encode())}
    for output, write in OUTPUTS.items():
        if output == "report" and name not in PLOTTED:
            continue
        haystack = unfolded(write(CAPTURES[name].path, tmp_path))
        assert (output, found_in(haystack, needles)) == (output, [])


def test_no_secret_of_traffic_that_its_keys_open(shared_captures: Path, tshark: str, tmp_path: Path) -> None:
    """A capture may hold the keys of its TLS connections: what they open is as secret as what crosses in clear."""
    path = shared_captures / "ja4" / "http2-with-cookies.pcapng"
    command = [tshark, "-n", "-r", str(path), "-T", "fields", "-e", "http2.headers.cookie"]
    told = subprocess.run(command, capture_output=True, check=False, timeout=60).stdout
    values = {value for value in re.findall(rb"=([^;,\s]{12,})", told)}
    assert len(values) > 10
    needles = {needle for value in values for needle in disguises(value)}
    for output, write in OUTPUTS.items():
        haystack = unfolded(write(path, tmp_path))
        assert (output, found_in(haystack, needles)) == (output, [])


@pytest.mark.parametrize("output", OUTPUTS)
def test_nothing_depends_on_the_key_of_a_run(output: str, tmp_path: Path) -> None:
    """Values are hashed under a key that is new in each run: what shows through a hash differs between two runs."""
    capture = CAPTURES["offload-lb-cookie-one"].path
    first, second = (OUTPUTS[output](capture, tmp_path) for _ in range(2))
    assert first == second


# One token in every place of a conversation that bytes of the wire can come from.

ON_THE_LIST = {
    "path": b"tokpath", "header-name": b"X-Tokheader", "request-cookie-name": b"tokcookie", "set-cookie-name": b"toksetcookie",
    "host": b"tokhost.example", "sni": b"toksni.example", "alpn": b"tokalpn", "authority": b"tokauthority",
}  # fmt: skip
NEVER = {
    "query": b"qwtquery", "fragment": b"qwtfragment", "userinfo": b"qwtuserinfo", "header-value": b"qwtheadervalue",
    "cookie-value": b"qwtcookievalue", "set-cookie-value": b"qwtsetcookievalue", "set-cookie-path": b"qwtcookiepath",
    "set-cookie-domain": b"qwtcookiedomain", "user": b"qwtuser", "password": b"qwtpassword", "form": b"qwtformfield",
    "json": b"qwtjsonvalue", "body": b"qwtbody", "response-body": b"qwtanswer", "reason": b"qwtreason",
    "location": b"qwtlocation", "referer": b"qwtreferer", "origin-path": b"qwtorigin", "tlv": b"qwttlv",
    "method": b"QWTMETHOD", "chunk": b"qwtchunkext",
    "trailer": b"qwttrailer", "forwarded": b"qwtforwarded", "trace": b"qwttrace", "banner": b"qwtbanner",
    "datagram": b"qwtdatagram",
    "etag": b"qwtetag", "websocket": b"qwtwebsocket", "realm": b"qwtrealm", "session-id": b"qwtsessionid",
}  # fmt: skip
MAY_HOLD_WIRE_TEXT = {"service", "cookie", "key", "title", "detail", "confirm", "advice", "name", "sni", "alpn", "settled_by"}
"""Members of the JSON object in which what is on the list may stand (``sni`` and ``alpn`` hold it as names of members)."""


def planted() -> list[Any]:
    """Eight clients behind one balancer, four requests each to two targets; a token in every position."""
    t = {**ON_THE_LIST, **NEVER}
    records = []
    for user in range(8):
        target = (f"10.0.1.{11 + user % 2}", 8080)
        source = ("10.0.0.5", 40000 + user)
        talk = Talk(source, target, clock=crafting.START_NS + user * 10**9)
        script = []
        for number in range(4):
            script.append((CLIENT, request(t, user, number)))
            script.append((SERVER, response(t, user, number)))
        records += talk.say(script)
        records += Talk(source, (target[0], 8443), clock=talk.clock + 10**6).say(
            [(CLIENT, crafting.client_hello(t["sni"], [t["alpn"], b"h2"])), (SERVER, crafting.server_hello())]
        )
        records += Talk((source[0], 50000 + user), (target[0], 2222), clock=talk.clock + 10**8).say(
            [(SERVER, b"SSH-2.0-" + t["banner"] + b"\r\n"), (CLIENT, b"SSH-2.0-" + t["banner"] + b"\r\n")]
        )
        records += Talk((source[0], 51000 + user), (target[0], 9000), clock=talk.clock + 2 * 10**8).say(
            [(CLIENT, proxy_v2(t) + request(t, user, 9)), (SERVER, response(t, user, 9))]
        )
        records.append(crafting.datagram((source[0], 52000), (target[0], 514), b"<34>" + t["datagram"], talk.clock + 3 * 10**8))
    return sorted(records, key=lambda record: record.ts_ns)


def request(t: dict[str, bytes], user: int, number: int) -> bytes:
    body = b"%s=%s&password=%s&note=%s" % (b"comment", t["form"], t["password"], t["body"])
    kind = b"application/x-www-form-urlencoded"
    if number % 2:
        body, kind = b'{"password": "%s", "text": "%s"}' % (t["password"], t["json"]), b"application/json"
    method = t["method"] if number == 3 else b"POST"
    return b"\r\n".join(
        (
            b"%s http://%s@%s/%s/a?x=%s#%s HTTP/1.1" % (method, t["userinfo"], t["host"], t["path"], t["query"], t["fragment"]),
            b"Host: " + t["host"],
            b"User-Agent: Mozilla/5.0 (X11) Chrome/120.0",
            b"X-Forwarded-For: %s, 198.51.100.%d" % (t["forwarded"], user),
            b"X-Forwarded-Proto: https",
            b"%s: %s" % (t["header-name"], t["header-value"]),
            b"Cookie: JSESSIONID=%s%d; %s=%s%d; AWSALB=%s%d" % (
                t["session-id"], user, t["request-cookie-name"], t["cookie-value"], user, t["cookie-value"], number,
            ),
            b"Authorization: Digest username=%s, realm=%s" % (t["user"], t["realm"]),
            b"Referer: https://%s/%s" % (t["host"], t["referer"]),
            b"Origin: https://%s/%s" % (t["host"], t["origin-path"]),
            b"X-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793;Custom=" + t["trace"],
            b"If-None-Match: " + t["etag"],
            b"Content-Type: " + kind,
            b"Content-Length: %d" % len(body),
            b"",
            body,
        )
    )  # fmt: skip


def response(t: dict[str, bytes], user: int, number: int) -> bytes:
    return b"\r\n".join(
        (
            b"HTTP/1.1 302 " + t["reason"],
            b"Location: /login/%s?x=%s" % (t["location"], t["location"]),
            b"Set-Cookie: %s=%s%d%d; Path=/%s; Domain=%s.example; Max-Age=60" % (
                t["set-cookie-name"], t["set-cookie-value"], user, number, t["set-cookie-path"], t["set-cookie-domain"],
            ),
            b"Set-Cookie: JSESSIONID=%s%dx%d; Path=/%s" % (t["session-id"], user, number, t["set-cookie-path"]),
            b"ETag: " + t["etag"],
            b"Transfer-Encoding: chunked",
            b"",
            b"%x;%s" % (len(t["response-body"]), t["chunk"]),
            t["response-body"],
            b"0",
            b"X-Trailer: " + t["trailer"],
            b"",
            b"",
        )
    )  # fmt: skip


def proxy_v2(t: dict[str, bytes]) -> bytes:
    addresses = bytes([198, 51, 100, 7, 10, 0, 0, 5]) + (4711).to_bytes(2, "big") + (443).to_bytes(2, "big")
    tlvs = b"".join(
        bytes([kind]) + len(value).to_bytes(2, "big") + value
        for kind, value in ((0x02, t["authority"]), (0x05, t["tlv"]), (0xEA, b"\x01" + t["tlv"]), (0xE0, t["tlv"]))
    )
    rest = addresses + tlvs
    return b"\r\n\r\n\x00\r\nQUIT\n\x21\x11" + len(rest).to_bytes(2, "big") + rest


@pytest.fixture(scope="module")
def planting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return writing.write(tmp_path_factory.mktemp("planted") / "planted.pcap", planted())


@pytest.mark.parametrize("output", OUTPUTS)
def test_only_what_is_on_the_list_gets_out(output: str, planting: Path, tmp_path: Path) -> None:
    """Paths without their query, names of headers and cookies, addresses, SNI, Host, ALPN; of the wire nothing else."""
    haystack = unfolded(OUTPUTS[output](planting, tmp_path)).lower()
    assert [place for place, token in NEVER.items() if token.lower() in haystack] == []


def test_the_planting_is_seen_at_all(planting: Path, tmp_path: Path) -> None:
    """The tokens that may be shown are: otherwise the test above shows nothing."""
    haystack = OUTPUTS["observe"](planting, tmp_path)
    assert [place for place, token in ON_THE_LIST.items() if token not in haystack] == []


def test_where_bytes_of_the_wire_stand_in_the_json(planting: Path) -> None:
    tokens = [token.decode().lower() for token in ON_THE_LIST.values()]
    places = {member for member, text in members(diagnosis_of(planting)) if any(token in text.lower() for token in tokens)}
    assert places <= MAY_HOLD_WIRE_TEXT


def members(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text with the name of the nearest member that holds it; names of members count as texts of the map they are in."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield name, key
            yield from members(member, key)
    elif isinstance(value, list):
        for member in value:
            yield from members(member, name)
    else:
        yield name, json.dumps(value)
