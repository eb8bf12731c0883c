"""Compiles the hot modules. Everything declarative stands in pyproject.toml.

`probes/` is installed as `lbtop.probes`, so Cython, which finds a module's `.pxd` by its dotted name, needs a tree in
which that name is a path: a folder with one link, made here under build/.
"""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup

ROOT = Path(__file__).resolve().parent
COMPILED = sorted(
    [("lbtop.probes." + ".".join(p.relative_to(ROOT / "probes").with_suffix("").parts), p) for p in (ROOT / "probes").rglob("*.pxd")]
    + [("lbtop." + ".".join(p.relative_to(ROOT / "lbtop").with_suffix("").parts), p) for p in (ROOT / "lbtop").rglob("*.pxd")]
)
"""A module is compiled exactly when it has a .pxd beside it."""


def cimport_tree() -> str:
    tree = ROOT / "build" / "cimports"
    package = tree / "lbtop"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.pxd").touch()
    for link, target in [(package / name.name, name) for name in (ROOT / "lbtop").iterdir() if name.is_dir()] + [(package / "probes", ROOT / "probes")]:
        if link.is_symlink() and link.readlink() != target:
            link.unlink()
        if not link.is_symlink():
            link.symlink_to(target)
    return str(tree)


setup(
    packages=find_packages(include=["lbtop*"]) + ["lbtop.probes"] + ["lbtop.probes." + name for name in find_packages("probes")],
    ext_modules=cythonize(
        [
            Extension(name, [str(pxd.with_suffix(".py").relative_to(ROOT))], extra_compile_args=["-O2"])
            for name, pxd in COMPILED
        ],
        include_path=[cimport_tree()],
        build_dir="build/c",
        compiler_directives={"language_level": 3, "boundscheck": True, "wraparound": False, "initializedcheck": False, "cdivision": True, "embedsignature": True},
        nthreads=2,
    )
)
