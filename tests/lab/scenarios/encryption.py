"""Where TLS ends: the same shop behind balancers that end, renew or forward it."""

from __future__ import annotations

from tests.lab import balancer
from tests.lab.client import BROWSERS, PAGES, browse, users
from tests.lab.scenario import Output, Run, scenario
from tests.lab.target import Application

MIXED = (*BROWSERS[:5], "requests", "okhttp", "go")


@scenario("alb-offload", "HAProxy as an ALB: HTTPS from clients, plain HTTP to 3 targets, duration-based stickiness (AWSALB)", [
    Output("offload-lb-cookie-targets.pcap.gz", "all_targets", "offload", "lb_cookie", product=("alb",), cookie="AWSALB",
           must=("plaintext-backend-hop",), kinds=("session_cookie",),
           shows="X-Forwarded-Proto https with the other ALB headers on every request; AWSALB echoed, never set; several users "
                 "behind one address land apart, one user stays"),
    Output("offload-lb-cookie-one.pcap", "one_target", "offload", "lb_cookie", product=("alb",), cookie="AWSALB",
           must=("plaintext-backend-hop",), kinds=("session_cookie",),
           shows="one target of the three: AWSALB comes back, and no session value appears that this target did not issue"),
    Output("offload-lb-cookie-balancer.pcapng", "load_balancer", "offload", "lb_cookie", product=("alb",), cookie="AWSALB",
           must=("plaintext-backend-hop",), kinds=("session_cookie",),
           shows="client hellos on the front legs, readable requests on the back legs"),
], networks=5, per_network=6)
def alb_offload(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"))
    run.balance(balancer.alb(run.net, run.directory, targets, certificate=run.certificate))
    browse(users(run.net, 30, kinds=MIXED, addresses=18), scheme="https", port=443, repeat=2)


@scenario("alb-bridging", "HAProxy as an ALB: HTTPS from clients, HTTPS again to 3 targets, duration-based stickiness", [
    Output("bridging-targets.pcapng", "all_targets", "bridging", "unknown", healthy=True, product=("haproxy", "unknown"), seen="tls",
           mechanism_because="requests cannot be read inside TLS and users share the balancer's connections",
           mechanism_candidates=("lb_cookie", "app_cookie", "none"), really="lb_cookie",
           shows="one TLS stack and one TCP stack from one address, sessions resumed, many requests' worth of records each"),
    Output("bridging-one.pcap.gz", "one_target", "bridging", "unknown", healthy=True, product=("haproxy", "unknown"), seen="tls",
           mechanism_because="requests cannot be read inside TLS and users share the balancer's connections",
           mechanism_candidates=("lb_cookie", "app_cookie", "none"), really="lb_cookie",
           shows="as on all targets, from one of them"),
    Output("bridging-balancer.pcap", "load_balancer", "bridging", "unknown", healthy=True, product=("haproxy", "unknown"), seen="tls",
           mechanism_because="requests cannot be read inside TLS", really="lb_cookie",
           mechanism_candidates=("lb_cookie", "app_cookie", "none"),
           shows="client hellos on both legs, none of whose randoms are the same"),
], networks=5, per_network=6)
def alb_bridging(run: Run) -> None:
    targets = run.serve(Application(cookie="JSESSIONID"), port=8443, tls=True)
    run.balance(balancer.alb(run.net, run.directory, targets, certificate=run.certificate, target_tls=True, reuse="safe"))
    browse(users(run.net, 24, kinds=MIXED, addresses=15), scheme="https", port=443, repeat=1)


@scenario("tcp-passthrough", "HAProxy in TCP mode, round robin, no PROXY header: the clients' own TLS reaches 3 targets", [
    Output("passthrough-proxy-targets.pcap", "all_targets", "passthrough", "none", healthy=True, product=("haproxy", "unknown"), seen="tls",
           shows="one address and one TCP stack with many TLS stacks; of the tickets offered, two in three are refused"),
    Output("passthrough-proxy-balancer.pcapng", "load_balancer", "passthrough", "none", healthy=True, product=("haproxy", "unknown"),
           seen="tls", shows="every client hello stands on both legs with the same random"),
], networks=5, per_network=4)
def tcp_passthrough(run: Run) -> None:
    targets = run.serve(Application(sessions="shared"), port=8443, tls=True)
    run.balance(balancer.haproxy_tcp(run.net, run.directory, targets))
    browse(users(run.net, 20, kinds=(*BROWSERS, "requests", "okhttp", "go")), PAGES[:5], scheme="https", port=443, fresh=True)


@scenario("nlb-plain-source-ip", "Kernel NAT as an NLB: plain HTTP, target by hash of the client address", [
    Output("plain-nlb-source-ip-targets.pcap.gz", "all_targets", "none", "source_ip", product=("nlb", "unknown"),
           must=("plaintext-end-to-end", "session-cookie-in-plaintext"), kinds=("session_cookie",),
           shows="the clients' own TCP stacks under readable requests; each address always at the same target"),
], networks=6, per_network=5)
def nlb_plain_source_ip(run: Run) -> None:
    targets = run.serve(Application(cookie="sid", attributes="Path=/; HttpOnly"))
    run.balance(balancer.Nlb(run.net, targets, by="source_ip", port=80))
    browse(users(run.net, 40, kinds=("requests", "plain-chrome", "plain-firefox"), addresses=28), PAGES[:5], fresh=True)
