"""Confirming commands: lines that work as they are when pasted, and print no secret.

For a capture they read the same file, by a name that faces replace; live they watch the same port. Everything that came
from the wire is quoted for the shell.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from lbtop.findings.rule import Context
from lbtop.model.judgement import CAPTURE_NAME


def source_of(context: Context, bpf: str) -> str:
    """``-r x.pcap`` for a capture, ``-i any -f FILTER`` for live traffic."""
    if context.source.kind in ("packet", "ebpf") or not context.source.inputs:
        return f"-i any -f {shlex.quote(bpf)}"
    return f"-r {CAPTURE_NAME}"


def tshark(context: Context, display: str, fields: Sequence[str], options: str = "") -> str:
    """One tshark line over the service's port."""
    port = context.service.port
    shown = " ".join(f"-e {field}" for field in fields)
    extra = f" {options}" if options else ""
    return f"tshark {source_of(context, f'port {port}')}{extra} -Y {shlex.quote(display)} -T fields {shown}"


def http(context: Context, display: str, fields: Sequence[str]) -> str:
    """The same, the port taken as HTTP whatever its number."""
    port = context.service.port
    return tshark(context, f"tcp.port == {port} && ({display})", fields, f"-d tcp.port=={port},http")


def tls(context: Context, display: str, fields: Sequence[str]) -> str:
    """The same, the port taken as TLS."""
    port = context.service.port
    return tshark(context, f"tcp.port == {port} && ({display})", fields, f"-d tcp.port=={port},tls")


def first_bytes(context: Context) -> str:
    """Live: the first few payload bytes of segments, readable or not (too few for a secret). A capture: their protocols."""
    port = context.service.port
    ledger = context.facts.ledgers.datagrams
    datagrams = ledger.flows > ledger.connections / 2
    if context.source.kind in ("packet", "ebpf") or not context.source.inputs:
        proto = "udp" if datagrams else "tcp"
        return f"tcpdump -i any -nn -A -s 96 -c 20 {shlex.quote(f'{proto} port {port} and greater 120')}"
    fields = ("frame.time", "ip.src", "ip.dst", "frame.protocols")
    decode_as = f" -d tcp.port=={port},http" if context.facts.ledgers.heads.requests else ""
    chosen = f"udp.port == {port}" if datagrams else f"tcp.port == {port} && tcp.len > 0"
    return tshark(context, chosen, fields, f"-c 2000{decode_as}")


def probe(context: Context, option: str = "") -> str:
    """An openssl line that shows what a target negotiates."""
    target = context.service.targets[0].target if context.service.targets else f"TARGET:{context.service.port}"
    return f"openssl s_client -connect {target}{' ' + option if option else ''} </dev/null"
