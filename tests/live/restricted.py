"""Runs lbtop under a unit's restrictions where no systemd is: called by test_systemd.py, in the process that setpriv left.

Arguments: a file with ``{"site": folder, "syscalls": [numbers], "families": [numbers]}`` and the command's own. System calls
beyond the list end the process, socket families beyond theirs are refused, and no memory becomes executable, as with
SystemCallFilter=, RestrictAddressFamilies= and MemoryDenyWriteExecute=.
"""

import ctypes
import json
import struct
import sys

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # of classic BPF
ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | 97  # EAFNOSUPPORT
NUMBER, FIRST_ARGUMENT = 0, 16  # in struct seccomp_data
SOCKET = 41  # x86-64


def program(syscalls, families):
    code = [(LOAD, 0, 0, NUMBER), (EQUAL, 0, len(families) + 3, SOCKET), (LOAD, 0, 0, FIRST_ARGUMENT)]
    for place, family in enumerate(families):
        code.append((EQUAL, len(families) - place, 0, family))
    code += [(RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]
    for number in syscalls:
        code += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ALLOW)]
    code.append((RETURN, 0, 0, KILL))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code), len(code)


def restrict(syscalls, families):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
        print("this kernel has no PR_SET_MDWE", file=sys.stderr)
    code, count = program(syscalls, families)
    buffer = ctypes.create_string_buffer(code, len(code))
    described = struct.pack("=H6xQ", count, ctypes.addressof(buffer))
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, described, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        asked = json.load(file)
    import site

    site.addsitedir(asked["site"])
    restrict(asked["syscalls"], asked["families"])
    from lbtop.cli import process

    sys.argv = ["lbtop", *sys.argv[2:]]
    sys.exit(process())
