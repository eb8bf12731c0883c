"""Settings that outlive a run: theme and hidden columns, in the XDG configuration folder (``lbtop/settings.toml``)."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Settings:
    theme: str | None = None
    hidden: dict[str, list[str]] = field(default_factory=dict)  # table → columns


def path(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the settings are kept. Under sudo that is root's own folder, never the caller's."""
    base = environment.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return Path(base) / "lbtop" / "settings.toml"


def load(file: Path) -> Settings:
    """Settings from a file; defaults where it is missing, unreadable or damaged."""
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Settings()
    theme = raw.get("theme")
    hidden = raw.get("hidden")
    return Settings(
        theme if isinstance(theme, str) else None,
        {str(table): [str(name) for name in names] for table, names in hidden.items() if isinstance(names, list)}
        if isinstance(hidden, dict)
        else {},
    )


def save(file: Path, settings: Settings) -> None:
    """Writes the settings, whole or not at all. Raises OSError."""
    lines = ["# written by lbtop's dashboard"]
    if settings.theme:
        lines.append(f"theme = {json.dumps(settings.theme)}")
    lines.append("\n[hidden]")
    lines += [f"{json.dumps(table)} = {json.dumps(sorted(names))}" for table, names in sorted(settings.hidden.items()) if names]
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
    fresh.replace(file)
