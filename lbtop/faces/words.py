"""The same words in every face a person reads: modes, mechanisms, causes, figures."""

from __future__ import annotations

from lbtop.model.judgement import Mechanism, Mode

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


def plural(count: int, word: str, words: str | None = None) -> str:
    return f"{count:,} {word if count == 1 else words or word + 's'}"


def percent(share: float) -> str:
    """``38 %``; one decimal below ten, where it matters; never "0 %" for something or "100 %" for not everything."""
    hundredths = share * 100
    if 0 < hundredths < 0.05:
        return "<0.1 %"
    if 99.95 <= hundredths < 100:
        return ">99.9 %"
    return f"{hundredths:.1f} %" if 0 < hundredths < 10 or 99 < hundredths < 100 else f"{hundredths:.0f} %"


def size(count: int) -> str:
    """Bytes in units of 1000."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def length(seconds: float) -> str:
    """A duration with two units at most."""
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms" if seconds < 0.00995 else f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    for big, small, factor in (("d", "h", 86400), ("h", "min", 3600), ("min", "s", 60)):
        if whole >= factor:
            below = whole % factor // {86400: 3600, 3600: 60, 60: 1}[factor]
            return f"{whole // factor} {big}" + (f" {below} {small}" if below else "")
    return f"{whole} s"


def article_or(names: list[str]) -> str:
    """``a``, ``a or b``, ``a, b or c``."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]
