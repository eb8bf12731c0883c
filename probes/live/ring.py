"""An AF_PACKET socket with a TPACKET_V3 receive ring."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
from contextlib import suppress

from lbtop.model.errors import LbtopError

# linux/if_packet.h
SOL_PACKET = 263
PACKET_RX_RING = 5
PACKET_STATISTICS = 6
PACKET_VERSION = 10
PACKET_IGNORE_OUTGOING = 23
TPACKET_V3 = 2
SO_ATTACH_BPF = 50
SO_RCVBUFFORCE = 33
ETH_P_ALL = 3
ALL_INTERFACES = ""
LOOPBACK = "lo"

BLOCK_BYTES = 1 << 20
"""Room for a segment of 64 KB however offload has merged it, and for thousands of small ones."""
BLOCKS = 32
RETIRE_MS = 20
"""A block that is not full is handed over after this time: what the screen shows is never older."""
_FRAME_BYTES = 2048


class Ring:
    """Receives every packet of one interface, or of all.

    ``filter_fd`` is a loaded socket-filter program: it is attached before the first packet can arrive.
    Raises LbtopError where the kernel or the privileges do not allow it.
    """

    def __init__(
        self,
        interface: str = ALL_INTERFACES,
        *,
        filter_fd: int | None = None,
        blocks: int = BLOCKS,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        self.interface = interface
        self.block_bytes = block_bytes
        self._dropped = 0
        self._received = 0
        try:
            # Protocol 0: nothing is received before ring and filter are in place and the socket is bound.
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        except PermissionError:
            raise LbtopError(
                "capturing packets needs CAP_NET_RAW: run it with sudo (lbtop doctor says what else would do)"
            ) from None
        try:
            self._set_up(filter_fd, blocks, block_bytes)
        except OSError as error:
            self.socket.close()
            raise LbtopError(_reason(error, interface)) from None

    def _set_up(self, filter_fd: int | None, blocks: int, block_bytes: int) -> None:
        self.socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
        request = struct.pack("7I", block_bytes, blocks, _FRAME_BYTES, block_bytes // _FRAME_BYTES * blocks, RETIRE_MS, 0, 0)
        self.socket.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
        if filter_fd is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, filter_fd)
        if self.interface == LOOPBACK:
            # Loopback shows every packet twice, leaving and arriving. Elsewhere what leaves is half of the traffic.
            with suppress(OSError):  # before Linux 4.20 the decoder's recognition of copies has to do
                self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.map = mmap.mmap(self.socket.fileno(), blocks * block_bytes, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._bind()

    def _bind(self) -> None:
        """From here on packets arrive. Python's own bind knows no address for "every interface"."""
        index = socket.if_nametoindex(self.interface) if self.interface else 0
        address = struct.pack("=HHiHBB8s", socket.AF_PACKET, socket.htons(ETH_P_ALL), index, 0, 0, 0, bytes(8))
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.bind(self.socket.fileno(), address, len(address)):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def fileno(self) -> int:
        return self.socket.fileno()

    def dropped(self) -> int:
        """Packets the kernel had no room for, since the beginning. (Reading the kernel's counters resets them.)"""
        raw = self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12)
        received, dropped, _frozen = struct.unpack("3I", raw)
        self._received += received
        self._dropped += dropped
        return self._dropped

    def received(self) -> int:
        """Packets that passed the filter, dropped ones included, as of the last call of :meth:`dropped`."""
        return self._received

    def close(self) -> None:
        with suppress(BufferError):  # a view of it is still alive: the process's end unmaps it
            self.map.close()
        self.socket.close()


def _reason(error: OSError, interface: str) -> str:
    if error.errno == errno.ENODEV:
        return f"there is no interface {interface}; ip -br link lists them"
    if error.errno == errno.ENETDOWN:
        return f"the interface {interface} is down: ip link set {interface} up"
    if error.errno in (errno.ENOMEM, errno.ENOBUFS):
        return "the kernel has no memory for the packet ring"
    return f"cannot receive packets{' on ' + interface if interface else ''}: {error.strerror}"
