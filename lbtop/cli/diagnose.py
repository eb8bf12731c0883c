"""``lbtop diagnose``: verdicts and findings, as text for a person or as JSON for a program."""

from __future__ import annotations

import argparse
import sys

from lbtop.cli import FINDINGS, OK
from lbtop.cli.listening import add_live_options
from lbtop.cli.moments import duration_ns
from lbtop.cli.output import COLOR_CHOICES, Progress, terminal, warn
from lbtop.cli.reading import add_knowledge_options, add_reading_options, engine_options, open_source
from lbtop.model.errors import LbtopError
from lbtop.model.record import replace

SUMMARY = "verdicts and findings from captures: where TLS ends, what pins clients, what crosses in clear"
EXAMPLES = (
    "lbtop diagnose x.pcap",
    "lbtop diagnose 'x.pcap*' --json | jq '.services[].termination.mode'",
    "tcpdump -i any -s 0 -U -w - port 8080 | lbtop diagnose -",
    "lbtop diagnose big.pcap --since 14:05 --until 14:10 --name 10.0.0.11=web1",
    "sudo lbtop diagnose --for 30s -i eth0",
    "lbtop diagnose x.pcap --expect termination=offload,mechanism=lb_cookie",
    "lbtop diagnose x.pcap --accept plaintext-backend-hop@shop.example.com",
)


DEFAULT_FOR = "60s"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_reading_options(parser, files="*")
    add_live_options(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object (docs/json.md) instead of text")
    parser.add_argument("--for", dest="for_", metavar="TIME", help="without FILE: how long to listen (default 60s)")
    parser.add_argument("--evidence", action="store_true", help="all evidence for and against each verdict, with its weight")
    parser.add_argument(
        "--color", choices=COLOR_CHOICES, default="auto", help="colour in the text (default: on a terminal without NO_COLOR)"
    )
    add_knowledge_options(parser)
    gate = parser.add_argument_group("for audits and CI")
    gate.add_argument(
        "--expect",
        metavar="LIST",
        action="append",
        default=[],
        help="exit 1 where the traffic differs: termination=offload,mechanism=lb_cookie[,service=NAME]",
    )
    gate.add_argument(
        "--accept",
        metavar="ID[@SERVICE]",
        action="append",
        default=[],
        help="a known finding, or a file of such lines: listed, but no longer exit 1",
    )


def run(options: argparse.Namespace) -> int:
    if options.files and options.for_:
        raise LbtopError("--for is for listening live; a capture is cut with --since and --until")
    for_ns = duration_ns(options.for_ or DEFAULT_FOR)
    from lbtop.cli import judge

    expectations = [judge.expectation(text) for text in options.expect]
    known = engine_options(options)
    # A capture is decoded from here on, while what judges it is still being loaded.
    source = open_source(options, for_s=for_ns / 1e9, ahead=True)
    progress = Progress()
    try:
        from lbtop.engine import diagnose
        from lbtop.findings import RULES, accept

        if options.json:
            from lbtop.faces import json
        else:
            from lbtop.faces import text

        accepted = judge.acceptances(options.accept, RULES)
        if not options.files:
            warn(f"listening for {options.for_ or DEFAULT_FOR} (Ctrl-C: the verdict on what was seen so far)")
        snapshot = diagnose(source, known, progress=progress)
    finally:
        progress.done()
        source.close()
    snapshot = replace(snapshot, findings=accept(snapshot.findings, accepted))
    if options.json:
        sys.stdout.write(json.render(snapshot))
    else:
        sys.stdout.write(text.render(snapshot, terminal(sys.stdout, options.color), all_evidence=options.evidence))
    sys.stdout.flush()
    misses = [miss for expected in expectations for miss in expected.misses(snapshot)]
    for miss in misses:
        warn(miss)
    return FINDINGS if misses or judge.raises_status(snapshot) else OK
