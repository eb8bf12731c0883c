"""What ptcpdump writes into the comments of a packet (its PacketContext): lines of "Key: value", several comments to a packet.

Only what says which program it was is taken. Arguments, environment-like labels and annotations are where people put secrets.
"""

from __future__ import annotations

from lbtop.probes.files.formats import options

Process = tuple[int, bytes, bytes, bytes]
"""Process id (0 unknown), program, container, pod: b"" where unknown."""

_COMMENT = 1
_LONGEST = 64
_LONGEST_COMMENT = 65536


def process_of(block: bytes, order: str) -> Process | None:
    """The process that a packet's options name, None where they name none. ``order``: "<" or ">", as in struct."""
    said: dict[bytes, bytes] = {}
    for code, value in options(block, order):
        if code == _COMMENT:
            for line in value[:_LONGEST_COMMENT].split(b"\n"):
                key, colon, text = line.strip().partition(b":")
                if colon and key in _KEYS:
                    said.setdefault(_KEYS[key], text.strip())
    pid = said.get(b"pid", b"")
    number = int(pid) if len(pid) <= 10 and pid.isdigit() else 0
    program = said.get(b"program", b"").removesuffix(b"...").rpartition(b"/")[2]
    container = said.get(b"container") or said.get(b"container id", b"")[:12]
    pod = said.get(b"pod", b"")
    if pod and said.get(b"namespace"):
        pod += b"." + said[b"namespace"]
    found = number if number < 1 << 32 else 0, program[:_LONGEST], container[:_LONGEST], pod[:_LONGEST]
    return found if any(found) else None


_KEYS = {
    b"PID": b"pid", b"Cmd": b"program", b"Command": b"program", b"ContainerName": b"container", b"ContainerId": b"container id",
    b"PodName": b"pod", b"PodNamespace": b"namespace",
}  # fmt: skip
"""ptcpdump's keys; Command is how its first versions called Cmd."""
