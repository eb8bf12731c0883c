"""A snapshot as metrics in the OpenMetrics format, through the official client library (extra `metrics`).

Names follow the Prometheus conventions (base units, ``_total`` for what only grows). Labels are bounded: services and
targets have a cap in the reconstruction, everything else is a word from a fixed list; nothing from the wire but a service's
name becomes a label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from lbtop.model.judgement import UNKNOWN, Mechanism, Mode, Severity
from lbtop.model.snapshot import Service, Snapshot, Target

SERVICES = 64
TARGETS = 256


class SnapshotCollector(Collector):
    """Yields the metrics of the newest snapshot whenever somebody scrapes."""

    def __init__(self, newest: Callable[[], Snapshot | None]) -> None:
        self._newest = newest

    def describe(self) -> Iterator[Metric]:
        """Nothing: what there is depends on the traffic."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        snapshot = self._newest()
        if snapshot is not None:
            yield from metrics(snapshot)


def metrics(snapshot: Snapshot) -> Iterator[Metric]:
    """Every metric of a snapshot."""
    services = snapshot.services[:SERVICES]
    yield from _source(snapshot)
    yield from _verdicts(services)
    yield from _affinity(services)
    yield from _targets(services)
    yield from _exposure(services)
    yield _findings(snapshot)


def _counter(name: str, text: str, value: float | None) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text)
    if value is not None:
        family.add_metric([], value)
    return family


def _source(snapshot: Snapshot) -> Iterator[Metric]:
    source = snapshot.source
    info = InfoMetricFamily("lbtop_source", "What is read and from where it is seen.")
    info.add_metric([], {"kind": source.kind, "vantage": source.vantage})
    yield info
    yield _counter("lbtop_packets", "Packets read, each once.", source.packets)
    yield _counter("lbtop_read_bytes", "Bytes of those packets on the wire.", source.bytes)
    yield _counter(
        "lbtop_undecoded_packets", "Packets that are not IP with TCP or UDP as far as lbtop knows.", source.undecoded_packets
    )
    yield _counter("lbtop_truncated_packets", "Packets cut by the snap length.", source.truncated_packets)
    yield _counter("lbtop_dropped_packets", "Packets lost before lbtop could read them.", source.dropped_packets)
    yield _counter("lbtop_connections", "Connections with at least one byte of payload.", source.connections)
    yield _counter("lbtop_connections_from_start", "Those whose handshake was seen.", source.connections_seen_from_start)
    last = GaugeMetricFamily("lbtop_snapshot_timestamp_seconds", "Time of the traffic the snapshot describes.")
    last.add_metric([], snapshot.at_ns / 1e9)
    yield last


def _verdicts(services: tuple[Service, ...]) -> Iterator[Metric]:
    termination = GaugeMetricFamily(
        "lbtop_termination_probability_ratio", "Probability of each place where TLS may end.", labels=["service", "mode"]
    )
    mechanism = GaugeMetricFamily(
        "lbtop_mechanism_probability_ratio",
        "Probability of each way in which clients may be pinned.",
        labels=["service", "mechanism"],
    )
    decided = GaugeMetricFamily("lbtop_termination", "1 for the mode that is the verdict.", labels=["service", "mode"])
    for service in services:
        verdict = service.termination.verdict
        for mode in Mode:
            termination.add_metric([service.service, mode.value], verdict.candidates.get(mode, 0.0))
        for word in (*(mode.value for mode in Mode), UNKNOWN):
            decided.add_metric([service.service, word], float(verdict.token == word))
        if service.stickiness is not None:
            for candidate in Mechanism:
                mechanism.add_metric(
                    [service.service, candidate.value], service.stickiness.verdict.candidates.get(candidate, 0.0)
                )
    yield from (termination, decided, mechanism)


def _affinity(services: tuple[Service, ...]) -> Iterator[Metric]:
    affinity = GaugeMetricFamily(
        "lbtop_affinity_ratio", "Affinity: 0 is chance, 1 is always the same target.", labels=["service"]
    )
    lost = CounterMetricFamily(
        "lbtop_sessions_lost", "Sessions answered as new by a target that did not issue them.", labels=["service"]
    )
    peak = GaugeMetricFamily(
        "lbtop_peak_to_mean_ratio", "Load of the hottest target against the mean.", labels=["service", "metric"]
    )
    chance = GaugeMetricFamily("lbtop_expected_peak_to_mean_ratio", "What chance alone would give.", labels=["service", "metric"])
    for service in services:
        stickiness, skew = service.stickiness, service.skew
        if stickiness is not None and stickiness.affinity is not None:
            affinity.add_metric([service.service], stickiness.affinity)
        if stickiness is not None and stickiness.sessions_lost is not None:
            lost.add_metric([service.service], stickiness.sessions_lost)
        if skew is not None:
            peak.add_metric([service.service, skew.metric], skew.peak_to_mean)
            chance.add_metric([service.service, skew.metric], skew.expected_peak_to_mean)
    yield from (affinity, lost, peak, chance)


def _targets(services: tuple[Service, ...]) -> Iterator[Metric]:
    labels = ["service", "target"]
    counters: list[tuple[CounterMetricFamily, Callable[[Target], float | None]]] = [
        (CounterMetricFamily(f"lbtop_target_{name}", text, labels=labels), value)
        for name, text, value in (
            ("connections", "Connections with payload.", lambda t: t.connections),
            ("requests", "Requests, health checks left out.", lambda t: t.requests),
            ("health_checks", "Requests of health checkers.", lambda t: t.health_checks),
            ("refused", "Attempts answered by a reset.", lambda t: t.refused),
            ("resets", "Connections that ended by a reset.", lambda t: t.resets),
            ("retransmits", "Segments sent again.", lambda t: t.retransmits),
            ("received_bytes", "Payload towards the target.", lambda t: t.bytes_in),
            ("sent_bytes", "Payload from the target.", lambda t: t.bytes_out),
        )
    ]
    gauges: list[tuple[GaugeMetricFamily, Callable[[Target], float | None]]] = [
        (GaugeMetricFamily(f"lbtop_target_{name}", text, labels=labels), value)
        for name, text, value in (
            ("share_ratio", "Share of the load.", lambda t: t.share),
            ("open_connections", "Connections open now.", lambda t: t.live),
        )
    ]
    responses = CounterMetricFamily("lbtop_target_responses", "Responses by class.", labels=[*labels, "class"])
    latency = GaugeMetricFamily(
        "lbtop_target_response_seconds", "Time to the response head since the start.", labels=[*labels, "quantile"]
    )
    for service in services:
        for target in service.targets[:TARGETS]:
            where = [service.service, target.target]
            for counter, value in counters:
                if (number := value(target)) is not None:
                    counter.add_metric(where, number)
            for gauge, value in gauges:
                if (number := value(target)) is not None:
                    gauge.add_metric(where, number)
            for word, count in (target.status or {}).items():
                responses.add_metric([*where, word], count)
            if target.response_ms is not None:
                latency.add_metric([*where, "0.5"], target.response_ms.p50 / 1e3)
                latency.add_metric([*where, "0.99"], target.response_ms.p99 / 1e3)
    yield from (*(family for family, _ in counters), *(family for family, _ in gauges), responses, latency)


def _exposure(services: tuple[Service, ...]) -> Iterator[Metric]:
    clear = CounterMetricFamily("lbtop_plaintext_bytes", "Payload that could be read.", labels=["service"])
    tls = CounterMetricFamily("lbtop_tls_bytes", "Payload inside TLS.", labels=["service"])
    sensitive = CounterMetricFamily(
        "lbtop_sensitive_values", "Sensitive values in clear, by class.", labels=["service", "kind", "hop"]
    )
    for service in services:
        clear.add_metric([service.service], service.exposure.plaintext_bytes)
        tls.add_metric([service.service], service.exposure.tls_bytes)
        for row in service.exposure.sensitive:
            sensitive.add_metric([service.service, row.kind, row.hop], row.count)
    yield from (clear, tls, sensitive)


def _findings(snapshot: Snapshot) -> Metric:
    family = GaugeMetricFamily("lbtop_findings", "Findings that hold now.", labels=["service", "id", "severity"])
    counts: dict[tuple[str, str, str], int] = {}
    for finding in snapshot.findings:
        if not finding.accepted:
            key = (finding.service or "", finding.id, finding.severity.value)
            counts[key] = counts.get(key, 0) + 1
    for key, count in sorted(counts.items()):
        family.add_metric(list(key), count)
    for severity in Severity:
        if not any(key[2] == severity.value for key in counts):
            family.add_metric(["", "", severity.value], 0)
    return family
