"""Observations leave as rows, in order, with nothing in them that identifies a person or a secret."""

from __future__ import annotations

from lbtop.faces.observe import COLUMNS, KINDS, NUMBER, SECONDS, TEXT, TEXTS, Values, columns_of, rows
from lbtop.model.observation import TABLES
from lbtop.testing import Traffic
