"""Users that are programs of their own: curl, Node.js, aiohttp, h2load. Each keeps cookies as it does in the wild."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.lab.client import HOST, PAGES, Step, User, together
from tests.lab.net import VIP, ClientNet

NODE = """
const [scheme, port, rounds, think, paths, address, host] = JSON.parse(process.argv[1]);
const lib = require(scheme);
const agent = new lib.Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false });
const jar = {};
const ask = (path) => new Promise((done) => {
  const cookie = Object.entries(jar).map(([k, v]) => `${k}=${v}`).join("; ");
  const request = lib.request({ host: VIP, port, path, agent, localAddress: address, servername: host,
    headers: { host, "user-agent": "node", accept: "*/*", ...(cookie ? { cookie } : {}) } }, (answer) => {
    for (const line of answer.headers["set-cookie"] || []) {
      const [name, ...value] = line.split(";")[0].split("=");
      jar[name] = value.join("=");
    }
    answer.resume(); answer.on("end", done);
  });
  request.on("error", done); request.end();
});
(async () => {
  for (let round = 0; round < rounds; round++)
    for (const path of paths) {
      await ask(path);
      await new Promise((go) => setTimeout(go, -Math.log(1 - Math.random()) * think * 1000));
    }
  agent.destroy();
})();
""".replace("VIP", json.dumps(VIP))


def node(people: Sequence[User], *, scheme: str, port: int, rounds: int = 1, think: float = 0.15, host: str = HOST) -> None:
    """Node.js with a kept-alive agent, one process per user."""
    paths = [path for _, path, _ in PAGES]
    running = [
        user.ns.start("node", "-e", NODE, "--", json.dumps([scheme, port, rounds, think, paths, user.address, host]))
        for user in people
    ]
    for process in running:
        process.wait(120)


def curl(people: Sequence[User], directory: Path, *, scheme: str, port: int, rounds: int = 2, host: str = HOST) -> None:
    """The curl program with a cookie jar: a process per walk, connections reused within it."""
    urls = [f"{scheme}://{host}:{port}{path}" for _, path, _ in PAGES]

    def walk(number: int, user: User) -> None:
        jar = directory / f"jar{number}"
        for _ in range(rounds):
            command = ["curl", "-sk", "-b", str(jar), "-c", str(jar), "--interface", user.address]
            command += ["--resolve", f"{host}:{port}:{VIP}", "--rate", "8/s", "-o", "/dev/null", urls[0]]
            for url in urls[1:]:
                command += ["-o", "/dev/null", url]
            for name, value in user.headers.items():
                command += ["-H", f"{name}: {value}"]
            process = user.ns.start(*command)
            process.wait(60)

    threads = [threading.Thread(target=walk, args=pair, daemon=True) for pair in enumerate(people)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def aiohttp(people: Sequence[User], **how: Any) -> None:
    """aiohttp sessions, one per user, all of a namespace's in one event loop; ``how`` is what :func:`_asking` takes."""
    by_ns: dict[str, list[User]] = {}
    for user in people:
        by_ns.setdefault(user.ns.name, []).append(user)

    async def all_of(some: Sequence[User]) -> None:
        await asyncio.gather(*(_asking(user, **how) for user in some))

    together([(some[0].ns, lambda some=some: asyncio.run(all_of(some))) for some in by_ns.values()])


async def _asking(
    user: User,
    *,
    scheme: str,
    port: int,
    rounds: int = 1,
    think: float = 0.15,
    host: str = HOST,
    steps: Sequence[Step] = PAGES,
) -> None:
    import aiohttp as library

    chance = random.Random(user.seed)
    await asyncio.sleep(chance.random() * 1.5)
    connector = library.TCPConnector(local_addr=(user.address, 0), ssl=False, limit=2, keepalive_timeout=30)
    cookies = library.CookieJar(unsafe=True)
    where = {"headers": {"Host": host}, **({"server_hostname": host} if scheme == "https" else {})}
    async with library.ClientSession(connector=connector, cookie_jar=cookies, headers=user.headers) as session:
        for _ in range(rounds):
            for method, path, body in steps:
                with contextlib.suppress(library.ClientError, TimeoutError):
                    async with session.request(method, f"{scheme}://{VIP}:{port}{path}", data=body, **where) as answer:
                        await answer.read()
                await asyncio.sleep(chance.expovariate(1 / think))


def h2load(networks: Sequence[ClientNet], *, url: str, requests: int, clients: int, options: Sequence[str] = ()) -> None:
    """h2load from every network at once, so many requests each."""
    running: list[subprocess.Popen[bytes]] = [
        client.ns.start("h2load", "-n", str(requests), "-c", str(clients), *options, url) for client in networks
    ]
    for process in running:
        process.wait(60)
