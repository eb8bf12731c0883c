"""A scenario of the lab with one of its recorders replaced by what is to be tried beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.lab import scenario
from tests.lab.net import Net
from tests.lab.net_base import Namespace
from tests.lab.record import Recorder

R = TypeVar("R", bound=Recorder)


def played(
    name: str, place: str, make: Callable[..., R], folder: Path, monkeypatch: pytest.MonkeyPatch, *, vantage: str | None = None
) -> R:
    """Plays a scenario, its captures in ``folder``, and returns what ``make`` made for the recorder that writes ``place``.pcap.

    ``make`` takes what Recorder takes. ``vantage``: where the scenario is recorded, instead of where it says.
    """
    found: list[R] = []

    def recorder(ns: Namespace, interface: str, path: Path, **settings: Any) -> Recorder:
        if path.stem != place:
            return Recorder(ns, interface, path, **settings)
        found.append(make(ns, interface, path, **settings))
        return found[0]

    monkeypatch.setattr(scenario, "Recorder", recorder)
    spec = scenario.load_all()[name]
    if vantage is not None:
        spec = dataclasses.replace(spec, outputs=[dataclasses.replace(spec.outputs[0], vantage=vantage)])
    folder.chmod(0o755)
    with Net(**spec.net) as net:
        run = scenario.Run(spec, net, folder)
        try:
            spec.work(run)
            run.finish()
        except BaseException:
            run.abandon()
            raise
    return found[0]
