"""Compiles the hot modules. Everything declarative stands in pyproject.toml.

`probes/` is installed as `lbtop.probes`, so Cython, which finds a module's `.pxd` by its dotted name, needs a tree in
which that name is a path: a folder with one link, made here under build/.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup

ROOT = Path(__file__).resolve().parent
BUILD = ROOT / "build" / "c"
SHARED = "lbtop._cython_shared"
"""Cython's own code for memoryviews, once for all modules: a third of the compile time, half of the binaries."""
OPTIONS = os.environ.get("LBTOP_COMPILE", "-O2 -g0 --param=max-inline-insns-single=1000").split()
"""Of the C compiler: no debug information, which doubles its time. What is declared inline is every packet's way, and shall be
inline although checks of bounds make it look long. `make fuzz` compiles with sanitizers."""
PACKAGES = {"lbtop": ROOT / "lbtop", "lbtop.probes": ROOT / "probes"}


def compiled() -> list[Extension]:
    """A module is compiled exactly when it has a .pxd beside it."""
    found = []
    for package, folder in PACKAGES.items():
        for pxd in sorted(folder.rglob("*.pxd")):
            name = ".".join((package, *pxd.relative_to(folder).with_suffix("").parts))
            source = str(pxd.with_suffix(".py").relative_to(ROOT))
            found.append(Extension(name, [source], extra_compile_args=OPTIONS))
    generated = BUILD / (SHARED.rpartition(".")[2] + ".c")
    generated.parent.mkdir(parents=True, exist_ok=True)
    return [*found, Extension(SHARED, [str(generated.relative_to(ROOT))], extra_compile_args=OPTIONS)]


def cimport_tree() -> str:
    tree = ROOT / "build" / "cimports"
    package = tree / "lbtop"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.pxd").touch()
    folders = {path.name: path for path in PACKAGES["lbtop"].iterdir() if path.is_dir()} | {"probes": PACKAGES["lbtop.probes"]}
    for name, target in folders.items():
        link = package / name
        if link.is_symlink() and link.readlink() != target:
            link.unlink()
        if not link.is_symlink():
            link.symlink_to(target)
    return str(tree)


setup(
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
    packages=[*find_packages(include=["lbtop*"]), "lbtop.probes", *("lbtop.probes." + name for name in find_packages("probes"))],
    ext_modules=cythonize(
        compiled(),
        include_path=[cimport_tree()],
        shared_utility_qualified_name=SHARED,
        build_dir=str(BUILD.relative_to(ROOT)),
        compiler_directives={
            "language_level": 3,
            "boundscheck": True,
            "wraparound": False,
            "initializedcheck": False,
            "cdivision": True,
            "embedsignature": True,
        },
        nthreads=os.cpu_count() or 1,
    ),
)
