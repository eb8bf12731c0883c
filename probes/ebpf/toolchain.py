"""The distribution's bcc, found where it is and used without kernel headers.

The bindings come with the distribution (python3-bpfcc, python3-bcc) and lie in its dist-packages, outside a virtual environment.
The package called bcc on PyPI is an unrelated library about crystal lattices: one without ``BPF`` counts as absent.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

HEADERS = Path(__file__).parent / "headers"
_INSTALL = "Debian, Ubuntu: apt-get install python3-bpfcc · Fedora, Amazon Linux: dnf install python3-bcc"


class Unavailable(Exception):
    """Why eBPF cannot be used here, as the end of a sentence, with what would mend it."""


def kernel_version(release: str | None = None) -> tuple[int, int]:
    """Major and minor number of a release such as ``6.1.0-18-amd64`` (this host's where none is given), else (0, 0)."""
    numbers = (platform.release() if release is None else release).split("-")[0].split(".")
    try:
        return int(numbers[0]), int(numbers[1])
    except (ValueError, IndexError):
        return 0, 0


def find_bcc() -> Path:
    """The folder from which bcc can be imported. Raises Unavailable."""
    unrelated = False
    for folder in _folders():
        package = folder / "bcc" / "__init__.py"
        if package.is_file():
            if (folder / "bcc" / "libbcc.py").is_file():
                return folder
            unrelated = True
    if unrelated:
        raise Unavailable(f"the bcc that is installed is the unrelated package of PyPI (pip uninstall bcc); {_INSTALL}")
    raise Unavailable(f"bcc is not installed; {_INSTALL}")


def _folders() -> Iterator[Path]:
    """Where distributions put Python packages, newest layouts first, then this interpreter's own path."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for name in (
        "/usr/lib/python3/dist-packages",
        f"/usr/lib/python{version}/site-packages",
        f"/usr/lib64/python{version}/site-packages",
    ):
        yield Path(name)
    yield from sorted(Path("/usr/lib").glob("python3*/site-packages"))
    yield from (Path(entry) for entry in sys.path if entry)


def load_bcc() -> ModuleType:
    """The bcc module, ready to compile without kernel headers. Raises Unavailable.

    Only bcc is taken from the distribution's folder: nothing else there may shadow what is installed with lbtop.
    """
    folder = find_bcc()
    os.environ["BCC_KERNEL_SOURCE"] = str(HEADERS)
    known = sys.modules.get("bcc")
    if known is not None and hasattr(known, "BPF"):
        return known
    spec = importlib.util.spec_from_file_location(
        "bcc", folder / "bcc" / "__init__.py", submodule_search_locations=[str(folder / "bcc")]
    )
    if spec is None or spec.loader is None:
        raise Unavailable(f"bcc cannot be loaded from {folder}")
    module = importlib.util.module_from_spec(spec)
    sys.modules["bcc"] = module
    try:
        spec.loader.exec_module(module)
    except (ImportError, OSError, AttributeError, SyntaxError) as error:
        for name in [name for name in sys.modules if name == "bcc" or name.startswith("bcc.")]:
            del sys.modules[name]
        raise Unavailable(f"bcc in {folder} does not work with this Python ({error})") from None
    if not hasattr(module, "BPF"):
        del sys.modules["bcc"]
        raise Unavailable(f"the bcc in {folder} has no BPF; {_INSTALL}")
    return module
