"""Every row of the catalogue: its source is known, its sample is recognised."""

from __future__ import annotations

import subprocess

import pytest

from lbtop import catalog
from lbtop.catalog.decoders import decode
from lbtop.catalog.digests import _fnv1, _fnv1a, digests
from lbtop.catalog.recognition import recognition
from lbtop.inference.identity import SHAPE_MARKS
from lbtop.model.address import endpoint_text, ip_text, pack_ip


@pytest.mark.parametrize("table", catalog.TABLES)
def test_every_row_has_a_known_source_and_no_empty_cell(table: str) -> None:
    for row in catalog._read(table, catalog.TABLES[table]):
        assert all(row.cells.values()), row.cells
        if table != "sources":
            assert row.cells["source"] in catalog.sources(), row.cells


def test_a_row_with_other_columns_is_refused(tmp_path, monkeypatch) -> None:
    (tmp_path / "cookies.tsv").write_text("name\tproduct\nX\ty\n")
    monkeypatch.setattr(catalog, "_HERE", tmp_path)
    with pytest.raises(ValueError, match="columns"):
        catalog._read("cookies", catalog.Cookie)


@pytest.mark.parametrize("row", catalog.cookies(), ids=lambda row: row.name)
def test_a_balancer_cookie_recognises_its_sample(row: catalog.Cookie) -> None:
    name, _, value = row.sample.partition("=")
    if row.name != "*":
        assert catalog.balancer_cookie(name) is row
    assert row.kind in ("lb_cookie", "app_cookie", "weighted_target_group", "other")
    assert row.decoder in catalog.DECODERS
    if row.decoder in ("f5", "envoy", "traefik", "netscaler"):
        assert decode(name.encode(), value.encode()) is not None
    if row.decoder in catalog.HASHED:  # the samples are those of 127.0.0.1 (as in nginx's documentation) and 10.0.0.11
        known = digests(pack_ip("127.0.0.1"), 8080) | digests(pack_ip("10.0.0.11"), 8080)
        assert catalog.DECODERS[known[value.encode()]] == row.decoder


@pytest.mark.parametrize("row", catalog.sessions(), ids=lambda row: row.name)
def test_a_session_cookie_recognises_its_sample_and_is_no_balancers(row: catalog.SessionCookie) -> None:
    name = row.sample.partition("=")[0].encode()
    known = recognition()
    by_part = name.startswith(known.session_prefixes) or name.lower().endswith(known.session_suffixes)
    assert name in known.session_cookies or by_part
    assert catalog.balancer_cookie(name.decode()) is None


@pytest.mark.parametrize("row", catalog.health_checkers(), ids=lambda row: row.user_agent)
def test_a_health_checker_recognises_its_sample_and_no_browser(row: catalog.HealthChecker) -> None:
    assert catalog.health_checker(row.sample) is row
    browser = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
    assert not browser.startswith(row.user_agent)


@pytest.mark.parametrize("row", catalog.shapes(), ids=lambda row: f"{row.mark}-{row.product}")
def test_a_way_of_writing_requests_recognises_its_sample_and_no_client(row: catalog.Shape) -> None:
    names = tuple(row.sample.split(","))
    version = 10 if "http10" in row.mark else 11
    mark = SHAPE_MARKS[row.mark]
    assert mark(names, version)
    for client in CLIENTS:
        assert not mark(tuple(client.split(",")), 11)


CLIENTS = (
    "Host,User-Agent,Accept",
    "Host,User-Agent,Accept-Encoding,Accept,Connection,Cookie",
    "Host,Connection,sec-ch-ua,sec-ch-ua-mobile,Upgrade-Insecure-Requests,User-Agent,Accept,Sec-Fetch-Site,Accept-Encoding",
    "Host,User-Agent,Accept,Accept-Language,Accept-Encoding,Connection,Upgrade-Insecure-Requests,Sec-Fetch-Dest",
)


@pytest.mark.parametrize("row", catalog.headers(), ids=lambda row: row.header)
def test_a_header_mark_fits_its_sample(row: catalog.Header) -> None:
    name, _, value = row.sample.partition(": ")
    if row.match == "via":
        assert row.header.lower() in value.lower()
    else:
        assert name.lower() == row.header.lower()
    assert float(row.weight) > 0


@pytest.mark.parametrize("row", catalog.products().values(), ids=lambda row: row.product)
def test_a_product_has_a_layer_and_a_role(row: catalog.Product) -> None:
    assert row.layer in ("4", "7", "both")
    assert row.role in ("load_balancer", "cdn", "proxy")


def test_every_product_named_elsewhere_has_a_name_for_people() -> None:
    named = {row.product for row in catalog.headers()} | {row.product for row in catalog.shapes()}
    assert named <= set(catalog.products())


def test_broken_ciphers_are_broken_and_current_ones_are_not() -> None:
    ciphers = catalog.ciphers()
    for number in (0x0004, 0x0005, 0x000A, 0x0001, 0x0003, 0x0009, 0x0018, 0xC011, 0xC012):
        assert ciphers[number].broken != "-", ciphers[number].name
    for number in (0x1301, 0x1302, 0x1303, 0xC02F, 0xC030, 0xCCA8, 0x009C, 0x002F, 0xC013, 0x1304, 0x1305):
        assert ciphers[number].broken == "-", ciphers[number].name


def test_the_decoder_gets_every_name() -> None:
    tables = recognition()
    assert b"AWSALB" in tables.balancer_cookies
    assert b"BIGipServer" in tables.balancer_prefixes
    assert b"JSESSIONID" in tables.session_cookies
    assert b"_session" in tables.session_suffixes
    assert b"x-api-key" in tables.api_key_headers
    assert b"password" in tables.parameters
    assert b"" not in tables.session_prefixes + tables.session_suffixes + tables.balancer_prefixes


@pytest.mark.parametrize(
    ("name", "value", "target"),
    [
        ("BIGipServerpool", "1677787402.36895.0000", "10.1.1.100:8080"),
        ("BIGipServerpool", "rd5o00000000000000000000ffffc0000201o80", "192.0.2.1:80"),
        ("BIGipServerpool", "vi20010112000000000000000000000030.20480", "[2001:112::30]:80"),
        ("BIGipServerpool", "rd3o20010112000000000000000000000030o80", "[2001:112::30]:80"),
        ("NSC_wt_xfc", "ffffffff090d1f0e45525d5f4f58455e445a4a423660", "10.5.1.31:80"),
        ("anything", "MTAuMC4wLjExOjgwODA=", "10.0.0.11:8080"),
        ("anything", "Cg4xMC4wLjAuMTE6ODA4MBCAqJa4Bg==", "10.0.0.11:8080"),
        ("anything", '"MTAuMC4wLjExOjgwODA="', "10.0.0.11:8080"),
        ("_TRAEFIK_BACKEND", "http://10.0.0.11:8080", "10.0.0.11:8080"),
        ("renamed", "1677787402.36895.0000", "10.1.1.100:8080"),
        ("route", "10.0.0.11:8080", "10.0.0.11:8080"),
        ("route", "[2001:db8::11]:8080", "[2001:db8::11]:8080"),
    ],
)
def test_a_cookie_that_names_its_target_is_decoded(name: str, value: str, target: str) -> None:
    found = decode(name.encode(), value.encode())
    assert found is not None
    assert endpoint_text(found[0], found[1]) == target


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BIGipServerpool", "!cR1Xy0FmVX5wK5mF5o3dQw=="),
        ("BIGipServerpool", "99999999999.36895.0000"),
        ("BIGipServerpool", "1677787402.99999.0000"),
        ("NSC_wt_xfc", "ffffffff"),
        ("session", "bm90IGFuIGFkZHJlc3M6IGF0IGFsbA=="),
        ("session", "OTk5Ljk5OS45OTkuOTk5OjgwODA="),
        ("session", "%%%"),
        ("_ga", "GA1.2.1234567890.1700000000"),
        ("version", "1.2.3.4"),
        ("version", "10.0.0.1:99999"),
        ("session", ""),
    ],
)
def test_a_cookie_that_names_nothing_is_left_alone(name: str, value: str) -> None:
    assert decode(name.encode(), value.encode()) is None


def test_addresses_are_sixteen_bytes() -> None:
    found = decode(b"BIGipServerx", b"1677787402.36895.0000")
    assert found is not None
    assert ip_text(found[0]) == "10.1.1.100"


def digest_with_openssl(*arguments: str, data: bytes) -> str:
    """The digest as the openssl command makes it."""
    made = subprocess.run(["openssl", "dgst", "-r", *arguments], input=data, capture_output=True, check=True)
    return made.stdout.split()[0].decode()


@pytest.mark.parametrize(
    ("arguments", "data", "decoder"),
    [
        (("-md5",), b"10.0.0.11:8080", "nginx_md5"),
        (("-sha1",), b"10.0.0.11:8080", "nginx_md5"),
        (("-md5",), bytes.fromhex("02001f900a00000b0000000000000000"), "nginx_md5"),  # sockaddr_in: AF_INET, port, address
        (("-sha1",), bytes.fromhex("02001f900a00000b0000000000000000"), "nginx_md5"),
        (("-sha256", "-mac", "HMAC", "-macopt", "hexkey:00"), b"10.0.0.11:8080", "caddy_hmac"),  # zeros pad the empty key
    ],
)
def test_digests_are_what_openssl_makes(arguments: tuple[str, ...], data: bytes, decoder: str) -> None:
    value = digest_with_openssl(*arguments, data=data)
    assert catalog.DECODERS[digests(pack_ip("10.0.0.11"), 8080)[value.encode()]] == decoder


def test_traefiks_digests_are_of_the_url() -> None:
    """SHA-256 as openssl makes it, cut to 16 digits; 64-bit FNV-1 as its authors publish it for one byte."""
    found = digests(pack_ip("10.0.0.11"), 8080)
    whole = digest_with_openssl("-sha256", data=b"http://10.0.0.11:8080")
    assert catalog.DECODERS[found[whole[:16].encode()]] == "traefik_hash"
    assert (_fnv1(b"a"), _fnv1a(b"a")) == (0xAF63BD4C8601B7BE, 0xAF63DC4C8601EC8C)
    assert catalog.DECODERS[found[b"%x" % _fnv1(b"http://10.0.0.11:8080")]] == "traefik_hash"


def test_the_digests_of_two_targets_have_nothing_in_common() -> None:
    one, other = digests(pack_ip("10.0.0.11"), 8080), digests(pack_ip("2001:db8::11"), 8080)
    assert len(one) == len(other) > 10
    assert not one.keys() & other.keys()
