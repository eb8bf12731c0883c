"""The snapshot as the JSON object that other programs rely on (docs/json.md).

Key order is fixed, maps are ordered by count, floats are rounded to what the measurement carries: the same input gives the
same bytes. What is absent or undecidable is ``null``, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import Enum
from json import dumps
from typing import TYPE_CHECKING, Any, TypeVar

from lbtop import __version__
from lbtop.model.judgement import DECISION_THRESHOLD, Evidence, Finding, Verdict
from lbtop.model.snapshot import (
    SCHEMA,
    Exposure,
    Idle,
    LoadBalancer,
    Percentiles,
    Service,
    Skew,
    Snapshot,
    SourceFrame,
    Stickiness,
    Target,
    Termination,
    TlsFacts,
)
from lbtop.model.times import iso_utc

if TYPE_CHECKING:
    from lbtop.model.observation import InsideTls, KernelTcp

Object = dict[str, Any]
K = TypeVar("K", bound=Enum)


def render(snapshot: Snapshot) -> str:
    """The diagnosis as text, one object, ASCII only, ending in a newline."""
    return dumps(diagnosis(snapshot), indent=2, allow_nan=False, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    """Numpy scalars, which count like numbers but are none to ``json``."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def diagnosis(snapshot: Snapshot) -> Object:
    return {
        "schema": SCHEMA,
        "lbtop": __version__,
        "source": _source(snapshot.source),
        "services": [_service(service) for service in snapshot.services],
        "findings": [_finding(finding) for finding in snapshot.findings],
    }


def number(value: float | None, digits: int = 6) -> float | None:
    """Rounded; None for what is not a number. Never -0.0."""
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), digits) + 0.0


def _interval(bounds: tuple[float, float] | None, digits: int = 6) -> list[float | None] | None:
    return None if bounds is None else [number(bounds[0], digits), number(bounds[1], digits)]


def _counts(counts: Mapping[Any, int]) -> dict[str, int]:
    return {str(name): int(count) for name, count in sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))}


def _time(ns: int) -> str | None:
    return iso_utc(ns) if ns else None


def _evidence(items: Iterable[Evidence]) -> list[Object]:
    return [
        {"signal": e.signal, "group": e.group, "detail": e.detail, "favours": e.favours, "weight": number(e.weight, 3)}
        for e in items
    ]


def _probability(value: float, decided: bool) -> float:
    """Rounded, but never across the threshold that decides between a verdict and `unknown`."""
    rounded = number(value) or 0.0
    return rounded if decided or rounded < DECISION_THRESHOLD else DECISION_THRESHOLD - 1e-6


def _verdict(verdict: Verdict[K], name: str) -> Object:
    decided = verdict.value is not None
    ordered = sorted(verdict.candidates.items(), key=lambda item: (-item[1], item[0].value))
    return {
        name: verdict.token,
        "confidence": _probability(verdict.confidence, decided),
        "candidates": {candidate.value: _probability(probability, decided) for candidate, probability in ordered},
        "settled_by": verdict.settled_by,
    }


def _source(source: SourceFrame) -> Object:
    return {
        "kind": source.kind,
        "inputs": list(source.inputs),
        "started": _time(source.started_ns),
        "ended": _time(source.ended_ns),
        "packets": source.packets,
        "bytes": source.bytes,
        "undecoded_packets": source.undecoded_packets,
        "truncated_packets": source.truncated_packets,
        "dropped_packets": source.dropped_packets,
        "connections": source.connections,
        "connections_seen_from_start": source.connections_seen_from_start,
        "caps_reached": list(source.caps_reached),
        "vantage": source.vantage,
        "vantage_evidence": _evidence(source.vantage_evidence),
        **({} if source.inside_tls is None else {"inside_tls": _inside_tls(source.inside_tls)}),
        **({"kernel_tcp": [_kernel_tcp(row) for row in source.kernel_tcp]} if source.kernel_tcp else {}),
    }


def _kernel_tcp(row: KernelTcp) -> Object:
    return {
        "port": row.port,
        "segments_sent_again": row.sent_again,
        "resets_sent": dict(row.resets_sent),
        "resets_received": row.resets_received,
        "accepted": row.accepted,
        "connected": row.connected,
        "connects_failed": row.connects_failed,
    }


def _inside_tls(inside: InsideTls) -> Object:
    return {
        "ports": list(inside.ports),
        "connections": inside.connections,
        "connections_read": inside.read,
        "share": inside.share,
        "lost": inside.lost,
        "unreadable": list(inside.unreadable),
    }


def _service(service: Service) -> Object:
    return {
        "service": service.service,
        "load_balancer": _load_balancer(service.load_balancer),
        "termination": _termination(service.termination),
        "stickiness": None if service.stickiness is None else _stickiness(service.stickiness),
        "targets": [_target(target) for target in service.targets],
        "dependencies": [
            {"address": d.address, "connections": d.connections, "encryption": d.encryption} for d in service.dependencies
        ],
        "skew": None if service.skew is None else _skew(service.skew),
        "exposure": _exposure(service.exposure),
        "nat": [
            {
                "address": nat.address,
                "users_low": nat.users_low,
                "users_high": nat.users_high,
                "share": number(nat.share),
                "basis": nat.basis,
            }
            for nat in service.nat
        ],
        "idle": None if service.idle is None else _idle(service.idle),
    }


def _load_balancer(balancer: LoadBalancer) -> Object:
    return {
        "addresses": list(balancer.addresses),
        "product": balancer.product,
        "confidence": number(balancer.confidence),
        "evidence": _evidence(balancer.evidence),
    }


def _termination(termination: Termination) -> Object:
    return {
        **_verdict(termination.verdict, "mode"),
        "hops": [
            {
                "from": hop.from_,
                "to": hop.to,
                "encryption": hop.encryption,
                "seen": hop.seen,
                "tls_versions": list(hop.tls_versions),
            }
            for hop in termination.hops
        ],
        "evidence": _evidence(termination.verdict.evidence),
    }


def _stickiness(stickiness: Stickiness) -> Object:
    lifetime = stickiness.cookie_lifetime
    return {
        **_verdict(stickiness.verdict, "mechanism"),
        "cookie": stickiness.cookie,
        "balancing": stickiness.balancing,
        "key": stickiness.key,
        "affinity": number(stickiness.affinity),
        "affinity_interval": _interval(stickiness.affinity_interval),
        "keys": stickiness.keys,
        "returns": stickiness.returns,
        "by_key": [
            {
                "key": key.key,
                "affinity": number(key.affinity),
                "interval": _interval(key.interval),
                "keys": key.keys,
                "returns": key.returns,
            }
            for key in stickiness.by_key
        ],
        "breaks": [
            {"time": _time(b.time_ns), "keys": b.keys, "from": b.from_, "to": b.to, "cause": b.cause} for b in stickiness.breaks
        ],
        "cookie_lifetime": None
        if lifetime is None
        else {"model": lifetime.model, "seconds": number(lifetime.seconds, 3), "interval": _interval(lifetime.interval, 3)},
        "sessions": stickiness.sessions,
        "sessions_lost": stickiness.sessions_lost,
        "orphan_requests": stickiness.orphan_requests,
        "evidence": _evidence(stickiness.verdict.evidence),
    }


def _percentiles(percentiles: Percentiles | None) -> Object | None:
    return None if percentiles is None else {"p50": number(percentiles.p50, 3), "p99": number(percentiles.p99, 3)}


def _target(target: Target) -> Object:
    row: Object = {
        "target": target.target,
        "connections": target.connections,
        "requests": target.requests,
        "health_checks": target.health_checks,
        "probes": target.probes,
        "refused": target.refused,
        "bytes_in": target.bytes_in,
        "bytes_out": target.bytes_out,
        "clients": target.clients,
        "share": number(target.share),
        "state": target.state,
        "first_seen": _time(target.first_seen_ns),
        "last_seen": _time(target.last_seen_ns),
        "connect_ms": _percentiles(target.connect_ms),
        "response_ms": _percentiles(target.response_ms),
        "resets": target.resets,
        "retransmits": target.retransmits,
        "status": None if target.status is None else {name: target.status[name] for name in sorted(target.status)},
    }
    if target.name is not None:  # only where the operator gave names
        row["name"] = target.name
    if target.processes:  # only live, and where the capture names them
        row["processes"] = [
            {"pid": each.pid, "name": each.name, "container": each.container, "pod": each.pod} for each in target.processes
        ]
    return row


def _skew(skew: Skew) -> Object:
    return {
        "metric": skew.metric,
        "peak_to_mean": number(skew.peak_to_mean),
        "expected_peak_to_mean": number(skew.expected_peak_to_mean),
        "gini": number(skew.gini),
        "p_value": number(skew.p_value),
        "significant": bool(skew.significant),
        "cause": skew.cause,
    }


def _exposure(exposure: Exposure) -> Object:
    return {
        "plaintext_bytes": exposure.plaintext_bytes,
        "tls_bytes": exposure.tls_bytes,
        "plaintext_connections": exposure.plaintext_connections,
        "tls_connections": exposure.tls_connections,
        "sensitive": [
            {
                "kind": s.kind,
                "count": s.count,
                "distinct": s.distinct,
                "hop": s.hop,
                "first": _time(s.first_ns),
                "last": _time(s.last_ns),
            }
            for s in exposure.sensitive
        ],
        "tls": _tls(exposure.tls),
    }


def _tls(tls: TlsFacts) -> Object:
    return {
        "versions": _counts(tls.versions),
        "ja4": _counts(tls.ja4),
        "sni": _counts(tls.sni),
        "alpn": _counts(tls.alpn),
        "resumption_offered": tls.resumption_offered,
        "resumption_accepted": tls.resumption_accepted,
    }


def _idle(idle: Idle) -> Object:
    return {
        "cliff_s": number(idle.cliff_s, 3),
        "interval": _interval(idle.interval, 3),
        "ended_by": idle.ended_by,
        "resets_after_idle": idle.resets_after_idle,
        "matches": idle.matches,
        "target_closes_after_s": number(idle.target_closes_after_s, 3),
        "keepalive_races": idle.keepalive_races,
        "keepalive_races_per_hour": number(idle.races_per_hour, 2),
        "keepalive_races_interval": _interval(idle.races_interval, 2),
    }


def _finding(finding: Finding) -> Object:
    return {
        "id": finding.id,
        "severity": finding.severity.value,
        "accepted": finding.accepted,
        "service": finding.service,
        "title": finding.title,
        "detail": finding.detail,
        "evidence": _evidence(finding.evidence),
        "advice": list(finding.advice),
        "confirm": list(finding.confirm),
    }
