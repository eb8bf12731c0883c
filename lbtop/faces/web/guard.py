"""Who may see the dashboard in a browser.

On this host's own addresses nobody is asked for anything, but only pages of this server may talk to it: the host that the
browser meant must be a loopback one (else any page could have its own name resolve to 127.0.0.1 and read along), and a WebSocket
must come from a page of this server, because browsers apply no same-origin rule to them (RFC 6455 section 10.2). On any other
address every request needs the token.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

SHORTEST_TOKEN = 16
_HEADERS = {
    # Inline styles are what the terminal in the page measures and colours its cells with. Nothing is fetched from elsewhere.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; img-src 'self' data:; "
        "connect-src 'self' ws://{host} wss://{host}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this host itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Asks every request, for pages, files and WebSockets alike. ``token``: None where none is needed."""

    def __init__(self, token: str | None) -> None:
        if token is not None and len(token) < SHORTEST_TOKEN:
            raise ValueError(f"a token needs {SHORTEST_TOKEN} characters or more")
        self._token = token
        self._cookie = secrets.token_urlsafe(24)  # of this run: not the token, which may be used elsewhere as well
        self._cookie_name = f"lbtop-{secrets.token_hex(4)}"  # browsers do not keep cookies of two ports apart

    def refusal(self, request: web.Request) -> str | None:
        """Why a request is refused, or None."""
        if self._token is None:
            if not is_loopback(_host(request.host)):
                return "this dashboard is for this host alone: use 127.0.0.1 or localhost"
        elif not self._known(request):
            return "a token is needed: open the address that lbtop printed, with ?token=…"
        origin = request.headers.get("Origin")
        if origin is not None and not _is_of(origin, request.host):
            return "only a page of this server may ask for this"
        return None

    def _known(self, request: web.Request) -> bool:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        return _equal(request.cookies.get(self._cookie_name, ""), self._cookie) or (
            scheme.lower() == "bearer" and _equal(given, self._token or "")
        )

    def _brings_token(self, request: web.Request) -> bool:
        return self._token is not None and request.method == "GET" and _equal(request.query.get("token", ""), self._token)

    def middleware(self) -> Middleware:
        """To be the application's outermost one."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if self._brings_token(request):
                # Off to the same page without it: what stands in an address ends up in histories.
                welcome = web.HTTPSeeOther(request.rel_url.with_query(_without_token(request)))
                welcome.set_cookie(self._cookie_name, self._cookie, httponly=True, samesite="Lax", path="/")
                raise welcome
            why = self.refusal(request)
            if why is not None:
                return web.Response(status=403, text=f"{why}\n", headers=_headers(request))
            response = await handler(request)
            if not response.prepared:
                response.headers.update(_headers(request))
            return response

        return guard


def _without_token(request: web.Request) -> dict[str, str]:
    return {name: value for name, value in request.query.items() if name != "token"}


def _headers(request: web.Request) -> dict[str, str]:
    host = request.host if all(char.isalnum() or char in ".-:[]" for char in request.host) else "127.0.0.1"
    return {name: value.replace("{host}", host) for name, value in _HEADERS.items()}


def _is_of(origin: str, netloc: str) -> bool:
    try:
        return urlsplit(origin).netloc == netloc
    except ValueError:  # no origin that a browser sends
        return False


def _host(netloc: str) -> str:
    """The host of ``host:port``, ``[::1]:port`` or either alone."""
    if netloc.startswith("["):
        return netloc[1:].partition("]")[0]
    return netloc.rpartition(":")[0] if netloc.count(":") == 1 else netloc


def _equal(given: str, right: str) -> bool:
    """In constant time: how long it takes must not tell how much was right."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), right.encode("utf-8", "surrogateescape"))
