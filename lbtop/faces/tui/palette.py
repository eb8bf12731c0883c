"""What colours mean, per theme. Everything coloured also carries a word, a sign or a letter that says the same."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from rich.style import Style

_ANSI = {
    "good": "green",
    "readable": "bold yellow",
    "unknown": "magenta",
    "critical": "bold red",
    "warning": "yellow",
    "info": "cyan",
    "accent": "bold cyan",
    "bar": "blue",
    "hot": "yellow",
    "command": "green",
}
_DARK = {
    "good": "#9ccc65",
    "readable": "bold #e5b567",
    "unknown": "#c39ac9",
    "critical": "bold #ff6b5e",
    "warning": "#e5b567",
    "info": "#6cb6d9",
    "accent": "bold #6cb6d9",
    "bar": "#4f86a8",
    "hot": "#e5b567",
    "command": "#9ccc65",
}
_LIGHT = {
    "good": "#2f6b12",
    "readable": "bold #8a5200",
    "unknown": "#7a2e86",
    "critical": "bold #b0200f",
    "warning": "#8a5200",
    "info": "#00587f",
    "accent": "bold #00587f",
    "bar": "#5b8fae",
    "hot": "#b26a00",
    "command": "#2f6b12",
}
_COLOUR_BLIND = {  # Okabe and Ito: told apart by every kind of colour vision
    "good": "#56b4e9",
    "readable": "bold #e69f00",
    "unknown": "#cc79a7",
    "critical": "bold #f0723a",
    "warning": "#e69f00",
    "info": "#8ecbf0",
    "accent": "bold #f0e442",
    "bar": "#0072b2",
    "hot": "#e69f00",
    "command": "#f0e442",
}
_TARGETS_ANSI = ("cyan", "magenta", "yellow", "green", "blue", "red", "bright_cyan", "bright_magenta")
_TARGETS = ("#56b4e9", "#e69f00", "#3fb68b", "#cc79a7", "#f0e442", "#d55e00", "#8f9bff", "#a6a6a6")
_TARGETS_LIGHT = ("#00679e", "#a05a00", "#00694b", "#96407a", "#6f6500", "#a33c00", "#3c46b0", "#555555")

_roles: Mapping[str, str] = _ANSI
_targets: tuple[str, ...] = _TARGETS_ANSI


def use(theme: str, dark: bool) -> None:
    """Colours for a theme from now on."""
    global _roles, _targets
    if theme.startswith("ansi"):
        _roles, _targets = _ANSI, _TARGETS_ANSI
    elif theme == "lbtop-colour-blind":
        _roles, _targets = _COLOUR_BLIND, _TARGETS
    else:
        _roles, _targets = (_DARK, _TARGETS) if dark else (_LIGHT, _TARGETS_LIGHT)


def style(role: str) -> Style:
    """The style of a role (``good``, ``readable``, ``critical`` …), or of a style in Rich's words (``bold``, ``dim``)."""
    return _parsed(_roles.get(role, role))


def target_style(index: int) -> Style:
    """The colour of a target; its letter tells it apart as well."""
    return _parsed(_targets[index % len(_targets)])


@cache
def _parsed(definition: str) -> Style:
    return Style.parse(definition)
