"""The same scenarios seen from one target alone, which is how lbtop is used most: only what that changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.lab.scenario import REGISTRY
from tests.lab.scenarios import (  # noqa: F401  they register what is looked at again here
    changes,
    forwarded,
    idle,
    layer4,
    layer7,
    load,
    people,
    pinning,
    products,
    proxies,
    secrets,
    troubles,
)
from tests.lab.scenarios.common import OFFLOAD, PLAIN

HIDDEN: dict[str, Any] = {
    "mechanism": "unknown",
    "mechanism_because": "a session and its address both always come here; nothing separates them at one target",
    "mechanism_candidates": ("source_ip", "app_cookie", "lb_cookie"),
}


def look_again(scenario: str, shows: str, *, at: int = 0, **differs: Any) -> None:
    """Add a capture of target ``at`` to a scenario; its truth is that of all targets with what ``differs``."""
    spec = REGISTRY[scenario]
    whole = next(output for output in spec.outputs if output.vantage == "all_targets")
    file = whole.file.replace("-targets.", "-one.").removesuffix(".gz") + ".gz"
    really = whole.mechanism if differs.get("mechanism") == "unknown" else whole.really
    fresh = {"really": really, "extra": {}, "committed": True, **differs}
    spec.outputs = [*spec.outputs, replace(whole, file=file, vantage="one_target", target=at, shows=shows, **fresh)]


look_again("alb-plain", "AWSALB comes back under X-Forwarded-Proto http; no session that was issued elsewhere")
look_again("insecure-cookie", "Set-Cookie without Secure behind X-Forwarded-Proto https")
look_again("ipv6", "AWSALB comes back; IPv6 addresses")
look_again(
    "alb-broken-shared",
    "sessions that were issued elsewhere come although AWSALB is returned",
    must=OFFLOAD,
    may=("stickiness-not-working",),
)
look_again("alb-cookies-ignored", "clients without cookies beside clients that return AWSALB", must=OFFLOAD)
look_again(
    "alb-target-groups",
    "half of the sessions that come were issued by the other target of the group",
    mechanism_accept=("unknown", "none"),
)
look_again(
    "alb-weights",
    "one target with half of the load: two sessions in three were issued elsewhere or go there too",
    mechanism_accept=("unknown",),
)
look_again("alb-two-nodes", "two addresses of the balancer and AWSALB that comes back", at=1)
look_again("cdn-in-front", "a CDN's addresses, AWSALB that comes back", at=1)
look_again(
    "nginx-keepalive",
    "sessions issued here that leave for good, and strangers that stay: what pins them does not ask who issued them",
    at=1,
    may=(),
)
look_again("haproxy-indirect", "sessions that stay without any balancer's cookie", mechanism_accept=("app_cookie",))
look_again("haproxy-source", "sessions that stay", at=2, **HIDDEN, mechanism_accept=("source_ip",))
look_again("haproxy-roundrobin-scripts", "two in three sessions were issued elsewhere; no hint of the clients' hop", at=1)
look_again("url-hash", "sessions that were issued elsewhere come for some paths only", at=1, mechanism_accept=("unknown",))
look_again("caddy-ip-hash", "sessions that stay", **HIDDEN, mechanism_accept=("source_ip",))
look_again("envoy-ring", "sessions that stay", at=1, **HIDDEN, mechanism_accept=("source_ip",))
look_again("hitch-varnish", "two in three sessions were issued elsewhere", at=2)
look_again(
    "h2c-targets",
    "HTTP/2 with prior knowledge from one address",
    mechanism="unknown",
    mechanism_accept=("none",),
    mechanism_because="no session tells what the other targets got",
)
look_again("apache-bridging", "one TLS stack from one address", mode_accept=("unknown",))
look_again("nginx-bridging", "one TLS stack from one address, as many connections as requests", mode_accept=("unknown",))
look_again("bridging-close", "one TLS connection per request, closing alerts after the target's FIN", mode_accept=("unknown",))
look_again("alb-bridging-tls12", "one TLS 1.2 stack from one address, resumed", mode_accept=("unknown",))
look_again("l4-bridging", "one TLS stack from one address, as many connections as clients open", mode_accept=("unknown",))
look_again("tcp-passthrough", "many TLS stacks from one address; two in three tickets offered here are refused")
look_again("nlb-snat", "the clients' own TCP and TLS stacks behind one address", mechanism_accept=("unknown",), committed=False)
look_again("weak-tls", "TLS 1.0 is negotiated", mode_accept=("unknown",))
look_again("certificate-differs", "an expired certificate", at=2, mode_accept=("unknown",))
look_again("l4-tls-browsers", "browsers' tells of TLS, nothing added; two in three sessions were issued elsewhere", at=1)
look_again("l4-tls-scripts", "nothing tells of the clients' hop; two in three sessions were issued elsewhere")
look_again("tcp-plain-scripts", "nothing tells of the clients' hop; two in three sessions were issued elsewhere", at=1)
look_again("l4-tls-proxy-ssl", "PROXY v2 with the SSL TLV, bit 0x01", at=2)
look_again("stunnel", "browsers' tells of TLS, nothing added")
look_again(
    "mixed-termination", "TLS of many stacks and readable requests from the same address on the same port", at=1, committed=False
)
look_again(
    "nlb-plain-source-ip", "the clients' own TCP stacks; no session that was issued elsewhere", mechanism_accept=("unknown",)
)
look_again(
    "nlb-nat-300",
    "the target that gets the crowded address",
    must=PLAIN,
    may=("nat-concentration",),
    mechanism_accept=("unknown",),
)
look_again("nlb-nat-5", "households of five, all of each here", at=1, mechanism_accept=("unknown",))
look_again(
    "nlb-clients-move",
    "sessions that come from elsewhere once their address changes",
    at=2,
    must=PLAIN,
    may=("client-address-changes",),
    mechanism_accept=("unknown", "none"),
)
look_again("nlb-random", "two in three sessions are answered with 401", at=1)
look_again("nat-with-cookie", "one forwarded address with many sessions that stay", at=2)
look_again("few-sessions", "a few sessions that stay", at=1, mechanism_accept=("unknown",))
look_again(
    "nlb-target-added",
    "at one moment some addresses go and others come",
    must=PLAIN,
    may=("affinity-remap",),
    mechanism_accept=("unknown",),
)
look_again(
    "nlb-targets-replaced", "from one moment on nothing comes", must=PLAIN, may=("target-gone",), mechanism_accept=("unknown",)
)
look_again(
    "alb-target-removed-lost",
    "from a target that stays: sessions that it does not know come all at once",
    at=1,
    must=(*OFFLOAD, "session-lost"),
    may=("affinity-remap",),
    mechanism_accept=("unknown",),
)
look_again(
    "alb-deploy-logged-out",
    "from a target that came: sessions that it does not know",
    at=4,
    must=(*OFFLOAD, "session-lost"),
    mechanism_accept=("unknown",),
)
look_again(
    "alb-draining", "from the target that is drained: returning sessions only", at=2, must=OFFLOAD, may=("draining-target",)
)
look_again(
    "alb-flapping",
    "from the target that flaps: checks answered with 503, nothing else meanwhile",
    at=1,
    must=OFFLOAD,
    may=("target-flapping", "health-check-failing"),
    mechanism_accept=("unknown", "none"),
)
look_again("alb-slow-target", "response times with no peer to compare with", at=1, must=OFFLOAD)
look_again("alb-target-errors", "requests answered with RST", at=1, must=OFFLOAD, may=("resets",), mechanism_accept=("unknown",))
look_again("lossy-target", "retransmits with no peer to compare with", must=OFFLOAD, may=("retransmits", "slow-target"))
look_again("upstream-timeout", "the balancer closes 1 s after a request while its answer is due", at=1)
look_again("target-closes-first", "the target's FIN comes 1.5 s after its last answer", at=1)
look_again("keepalive-race", "requests that cross the target's FIN and are answered by RST", at=2, mechanism_accept=("unknown",))
look_again(
    "cookie-slides",
    "sessions that come from elsewhere after pauses",
    at=1,
    must=OFFLOAD,
    may=("affinity-remap",),
    mechanism_accept=("unknown", "none"),
)
look_again(
    "cookie-fixed",
    "sessions that come from elsewhere after 4 s",
    at=2,
    must=OFFLOAD,
    may=("affinity-remap", "insecure-session-cookie"),
    mechanism_accept=("unknown", "none"),
)
look_again("nlb-idle-silent", "connections that fall silent and never end", at=2)
look_again("proxy-idle-fin", "the balancer's FIN comes 3 s after the last byte", at=1, mechanism_accept=("unknown",))
look_again("secrets-offload", "a login form, Basic and bearer authorization, a payment form")
look_again("numbers-not-cards", "order numbers, none of them a card", at=1)
look_again("heavy-client", "the target that the heavy client is pinned to", at=2, must=OFFLOAD, may=("heavy-client",))
look_again("zone-imbalance", "the target that is alone in its zone; both nodes check it", must=OFFLOAD)
look_again(
    "first-request-split",
    "first requests without a cookie, later ones with it",
    at=2,
    must=OFFLOAD,
    mechanism_accept=("unknown",),
)
look_again("least-connections", "two in three sessions were issued elsewhere", at=2, must=OFFLOAD, may=("slow-target",))
look_again("hot-target", "the hot target: many new sessions", must=OFFLOAD, may=("hot-target",))
