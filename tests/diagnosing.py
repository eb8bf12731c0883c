"""Diagnoses as the JSON object, and what may differ between two that mean the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lbtop.engine import diagnose
from lbtop.faces.json import render
from lbtop.model.observation import Source
from tests.readers import open_decoded

Diagnosis = dict[str, Any]
Opener = Callable[[Path], Source]


def diagnosis_of(path: Path, opener: Opener = open_decoded) -> Diagnosis:
    """What ``lbtop diagnose --json`` prints for a capture, without the names of its inputs."""
    source = opener(path)
    try:
        found: Diagnosis = json.loads(render(diagnose(source)))
    finally:
        source.close()
    del found["source"]["inputs"]
    return found


def unordered(value: Any) -> Any:
    """The same with every list of objects or names in one order, whatever numbers stand in them."""
    if isinstance(value, dict):
        return {key: unordered(member) for key, member in sorted(value.items())}
    if isinstance(value, list):
        return sorted((unordered(member) for member in value), key=lambda member: json.dumps(member, sort_keys=True))
    return value


def lines(found: Diagnosis) -> list[str]:
    """One line per fact: a comparison of these says where two diagnoses part."""
    return list(_lines("", found))


def _lines(path: str, value: Any) -> list[str]:
    if isinstance(value, dict):
        return [line for key, member in value.items() for line in _lines(f"{path}.{key}", member)]
    if isinstance(value, list):
        return [line for at, member in enumerate(value) for line in _lines(f"{path}[{at}]", member)]
    return [f"{path} = {value!r}"]


def parted(one: Diagnosis, other: Diagnosis) -> list[str]:
    """Facts of only one of the two, the first twenty of each."""
    left, right = lines(one), lines(other)
    mine, theirs = set(left), set(right)
    return [f"- {line}" for line in left if line not in theirs][:20] + [f"+ {line}" for line in right if line not in mine][:20]
