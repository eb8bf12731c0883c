"""Every question asked of the facts, and the answers put into the one frame that all faces read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from lbtop import findings
from lbtop.findings.rule import Context
from lbtop.inference.affinity import infer_stickiness
from lbtop.inference.balance import SIGNIFICANT, infer_skew
from lbtop.inference.exposure import infer_exposure
from lbtop.inference.identity import infer_identity
from lbtop.inference.idle import infer_idle
from lbtop.inference.nat import infer_nat
from lbtop.inference.races import forecast_races
from lbtop.inference.statistics import holm
from lbtop.inference.targets import target_rows
from lbtop.inference.termination import infer_termination
from lbtop.model.address import endpoint_text
from lbtop.model.judgement import UNKNOWN, Finding
from lbtop.model.record import replace
from lbtop.model.snapshot import Dependency, Detail, Idle, Service, Snapshot, SourceFrame
from lbtop.model.text import SafeText, safe_text
from lbtop.reconstruct.facts import Facts, ServiceFacts
from lbtop.reconstruct.tallies import ENCRYPTED


def judge(facts: Facts, names: Mapping[str, str] | None = None, final: bool = False, detail: bool = False) -> Snapshot:
    """The diagnosis: a pure function of the facts. ``detail`` adds sessions and connections one by one."""
    source = _source(facts)
    named = names or {}
    services = [_service(service, named, detail) for service in facts.services]
    services = _holm(_distinct(services))
    contexts = [Context(service, about, source, tuple(services)) for service, about in zip(services, facts.services, strict=True)]
    found = findings.find(contexts, source, facts.source)
    return Snapshot(facts.now_ns, source, tuple(_drained(service, found) for service in services), found, final)


def _drained(service: Service, found: tuple[Finding, ...]) -> Service:
    """Targets that a finding says get no new sessions are draining, also while their old ones keep them busy."""
    drained = {finding.subject for finding in found if finding.id == "draining-target" and finding.service == service.service}
    if not drained:
        return service
    targets = (
        replace(target, state="draining") if target.target in drained and target.state == "serving" else target
        for target in service.targets
    )
    return replace(service, targets=tuple(targets))


def _source(facts: Facts) -> SourceFrame:
    stats = facts.source
    return SourceFrame(
        kind=stats.kind,
        inputs=stats.inputs,
        started_ns=stats.started_ns,
        ended_ns=stats.ended_ns,
        packets=stats.packets,
        bytes=stats.bytes,
        undecoded_packets=stats.undecoded_packets,
        truncated_packets=stats.truncated_packets,
        dropped_packets=stats.dropped_packets,
        connections=facts.connections,
        connections_seen_from_start=facts.connections_seen_from_start,
        caps_reached=facts.caps_reached,
        vantage=facts.vantage,
        vantage_evidence=tuple(facts.vantage_evidence),
        duplicate_packets=stats.duplicate_packets,
        notes=stats.notes,
        inside_tls=stats.inside_tls,
        kernel_tcp=stats.kernel_tcp,
    )


def _service(facts: ServiceFacts, names: Mapping[str, str], detail: bool) -> Service:
    termination = infer_termination(facts)
    stickiness = infer_stickiness(facts, termination)
    skew = infer_skew(facts, stickiness)
    return Service(
        service=_name(facts),
        port=facts.port,
        load_balancer=infer_identity(facts, termination),
        termination=termination,
        stickiness=stickiness,
        targets=target_rows(facts, skew, stickiness, names),
        dependencies=_dependencies(facts),
        skew=skew,
        exposure=infer_exposure(facts, termination),
        nat=infer_nat(facts),
        idle=_idle(facts),
        roles_evidence=tuple(facts.roles_evidence),
        detail=_detail(facts) if detail else None,
    )


def _idle(facts: ServiceFacts) -> Idle | None:
    idle = infer_idle(facts)
    forecast = forecast_races(facts) if idle is not None else None
    return (
        idle
        if idle is None or forecast is None
        else replace(idle, races_per_hour=forecast.per_hour, races_interval=forecast.interval)
    )


def _detail(facts: ServiceFacts) -> Detail:
    from lbtop.inference.detail import service_detail  # only the dashboard needs it

    return service_detail(facts, facts.ledgers.history)


def _name(facts: ServiceFacts) -> SafeText:
    """The VIP where it is in view; else the SNI, else the Host of most requests; else the port."""
    if facts.vips:
        address, port = facts.vips[0]
        return safe_text(endpoint_text(facts.addresses[address], port))
    return facts.ledgers.targets.usual_name(facts.strings) or safe_text(str(facts.port))


def _distinct(services: list[Service]) -> list[Service]:
    """Two services of one name are told apart by their ports, and if need be by their first target."""
    parts: tuple[Callable[[Service], str], ...] = (
        lambda service: str(service.port),
        lambda service: service.targets[0].target if service.targets else "?",
    )
    for part in parts:
        count = Counter(service.service for service in services)
        services = [
            replace(service, service=safe_text(f"{service.service} ({part(service)})")) if count[service.service] > 1 else service
            for service in services
        ]
    return services


def _dependencies(facts: ServiceFacts) -> tuple[Dependency, ...]:
    return tuple(
        Dependency(
            endpoint_text(facts.addresses[dependency.address], dependency.port),
            dependency.connections,
            "tls" if dependency.protocol in ENCRYPTED else "plain" if dependency.protocol else "unknown",
        )
        for dependency in facts.dependencies
    )


def _holm(services: list[Service]) -> list[Service]:
    """Corrects the p-values of the services' skews for having asked several services (Holm).

    A cause stays: what explains a peak explains it whether or not chance could have made it.
    """
    asked = [(number, service.skew) for number, service in enumerate(services) if service.skew is not None]
    if len(asked) < 2:
        return services
    for (number, skew), p_value in zip(asked, holm([skew.p_value for _, skew in asked]), strict=True):
        significant = skew.significant and p_value < SIGNIFICANT
        cause = None if skew.cause == UNKNOWN and not significant else skew.cause
        corrected = replace(skew, p_value=float(p_value), significant=significant, cause=cause)
        services[number] = replace(services[number], skew=corrected)
    return services
