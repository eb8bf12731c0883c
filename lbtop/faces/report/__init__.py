"""The report: one self-contained HTML page for someone who was not there. No script, no network, prints well."""

from __future__ import annotations

from lbtop.faces.report.page import render

__all__ = ["render"]
