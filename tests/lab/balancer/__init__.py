"""Real load balancers, started in the balancer's namespace with a configuration of the lab's own."""

from tests.lab.balancer.alb import alb, alb_groups
from tests.lab.balancer.haproxy import Timeouts, haproxy_http, haproxy_tcp
from tests.lab.balancer.kernel import Nlb
from tests.lab.balancer.more import lighttpd, nghttpx, nginx_conf, nginx_stream, pen, squid, varnish_by
from tests.lab.balancer.others import apache, caddy, envoy, hitch, nginx, stunnel, varnish
from tests.lab.balancer.process import Balancer

__all__ = [
    "Balancer",
    "Nlb",
    "Timeouts",
    "alb",
    "alb_groups",
    "apache",
    "caddy",
    "envoy",
    "haproxy_http",
    "haproxy_tcp",
    "hitch",
    "lighttpd",
    "nghttpx",
    "nginx",
    "nginx_conf",
    "nginx_stream",
    "pen",
    "squid",
    "stunnel",
    "varnish",
    "varnish_by",
]
