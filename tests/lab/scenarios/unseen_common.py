"""What the unseen scenarios share.

They are a test set. Each was drawn from a product's documentation or from common deployments, its truth written from the
configuration before anybody looked at what lbtop makes of it, and no weight, threshold or rule may be fitted or tuned on
them: when one shows a cause of error, the cause is mended and a fresh variation recorded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests.lab.client import User
from tests.lab.scenario import Output, Run
from tests.lab.scenarios.common import OFFLOAD, SESSION

ONE_PIN: dict[str, Any] = {
    "mechanism": "unknown",
    "mechanism_accept": ("source_ip",),
    "mechanism_because": "a session and its address both always come here; nothing separates them at one target",
    "mechanism_candidates": ("source_ip", "app_cookie", "lb_cookie"),
}
HIDDEN_COOKIE: dict[str, Any] = {
    "mechanism": "unknown",
    "mechanism_accept": ("app_cookie", "lb_cookie"),
    "mechanism_because": "sessions stay, and a cookie that the balancer takes off looks the same from here",
    "mechanism_candidates": ("app_cookie", "lb_cookie"),
}
INSIDE_TLS: dict[str, Any] = {
    "mechanism": "unknown",
    "mechanism_because": "requests cannot be read inside TLS and users share the balancer's connections",
    "mechanism_candidates": ("lb_cookie", "app_cookie", "none"),
    "seen": "tls",
}
NO_HINT: dict[str, Any] = {
    "mode": "unknown",
    "mode_because": "nothing tells whether the clients' own hop is TLS",
    "may": ("session-cookie-in-plaintext", "plaintext-backend-hop", "plaintext-end-to-end"),
}
BROWSER_COOKIE = "Path=/; HttpOnly; Secure; SameSite=Lax"
PLAIN_COOKIE = "Path=/; HttpOnly"


def offloaded(file: str, vantage: str, mechanism: str = "unknown", shows: str = "", **more: Any) -> Output:
    """A capture of a service whose TLS ends at the balancer and whose requests carry session cookies."""
    usual: dict[str, Any] = {"mode": "offload", "mechanism": mechanism, "must": OFFLOAD, **SESSION, "shows": shows}
    return Output(f"{file}.pcap.gz", vantage, **{**usual, **more})


def output(file: str, vantage: str, mode: str = "unknown", mechanism: str = "unknown", shows: str = "", **more: Any) -> Output:
    """A capture of the unseen set."""
    return Output(f"{file}.pcap.gz", vantage, **{"mode": mode, "mechanism": mechanism, "shows": shows, **more})


def note_people(run: Run, *groups: Iterable[User]) -> None:
    """Write down how many users stand behind each address of more than one."""
    behind = Counter(user.address for people in groups for user in people)
    run.facts["nat"] = {"users": [f"{address} {count}" for address, count in sorted(behind.items()) if count > 1]}


def with_bearer(people: Iterable[User], run: Run) -> list[User]:
    """The same users with a token of their own instead of a cookie."""
    people = list(people)
    for user in people:
        token = f"tok-{user.random.randbytes(15).hex()}"
        run.secrets.add(token)
        user.headers["Authorization"] = f"Bearer {token}"
        user.keep_cookies = False
    return people
