"""Figures as people read them: the same units and the same rounding in findings, evidence and faces."""

from __future__ import annotations


def plural(count: int, word: str, words: str | None = None) -> str:
    return f"{count:,} {word if count == 1 else words or word + 's'}"


def percent(share: float) -> str:
    """``38 %``; one decimal below ten, where it matters; never "0 %" for something or "100 %" for not everything."""
    hundredths = share * 100
    if 0 < hundredths < 0.05:
        return "<0.1 %"
    if 99.95 <= hundredths < 100:
        return ">99.9 %"
    return f"{hundredths:.1f} %" if 0 < hundredths < 10 or 99 < hundredths < 100 else f"{hundredths:.0f} %"


def size(count: int) -> str:
    """Bytes in units of 1000."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def length(seconds: float) -> str:
    """A duration with two units at most."""
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms" if seconds < 0.00995 else f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    for big, small, factor in (("d", "h", 86400), ("h", "min", 3600), ("min", "s", 60)):
        if whole >= factor:
            below = whole % factor // {86400: 3600, 3600: 60, 60: 1}[factor]
            return f"{whole // factor} {big}" + (f" {below} {small}" if below else "")
    return f"{whole} s"


def article_or(names: list[str]) -> str:
    """``a``, ``a or b``, ``a, b or c``."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]


def confidence(probability: float) -> str:
    """``97 %``, never more than ``>99 %``: what was inferred is not measured to the tenth."""
    return ">99 %" if probability > 0.99 else f"{int(probability * 100 + 1e-9)} %"
