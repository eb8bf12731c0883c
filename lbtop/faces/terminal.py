"""A plain terminal: colours that are never the only carrier, glyphs that its encoding has, lines that fit."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lbtop.model.record import dataclass

_CODES = {
    "bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35", "cyan": "36",
    "critical": "1;31", "warning": "33", "info": "36", "good": "32", "head": "1",
}  # fmt: skip
_SPACE = re.compile(r"\s+(?!%)")  # a figure stays with its percent sign
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Terminal:
    """What may be drawn: ``width`` columns, with or without colour, with or without box-drawing characters."""

    width: int = 80
    color: bool = False
    unicode: bool = True

    def paint(self, text: str, style: str) -> str:
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.color and text else text

    def glyph(self, char: str) -> str:
        return char if self.unicode else _ASCII.get(char, char)

    def plain(self, text: str) -> str:
        """``text`` in characters this terminal has."""
        return text if self.unicode else "".join(_ASCII.get(c, c if c.isascii() else "?") for c in text)

    def paragraph(self, text: str, indent: str = "", first: str | None = None) -> list[str]:
        """``text`` wrapped to the width. Long words (addresses, names) are broken only where they would not fit a line."""
        room = max(self.width - len(indent), 10)
        lines, line, used = [], indent if first is None else first, 0
        for word in _SPACE.split(text.strip()):
            wide = visible(word)
            if used and used + 1 + wide > room:
                lines.append(line)
                line, used = indent, 0
            while wide > room:
                head = _fitting(word, room)
                lines.append(line + head)
                line, word = indent, word[len(head) :]
                wide = visible(word)
            line += (" " if used else "") + word
            used += (1 if used else 0) + wide
        return [*lines, line]

    def bar(self, share: float, scale: float, mark: float | None, width: int) -> str:
        """``share`` as a bar on a scale that ends at ``scale``, with the position of ``mark`` shown in or after it."""
        eighths = round(min(share / scale, 1.0) * width * 8) if scale > 0 else 0
        if self.unicode:
            full, rest = divmod(eighths, 8)
            cells = list("█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else ""))
        else:
            cells = list("#" * round(eighths / 8))
        cells += [" "] * (width - len(cells))
        if mark is not None and scale > 0:
            at = min(int(mark / scale * width), width - 1)
            cells[at] = self.glyph("┃" if cells[at] == " " else "╋")
        return "".join(cells)


_ASCII = {
    "═": "=", "─": "-", "━": "=", "┃": "|", "╋": "+", "┊": ":", "│": "|", "→": ">", "▶": ">", "·": "-", "•": "*", "…": "...",
    "–": "-", "█": "#", "×": "x", "±": "+/-", "≥": ">=", "≤": "<=", "’": "'", "┄": ".",
}  # fmt: skip


def visible(text: str) -> int:
    """Columns ``text`` takes, colour codes left out; characters of East Asian width take two, combining ones none."""
    bare = _ESCAPE.sub("", text)
    if bare.isascii():
        return len(bare)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 1 + (east_asian_width(char) in "WF") for char in bare)


def _fitting(word: str, room: int) -> str:
    """The longest beginning of ``word`` that fits ``room`` columns; at least one character."""
    if word.isascii():
        return word[:room]
    end = 1
    while end < len(word) and visible(word[: end + 1]) <= room:
        end += 1
    return word[:end]


def cut(text: str, width: int) -> str:
    """``text`` in at most ``width`` columns, its middle left out: names differ at both ends."""
    if visible(text) <= width:
        return text
    if visible(text) != len(text):  # wide characters: keep the beginning, one column of doubt each
        while visible(text) >= width:
            text = text[:-1]
        return text + "…"
    if width < 3:
        return text[:width]
    head = (width - 1) // 2
    return text[:head] + "…" + text[len(text) - (width - 1 - head) :]


def columns(rows: Iterable[tuple[str, ...]], right: frozenset[int], gap: str = "  ") -> list[str]:
    """Rows of cells as aligned lines; columns in ``right`` are aligned to the right."""
    table = list(rows)
    widths = [max(visible(row[i]) for row in table) for i in range(len(table[0]))]
    lines = []
    for row in table:
        cells = []
        for i, cell in enumerate(row):
            pad = " " * (widths[i] - visible(cell))
            cells.append(pad + cell if i in right else cell + pad)
        lines.append(gap.join(cells).rstrip())
    return lines
