"""Giving up what opening sockets and programs needed and reading them does not (capabilities(7), prctl(2)).

Everything opened before stays usable: rings and maps are reached through their descriptors.
"""

from __future__ import annotations

import ctypes
import os
import platform
import pwd
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

CAP_DAC_OVERRIDE = 1
CAP_BPF = 39
_NOBODY = "nobody"
_OVERFLOW_ID = 65534
_PR_SET_KEEPCAPS = 8
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522
_MAPS_FOR_ALL = (5, 19)
"""Since then maps can be read and written by whoever holds their descriptor, whatever kernel.unprivileged_bpf_disabled says."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def drop(*, maps: bool, writes: Path | None = None, code: Iterable[Path] | None = None) -> str:
    """Gives up every privilege of the process that reading does not need; how, as a sentence.

    The process becomes the user nobody, or, where it ``writes`` files into a folder, the folder's owner. Where that user may not
    read ``code`` (by default the interpreter, its library and this program) it stays who it is, and only the capabilities go.
    ``maps``: whether bpf maps are written from now on. To be called before threads are started. Raises OSError where the
    kernel refuses: then nothing may be taken for given up.
    """
    keep = 1 << CAP_BPF if maps and _kernel() < _MAPS_FOR_ALL else 0
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if os.geteuid() != 0:
        _set_capabilities(libc, keep)
        return f"runs as user {os.geteuid()} with {_named(keep)} left"
    user, group = _nobody() if writes is None else _owner(writes)
    unreadable = next((path for path in code or _own_code() if not _readable(path, user, group)), None)
    if user and unreadable is None:
        _check(libc.prctl(_PR_SET_KEEPCAPS, 1 if keep else 0, 0, 0, 0))
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
        _set_capabilities(libc, keep)
        return f"runs as user {user} with {_named(keep)} left"
    if user and writes is not None:
        keep |= 1 << CAP_DAC_OVERRIDE
    _set_capabilities(libc, keep)
    why = f", because nobody else may read {unreadable}" if user else ""
    return f"runs as root with {_named(keep)} left{why}"


def _named(mask: int) -> str:
    names = [name for name, bit in (("CAP_BPF", CAP_BPF), ("CAP_DAC_OVERRIDE", CAP_DAC_OVERRIDE)) if mask >> bit & 1]
    return " and ".join(names) or "no capability"


def _owner(folder: Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_uid, status.st_gid


def _own_code() -> Iterable[Path]:
    """What may still be imported later on must stay readable."""
    yield Path(sys.executable)
    yield Path(os.__file__)
    yield Path(__file__)
    numpy = sys.modules.get("numpy")
    if numpy is not None and numpy.__file__:
        yield Path(numpy.__file__)


def _readable(path: Path, user: int, group: int) -> bool:
    """Whether a user without privileges can open the file, by the modes of it and of every folder above, links followed."""
    with suppress(OSError):
        real = path.resolve(strict=True)
        return all(_allowed(os.stat(place), user, group, 5 if place != real else 4) for place in (real, *real.parents))
    return False


def _allowed(status: os.stat_result, user: int, group: int, wanted: int) -> bool:
    shift = 6 if status.st_uid == user else 3 if status.st_gid == group else 0
    asked = wanted & 1 or wanted  # of a folder only passing through is asked
    return status.st_mode >> shift & asked == asked


def _nobody() -> tuple[int, int]:
    try:
        found = pwd.getpwnam(_NOBODY)
        return found.pw_uid, found.pw_gid
    except KeyError:
        return _OVERFLOW_ID, _OVERFLOW_ID


def _kernel() -> tuple[int, int]:
    numbers = platform.release().split("-")[0].split(".")
    try:
        return int(numbers[0]), int(numbers[1])
    except (ValueError, IndexError):
        return 0, 0


def _set_capabilities(libc: ctypes.CDLL, mask: int) -> None:
    header = _Header(_CAPABILITY_VERSION_3, 0)
    sets = (_Sets * 2)(*(_Sets(mask >> shift & 0xFFFFFFFF, mask >> shift & 0xFFFFFFFF, 0) for shift in (0, 32)))
    _check(libc.capset(ctypes.byref(header), sets))


def _check(result: int) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
