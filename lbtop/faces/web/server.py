"""Serves the dashboard to browsers: the page, the WebSocket that is its terminal, and the files it exports.

textual-serve runs the dashboard for a browser in a process of its own and speaks with the terminal in the page. What is ours: the
guard before it, a page that asks nothing of anybody else, frames that all sessions share, and an end in good order.
"""

from __future__ import annotations

import asyncio
import html
import os
import secrets
import signal
import socket
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence
from pathlib import Path

import textual_serve
from aiohttp import web
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager
from textual_serve.server import Server

from lbtop.faces.tui.channel import Channel
from lbtop.faces.tui.feed import ChannelFeed
from lbtop.faces.web.guard import Guard, is_loopback
from lbtop.faces.web.relay import Relay
from lbtop.faces.web.session import environment

MOST_SESSIONS = 8
_STATICS = Path(textual_serve.__file__).parent / "static"
_FRAMES_PER_SECOND = "20"
_PAGE, _SCRIPT = Path(__file__).with_name("page.html"), Path(__file__).with_name("page.js")
_PATIENCE_S = 3.0

Say = Callable[[str], None]


class Session(AppService):
    """The dashboard's process for one browser."""

    def __init__(
        self, command: Sequence[str], relay: Relay, engine: int | None, client: web.WebSocketResponse, files: DownloadManager
    ) -> None:
        async def close() -> None:
            await client.close()

        super().__init__("", write_bytes=client.send_bytes, write_str=client.send_str, close=close, download_manager=files)
        self._argv = command
        self._relay = relay
        self._engine = engine

    async def _open_app_process(self, width: int = 80, height: int = 24) -> Process:
        ours, theirs = socket.socketpair()
        variables = self._build_environment(width=width, height=height)
        variables |= {"COLORTERM": "truecolor", "TEXTUAL_FPS": _FRAMES_PER_SECOND} | environment(theirs.fileno(), self._engine)
        variables.pop("NO_COLOR", None)  # of the terminal this was started in
        pipe = asyncio.subprocess.PIPE
        self._process = process = await asyncio.create_subprocess_exec(
            *self._argv, stdin=pipe, stdout=pipe, stderr=pipe, env=variables, pass_fds=[theirs.fileno()]
        )
        theirs.close()
        self._relay.join(Channel(ours))
        assert process.stdin is not None
        self._stdin = process.stdin
        return process

    async def run(self) -> None:
        """Until the process ends, and the browser is told so, however it ended."""
        try:
            await super().run()
        finally:
            await self.remote_close()

    async def end(self) -> None:
        """Asks the process to end, and ends it where it does not."""
        try:
            await asyncio.wait_for(self.stop(), _PATIENCE_S)
        except (TimeoutError, ConnectionError):
            if self._process is not None and self._process.returncode is None:
                self._process.kill()
        if self._process is not None:
            await self._process.wait()


class Dashboard(Server):
    """The application behind the guard."""

    def __init__(self, feed: ChannelFeed, command: Sequence[str], guard: Guard) -> None:
        super().__init__("", title="lbtop")
        self._relay = Relay(feed)
        self._relay.start()
        self._feed = feed
        self._argv = command
        self._guard = guard
        self._sockets: set[web.WebSocketResponse] = set()

    async def _make_app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard.middleware()])
        app.add_routes([
            web.get("/", self.page),
            web.get("/page.js", self.script),
            web.get("/ws", self.handle_websocket),
            web.get("/download/{key}", self.handle_download),
            web.static("/static", _STATICS),
        ])  # fmt: skip
        app.on_shutdown.append(self.on_shutdown)
        return app

    async def page(self, request: web.Request) -> web.Response:
        size = request.query.get("fontsize", "")
        text = _PAGE.read_text("utf-8").replace("{title}", html.escape(f"lbtop: {self._feed.title}"))
        text = text.replace("{fontsize}", size if size.isdigit() and len(size) < 3 else "14")
        scheme = "wss" if request.secure else "ws"
        return web.Response(text=text.replace("{socket}", html.escape(f"{scheme}://{request.host}/ws")), content_type="text/html")

    async def script(self, request: web.Request) -> web.Response:
        return web.Response(text=_SCRIPT.read_text("utf-8"), content_type="text/javascript")

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """One browser: a process for as long as it stays."""
        if len(self._sockets) >= MOST_SESSIONS:
            raise web.HTTPServiceUnavailable(text=f"{MOST_SESSIONS} browsers are looking already\n")
        client = web.WebSocketResponse(heartbeat=15, max_msg_size=1 << 16)
        self._sockets.add(client)
        session = None
        try:
            await client.prepare(request)
            session = Session(self._argv, self._relay, self._feed.pid, client, self.download_manager)
            await session.start(_cells(request, "width", 80), _cells(request, "height", 24))
            try:
                await self._process_messages(client, session)
            except (ValueError, AssertionError, LookupError, TypeError, AttributeError):
                await client.close()  # not what the page sends
        finally:
            self._sockets.discard(client)
            if session is not None:
                await session.end()
        return client

    async def on_shutdown(self, app: web.Application) -> None:
        for client in list(self._sockets):
            await client.close()


def _cells(request: web.Request, name: str, otherwise: int) -> int:
    text = request.query.get(name, "")
    return max(20, min(500, int(text))) if text.isdigit() and len(text) < 5 else otherwise


def serve(feed: ChannelFeed, host: str, port: int, command: Sequence[str], token: str | None, say: Say) -> int:
    """Serves until SIGTERM, SIGHUP or Ctrl-C. ``command`` opens the dashboard for one browser. Beyond loopback a token is made
    up where none is given. Raises OSError where it cannot listen there, ValueError for a token that is too short."""
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    return asyncio.run(_serve(Dashboard(feed, command, Guard(token)), host, port, token, say))


async def _serve(dashboard: Dashboard, host: str, port: int, token: str | None, say: Say) -> int:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    runner = web.AppRunner(await dashboard._make_app(), access_log=None, shutdown_timeout=_PATIENCE_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        port = runner.addresses[0][1]
        shown = f"[{host}]" if ":" in host else host
        say(f"dashboard on http://{shown}:{port}/" + (f"?token={token}" if token is not None else ""))
        if not is_loopback(host):
            say("this is plain HTTP: whoever sees its packets sees the token, too. Safer: --listen 127.0.0.1:PORT and ssh -L")
        elif os.environ.get("SSH_CONNECTION"):
            say(f"from elsewhere: ssh -L {port}:127.0.0.1:{port} to this host, then http://127.0.0.1:{port}/")
        await stopped.wait()
    finally:
        await runner.cleanup()
    return 0
