"""Heads inside TLS, from the libraries of real servers: as many as they log, each on its connection, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.live.inside import Servers, attached, requests, servers, service  # noqa: F401  a fixture

SECRET = "S3cretValue0fTheCookie7fA91bQ"


@pytest.mark.parametrize("probe", ["ebpf", "packet"])
def test_every_request_of_both_servers_is_seen(servers: Servers, tmp_path: Path, probe: str) -> None:  # noqa: F811
    """HAProxy moves the bytes itself and nginx gives its library the socket; the log is the truth."""
    listening = servers.listen("port:9443,port:8443", tmp_path / "lbtop.log", probe)
    attached(listening)
    servers.ns.run("wrk", "-t1", "-c20", "-d2s", "https://127.0.0.1:9443/load")
    for _ in range(3):
        servers.curl("--http2", "https://127.0.0.1:9443/two[1-5]")
        servers.curl("--http2", "--parallel", "--parallel-max", "50", "https://127.0.0.1:9443/streams[1-300]")
    logged = servers.logged()
    verdict = servers.verdict(listening)
    inside = verdict["source"]["inside_tls"]
    for port in (9443, 8443):
        seen = requests(verdict, port)
        print(f"{probe}, port {port}: {seen:,} of {len(logged):,} requests seen inside TLS ({seen / len(logged):.2%})")
        assert 0.99 * len(logged) <= seen <= len(logged)
        assert service(verdict, port)["exposure"]["plaintext_bytes"] == 0
    assert len(logged) > 1000
    assert inside["ports"] == [8443, 9443] and inside["unreadable"] == [] and inside["lost"] == 0
    assert inside["share"] >= 0.99 and inside["connections"] >= 20


def test_bodies_are_passed_over_and_statuses_are_right(servers: Servers, tmp_path: Path) -> None:  # noqa: F811
    listening = servers.listen("port:8443", tmp_path / "lbtop.log")
    attached(listening)
    upload = tmp_path / "upload"
    # A body whose every line looks like a request: it is as long as its head says.
    upload.write_text("GET /forged HTTP/1.1\r\nHost: x\r\n\r\n" * 20_000)
    for version in ("--http1.1", "--http2"):
        servers.curl(version, "-o", "/dev/null", "https://127.0.0.1:8443/big", "-o", "/dev/null", "https://127.0.0.1:8443/a")
        servers.curl(version, "--data-binary", f"@{upload}", "https://127.0.0.1:8443/in")
        servers.curl(version, "-H", f"X-Long: {'a' * 3000}", "https://127.0.0.1:8443/long")
        servers.curl(version, "-o", "/dev/null", "https://127.0.0.1:8443/big/none")
    logged = servers.logged()
    verdict = servers.verdict(listening)
    assert requests(verdict, 8443) == len(logged) == 10
    status = service(verdict, 8443)["targets"][0]["status"]
    assert {kind: count for kind, count in status.items() if count} == {"2xx": 8, "4xx": 2}


def test_secrets_inside_are_seen_and_do_not_count_as_readable_on_the_wire(servers: Servers, tmp_path: Path) -> None:  # noqa: F811
    listening = servers.listen("port:9443,port:8443", tmp_path / "lbtop.log")
    attached(listening)
    for _ in range(6):
        servers.curl("-b", f"sessionid={SECRET}", "-u", f"user:{SECRET}", "https://127.0.0.1:9443/x[1-3]")
    verdict = servers.verdict(listening)
    for port, mode in ((9443, "passthrough"), (8443, "bridging")):
        row = service(verdict, port)
        assert requests(verdict, port) == 18
        assert row["exposure"]["sensitive"] == [] and row["exposure"]["plaintext_connections"] == 0
        assert row["termination"]["mode"] in (mode, "bridging", "unknown")
    assert not {"plaintext-backend-hop", "credentials-in-plaintext", "session-cookie-in-plaintext"} & {
        finding["id"] for finding in verdict["findings"]
    }
    said = json.dumps(verdict) + listening.said()
    assert SECRET not in said and "sessionid" in json.dumps(verdict["services"])
