"""``python -m tests.bench.nothing INTERFACE``: a packet socket whose filter takes nothing, until it is ended.

Nobody can listen for less: the kernel stamps every packet's time and copies its description before it asks a filter.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import socket
import struct
import sys

from lbtop.probes.live.ring import ETH_P_ALL

SO_ATTACH_FILTER = 26
RETURN_ZERO = struct.pack("HBBI", 0x06, 0, 0, 0)
"""Classic BPF: return the constant 0 (linux/filter.h)."""


def main() -> None:
    program = ctypes.create_string_buffer(RETURN_ZERO)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as listening:
        listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(program)))
        listening.bind((sys.argv[1], ETH_P_ALL))
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
