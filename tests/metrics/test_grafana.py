"""The Grafana dashboard asks for what is exported, and for nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.grafana import dashboard
from tests.cli import frames
from tests.metrics.test_metrics import exposed

FILE = Path(__file__).parents[2] / "packaging" / "grafana" / "lbtop.json"
OF_PROMETHEUS = {"instance", "job"}
"""Labels that the scrape adds."""


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """Metric to its labels, over all made-up frames."""
    found: dict[str, set[str]] = {}
    for frame in (frames.busy(), frames.unknown(), frames.snapshot(frames.service(), dropped_packets=3)):
        for name, samples in exposed(frame).items():
            found.setdefault(name, set()).update(*(labels for labels, _ in samples))
    return found


def asked() -> Iterator[tuple[str, str]]:
    for panel in json.loads(FILE.read_text("utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"], target["legendFormat"]


def test_the_file_is_up_to_date() -> None:
    assert json.loads(FILE.read_text("utf-8")) == json.loads(json.dumps(dashboard())), "make docs"


@pytest.mark.parametrize(("expression", "legend"), list(asked()))
def test_every_metric_and_label_is_exported(expression: str, legend: str, exported: dict[str, set[str]]) -> None:
    metrics = re.findall(r"\blbtop_\w+", expression)
    assert metrics
    for name in metrics:
        assert name in exported, name
        assert ("_total" in name) == bool(re.search(rf"rate\({name}\b", expression)), "counters, and they alone, have a rate"
    known = set.union(*(exported[name] for name in metrics)) | OF_PROMETHEUS
    matched = {label for inside in re.findall(r"\{([^}]*)\}", expression) for label in re.findall(r"(\w+)\s*=~?", inside)}
    kept = [set(inside.replace(" ", "").split(",")) for inside in re.findall(r"by \(([^)]*)\)", expression)]
    told = set(re.findall(r"\{\{(\w+)\}\}", legend))
    assert matched <= known and all(labels <= known for labels in kept)
    assert told <= (set.union(*kept) if kept else known), "what a sum leaves out has no name in a legend"


def test_variables_and_places() -> None:
    said: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    names = {variable["name"] for variable in said["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)\}?", json.dumps(said["panels"]))) - {"__rate_interval"}
    assert used <= names
    taken: set[tuple[int, int]] = set()
    for panel in said["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in said["panels"]}) == len(said["panels"])
