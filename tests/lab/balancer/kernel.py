"""The kernel as a network load balancer: destination NAT by hash, and forgetting connections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tests.lab.net import BALANCER, VIP, Net
from tests.lab.target import Target


class Nlb:
    """A network load balancer of the kernel's: destination NAT, client addresses preserved, chosen by ``by``.

    source_ip hashes the address, five_tuple address and port, round_robin counts connections.
    """

    RULES: ClassVar[dict[str, str]] = {
        "source_ip": "jhash ip saddr",
        "five_tuple": "jhash ip saddr . tcp sport",
        "round_robin": "numgen inc",
        "random": "numgen random",
    }

    def __init__(
        self, net: Net, targets: Sequence[Target], *, by: str, port: int, snat: bool = False, seed: int = 7, protocol: str = "tcp"
    ) -> None:
        self.net, self.by, self.port, self.seed, self.protocol = net, by, port, seed, protocol
        net.lb.run("nft", "add table ip nlb")
        net.lb.run("nft", "add chain ip nlb pre { type nat hook prerouting priority -100 ; }")
        if snat:
            net.lb.run("nft", "add chain ip nlb post { type nat hook postrouting priority 100 ; }")
            net.lb.run("nft", f"add rule ip nlb post oifname back ct status dnat snat to {BALANCER}")
        self.use(targets)

    def use(self, targets: Sequence[Target]) -> None:
        """Send new connections to these targets from now on; connections that exist stay where they are."""
        seed = f" seed {self.seed}" if "jhash" in self.RULES[self.by] else ""
        choices = ", ".join(f"{i} : {target.address}" for i, target in enumerate(targets))
        self.net.lb.run("nft", "flush chain ip nlb pre")
        port = targets[0].port
        rule = self.RULES[self.by].replace("tcp sport", f"{self.protocol} sport")
        choose = f"{rule} mod {len(targets)}{seed} map {{ {choices} }}" if len(targets) > 1 else targets[0].address
        self.net.lb.run("nft", f"add rule ip nlb pre ip daddr {VIP} {self.protocol} dport {self.port} dnat to {choose}:{port}")

    def forget_idle(self, seconds: int) -> None:
        """Forget established connections that idle this long, and answer what then comes with a reset."""
        self.net.lb.sysctl(net__netfilter__nf_conntrack_tcp_timeout_established=seconds, net__netfilter__nf_conntrack_tcp_loose=0)

    def finish(self) -> None:
        self.net.lb.run("nft", "delete table ip nlb")


def capture_returns(net: Net) -> None:
    """Bring packets for addresses that the balancer borrowed from its clients back into the balancer."""
    net.lb.run("nft", "add table ip borrowed")
    net.lb.run("nft", "add chain ip borrowed pre { type filter hook prerouting priority -150 ; }")
    net.lb.run("nft", "add rule ip borrowed pre iifname back socket transparent 1 meta mark set 1 accept")
    net.lb.run("ip", "rule", "add", "fwmark", "1", "lookup", "100")
    net.lb.run("ip", "route", "add", "local", "0.0.0.0/0", "dev", "lo", "table", "100")
