"""Prints docs/findings.md from the rules themselves: ``make docs``."""

from __future__ import annotations

from inspect import cleandoc

from lbtop.findings import RULES
from lbtop.model.judgement import Severity

HEAD = """\
# Findings

Made from the rules in `lbtop/findings/` by `make docs`; `lbtop explain ID` prints the same. One fact fires one finding, the
most specific one (`lbtop/findings/precedence.py`). Critical and warning raise the exit status of `lbtop diagnose`, info does
not; `--accept ID[@SERVICE]` keeps a known one from doing so.
"""


def page() -> str:
    rules = sorted(RULES.values(), key=lambda rule: (rule.severity.rank, rule.id))
    lines = [HEAD, "| finding | severity | fires when |", "|---|---|---|"]
    lines += [
        f"| [`{rule.id}`](#{rule.id}) | {rule.severity.value} | {rule.summary.replace('|', chr(92) + '|')} |" for rule in rules
    ]
    for severity in Severity:
        for rule in rules:
            if rule.severity is severity:
                lines += ["", f"## {rule.id}", "", f"*{severity.value}*, fires when {rule.summary.rstrip('.')}.", ""]
                lines += [cleandoc(rule.explanation)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
