"""``lbtop explain``: what a finding or a termination mode means, how it is inferred, confirmed and mended."""

from __future__ import annotations

import argparse
import sys

from lbtop.cli import OK
from lbtop.cli.output import COLOR_CHOICES, terminal
from lbtop.model.errors import LbtopError
from lbtop.model.judgement import UNKNOWN, Mode
from lbtop.model.text import safe_text

SUMMARY = "what a finding or a termination mode means, how to confirm it, how to mend it"
EXAMPLES = ("lbtop explain offload", "lbtop explain credentials-in-plaintext", "lbtop explain")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic", nargs="?", metavar="ID|MODE", help="a finding or a mode; without one, all there are")
    parser.add_argument("--color", choices=COLOR_CHOICES, default="auto", help="colour (default: on a terminal without NO_COLOR)")


def run(options: argparse.Namespace) -> int:
    from lbtop.catalog import products
    from lbtop.faces import explain
    from lbtop.findings import RULES

    shown = terminal(sys.stdout, options.color)
    topic = (options.topic or "").lower().replace("-", "_")
    if not topic:
        rules = sorted(RULES.values(), key=lambda rule: (rule.severity.rank, rule.id))
        text = explain.overview([(rule.id, rule.severity.value, rule.summary) for rule in rules], shown)
    elif topic == UNKNOWN:
        text = explain.unknown_page(shown)
    elif topic in [mode.value for mode in Mode]:
        settings = [(product.label, product.tls_to_target) for product in products().values() if product.role == "load_balancer"]
        text = explain.mode_page(Mode(topic), settings, shown)
    elif (rule := RULES.get(options.topic.lower())) is not None:
        text = explain.finding_page(rule.id, rule.severity.value, rule.summary, rule.explanation, shown)
    else:
        close = _close(options.topic.lower(), [*RULES, *(mode.value for mode in Mode)])
        raise LbtopError(f"nothing is called {safe_text(options.topic)!r}{close}; lbtop explain lists everything")
    sys.stdout.write(text)
    return OK


def _close(word: str, words: list[str]) -> str:
    import difflib

    close = difflib.get_close_matches(word, words, 1)
    return f", did you mean {close[0]!r}?" if close else ""
