"""A wire with a delay: frames read on one interface leave on another some milliseconds later, in both directions.

The kernel here has no netem. Distance matters for captures: clients' round-trip times differ, and a request can cross a
server's FIN only on a wire that takes time.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import select
import socket
import struct
import threading
import time

from tests.lab.net_base import Namespace

_SIOCETHTOOL, _SET_TX_CHECKSUM = 0x8946, 0x17
_FRAME = 65600


def finish_checksums(ns: Namespace, interface: str) -> None:
    """Let the interface fill in checksums and cut segments to size itself, as frames that leave a real host are."""

    def set_off() -> None:
        value = ctypes.create_string_buffer(struct.pack("II", _SET_TX_CHECKSUM, 0))
        request = struct.pack("16sP", interface.encode(), ctypes.addressof(value))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
            fcntl.ioctl(handle, _SIOCETHTOOL, request)

    ns.thread(set_off).join()


class Wire:
    """Two interfaces of one namespace joined with a one-way delay in seconds, until :meth:`cut`."""

    def __init__(self, ns: Namespace, left: str, right: str, delay: float) -> None:
        self.delay = delay
        self._over = threading.Event()
        self._ready = threading.Event()
        self._ends = (left, right)
        self._thread = ns.thread(self._relay)
        self._ready.wait(5)

    def cut(self) -> None:
        self._over.set()
        self._thread.join(2)

    def _relay(self) -> None:
        sockets = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) for _ in self._ends]
        for sock, name in zip(sockets, self._ends, strict=True):
            sock.bind((name, 0))
            sock.setblocking(False)
        self._ready.set()
        held: list[tuple[float, int, int, bytes]] = []
        order = 0
        while not self._over.is_set():
            patience = max(0.0, held[0][0] - time.monotonic()) if held else 0.2
            for sock in select.select(sockets, (), (), min(patience, 0.2))[0]:
                order += 1
                frame, address = sock.recvfrom(_FRAME)
                if address[2] == socket.PACKET_OUTGOING:
                    continue
                heapq.heappush(held, (time.monotonic() + self.delay, order, 1 - sockets.index(sock), frame))
            while held and held[0][0] <= time.monotonic():
                _, _, side, frame = heapq.heappop(held)
                with contextlib.suppress(OSError):  # the other end is gone or the frame too long: the wire loses it
                    sockets[side].send(frame)
        for sock in sockets:
            sock.close()
