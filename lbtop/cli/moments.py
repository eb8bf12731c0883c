"""Points in time as people write them: ``2026-03-01T12:00:05Z``, ``14:05``, ``+30s`` from the start, ``-5m`` from the end."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from enum import Enum

from lbtop.model.errors import LbtopError
from lbtop.model.record import dataclass

_SECOND = 1_000_000_000
_UNITS = {
    "ms": _SECOND // 1000,
    "s": _SECOND,
    "m": 60 * _SECOND,
    "min": 60 * _SECOND,
    "h": 3600 * _SECOND,
    "d": 86400 * _SECOND,
    "": _SECOND,
}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|min|[smhd]|)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")


class Anchor(Enum):
    EPOCH = "epoch"
    START = "start"  # of the capture
    END = "end"
    DAY = "day"  # midnight UTC of the day the capture starts on


@dataclass(frozen=True, slots=True)
class Moment:
    anchor: Anchor
    offset_ns: int

    def at(self, started_ns: int, ended_ns: int) -> int:
        """Nanoseconds since the epoch, given when the capture starts and ends."""
        midnight = started_ns - started_ns % (86400 * _SECOND)
        base = {Anchor.EPOCH: 0, Anchor.START: started_ns, Anchor.END: ended_ns, Anchor.DAY: midnight}
        return base[self.anchor] + self.offset_ns


def duration_ns(text: str) -> int:
    """Nanoseconds for ``90``, ``30s``, ``1h30m``, ``250ms``; a bare number is seconds. Raises LbtopError."""
    if not _DURATION.fullmatch(text):
        raise LbtopError(f"{text!r} is not a duration; write 30s, 5m or 1h30m")
    return sum(round(float(number) * _UNITS[unit]) for number, unit in _PART.findall(text))


def moment(text: str) -> Moment:
    """The point in time that ``text`` names. A time without a zone is UTC, as in everything lbtop prints. Raises LbtopError."""
    if text[:1] in ("+", "-") and _DURATION.fullmatch(text[1:]):
        ns = duration_ns(text[1:])
        return Moment(Anchor.START, ns) if text[0] == "+" else Moment(Anchor.END, -ns)
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2}(\.\d{1,6})?)?", text):
            clock = time.fromisoformat(text.zfill(5) if text.count(":") == 1 else text.rjust(8, "0"))
            return Moment(Anchor.DAY, epoch_ns(datetime.combine(date(1970, 1, 1), clock, UTC)))
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise LbtopError(
            f"{text!r} is not a time; write 2026-03-01T12:00:05Z, 14:05:30, +30s (after the start) or -5m (before the end)"
        ) from None
    return Moment(Anchor.EPOCH, epoch_ns(parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)))


def epoch_ns(instant: datetime) -> int:
    """Exact: a float holds no nanoseconds of this century."""
    since = instant - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86400 + since.seconds) * _SECOND + since.microseconds * 1000
