"""How many of the TLS connections that the packets show were read inside.

Packets and library are two witnesses of one thing: what the packets count is not taken from the calls, so a process that was
not found, a library that was replaced, or calls that were missed show as connections that were not read.
"""

from __future__ import annotations

from lbtop.model.observation import Batch, ConnFlag, Protocol7, Rows

_TLS13 = 0x0304
_HANDSHAKE_ONLY = {True: 130, False: 200}
"""Bytes that a client sends after its hello without asking for anything: by whether it is TLS 1.3. Change of cipher, Finished and
an alert (RFC 8446 section 4.4.4), before 1.3 a key exchange as well."""
_MOST = 1 << 17


class Coverage:
    """Over connections to ``ports`` of this host, and whatever else was read."""

    def __init__(self, ports: frozenset[int]) -> None:
        self._ports = ports
        self._hellos: dict[int, tuple[int, bool]] = {}
        self._ended = (0, 0)
        self._live = (0, 0)

    def ended(self, batch: Batch) -> None:
        """Takes in the rows of a batch."""
        for row in batch["handshakes"]:
            if len(self._hellos) < _MOST:
                self._hellos[int(row["conn"])] = int(row["size"]), int(row["version"]) == _TLS13
        connections = batch["connections"]
        expected, read = self._count(connections)
        self._ended = self._ended[0] + expected, self._ended[1] + read
        for number in connections["conn"].tolist():
            self._hellos.pop(number, None)

    def live(self, rows: Rows) -> None:
        """Takes in what is open now."""
        self._live = self._count(rows)

    def connections(self) -> tuple[int, int]:
        """Connections that carried more than a handshake, and how many of them were read."""
        return self._ended[0] + self._live[0], self._ended[1] + self._live[1]

    def _count(self, rows: Rows) -> tuple[int, int]:
        expected = read = 0
        for row in rows[rows["protocol7"] == Protocol7.TLS]:
            if int(row["flags"]) & ConnFlag.DECRYPTED:
                expected += 1
                read += 1
            elif int(row["server_port"]) in self._ports:
                size, modern = self._hellos.get(int(row["conn"]), (0, True))
                expected += int(row["bytes_c"]) - size > _HANDSHAKE_ONLY[modern]
        return expected, read
