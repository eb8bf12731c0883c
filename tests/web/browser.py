"""A headless Chromium, driven through its debugging protocol: what a page's scripts see, keys, and pictures."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

PATIENCE_S = 40.0


def chromium() -> str | None:
    """The browser that is installed here."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """One page."""

    def __init__(self, wire: aiohttp.ClientWebSocketResponse) -> None:
        self._wire = wire
        self._numbers = itertools.count(1)
        self.asked_for: list[str] = []
        """Addresses the page has asked for."""

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        number = next(self._numbers)
        await self._wire.send_json({"id": number, "method": method, "params": parameters})
        while True:
            said = json.loads((await self._wire.receive(timeout=PATIENCE_S)).data)
            if said.get("method") == "Network.requestWillBeSent":
                self.asked_for.append(said["params"]["request"]["url"])
            if said.get("id") == number:
                assert "error" not in said, said
                found: dict[str, Any] = said["result"]
                return found

    async def value(self, script: str) -> object:
        said = await self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return said["result"].get("value")

    async def until(self, script: str) -> None:
        """Waits until a script's value is true."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while not await self.value(script):
            assert asyncio.get_running_loop().time() < deadline, f"never true: {script}"
            await asyncio.sleep(0.1)

    async def key(self, text: str) -> None:
        await self.call("Input.dispatchKeyEvent", type="keyDown", text=text, key=text)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=text)

    async def picture(self, file: Path) -> None:
        said = await self.call("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(said["data"]))


@contextlib.asynccontextmanager
async def opened(url: str, profile: Path, size: tuple[int, int] = (1300, 820)) -> AsyncIterator[Page]:
    """A page that is going to an address, in a browser of its own."""
    program = chromium()
    assert program is not None
    arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", f"--user-data-dir={profile}",
                 f"--window-size={size[0]},{size[1]}", "about:blank"]  # fmt: skip
    process = await asyncio.create_subprocess_exec(program, *arguments, stderr=asyncio.subprocess.PIPE)
    try:
        assert process.stderr is not None
        where = b""
        while b"DevTools listening on" not in where:
            where = await asyncio.wait_for(process.stderr.readline(), PATIENCE_S)
        port = where.decode().split("ws://")[1].split("/")[0]
        async with aiohttp.ClientSession() as http:
            async with http.get(f"http://{port}/json") as answer:
                target = next(one for one in await answer.json() if one["type"] == "page")
            async with http.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as wire:
                page = Page(wire)
                await page.call("Network.enable")
                await page.call("Page.enable")
                await page.call("Page.navigate", url=url)
                yield page
    finally:
        process.kill()
        await process.wait()
