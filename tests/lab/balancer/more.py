"""Balancers of the unseen set: nginx's stream module, nghttpx, lighttpd, Squid, pen, Varnish's hashing directors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.lab.balancer.process import Balancer
from tests.lab.net import BALANCER, VIP, Net
from tests.lab.target import Target

STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"


def nginx_stream(
    net: Net,
    directory: Path,
    targets: Sequence[Target],
    *,
    port: int,
    certificate: Path | None = None,
    target_tls: bool = False,
    proxy: bool = False,
    upstream: str = "",
    timeout: str = "10m",
) -> Balancer:
    """nginx at layer 4: bytes passed on, or TLS ended (``certificate``) and, where asked, begun again."""
    servers = "".join(f" server {target.name};" for target in targets)
    tls = f"ssl_certificate {certificate}; ssl_certificate_key {certificate};" if certificate else ""
    path = directory / "stream.conf"
    path.write_text(
        f"load_module {STREAM_MODULE};\ndaemon off; pid {directory}/stream.pid; error_log {directory}/stream-error.log;\n"
        "user root; worker_processes 1; events { worker_connections 2000; }\n"
        f"stream {{ upstream pool {{ {upstream} {servers} }}\n"
        f"  server {{ listen {VIP}:{port}{' ssl' if certificate else ''}; {tls} proxy_pass pool; proxy_bind {BALANCER};\n"
        f"    proxy_timeout {timeout}; tcp_nodelay on; {'proxy_protocol on;' if proxy else ''}"
        f"{' proxy_ssl on; proxy_ssl_session_reuse on;' if target_tls else ''} }} }}\n"
    )
    return Balancer(net.lb, ("nginx", "-c", str(path)), directory, [port], "stream")


def nginx_conf(net: Net, directory: Path, text: str, ports: Sequence[int], name: str = "web") -> Balancer:
    """nginx with a configuration of the scenario's own: ``text`` stands inside ``http { }``."""
    path = directory / f"{name}.conf"
    scratch = "".join(
        f" {kind}_temp_path {directory}/{name}-{kind};" for kind in ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")
    )
    path.write_text(
        f"daemon off; pid {directory}/{name}.pid; error_log {directory}/{name}-error.log; user root; worker_processes 1;\n"
        f"events {{ worker_connections 2000; }}\nhttp {{ access_log off; keepalive_requests 100000;{scratch}\n{text}\n}}\n"
    )
    return Balancer(net.lb, ("nginx", "-c", str(path)), directory, ports, name)


def nghttpx(
    net: Net, directory: Path, targets: Sequence[Target], *, certificate: Path, affinity: str = "", add: Sequence[str] = ()
) -> Balancer:
    """nghttpx; ``affinity`` is what its backend option takes, such as ``affinity=ip``."""
    from tests.lab.balancer.others import split_certificate

    key, chain = split_certificate(certificate, directory)
    tail = f";;{affinity}" if affinity else ""
    return Balancer(
        net.lb,
        (
            "nghttpx",
            f"--conf={directory / 'none.conf'}",
            f"--frontend={VIP},443",
            *(f"--backend={target.address},{target.port}{tail}" for target in targets),
            "--workers=1",
            "--errorlog-file=/dev/stderr",
            "--accesslog-file=/dev/null",
            *add,
            str(key),
            str(chain),
        ),
        directory,
        [443],
        "nghttpx",
    )


def lighttpd(net: Net, directory: Path, targets: Sequence[Target], *, balance: str, port: int = 80) -> Balancer:
    """lighttpd's mod_proxy over plain HTTP; ``balance`` is proxy.balance: fair, least-connection, round-robin, hash, sticky."""
    members = ",\n".join(f'  ( "host" => "{target.address}", "port" => {target.port} )' for target in targets)
    path = directory / "lighttpd.conf"
    path.write_text(
        f'server.modules = ( "mod_proxy" )\nserver.document-root = "{directory}"\nserver.bind = "{VIP}"\nserver.port = {port}\n'
        f'server.errorlog = "{directory}/lighttpd-error.log"\nproxy.balance = "{balance}"\n'
        f'proxy.server = ( "" => (\n{members}\n) )\n'
    )
    return Balancer(net.lb, ("lighttpd", "-D", "-f", str(path)), directory, [port], "lighttpd")


def squid(net: Net, directory: Path, targets: Sequence[Target], *, select: str, port: int = 80) -> Balancer:
    """Squid as an accelerator over plain HTTP; ``select`` is the peers' way of selection, such as ``sourcehash``."""
    directory.chmod(0o777)
    peers = "\n".join(
        f"cache_peer {target.address} parent {target.port} 0 no-query no-digest originserver name=t{i} {select}"
        for i, target in enumerate(targets)
    )
    path = directory / "squid.conf"
    path.write_text(
        f"http_port {VIP}:{port} accel defaultsite=shop.example vhost\n{peers}\ncache deny all\nhttp_access allow all\n"
        f"never_direct allow all\naccess_log none\ncache_log {directory}/squid-cache.log\npid_filename {directory}/squid.pid\n"
        f"coredump_dir {directory}\nvisible_hostname edge\npinger_enable off\nnetdb_filename none\nshutdown_lifetime 0 seconds\n"
        f"tcp_outgoing_address {BALANCER}\ncache_mem 8 MB\nmax_filedescriptors 1024\n"
    )
    return Balancer(net.lb, ("squid", "-N", "-f", str(path)), directory, [port], "squid")


def pen(net: Net, directory: Path, targets: Sequence[Target], *, port: int, options: Sequence[str] = ()) -> Balancer:
    """pen, a TCP balancer that by itself remembers which client went where."""
    return Balancer(
        net.lb,
        ("pen", "-f", *options, f"{VIP}:{port}", *(f"{target.address}:{target.port}" for target in targets)),
        directory,
        [port],
        "pen",
    )


def varnish_by(net: Net, directory: Path, targets: Sequence[Target], *, choose: str, director: str = "shard") -> Balancer:
    """Varnish behind a TLS terminator (PROXY on port 6086) with a director that hashes; ``choose`` is its VCL expression."""
    backends = "".join(
        f'backend t{i} {{ .host = "{target.address}"; .port = "{target.port}"; }}\n' for i, target in enumerate(targets)
    )
    each = "".join(f" pool.add_backend(t{i}{', 1.0' if director in ('hash', 'random') else ''});" for i in range(len(targets)))
    done = " pool.reconfigure();" if director == "shard" else ""
    path = directory / "by.vcl"
    path.write_text(
        f"vcl 4.1;\nimport directors;\nimport std;\nimport blob;\n{backends}"
        f"sub vcl_init {{ new pool = directors.{director}();{each}{done} }}\n"
        'sub vcl_recv { set req.http.X-Forwarded-Proto = "https"; return (pass); }\n'
        f"sub vcl_backend_fetch {{ set bereq.backend = {choose}; }}\n"
    )
    (directory / "varnish").mkdir(exist_ok=True)
    options = ("-F", "-j", "none", "-n", str(directory / "varnish"), "-f", str(path), "-a", "127.0.0.1:6086,PROXY", "-T", "none")
    return Balancer(net.lb, ("varnishd", *options, "-s", "malloc,32m"), directory, [6086], "varnish")
