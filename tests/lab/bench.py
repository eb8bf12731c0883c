"""The two benchmark recordings: long kept-alive plain connections (A) and short TLS connections (B), behind real HAProxy.

A: about 14.5 KB per request, so that 69 000 requests make 1 GB; segments as they are on a wire (no offload).
B: about 6 KB per connection, 69 000 connections make 0.4 GB.
Load comes from wrk inside the lab's namespaces, ends by count, and is cut after a time limit.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

from tests.lab.balancer import alb
from tests.lab.certs import certificate
from tests.lab.net import VIP, Net
from tests.lab.net_base import stop
from tests.lab.record import Recorder
from tests.lab.target import Application, Target
from tests.lab.webserver import nginx_target

LIMIT_S = 240
AGENT = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
SCRIPT = """
local done, turn, base = 0, 0, tonumber(os.getenv("LAB_BASE"))
function request()
  turn = turn + 1
  local user = base + turn % 200
  return wrk.format("GET", "/items/" .. (turn % 500), {{
    ["Host"] = "shop.example", ["User-Agent"] = "{agent}", ["Accept"] = "text/html,*/*;q=0.8",
    ["Accept-Encoding"] = "gzip, deflate, br",
    ["Cookie"] = "JSESSIONID=" .. string.format("%08x%024d", user * 40503 % 65521, user),
    ["X-Forwarded-For"] = "203.0." .. math.floor(user / 250) .. "." .. (user % 250 + 1) }})
end
function delay() return 8 end
function response()
  done = done + 1
  if done >= {count} then os.exit(0) end
end
"""


def record(destination: Path, requests: int) -> None:
    """Write ``A.pcap`` and ``B.pcap`` into ``destination``."""
    destination.mkdir(parents=True, exist_ok=True)
    _one(destination / "A.pcap", requests, body=13300, tls=False)
    _one(destination / "B.pcap", requests, body=2600, tls=True)


def _one(output: Path, requests: int, *, body: int, tls: bool) -> None:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lbtop-bench-") as name, Net(networks=4, per_network=2, offload=False) as net:
        directory = Path(name)
        directory.chmod(0o755)
        pem = certificate(directory)
        port = 8443 if tls else 8080
        servers = [
            nginx_target(ns, address, port, directory / address, body=body, pem=pem if tls else None)
            for ns, address in zip(net.target_ns, net.target_addresses, strict=True)
        ]
        recorder = Recorder(net.lb, "back", output, expression="tcp", buffer_kib=524288, immediate=False)
        targets = [
            Target(ns, i, address, port, Application())
            for i, (ns, address) in enumerate(zip(net.target_ns, net.target_addresses, strict=True))
        ]
        balancer = alb(
            net,
            directory,
            targets,
            certificate=pem,
            target_tls=tls,
            sticky=None,
            reuse="never" if tls else "always",
            backend_extra="  option httpclose" if tls else "",
            alpn="http/1.1",
        )
        try:
            _load(net, directory, requests)
        finally:
            balancer.finish()
            recorder.finish()
            output.with_suffix(".log").unlink(missing_ok=True)
            for server in servers:
                stop(server)
    print(f"{output}: {output.stat().st_size / 1e6:.0f} MB in {time.monotonic() - started:.0f} s")


def _load(net: Net, directory: Path, requests: int) -> None:
    """``requests`` requests over 8 connections from each client network, all networks at once."""
    script = directory / "load.lua"
    script.write_text(SCRIPT.format(agent=AGENT, count=requests // len(net.clients)))
    running: list[subprocess.Popen[bytes]] = [
        client.ns.start(
            "wrk",
            "-t1",
            "-c8",
            f"-d{LIMIT_S}s",
            "-s",
            str(script),
            f"https://{VIP}/",
            log=directory / f"wrk{index}.log",
            env={"LAB_BASE": str(index * 200)},
        )
        for index, client in enumerate(net.clients)
    ]
    for process in running:
        process.wait()
