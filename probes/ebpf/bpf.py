"""bpf(2): the system call itself, and what it makes. No compiler, and no library, is needed for it."""

from __future__ import annotations

import ctypes
import os
import platform

LOOKUP, UPDATE, DELETE = 1, 2, 3
LOOKUP_BATCH, DELETE_BATCH = 24, 27  # Linux 5.6
_MAP_CREATE, _PROG_LOAD = 0, 5
HASH = 1
"""Type of a map."""
SOCKET_FILTER, TRACEPOINT = 1, 5
"""Types of programs."""
INSTRUCTION_BYTES = 8
_LICENSE = b"GPL"
_LONGEST_NAME = 15
_NUMBER = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}.get(platform.machine())
"""Of the system call on this machine."""
_libc = ctypes.CDLL(None, use_errno=True)


class _MapCreate(ctypes.Structure):
    """The part of union bpf_attr that BPF_MAP_CREATE uses."""

    _fields_ = (
        ("map_type", ctypes.c_uint32),
        ("key_size", ctypes.c_uint32),
        ("value_size", ctypes.c_uint32),
        ("max_entries", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
        ("inner_map_fd", ctypes.c_uint32),
        ("numa_node", ctypes.c_uint32),
        ("map_name", ctypes.c_char * 16),
    )


class _ProgramLoad(ctypes.Structure):
    """The part of union bpf_attr that BPF_PROG_LOAD uses."""

    _fields_ = (
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_name", ctypes.c_char * 16),
    )


def is_supported() -> bool:
    """Whether the number of the system call is known on this machine."""
    return _NUMBER is not None


def system_call(command: int, attributes: ctypes.Structure) -> int:
    """bpf(2) itself: negative, with ctypes' errno set, where it fails. Only where it is supported."""
    return int(_libc.syscall(_NUMBER, command, ctypes.byref(attributes), ctypes.sizeof(attributes)))


def _descriptor(command: int, attributes: ctypes.Structure) -> int:
    result = system_call(command, attributes)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def create_map(kind: int, key_size: int, value_size: int, entries: int, flags: int = 0, name: str = "") -> int:
    """Descriptor of a map. Raises OSError."""
    return _descriptor(_MAP_CREATE, _MapCreate(kind, key_size, value_size, entries, flags, 0, 0, name.encode()[:_LONGEST_NAME]))


def load_program(kind: int, code: bytes, name: str = "") -> int:
    """Descriptor of a program. Raises OSError: what the verifier refuses is EACCES or EINVAL."""
    instructions = ctypes.create_string_buffer(code, len(code))
    license_ = ctypes.create_string_buffer(_LICENSE)
    attributes = _ProgramLoad(
        prog_type=kind,
        insn_cnt=len(code) // INSTRUCTION_BYTES,
        insns=ctypes.addressof(instructions),
        license=ctypes.addressof(license_),
        prog_name=name.encode()[:_LONGEST_NAME],
    )
    return _descriptor(_PROG_LOAD, attributes)
