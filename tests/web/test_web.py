"""The dashboard in a browser: who may see it, over real HTTP; and that a real browser shows it."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import aiohttp
import pytest

from tests.tui.driving import SHOP
from tests.web.browser import chromium, opened

TOKEN = "a-token-of-32-characters-or-so-00"


@contextmanager
def serving(*options: str, environment: dict[str, str] | None = None) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The program, and the address it prints."""
    import os

    command = [sys.executable, "-m", "lbtop", "replay", str(SHOP), "--web", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | (environment or {}))
    try:
        assert process.stderr is not None
        found = next((match[0] for line in process.stderr if (match := re.search(r"http://\S+", line))), None)
        assert found
        yield found, process
    finally:
        process.kill()
        process.wait(10)


def status(url: str, **headers: str) -> int:
    try:
        with urlopen(Request(url, headers=headers), timeout=10) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


async def drawn(url: str, **given: object) -> str:
    """What the dashboard writes to a browser's terminal until its verdict stands there; "" where the WebSocket is refused."""
    seen = b""
    async with aiohttp.ClientSession() as http:
        try:
            async with http.ws_connect(url, **given) as wire:  # type: ignore[arg-type]
                while b"findings, worst first" not in seen:
                    message = await wire.receive(timeout=30)
                    if message.type is aiohttp.WSMsgType.BINARY:
                        seen += message.data
                    elif message.type is not aiohttp.WSMsgType.TEXT:
                        break
        except aiohttp.WSServerHandshakeError as error:
            assert error.status == 403
    return seen.decode(errors="replace")


def test_on_this_host_nobody_is_asked_but_only_its_own_pages_may_look() -> None:
    with serving("--listen", "127.0.0.1:0") as (url, _):
        assert "token" not in url and status(url) == 200
        port = urlsplit(url).port
        assert status(url, Host=f"localhost:{port}") == 200 and status(url, Host="[::1]:9999") == 200
        assert status(url, Host="evil.example") == status(url, Host=f"127.0.0.1.evil.example:{port}") == 403
        assert status(f"{url}ws", Origin="http://evil.example") == status(f"{url}ws", Origin="http://[") == 403
        assert status(f"{url}static/js/textual.js") == 200 and status(f"{url}static/") == 403
        assert status(f"{url}download/none") == 404
        socket = url.replace("http", "ws") + "ws?width=100&height=40"
        assert asyncio.run(drawn(socket, origin="http://evil.example")) == ""
        text = asyncio.run(drawn(socket, origin=url.rstrip("/")))
        assert "shop.example" in text and "offload" in text


def test_elsewhere_a_token_is_needed_for_everything() -> None:
    with serving("--listen", "0.0.0.0:0", environment={"LBTOP_WEB_TOKEN": TOKEN}) as (shown, _):
        assert shown.endswith(f"?token={TOKEN}")
        url = f"http://127.0.0.1:{urlsplit(shown).port}/"
        wrong = ("?token=", "?token=wrong", f"?token={TOKEN}x", f"?token={TOKEN[:-1]}", "?token=%ff%00")
        for page in ("", "ws", "static/js/textual.js", "download/x", *wrong):
            assert status(url + page) == 403, page
        assert status(url, Authorization=f"Bearer {TOKEN}") == 200
        assert status(url, Authorization="Bearer wrong") == status(url, Cookie=f"lbtop={TOKEN}") == 403
        asyncio.run(_with_cookie(url))


async def _with_cookie(url: str) -> None:
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as http:
        async with http.get(f"{url}?token={TOKEN}&fontsize=20") as answer:
            assert answer.status == 200 and str(answer.url) == f"{url}?fontsize=20"  # the token is out of the address
            assert 'data-font-size="20"' in await answer.text()
        (cookie,) = jar
        assert cookie["httponly"] and cookie["samesite"] == "Lax" and TOKEN not in cookie.value
        text = await drawn(url.replace("http", "ws") + "ws", headers={"Cookie": f"{cookie.key}={cookie.value}"})
        assert "shop.example" in text
    assert await drawn(url.replace("http", "ws") + "ws") == ""


def test_a_token_is_made_up_where_none_is_given() -> None:
    with serving("--listen", "0.0.0.0:0") as (first, _), serving("--listen", "0.0.0.0:0") as (second, _):
        tokens = [urlsplit(url).query.removeprefix("token=") for url in (first, second)]
        assert len(set(tokens)) == 2 and all(len(token) >= 32 for token in tokens)


def test_a_short_token_is_refused() -> None:
    command = [sys.executable, "-m", "lbtop", "replay", str(SHOP), "--web", "--listen", "0.0.0.0:0"]
    done = subprocess.run(command, capture_output=True, text=True, env={"LBTOP_WEB_TOKEN": "short"}, check=False)
    assert done.returncode == 2 and "16 characters" in done.stderr


def test_without_the_extra_it_says_what_to_install() -> None:
    hidden = "import sys; sys.modules['textual_serve'] = None; from lbtop.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", hidden, "replay", str(SHOP), "--web"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "pip install 'lbtop[web]'" in done.stderr


def test_it_ends_in_order_with_a_browser_on_it() -> None:
    async def look(url: str, process: subprocess.Popen[str]) -> None:
        async with aiohttp.ClientSession() as http, http.ws_connect(url.replace("http", "ws") + "ws") as wire:
            await wire.receive(timeout=30)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            assert len(children) == 2  # the engine, and the dashboard of this browser
            process.send_signal(signal.SIGTERM)
            while (await wire.receive(timeout=30)).type not in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED):
                pass
        deadline = time.monotonic() + 15
        while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        assert not any(Path(f"/proc/{child}").exists() for child in children)

    with serving("--listen", "127.0.0.1:0") as (url, process):
        asyncio.run(look(url, process))
        assert process.wait(15) == 0


@pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")
def test_a_browser_shows_it_and_asks_nobody_else(tmp_path: Path) -> None:
    async def look(url: str) -> None:
        async with opened(url, tmp_path / "profile") as page:
            await page.until("document.body.classList.contains('-first-byte')")
            await page.until("document.querySelectorAll('.xterm-screen').length == 1")
            assert {urlsplit(one).netloc for one in page.asked_for if not one.startswith("data:")} == {urlsplit(url).netloc}
            await page.until("document.activeElement.className == 'xterm-helper-textarea'")
            await page.key("q")
            await page.until("document.body.classList.contains('-closed')")

    with serving("--listen", "127.0.0.1:0") as (url, _):
        asyncio.run(look(url))
