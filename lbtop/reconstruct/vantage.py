"""Where the capture was taken."""

from __future__ import annotations

from lbtop.model.judgement import Evidence
from lbtop.reconstruct.census import Census
from lbtop.reconstruct.pairing import Links
from lbtop.reconstruct.roles import Overrides, Roles


def vantage_of(census: Census, roles: Roles, links: Links, overrides: Overrides) -> tuple[str, list[Evidence]]:
    """``target``, ``load_balancer``, ``mirror``, ``client`` or ``unknown``, with what it rests on."""
    if overrides.vantage:
        return overrides.vantage, [Evidence("told", "operator", f"the operator says so: {overrides.vantage}")]
    return "unknown", []
