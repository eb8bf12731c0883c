"""A screen as a small SVG: a text per run of cells that look alike. To be looked at, and to be compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from itertools import groupby

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from lbtop.faces.tui.app import LbtopApp

CELL, LINE = 8, 18


def picture(app: LbtopApp) -> str:
    """The screen of an app. The same cells give the same text."""
    lines = [list(_runs(strip)) for strip in app.screen._compositor.render_strips()]
    fronts = sorted({_front(look) for line in lines for _, _, look in line} - {""})
    names = {front: f"s{number}" for number, front in enumerate(fronts)}
    width, height = CELL * app.size.width, LINE * app.size.height
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="monospace" font-size="13.3" '
        'xml:space="preserve">'
    ]
    out.append("<style>")
    out += [f".{name} {{ {look} }}" for look, name in names.items()]
    out += ["</style>", f'<rect width="{width}" height="{height}" fill="#121417"/>']
    for y, line in enumerate(lines):
        for x, text, look in line:
            out += _drawn(x, y, text, look, names)
    return "\n".join([*out, "</svg>"]) + "\n"


def _runs(strip: Iterable[Segment]) -> Iterator[tuple[int, str, str]]:
    """Column, text and look of every stretch of one line; without those that show nothing."""
    x = 0
    for look, run in groupby(strip, key=lambda segment: _look(segment.style)):
        text = "".join(segment.text for segment in run)
        if text.strip() or "background" in look:
            yield x, text, look
        x += Text(text).cell_len


def _look(style: Style | None) -> str:
    if style is None:
        return ""
    front, back = (style.bgcolor, style.color) if style.reverse else (style.color, style.bgcolor)
    parts = [f"fill: {_hex(front)};" if front else "", "font-weight: bold;" if style.bold else ""]
    parts += ["opacity: .6;" if style.dim else "", "text-decoration: underline;" if style.underline else ""]
    parts.append(f"--background: {_hex(back)};" if back and _hex(back) != "#121417" else "")
    return " ".join(part for part in parts if part)


def _hex(color: Color) -> str:
    return color.get_truecolor().hex


def _front(look: str) -> str:
    return look.partition("--background: ")[0].strip()


def _drawn(x: int, y: int, text: str, look: str, names: dict[str, str]) -> Iterator[str]:
    back = look.partition("--background: ")[2].rstrip(";")
    cells = Text(text).cell_len
    if back:
        yield f'<rect x="{CELL * x}" y="{LINE * y}" width="{CELL * cells}" height="{LINE}" fill="{back}"/>'
    bare = text.rstrip()
    start = len(bare) - len(bare.lstrip())
    if bare.strip():
        at = CELL * (x + start)
        style = f' class="{names[_front(look)]}"' if _front(look) else ""
        length = CELL * Text(bare.strip()).cell_len
        yield f'<text x="{at}" y="{LINE * y + 13}"{style} textLength="{length}">{escape(bare.strip(), quote=False)}</text>'
