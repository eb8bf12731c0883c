"""Messages between the processes of one dashboard, over a socket that only they hold: a length, then the message, pickled."""

from __future__ import annotations

import contextlib
import pickle
import socket
import struct
import threading
from collections.abc import Iterator

_LENGTH = struct.Struct("<Q")


class Channel:
    """Any thread may send; one receives."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._sending = threading.Lock()

    def send(self, message: object) -> None:
        """Waits until the other side has room. Raises OSError when it is gone."""
        body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        with self._sending:
            self._socket.sendall(_LENGTH.pack(len(body)) + body)

    def fileno(self) -> int:
        """To wait for: readable when a message has come, or the end."""
        return self._socket.fileno()

    def receive(self) -> object | None:
        """The next message; None when the other side is gone."""
        try:
            (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
            message: object = pickle.loads(self._exactly(length))
        except (OSError, ValueError, EOFError):  # also closed while reading: the dashboard ends
            return None
        return message

    def _exactly(self, length: int) -> bytes:
        """So many bytes and none of the next message, so that whoever waits for that is told. Raises EOFError."""
        parts = []
        while length:
            part = self._socket.recv(min(length, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def __iter__(self) -> Iterator[object]:
        while (message := self.receive()) is not None:
            yield message

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
