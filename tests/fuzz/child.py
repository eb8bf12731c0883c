"""The process in which one target is fuzzed: atheris' libFuzzer, the decoder compiled with sanitizers.

Started by ``python -m tests.fuzz``. Arguments: folder of the sanitized build, target, then libFuzzer's own.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    build, name = sys.argv[1:3]
    sys.path[:0] = [build, str(Path(__file__).resolve().parents[2])]
    import atheris

    # Plain Python modules that parse what comes from outside are instrumented on import; compiled ones are already.
    with atheris.instrument_imports(include=["lbtop.probes.files", "lbtop.probes.wire", "lbtop.recording"]):
        from tests.fuzz import targets
    if not str(sys.modules["lbtop.probes.wire.decoder"].__file__).startswith(build):
        raise SystemExit("the decoder at hand is not the one that was compiled for fuzzing")
    atheris.Setup([sys.argv[0], *sys.argv[3:]], targets.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
