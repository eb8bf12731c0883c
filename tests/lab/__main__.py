"""``python -m tests.lab``: record the captures again, or the large ones for the benchmark. Needs root and the balancers."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from tests.lab import scenario, table

CAPTURES = Path(__file__).resolve().parents[2] / "captures"


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0, or 1 when a scenario failed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab", description=__doc__, epilog="example: python -m tests.lab --only alb-offload"
    )
    parser.add_argument("--list", action="store_true", help="list scenarios and their captures")
    parser.add_argument("--only", action="append", metavar="NAME", help="this scenario only (may be repeated)")
    parser.add_argument("--out", type=Path, default=CAPTURES, help="where captures go (default: captures/)")
    parser.add_argument("--large", type=Path, metavar="DIR", help="also record the captures that are not committed, into DIR")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep configurations, logs and raw recordings")
    parser.add_argument("--bench", type=Path, metavar="DIR", help="record the two benchmark captures into DIR")
    parser.add_argument("--requests", type=int, default=69000, help="requests in each benchmark capture")
    parser.add_argument("--table", action="store_true", help="write the table of captures/README.md again")
    parser.add_argument("--truth", action="store_true", help="write what scenarios say into the truth files again; counts stay")
    options = parser.parse_args(arguments)
    if options.truth:
        scenario.refresh(options.out)
        options.table = options.out == CAPTURES
    if options.table:
        table.rewrite(CAPTURES / "README.md")
    if options.table or options.truth:
        return 0
    # Ended from outside, the lab still clears up after itself.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.bench:
        from tests.lab import bench

        bench.record(options.bench, options.requests)
        return 0
    known = scenario.load_all()
    if options.list:
        for name, spec in sorted(known.items()):
            print(f"{name}: {spec.title}")
            for output in spec.outputs:
                print(f"    {output.file} ({output.vantage}){'' if output.committed else ', not committed'}")
        return 0
    failed = []
    for name in options.only or sorted(known):
        if name not in known:
            parser.error(f"no scenario {name!r}; --list shows them")
        started = time.monotonic()
        print(f"{name}: {known[name].title}", flush=True)
        try:
            scenario.run(known[name], options.out, large=options.large, keep=options.keep)
        except Exception as problem:  # one scenario must not keep the others from being recorded
            failed.append(name)
            print(f"  failed: {type(problem).__name__}: {problem}", file=sys.stderr)
        print(f"  {time.monotonic() - started:.1f} s", flush=True)
    if options.out == CAPTURES:
        table.rewrite(CAPTURES / "README.md")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
