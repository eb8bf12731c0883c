"""Themes: dark, light, safe for colour-blind eyes (blue and orange instead of green and red), and the terminal's own colours."""

from __future__ import annotations

from collections.abc import Mapping

from textual.theme import Theme

DARK = Theme(
    name="lbtop-dark",
    primary="#5fafd7",
    secondary="#87afaf",
    accent="#d7af5f",
    foreground="#d7d7d7",
    background="#121417",
    surface="#16191d",
    panel="#1f242a",
    success="#87af5f",
    warning="#d7af5f",
    error="#e06c60",
    dark=True,
)
LIGHT = Theme(
    name="lbtop-light",
    primary="#005f87",
    secondary="#456",
    accent="#875f00",
    foreground="#1c1c1c",
    background="#fbfaf7",
    surface="#f4f2ec",
    panel="#e6e3da",
    success="#3d6b1f",
    warning="#8a5a00",
    error="#b0281a",
    dark=False,
)
COLOUR_BLIND = Theme(
    name="lbtop-colour-blind",
    primary="#56b4e9",
    secondary="#999999",
    accent="#f0e442",
    foreground="#e6e6e6",
    background="#101216",
    surface="#14171c",
    panel="#1e232b",
    success="#56b4e9",
    warning="#e69f00",
    error="#d55e00",
    dark=True,
)
THEMES = (DARK, LIGHT, COLOUR_BLIND)


def default_theme(environment: Mapping[str, str]) -> str:
    """The theme to start with: the terminal's own colours where only 16 are there or NO_COLOR asks for none."""
    depth = environment.get("COLORTERM", "")
    term = environment.get("TERM", "")
    if environment.get("NO_COLOR") or (depth not in ("truecolor", "24bit") and "256" not in term):
        return "ansi-dark"
    return DARK.name
