"""Nanoseconds since the epoch as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_NS = 253_402_300_799_999_999_999  # the end of the year 9999: hostile captures claim later ones


def iso_utc(ns: int) -> str:
    """ISO 8601 in UTC with microseconds (cut, not rounded): ``2026-03-01T12:00:05.000123Z``."""
    return _instant(ns).isoformat(timespec="microseconds")[:-6] + "Z"


def clock_utc(ns: int) -> str:
    """Time of day in UTC with seconds: ``12:00:05``."""
    return _instant(ns).strftime("%H:%M:%S")


def date_utc(ns: int) -> str:
    return _instant(ns).strftime("%Y-%m-%d")


def _instant(ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=min(max(int(ns), 0), _LAST_NS) // 1000)
