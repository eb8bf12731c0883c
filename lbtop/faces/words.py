"""The same words in every face a person reads: modes, mechanisms, causes, figures."""

from __future__ import annotations

from lbtop.model.figures import article_or, confidence, length, percent, plural, size
from lbtop.model.judgement import Mechanism, Mode

__all__ = ["article_or", "confidence", "length", "percent", "plural", "size"]

VANTAGES = {
    "target": "seen from one target",
    "load_balancer": "seen on the load balancer",
    "mirror": "seen from several targets",
    "client": "seen from the clients' side",
    "unknown": "seen from an unknown place",
}

MODE_NAMES = {
    Mode.BRIDGING: "bridging",
    Mode.PASSTHROUGH: "passthrough",
    Mode.OFFLOAD: "offload",
    Mode.L4_TLS: "TLS ends at layer 4",
    Mode.NONE: "no TLS",
}

MODE_SENTENCES = {
    Mode.BRIDGING: "TLS ends at {lb} and a new TLS session reaches the targets",
    Mode.PASSTHROUGH: "The client's own TLS reaches the targets; {lb} cannot read it",
    Mode.OFFLOAD: "TLS ends at {lb}; requests reach the targets in clear",
    Mode.L4_TLS: "TLS ends at {lb}, at layer 4; plain bytes reach the targets with nothing added",
    Mode.NONE: "Nothing is encrypted: plain from the client to the targets",
}

MODE_SENTENCES_DIRECT = {
    Mode.PASSTHROUGH: "Clients reach the targets directly; TLS ends at the targets",
    Mode.NONE: "Clients reach the targets directly and in clear",
}

MODE_SENTENCES_CALLER = {
    Mode.PASSTHROUGH: "TLS ends at the targets; whether a balancer stands in front of them is not known",
    Mode.NONE: "Nothing is encrypted; whether a balancer stands in front of the targets is not known",
}

SENTENCE_TLS_FURTHER_OUT = "The clients' TLS ends further out, at a {first}; plain from there through {lb} to the targets"

MECHANISM_NAMES = {
    Mechanism.LB_COOKIE: "a load balancer cookie",
    Mechanism.APP_COOKIE: "an application cookie",
    Mechanism.WEIGHTED_TARGET_GROUP: "target group stickiness",
    Mechanism.SOURCE_IP: "the source address",
    Mechanism.NONE: "nothing",
}

PRODUCT_NAMES = {  # short, for a drawing; a product that is missing here is shown by its token
    "alb": "ALB",
    "nlb": "NLB",
    "clb": "Classic ELB",
    "haproxy": "HAProxy",
    "nginx": "nginx",
    "ingress-nginx": "ingress-nginx",
    "envoy": "Envoy",
    "traefik": "Traefik",
    "caddy": "Caddy",
    "apache": "Apache httpd",
    "varnish": "Varnish",
    "bigip": "BIG-IP",
    "netscaler": "NetScaler",
    "gcp-alb": "Google Cloud ALB",
    "azure-app-gateway": "Application Gateway",
    "azure-front-door": "Front Door",
    "cloudflare": "Cloudflare",
    "cloudfront": "CloudFront",
    "fastly": "Fastly",
    "akamai": "Akamai",
}

SENSITIVE_NAMES = {
    "basic_auth": ("Basic credentials", "Basic credentials"),
    "digest_auth": ("Digest credentials", "Digest credentials"),
    "bearer_token": ("bearer token", "bearer tokens"),
    "session_cookie": ("session cookie", "session cookies"),
    "password": ("password", "passwords"),
    "card_number": ("card number", "card numbers"),
    "api_key": ("API key", "API keys"),
    "jwt": ("JWT", "JWTs"),
}

CAUSE_NAMES = {
    "nat_concentration": "many users behind one address",
    "heavy_client": "one heavy client",
    "long_sessions": "long-lived sessions",
    "sticky_remap": "sessions that moved and stayed",
    "weights": "unequal weights",
    "zone": "uneven zones",
    "unknown": "cause unknown",
}

PLACES = {
    "client": "client",
    "load_balancer": "load balancer",
    "target": "targets",
    "cdn": "CDN",
    "proxy": "proxy",
    "caller": "balancer or client",
}


def product_name(product: str) -> str:
    """How a balancer is called in a sentence."""
    return PRODUCT_NAMES.get(product, "the load balancer" if product in ("unknown", "none") else product)


def hop_name(hop: str) -> str:
    """``load_balancer->target`` as ``load balancer to targets``."""
    return " to ".join(PLACES.get(end, end) for end in hop.split("->"))


def sensitive_name(kind: str, distinct: int) -> str:
    one, many = SENSITIVE_NAMES.get(kind, (kind.replace("_", " "),) * 2)
    return one if distinct == 1 else many


def fair_share(targets: int) -> float:
    """The mean share of so many targets, against which a peak to mean is measured: also of those that have left meanwhile."""
    return 1 / max(1, targets)
