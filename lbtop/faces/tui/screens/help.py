"""The help: what one sees here, every key, the signs and the filter language."""

from __future__ import annotations

from rich.text import Text

from lbtop.faces.tui import draw
from lbtop.faces.tui.filtering import FIELDS
from lbtop.faces.tui.screens.base import FrameScreen
from lbtop.faces.tui.screens.boxes import Box

KEYS = (
    ("moving", (
        ("↑ ↓  page up, down", "choose a row; also j k and the mouse"),
        ("Enter, click again", "open what is under the cursor"),
        ("Esc, a breadcrumb", "back"),
        ("Tab", "next table, or the timeline"),
        ("1 … 8", "parts of a service"),
        ("e", "evidence: for, against, what would settle it"),
    )),
    ("time", (
        ("space", "live: hold the screen; a capture: play, hold"),
        ("← →  (shift: ten)", "one frame earlier, later; in the timeline one column"),
        ("click the timeline", "the whole screen at that moment"),
        ("t", "go to a time: 14:05:30, +30s after the start, -2m before the end"),
        ("< >", "play slower, faster"),
        ("n N", "next, previous finding"),
        ("End", "back to now, or to the end of the capture"),
    )),
    ("tables", (
        ("/", "filter rows; Esc in the line clears"),
        ("s S, click a title", "sort by the next column, reverse"),
        ("C", "choose columns"),
        ("F", "follow this row: it stays under the cursor"),
        ("c", "copy the row, the evidence or the command (OSC 52)"),
        ("E", "export: JSON, CSV, SVG"),
        ("+ -", "what-if: more, fewer targets"),
    )),
    ("lbtop", (("ctrl+p", "all commands, themes"), ("?", "this help"), ("q", "quit"))),
)  # fmt: skip


class HelpScreen(Box):
    title_text = "help"

    def __init__(self, screen: FrameScreen) -> None:
        super().__init__()
        self.about = screen.about

    def text(self) -> Text:
        text = Text()
        if self.about:
            text.append(f"{self.about}\n\n")
        for title, keys in KEYS:
            text.append(f"{title}\n", draw.style("bold"))
            for key, does in keys:
                text.append_text(draw.hanging(Text(f"  {key:<20} ", draw.style("accent")), Text(does), self.width))
        text.append("\nsigns\n", draw.style("bold"))
        text.append("  ══ encrypted   ── readable   ┄┄ not known   (…) inferred, not in view   ┊ here protection ends\n")
        text.append("  !! critical   ! warning   i info      timeline: ! critical  ▲ warning  i info  x sessions moved\n")
        text.append("\nfilter\n", draw.style("bold"))
        for name, takes in FIELDS.items():
            text.append_text(draw.hanging(Text(f"  {name + ':':<13} ", draw.style("accent")), Text(takes), self.width))
        text.append("  terms must all hold; -field:value excludes; commas mean or; a bare word may stand anywhere\n")
        return text
