"""Words that many scenarios share."""

from __future__ import annotations

from typing import Any

from tests.lab.client import BROWSERS

MIXED = (*BROWSERS[:5], "requests", "okhttp", "go")
HTTPS: dict[str, Any] = {"scheme": "https", "port": 443}
OFFLOAD = ("plaintext-backend-hop",)
PLAIN = ("plaintext-end-to-end", "session-cookie-in-plaintext")
NLB = ("nlb", "none", "unknown")
SOCKETS = "the clients' own TCP stacks"
SESSION: dict[str, Any] = {"kinds": ("session_cookie",)}
ALB: dict[str, Any] = {"product": ("alb",), "cookie": "AWSALB", "kinds": ("session_cookie",)}
INSIDE: dict[str, Any] = {
    "mechanism_because": "requests cannot be read inside TLS and users share the balancer's connections",
    "mechanism_candidates": ("lb_cookie", "app_cookie", "none"),
    "seen": "tls",
}
