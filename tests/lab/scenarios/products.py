"""Other balancers, and targets that are not the lab's application."""

from __future__ import annotations

import ssl
from datetime import timedelta

from tests.lab import balancer
from tests.lab.certs import expired
from tests.lab.client import BROWSERS, PAGES, browse, users
from tests.lab.scenario import Output, Run, scenario
from tests.lab.target import Application, server_context

MIXED = (*BROWSERS[:5], "requests", "okhttp", "go")
OFFLOAD = ("plaintext-backend-hop",)
HTTPS = {"scheme": "https", "port": 443}
SESSION = {"kinds": ("session_cookie",)}
INSIDE = {"mechanism_because": "requests cannot be read inside TLS and users share the balancer's connections",
          "mechanism_candidates": ("lb_cookie", "app_cookie", "none"), "seen": "tls"}


@scenario("caddy-cookie", "Caddy with `lb_policy cookie`, HTTPS to plain HTTP", [
    Output("offload-caddy-cookie-targets.pcap.gz", "all_targets", "offload", "lb_cookie", product=("caddy",), cookie="lb", must=OFFLOAD,
           **SESSION, shows="Go's header case; the cookie `lb` comes back and goes with the target"),
    Output("offload-caddy-cookie-one.pcap", "one_target", "offload", "lb_cookie", product=("caddy",), cookie="lb", must=OFFLOAD,
           **SESSION, shows="one value of `lb` only"),
], networks=5, per_network=5)
def caddy_cookie(run: Run) -> None:
    targets = run.serve(Application(cookie="sessionid"))
    run.balance(balancer.caddy(run.net, run.directory, targets, certificate=run.certificate, policy="cookie"))
    browse(users(run.net, 28, kinds=MIXED, addresses=18), **HTTPS)


@scenario("caddy-ip-hash", "Caddy with `lb_policy ip_hash`, HTTPS to plain HTTP", [
    Output("offload-caddy-ip-hash-targets.pcap.gz", "all_targets", "offload", "source_ip", product=("caddy",), must=OFFLOAD, **SESSION,
           may=("hot-target",), shows="all users behind one forwarded address meet one target"),
], networks=6, per_network=6)
def caddy_ip_hash(run: Run) -> None:
    targets = run.serve(Application(cookie="sessionid"))
    run.balance(balancer.caddy(run.net, run.directory, targets, certificate=run.certificate, policy="ip_hash"))
    browse(users(run.net, 56, kinds=MIXED, addresses=28), PAGES[:4], **HTTPS)


@scenario("caddy-bridging", "Caddy, round robin, HTTPS to HTTPS", [
    Output("bridging-caddy-targets.pcap.gz", "all_targets", "bridging", "unknown", healthy=True, product=("caddy", "unknown"), really="none",
           **INSIDE, shows="Go's TLS stack from one address"),
    Output("bridging-caddy-one.pcap.gz", "one_target", "bridging", "unknown", healthy=True, product=("caddy", "unknown"), really="none",
           **INSIDE, shows="Go's TLS stack from one address", committed=False),
], networks=4, per_network=5)
def caddy_bridging(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), port=8443, tls=True)
    run.balance(balancer.caddy(run.net, run.directory, targets, certificate=run.certificate, target_tls=True))
    browse(users(run.net, 15, kinds=MIXED), PAGES[:5], **HTTPS)


@scenario("apache-route", "Apache's mod_proxy_balancer with a ROUTEID cookie, HTTPS to plain HTTP", [
    Output("offload-apache-route-targets.pcap.gz", "all_targets", "offload", "lb_cookie", product=("apache",), cookie="ROUTEID",
           must=OFFLOAD, **SESSION, shows="X-Forwarded-Host and -Server; ROUTEID comes back and names the route"),
    Output("offload-apache-route-one.pcap", "one_target", "offload", "lb_cookie", product=("apache",), cookie="ROUTEID",
           must=OFFLOAD, **SESSION, shows="one route only"),
], networks=5, per_network=5)
def apache_route(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    run.balance(balancer.apache(run.net, run.directory, targets, certificate=run.certificate, sticky="ROUTEID"))
    browse(users(run.net, 28, kinds=BROWSERS, addresses=18), **HTTPS)


@scenario("apache-bridging", "Apache's mod_proxy_balancer, by requests, HTTPS to HTTPS", [
    Output("bridging-apache-targets.pcap.gz", "all_targets", "bridging", "unknown", healthy=True, product=("apache", "unknown"), really="none",
           **INSIDE, shows="one TLS stack from one address"),
], networks=4, per_network=5)
def apache_bridging(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), port=8443, tls=True)
    run.balance(balancer.apache(run.net, run.directory, targets, certificate=run.certificate, target_tls=True))
    browse(users(run.net, 20, kinds=MIXED), PAGES[:4], **HTTPS)


@scenario("nginx-bridging", "nginx, round robin, HTTPS to HTTPS, a TLS connection per request", [
    Output("bridging-nginx-targets.pcap.gz", "all_targets", "bridging", "unknown", healthy=True, product=("nginx", "unknown"), really="none",
           **INSIDE, shows="one TLS stack from one address, as many connections as requests"),
    Output("bridging-nginx-balancer.pcap.gz", "load_balancer", "bridging", "unknown", healthy=True, product=("nginx", "unknown"),
           really="none", **INSIDE, shows="TLS on both legs, no random in common", committed=False),
], networks=4, per_network=5)
def nginx_bridging(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), port=8443, tls=True)
    run.balance(balancer.nginx(run.net, run.directory, targets, certificate=run.certificate, target_tls=True))
    browse(users(run.net, 15, kinds=MIXED), PAGES[:4], **HTTPS)


@scenario("tcp-passthrough-source", "HAProxy in TCP mode, hash of the client address, no PROXY header: TLS untouched", [
    Output("passthrough-proxy-source-targets.pcap.gz", "all_targets", "passthrough", "unknown", healthy=True, product=("haproxy", "unknown"),
           seen="tls", really="source_ip", mechanism_because="one address stands for all clients; tickets are always accepted",
           mechanism_candidates=("source_ip", "none"), mechanism_accept=("source_ip",),
           shows="one address and one TCP stack with many TLS stacks; every ticket that comes back is accepted"),
    Output("passthrough-proxy-source-one.pcap.gz", "one_target", "passthrough", "unknown", healthy=True, product=("haproxy", "unknown"),
           seen="tls", really="source_ip", mechanism_because="one address stands for all clients", mechanism_accept=("source_ip",),
           mechanism_candidates=("source_ip", "none"), shows="as on all targets"),
], networks=8, per_network=3)
def tcp_passthrough_source(run: Run) -> None:
    targets = run.serve(Application(), port=8443, tls=True)
    run.balance(balancer.haproxy_tcp(run.net, run.directory, targets, algorithm="source"))
    browse(users(run.net, 18, kinds=(*BROWSERS[:4], "requests", "okhttp", "go")), PAGES[:4], fresh=True, **HTTPS)


@scenario("stunnel", "stunnel ends TLS and adds nothing; browsers as clients", [
    Output("l4-tls-stunnel-targets.pcap.gz", "all_targets", "l4_tls", "none", product=("stunnel", "nlb", "haproxy", "unknown"), must=OFFLOAD,
           may=("stickiness-unsupported",), **SESSION, shows="one TCP stack, nothing added, browsers' tells of TLS"),
], networks=4, per_network=5)
def stunnel(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"))
    run.balance(balancer.stunnel(run.net, run.directory, targets, certificate=run.certificate))
    browse(users(run.net, 20, kinds=BROWSERS), PAGES[:4], fresh=True, **HTTPS)


@scenario("hitch-proxy", "hitch ends TLS and tells so in PROXY v2, one target", [
    Output("l4-tls-hitch-one.pcap.gz", "one_target", "l4_tls", "unknown", product=("hitch", "haproxy", "nlb", "unknown"), must=OFFLOAD,
           may=("stickiness-unsupported",), **SESSION, mechanism_because="a single target", mechanism_accept=("none", "source_ip"),
           shows="PROXY v2 with TLS details before each connection's requests"),
], networks=4, per_network=5, targets=1)
def hitch_proxy(run: Run) -> None:
    targets = run.serve(Application(), proxy=True)
    run.balance(balancer.hitch(run.net, run.directory, targets[0].name, certificate=run.certificate,
                               proxy="write-proxy-v2 = on\nproxy-tlv = on"))
    browse(users(run.net, 20, kinds=("requests", "okhttp", "go")), PAGES[:4], fresh=True, **HTTPS)


@scenario("hitch-varnish", "hitch ends TLS in front of Varnish, which spreads requests over three targets", [
    Output("offload-varnish-targets.pcap.gz", "all_targets", "offload", "none", product=("varnish",), must=OFFLOAD, **SESSION,
           shows="X-Varnish, Via and X-Forwarded-For on every request; browsers' tells of TLS"),
], networks=4, per_network=5)
def hitch_varnish(run: Run) -> None:
    targets = run.serve(Application(cookie="sessionid", sessions="shared"))
    run.balance(balancer.varnish(run.net, run.directory, targets))
    run.balance(balancer.hitch(run.net, run.directory, "127.0.0.1:6086", certificate=run.certificate,
                               proxy="write-proxy-v2 = on"))
    browse(users(run.net, 24, kinds=BROWSERS), **HTTPS)


@scenario("ipv6", "HAProxy as an ALB over IPv6 on both sides, HTTPS to plain HTTP, AWSALB", [
    Output("offload-ipv6-targets.pcap.gz", "all_targets", "offload", "lb_cookie", product=("alb",), cookie="AWSALB", must=OFFLOAD, **SESSION,
           shows="IPv6 addresses in packets and in X-Forwarded-For"),
], networks=4, per_network=5, ipv6=True)
def ipv6(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"), ipv6=True)
    run.balance(balancer.alb(run.net, run.directory, targets, certificate=run.certificate, six=True))
    browse(users(run.net, 24, kinds=MIXED, addresses=16, ipv6=True), **HTTPS)


@scenario("mixed-termination", "HAProxy in TCP mode: most clients' TLS is forwarded, one listener in five ends it; one port at the targets", [
    Output("mixed-termination-targets.pcap.gz", "all_targets", "passthrough", "none", product=("haproxy", "nlb", "unknown"),
           must=("mixed-termination",), may=("plaintext-backend-hop", "plaintext-end-to-end", "session-cookie-in-plaintext"), seen="plain",
           mechanism_accept=("unknown",), kinds=("session_cookie",), count=("connections", "probes", "refused"), servers_agree=False,
           shows="TLS of many stacks and readable requests from the same address on the same port"),
], networks=4, per_network=6)
def mixed_termination(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), tls=True, sniff=True)
    run.balance(balancer.haproxy_tcp(run.net, run.directory, targets, also=(8000, run.certificate)))
    people = users(run.net, 24, kinds=MIXED)
    browse(people[:19], PAGES[:4], fresh=True, **HTTPS)
    browse(people[19:], PAGES[:4], fresh=True, scheme="https", port=8000)


@scenario("weak-tls", "HAProxy as an ALB that speaks TLS 1.0 to its targets", [
    Output("bridging-weak-tls-targets.pcap.gz", "all_targets", "bridging", "unknown", product=("haproxy", "unknown"), must=("weak-tls",),
           **INSIDE, really="none", shows="TLS 1.0 is negotiated on the second hop"),
], networks=4, per_network=4)
def weak_tls(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), port=8443, tls={
        "minimum": ssl.TLSVersion.TLSv1, "maximum": ssl.TLSVersion.TLSv1, "ciphers": "DEFAULT:@SECLEVEL=0"})
    run.balance(balancer.alb(run.net, run.directory, targets, certificate=run.certificate, target_tls=True, sticky=None,
                             server_options=" ssl-min-ver TLSv1.0 ciphers DEFAULT:@SECLEVEL=0"))
    browse(users(run.net, 16, kinds=MIXED), PAGES[:4], **HTTPS)


@scenario("weak-cipher", "clients and targets agree on TLS 1.2 with CBC and SHA-1 over kernel NAT: old, not broken", [
    Output("passthrough-old-cipher-targets.pcap.gz", "all_targets", "passthrough", "source_ip", product=("nlb", "none", "unknown"), seen="tls",
           may=("weak-tls",), shows="ECDHE with AES-CBC and SHA-1", committed=True),
], networks=4, per_network=3)
def weak_cipher(run: Run) -> None:
    targets = run.serve(Application(), port=8443, tls={"maximum": ssl.TLSVersion.TLSv1_2, "ciphers": "ECDHE-ECDSA-AES128-SHA"})
    run.balance(balancer.Nlb(run.net, targets, by="source_ip", port=443))
    browse(users(run.net, 12, kinds=("requests",)), PAGES[:4], fresh=True, **HTTPS)


@scenario("certificate-differs", "HAProxy as an ALB over TLS 1.2 to its targets, one of which has an expired certificate of its own", [
    Output("bridging-certificate-targets.pcap.gz", "all_targets", "bridging", "unknown", product=("haproxy", "unknown"),
           must=("certificate-problem",), **INSIDE, really="none", shows="one target's certificate is another one, and expired"),
], networks=4, per_network=4)
def certificate_differs(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), port=8443, tls={"maximum": ssl.TLSVersion.TLSv1_2})
    stale = expired(run.directory, "old.shop.example", timedelta(days=20))
    targets[2].tls = server_context(stale, maximum=ssl.TLSVersion.TLSv1_2)
    run.balance(balancer.alb(run.net, run.directory, targets, certificate=run.certificate, target_tls=True, sticky=None))
    browse(users(run.net, 16, kinds=MIXED), PAGES[:4], **HTTPS)


@scenario("insecure-cookie", "HAProxy as an ALB, HTTPS to plain HTTP; the application sets its cookie without Secure and HttpOnly", [
    Output("offload-insecure-cookie-targets.pcap.gz", "all_targets", "offload", "lb_cookie", product=("alb",), cookie="AWSALB",
           must=(*OFFLOAD, "insecure-session-cookie"), **SESSION, shows="Set-Cookie without Secure behind X-Forwarded-Proto https"),
], networks=4, per_network=5)
def insecure_cookie(run: Run) -> None:
    targets = run.serve(Application(cookie="PHPSESSID", attributes="Path=/"))
    run.balance(balancer.alb(run.net, run.directory, targets, certificate=run.certificate))
    browse(users(run.net, 24, kinds=MIXED, addresses=15), **HTTPS)


@scenario("envoy-cookie", "Envoy with its stateful session cookie, HTTPS to plain HTTP (needs an Envoy: see `ENVOY`)", [
    Output("offload-envoy-cookie-targets.pcap.gz", "all_targets", "offload", "lb_cookie", product=("envoy",), cookie="node", must=OFFLOAD,
           **SESSION, shows="lower-case x-forwarded-* and x-request-id; a cookie that names the target's address"),
    Output("offload-envoy-cookie-one.pcap", "one_target", "offload", "lb_cookie", product=("envoy",), cookie="node", must=OFFLOAD,
           **SESSION, shows="one value of the cookie"),
], networks=5, per_network=5)
def envoy_cookie(run: Run) -> None:
    targets = run.serve(Application(cookie="sessionid"))
    run.balance(balancer.envoy(run.net, run.directory, targets, certificate=run.certificate, cookie="node"))
    browse(users(run.net, 28, kinds=MIXED, addresses=18), **HTTPS)


@scenario("envoy-ring", "Envoy with a ring hash of the forwarded address, HTTPS to plain HTTP", [
    Output("offload-envoy-ring-targets.pcap.gz", "all_targets", "offload", "source_ip", product=("envoy",), must=OFFLOAD, **SESSION,
           may=("hot-target",), shows="all users behind one forwarded address meet one target"),
], networks=6, per_network=6)
def envoy_ring(run: Run) -> None:
    targets = run.serve(Application(cookie="sessionid"))
    run.balance(balancer.envoy(run.net, run.directory, targets, certificate=run.certificate, policy="RING_HASH",
                               ring_by="x-forwarded-for"))
    browse(users(run.net, 56, kinds=MIXED, addresses=28), PAGES[:4], **HTTPS)


@scenario("envoy-bridging", "Envoy, round robin, HTTPS to HTTPS: few long connections", [
    Output("bridging-envoy-targets.pcap.gz", "all_targets", "bridging", "unknown", healthy=True, product=("envoy", "unknown"), really="none",
           **INSIDE, shows="few connections with many requests' worth of records each, one TLS stack (BoringSSL)"),
    Output("bridging-envoy-one.pcap", "one_target", "bridging", "unknown", healthy=True, product=("envoy", "unknown"), really="none",
           **INSIDE, shows="as on all targets, from one of them"),
], networks=4, per_network=5)
def envoy_bridging(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), port=8443, tls=True)
    run.balance(balancer.envoy(run.net, run.directory, targets, certificate=run.certificate, target_tls=True))
    browse(users(run.net, 15, kinds=MIXED), **HTTPS)
