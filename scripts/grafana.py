"""Prints packaging/grafana/lbtop.json, a Grafana dashboard over what ``lbtop serve`` exports: ``make docs``.

Written down as what each panel asks, not as JSON: a test holds every metric and label in it against the exposition.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
CHOSEN = 'instance=~"$instance", service=~"$service"'
EVERY = "[$__rate_interval]"
WIDTH, HEIGHT = 24, 8


@dataclass(frozen=True, slots=True)
class Ask:
    """One query and what its series are called."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """``kind``: timeseries, stat or table; ``width`` of 24 columns."""

    title: str
    about: str
    asks: tuple[Ask, ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    least: float | None = None
    most: float | None = None


HOST = 'instance=~"$instance"'


def _rate(metric: str, *by: str, chosen: str = CHOSEN) -> str:
    return f"sum by ({', '.join(by)}) (rate({metric}{{{chosen}}}{EVERY}))"


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    ("Verdict", (
        Panel("Findings", "What holds now, by severity. lbtop explain ID says what each means.",
              (Ask(f"sum by (severity) (lbtop_findings{{{CHOSEN}}})", "{{severity}}"),), kind="stat", width=6, least=0),
        Panel("Which findings", "Every finding that holds now.",
              (Ask(f"lbtop_findings{{{CHOSEN}}} > 0", "{{severity}} {{id}} {{service}}"),), kind="table", width=10),
        Panel("Where TLS ends", "The verdict of every service: bridging, passthrough, offload, l4_tls, none, unknown.",
              (Ask(f"lbtop_termination{{{CHOSEN}}} == 1", "{{service}}: {{mode}}"),), kind="table", width=8),
    )),
    ("Stickiness and balance", (
        Panel("Affinity", "How much more often than by chance a returning client meets its target again: 0 chance, 1 always.",
              (Ask(f"lbtop_affinity_ratio{{{CHOSEN}}}", "{{service}}"),), "percentunit", least=-0.2, most=1),
        Panel("Sessions lost per minute", "Requests with a session that were answered as new.",
              (Ask("60 * " + _rate("lbtop_sessions_lost_total", "service"), "{{service}}"),), least=0),
        Panel("Peak to mean, and what chance gives", "Load of the hottest target against the mean.",
              (Ask(f"lbtop_peak_to_mean_ratio{{{CHOSEN}}}", "{{service}} ({{metric}})"),
               Ask(f"lbtop_expected_peak_to_mean_ratio{{{CHOSEN}}}", "{{service}}: chance")), least=1),
    )),
    ("Targets", (
        Panel("Requests per second", "Health checks left out.",
              (Ask(_rate("lbtop_target_requests_total", "service", "target"), "{{target}}"),), "reqps", least=0),
        Panel("Share", "Of the load, in the unit of its skew.",
              (Ask(f"lbtop_target_share_ratio{{{CHOSEN}}}", "{{target}}"),), "percentunit", stacked=True, least=0, most=1),
        Panel("Open connections", "Now.", (Ask(f"lbtop_target_open_connections{{{CHOSEN}}}", "{{target}}"),), least=0),
        Panel("Time to the response head, p99", "Since the start of lbtop.",
              (Ask(f'lbtop_target_response_seconds{{{CHOSEN}, quantile="0.99"}}', "{{target}}"),), "s", least=0),
        Panel("Server errors per second", "5xx.",
              (Ask(_rate("lbtop_target_responses_total", "target", chosen=f'{CHOSEN}, class="5xx"'), "{{target}}"),), least=0),
        Panel("Resets, refusals, retransmits per second", "",
              (Ask(_rate("lbtop_target_resets_total", "target"), "{{target}} RST"),
               Ask(_rate("lbtop_target_refused_total", "target"), "{{target}} refused"),
               Ask(_rate("lbtop_target_retransmits_total", "target"), "{{target}} retransmits")), least=0),
    )),
    ("Exposure", (
        Panel("Readable and encrypted", "Payload per second that anybody on the way can read, and inside TLS.",
              (Ask(_rate("lbtop_plaintext_bytes_total", "service"), "{{service}} readable"),
               Ask(_rate("lbtop_tls_bytes_total", "service"), "{{service}} TLS")), "Bps", width=12, least=0),
        Panel("Secrets in clear per minute", "By class and hop; values are never kept.",
              (Ask("60 * " + _rate("lbtop_sensitive_values_total", "service", "kind", "hop"),
                   "{{service}} {{kind}} {{hop}}"),), width=12, least=0),
    )),
    ("lbtop itself", (
        Panel("Packets", "Read, and lost before lbtop could read them.",
              (Ask(_rate("lbtop_packets_total", "instance", chosen=HOST), "{{instance}} read"),
               Ask(_rate("lbtop_dropped_packets_total", "instance", chosen=HOST), "{{instance}} lost")),
              "pps", width=12, least=0),
        Panel("Age of what is shown", "Against the traffic's time: it stands still when lbtop does.",
              (Ask('time() - lbtop_snapshot_timestamp_seconds{instance=~"$instance"}', "{{instance}}"),), "s", width=12, least=0),
    )),
)  # fmt: skip


def _panels() -> Iterator[dict[str, object]]:
    number, y = 1, 0
    for title, panels in ROWS:
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": y}}
        number, x, y = number + 1, 0, y + 1
        for panel in panels:
            if x + panel.width > WIDTH:
                x, y = 0, y + HEIGHT
            yield _panel(panel, number, x, y)
            number, x = number + 1, x + panel.width
        y += HEIGHT


def _panel(panel: Panel, number: int, x: int, y: int) -> dict[str, object]:
    now = panel.kind in ("stat", "table")
    defaults: dict[str, object] = {"unit": panel.unit}
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.stacked else "none", "group": "A"}
        fill = 60 if panel.stacked else 10
        defaults["custom"] = {"lineWidth": 1, "fillOpacity": fill, "showPoints": "never", "stacking": stacking}
    defaults |= {name: value for name, value in (("min", panel.least), ("max", panel.most)) if value is not None}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": {"h": HEIGHT, "w": panel.width, "x": x, "y": y},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": ask.expression, "legendFormat": ask.legend}
            | ({"instant": True, "range": False} | ({"format": "table"} if panel.kind == "table" else {}) if now else {})
            for i, ask in enumerate(panel.asks)
        ],
        **({"transformations": _COLUMNS} if panel.kind == "table" else {}),
    }


_COLUMNS = [{"id": "organize", "options": {"excludeByName": {"Time": True, "Value": True, "__name__": True, "job": True}}}]


def _variable(name: str, label: str, query: str) -> dict[str, object]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def dashboard() -> dict[str, object]:
    """What Grafana imports."""
    return {
        "uid": "lbtop",
        "title": "lbtop",
        "description": "Where TLS ends, what pins clients to targets and why one target is hot, from traffic alone.",
        "tags": ["lbtop", "load balancer"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [
            {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
            _variable("instance", "host", "label_values(lbtop_packets_total, instance)"),
            _variable("service", "service", "label_values(lbtop_termination, service)"),
        ]},
        "panels": list(_panels()),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(dashboard(), indent=1))
