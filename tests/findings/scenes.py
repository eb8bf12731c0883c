"""Small made-up services that a finding is tried on, and what was found in them."""

from __future__ import annotations

from lbtop.engine import diagnose
from lbtop.model.judgement import Finding
from lbtop.model.observation import CookieFlag, HelloFlag, SecretKind, Side
from lbtop.model.snapshot import Snapshot
from lbtop.testing import Connection, Traffic

ALB = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Port", "Host", "X-Amzn-Trace-Id", "user-agent", "accept")


def found_in(traffic: Traffic, **stats: object) -> dict[str, Finding]:
    """Findings by id (one of each suffices here)."""
    return {finding.id: finding for finding in snapshot_of(traffic, **stats).findings}


def snapshot_of(traffic: Traffic, **stats: object) -> Snapshot:
    return diagnose(traffic.source(**stats))


def http_service(
    proto: str = "https",
    *,
    connections: int = 6,
    requests: int = 8,
    session: bool = True,
    set_flags: int | None = None,
    secret: SecretKind | None = None,
) -> Traffic:
    """An ALB that says ``proto``, three targets, sessions that stick; ``secret`` in some requests."""
    traffic = Traffic()
    for number in range(connections):
        conn = traffic.connect("10.0.9.1", f"10.0.0.{11 + number % 3}:8080", at=number * 0.5)
        for turn in range(requests):
            at = number * 0.5 + 0.01 + turn * 2.0
            cookies = {"JSESSIONID": f"s{number}"} if session and turn else {}
            conn.request(
                at=at, forwarded=[f"203.0.113.{number + 1}"], proto=proto, headers=ALB, cookies=cookies, user_agent="okhttp/4.12"
            )
            if session and not turn:
                flags = CookieFlag.SESSION | (CookieFlag.SECURE if set_flags is None else set_flags)
                conn.respond(200, set_cookies={"JSESSIONID": f"s{number}"}, cookie_flags={"JSESSIONID": flags})
                conn.secret(SecretKind.SET_COOKIE_SESSION, f"s{number}", name="JSESSIONID", sender=Side.SERVER, at=at + 0.011)
            else:
                conn.respond(200)
                if session:
                    conn.secret(SecretKind.SESSION_COOKIE, f"s{number}", name="JSESSIONID", at=at)
            if secret is not None and turn == 1:
                conn.secret(secret, f"secret {number}", name="Authorization", at=at)
    return traffic


def tls_service(versions: list[int], ciphers: list[int] | None = None, certificates: list[str] | None = None) -> Traffic:
    """Clients' own TLS at three targets; versions, ciphers and certificates in turn (certificates per target)."""
    traffic = Traffic()
    for turn in range(36):
        conn: Connection = traffic.connect(
            f"203.0.113.{turn % 12 + 1}",
            f"10.0.0.{11 + turn % 3}:8443",
            at=turn * 0.3,
            ttl=50 + turn % 12,
        )
        version = versions[turn % len(versions)]
        conn.hello(
            version=version,
            cipher=(ciphers or [0x1301 if version >= 0x0304 else 0xC02F])[turn % len(ciphers or [0])],
            family=f"client-{turn % 12}",
            sni="shop.example",
            flags=HelloFlag.GREASE,
            certificate=certificates[turn % 3] if certificates else "",
            at=turn * 0.3 + 0.01,
        )
        conn.data(400, 6000)
        conn.close()
    return traffic
