"""Runs the fuzz targets one after the other: ``python -m tests.fuzz [--seconds 600] [--only NAME]…``

Needs clang and the packages of the dependency group ``fuzz``. The decoder is compiled a second time, with sanitizers, below
build/fuzz; corpora grow there from run to run. What makes a target fail is put beside this file, in crashes/, and is from then
on part of ``make test``.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "fuzz"
CRASHES = Path(__file__).resolve().parent / "crashes"
SANITIZERS = (
    "-O1 -gline-tables-only -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link "
    # Fields are read where they lie: on the machines that this builds for, an unaligned read is an ordinary one.
    "-fno-sanitize=alignment,function -fno-sanitize-recover=undefined -Wno-everything"
)
LARGEST_CRASH = 1 << 16
LENGTHS = {"pcap": 20_000, "pcapng": 20_000, "recording": 20_000}
"""Bytes of an input; 6,000 for the others."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of one target came to. ``coverage``: edges of the compiled and instrumented code that were reached."""

    target: str
    runs: int
    minutes: float
    coverage: int
    corpus: int
    crashes: tuple[Path, ...]


def main() -> int:
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=600, help="for each target (600)")
    parser.add_argument("--only", action="append", choices=list(TARGETS), default=[], help="this target (repeatable)")
    parser.add_argument("--corpus", type=Path, default=BUILD / "corpus", help="where corpora are kept")
    parser.add_argument("--nobuild", action="store_true", help="take the decoder that was compiled before")
    options = parser.parse_args()
    runtime = preload()
    if not options.nobuild:
        build()
    outcomes = []
    print(f"{'target':<12}{'runs':>10}{'minutes':>9}{'coverage':>10}{'corpus':>8}  findings", flush=True)
    for target in options.only or TARGETS:
        outcome = fuzz(target, options.corpus / target, options.seconds, runtime)
        outcomes.append(outcome)
        found = ", ".join(str(path.relative_to(ROOT)) for path in outcome.crashes) or "none"
        figures = f"{outcome.runs:>10,}{outcome.minutes:>9.1f}{outcome.coverage:>10,}{outcome.corpus:>8,}"
        print(f"{target:<12}{figures}  {found}", flush=True)
    print(summary(outcomes))
    return 1 if any(outcome.crashes for outcome in outcomes) else 0


def summary(outcomes: list[Outcome]) -> str:
    """All runs as the table of docs/safety.md, with the commit that was fuzzed."""
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    lines = [
        f"\n{commit.stdout.strip() or 'no commit'}",
        "| target | inputs | minutes | edges reached | found |",
        "|---|---|---|---|---|",
    ]
    for one in outcomes:
        found = ", ".join(path.name for path in one.crashes) or "nothing"
        lines.append(f"| `{one.target}` | {one.runs:,} | {one.minutes:.1f} | {one.coverage:,} | {found} |")
    runs, minutes = sum(one.runs for one in outcomes), sum(one.minutes for one in outcomes)
    crashes = sum(len(one.crashes) for one in outcomes)
    return "\n".join([*lines, f"| all | {runs:,} | {minutes:.1f} | | {crashes or 'nothing'} |"])


def preload() -> Path:
    """The library with libFuzzer and the sanitizers' run time that atheris brings."""
    found = importlib.util.find_spec("atheris")
    if found is None or found.origin is None:
        raise SystemExit("fuzzing needs atheris: pip install --group fuzz")
    if shutil.which("clang") is None:
        raise SystemExit("fuzzing needs clang (Debian: apt-get install clang)")
    return Path(found.origin).parents[1] / "asan_with_fuzzer.so"


def build() -> None:
    """The whole package with an instrumented decoder, below build/fuzz."""
    command = ["setup.py", "-q", "build", "--build-lib", str(BUILD / "lib"), "--build-temp", str(BUILD / "temp")]
    environment = os.environ | {"CC": "clang", "LBTOP_COMPILE": SANITIZERS}
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr.decode(errors="replace")[-4000:])


def fuzz(target: str, corpus: Path, seconds: int, runtime: Path) -> Outcome:
    from tests.fuzz.seeds import dictionary, seeds

    corpus.mkdir(parents=True, exist_ok=True)
    for data in seeds(target):
        (corpus / hashlib.sha256(data).hexdigest()).write_bytes(data)
    arguments = [
        str(corpus), f"-max_total_time={seconds}", f"-max_len={LENGTHS.get(target, 6000)}", f"-artifact_prefix={corpus}.",
        "-print_final_stats=1", "-rss_limit_mb=3000", "-timeout=20", "-report_slow_units=20",
    ]  # fmt: skip
    words = dictionary(target)
    if words:
        path = corpus.with_suffix(".dict")
        path.write_text(words)
        arguments.append(f"-dict={path}")
    environment = os.environ | {
        "LD_PRELOAD": str(runtime),
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    child = [sys.executable, str(Path(__file__).with_name("child.py")), str(BUILD / "lib"), target, *arguments]
    log = corpus.with_suffix(".log")
    before = set(corpus.parent.glob(f"{corpus.name}.*-*"))
    with log.open("wb") as output:
        ended = subprocess.run(child, env=environment, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
    said = log.read_text(errors="replace")
    crashes = tuple(keep(target, path) for path in sorted(set(corpus.parent.glob(f"{corpus.name}.*-*")) - before))
    if ended and not crashes:
        raise SystemExit(f"{target} did not run:\n{said[-3000:]}")
    took = re.findall(r"Done \d+ runs in (\d+) second", said)
    return Outcome(
        target, _last(said, r"stat::number_of_executed_units: (\d+)"), int(took[-1]) / 60 if took else 0.0,
        _last(said, r"cov: (\d+)"), _last(said, r"corp: (\d+)/"), crashes,
    )  # fmt: skip


def keep(target: str, crash: Path) -> Path:
    """Puts what failed where the tests replay it, unless it is too large to be committed."""
    if crash.stat().st_size > LARGEST_CRASH:
        return crash
    CRASHES.mkdir(exist_ok=True)
    kept = CRASHES / f"{target}-{hashlib.sha256(crash.read_bytes()).hexdigest()[:12]}"
    shutil.move(crash, kept)
    return kept


def _last(said: str, pattern: str) -> int:
    found = re.findall(pattern, said)
    return int(found[-1]) if found else 0


if __name__ == "__main__":
    sys.exit(main())
