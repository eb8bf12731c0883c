"""Where the files that are not code lie: catalogue tables, the C sources of the probes, the bundled captures.

lbtop runs installed (``lbtop.probes`` inside the package) and from a checkout (``probes/`` and ``captures/`` beside it).
Whoever needs such a file asks here.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
DEMO = "offload-target-removed-lost-targets.pcap.gz"


def package_file(*parts: str) -> Path:
    """A file inside the package, such as ``package_file("catalog", "cookies.tsv")``."""
    return PACKAGE.joinpath(*parts)


def probe_file(*parts: str) -> Path:
    """A file of the probes, such as ``probe_file("ebpf", "filter.c")``. Raises FileNotFoundError."""
    spec = importlib.util.find_spec("lbtop.probes")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    for folder in [*folders, str(PACKAGE.parent / "probes")]:
        path = Path(folder, *parts)
        if path.exists():
            return path
    raise FileNotFoundError("/".join(("probes", *parts)))


def captures() -> Path | None:
    """The folder of bundled captures; None where lbtop was installed without its checkout."""
    folder = PACKAGE.parent / "captures"
    return folder if folder.is_dir() else None
