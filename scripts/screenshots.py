"""``make screenshots``: real screens of the dashboard over a bundled capture as PNG, into docs/images.

Textual draws itself as SVG; rsvg-convert makes pictures of it. Without rsvg-convert the SVG files are left.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

from lbtop.probes.files import open_capture

from lbtop.catalog.recognition import recognition
from lbtop.cli.asking import reading_tools
from lbtop.engine import Options, frames
from lbtop.faces.tui.app import LbtopApp
from lbtop.faces.tui.feed import ThreadFeed

ROOT = Path(__file__).parents[1]
SHOP = "captures/offload-target-removed-lost-targets.pcap.gz"
TLS = "captures/passthrough-*-targets.pcap*"
SIZE = (120, 36)
CELL = 12.2  # width of a character in the SVG
WIDTH = 1400

SCREENS: dict[str, tuple[str, tuple[str, ...]]] = {
    "overview": (SHOP, ()),
    "earlier": (SHOP, ("N", "N")),
    "targets": (SHOP, ("enter",)),
    "sessions": (SHOP, ("enter", "2", "s", "s", "s")),
    "connection": (SHOP, ("enter", "2", "enter", "enter")),
    "observations": (SHOP, ("enter", "2", "enter", "enter", "enter")),
    "affinity": (SHOP, ("enter", "4")),
    "exposure": (SHOP, ("enter", "5")),
    "handshakes": (TLS, ("enter", "6")),
    "whatif": (SHOP, ("enter", "8")),
    "evidence": (SHOP, ("e",)),
    "finding": (SHOP, ("tab", "enter")),
    "filter": (SHOP, ("enter", "slash", *"state:gone,draining")),
    "help": (SHOP, ("question_mark",)),
}


async def picture(capture: Path, keys: tuple[str, ...]) -> str:
    """The screen after these keys, as SVG."""
    source = open_capture([str(capture.relative_to(ROOT))], rows=32, recognition=recognition())
    nothing = {"since": None, "until": None, "vantage": None, "target": [], "lb": [], "name": [], "hosts": [], "follow": False}
    tools = reading_tools(Namespace(**nothing, files=[str(capture)]))
    feed = ThreadFeed(lambda: frames(source, 80, Options(detail=True)), capture.name)
    app = LbtopApp(feed, theme="lbtop-dark", tools=tools)
    async with app.run_test(size=SIZE) as pilot:
        while not app.ended:
            await pilot.pause(0.05)
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        await app.workers.wait_for_complete()
        await pilot.pause(0.3)
        return app.export_screenshot(title=f"lbtop replay {capture.name}")


def spaced(svg: str) -> str:
    """rsvg leaves out spaces at the start of a text: the text begins later instead. And a font that is there."""

    def shifted(match: re.Match[str]) -> str:
        attributes, body = match[1], match[2]
        text = re.sub(r"^(?:&#160;)+", "", body)
        by = CELL * (len(body) - len(text)) / len("&#160;")
        attributes = re.sub(r' x="([\d.]+)"', lambda m: f' x="{float(m[1]) + by:g}"', attributes, count=1)
        return f"<text{attributes}>{text}</text>"

    return re.sub(r'<text((?: [\w-]+="[^"]*")+)>([^<]*)</text>', shifted, svg).replace("Fira Code", "DejaVu Sans Mono")


def main(names: list[str]) -> int:
    folder = ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    convert = shutil.which("rsvg-convert")
    for name in names or SCREENS:
        pattern, keys = SCREENS[name]
        svg = folder / f"{name}.svg"
        svg.write_text(spaced(asyncio.run(picture(min(ROOT.glob(pattern)), keys))), encoding="utf-8")
        if convert:
            subprocess.run([convert, "-w", str(WIDTH), str(svg), "-o", str(svg.with_suffix(".png"))], check=True)
            svg.unlink()
            if shutil.which("convert"):  # few colours are in it: a palette makes it a fifth of the size
                png = str(svg.with_suffix(".png"))
                subprocess.run(["convert", png, "+dither", "-colors", "64", f"PNG8:{png}"], check=True)
        print(svg.with_suffix(".png" if convert else ".svg").relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
