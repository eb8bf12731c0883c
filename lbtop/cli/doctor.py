"""``lbtop doctor``: what works on this host, and the command that mends what does not."""

from __future__ import annotations

import argparse
import sys

from lbtop.cli import OK
from lbtop.cli.output import COLOR_CHOICES, terminal

SUMMARY = "what works on this host, the command that mends what does not, and the tcpdump line that captures what lbtop needs"
EXAMPLES = ("lbtop doctor", "sudo lbtop doctor", "lbtop doctor --json")

_SNAPLEN = (
    "Whole packets (-s 0) show cookies and headers; -s 256 is enough for TLS handshakes and counts, and the verdict says what "
    "was cut."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--color", choices=COLOR_CHOICES, default="auto", help="colour (default: on a terminal without NO_COLOR)")


def run(options: argparse.Namespace) -> int:
    from lbtop.cli import host

    checks = host.checks()
    command = host.tcpdump_command(host.listeners()[0])
    if options.json:
        from json import dumps

        rows = [
            {"check": c.name, "state": c.state, "detail": c.detail, "needed_for": c.needed_for, "mend": list(c.mend)}
            for c in checks
        ]
        sys.stdout.write(dumps({"schema": "lbtop.doctor/1", "checks": rows, "capture": command}, indent=2) + "\n")
        return OK
    shown = terminal(sys.stdout, options.color)
    marks = {host.WORKS: ("ok", "good"), host.PARTLY: ("partly", "warning"), host.MISSING: ("missing", "critical")}
    lines: list[str] = []
    for check in checks:
        word, style = marks[check.state]
        paragraph = shown.paragraph(check.detail, " " * 24, f"  {word:<8}{check.name:<14}")
        lines.append("  " + shown.paint(word, style) + paragraph[0][2 + len(word) :])
        lines += paragraph[1:]
        if check.mend:
            lines += shown.paragraph(f"needed for {check.needed_for}", " " * 24) if check.needed_for else []
            lines += [" " * 24 + "$ " + line for line in check.mend]
    unavailable = list(dict.fromkeys(c.needed_for for c in checks if c.state == host.MISSING and c.needed_for))
    summary = "Everything lbtop can use is there."
    if any(c.state != host.WORKS for c in checks):
        summary = "Captures can be diagnosed." + (f" Not available: {'; '.join(unavailable)}." if unavailable else "")
    lines = [*(shown.paint(line, "bold") for line in shown.paragraph(summary)), "", *lines, ""]
    lines += shown.paragraph("To capture what lbtop needs, here or on a host without it (stop with Ctrl-C):")
    lines += [f"  $ {command}", "  $ lbtop diagnose 'lb.pcap*'", "", *shown.paragraph(_SNAPLEN)]
    sys.stdout.write(shown.plain("\n".join(lines)) + "\n")
    return OK
