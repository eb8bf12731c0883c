"""How much of a service's traffic is readable, which classes of secret cross it: counts and hashes, never values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lbtop.model.arrays import distinct
from lbtop.model.observation import ConnFlag, Protocol7, SecretFlag, SecretKind
from lbtop.reconstruct.arrivals import Part, columns
from lbtop.reconstruct.ledgers.tally import Tally
from lbtop.reconstruct.window import ServiceWindow

PROTOCOLS = 32
BACK, FRONT, DIRECT = 0, 1, 2
"""Legs; of the last one, DIRECT is what comes from elsewhere than known proxies."""
ENCRYPTED = (Protocol7.TLS, Protocol7.QUIC, Protocol7.DTLS, Protocol7.SSH)
CLEAR = tuple(p for p in Protocol7 if p not in (*ENCRYPTED, Protocol7.UNKNOWN))
DISTINCT_CAP = 65_536


def _sums(protocol: npt.NDArray[np.generic], values: npt.NDArray[np.generic] | None = None) -> npt.NDArray[np.int64]:
    """Sums of a column per protocol (exact up to 2**53 per window)."""
    return np.bincount(protocol, values, PROTOCOLS + 1)[:PROTOCOLS].astype(np.int64)


def _direct(window: ServiceWindow, table: str, rows: Part) -> npt.NDArray[np.bool_]:
    """What comes from elsewhere than known proxies, and is no health check; nothing where no proxy is known."""
    if not window.proxies:
        return np.zeros(len(rows), np.bool_)
    return ~window.health[table] & ~np.isin(rows["client"], np.fromiter(window.proxies, np.uint32, len(window.proxies)))


def _as_presented(kinds: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
    """A session cookie is one whether a server sets it or a client brings it."""
    return np.where(kinds == SecretKind.SET_COOKIE_SESSION, SecretKind.SESSION_COOKIE, kinds)


class DistinctValues:
    """How many distinct 64-bit hashes were added: exact up to :data:`DISTINCT_CAP`, then that number."""

    def __init__(self) -> None:
        self._sorted: npt.NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._pending: list[npt.NDArray[np.uint64]] = []
        self._waiting = 0
        self.full = False

    def add(self, values: npt.NDArray[np.uint64]) -> None:
        if self.full:
            return
        self._pending.append(values.copy())
        self._waiting += len(values)
        if self._waiting > max(16_384, len(self._sorted)):
            self._settle()

    def _settle(self) -> None:
        self._sorted = distinct(np.concatenate([self._sorted, *self._pending]))
        self._pending, self._waiting = [], 0
        if len(self._sorted) > DISTINCT_CAP:
            self._sorted, self.full = np.zeros(0, np.uint64), True

    def count(self) -> int:
        if self.full:
            return DISTINCT_CAP
        if self._pending:
            self._settle()
        return DISTINCT_CAP if self.full else len(self._sorted)

    def united(self, other: DistinctValues) -> DistinctValues:
        """What was added to either."""
        both = DistinctValues()
        both.full = max(self.count(), other.count()) == DISTINCT_CAP
        both.add(self._sorted)
        both.add(other._sorted)
        return both


MOST_SENT = 65_536
"""More than this on one connection is an upload: it says nothing about how many requests there were."""


class ExposureLedger:
    """Folds CONNECTION and SECRET rows of both legs.

    ``connections`` and ``bytes`` have one row per leg (:data:`BACK`, :data:`FRONT`) and one column per
    :class:`~lbtop.model.observation.Protocol7`; only connections with payload count, health checks included (they are
    traffic), apart in ``checks``.
    """

    def __init__(self) -> None:
        self.connections = np.zeros((2, PROTOCOLS), np.int64)
        self.bytes = np.zeros((2, PROTOCOLS), np.int64)
        self.datagrams = np.zeros((2, PROTOCOLS), np.int64)  # of those connections, the UDP flows
        self.sent = np.zeros((2, PROTOCOLS), np.int64)  # bytes by clients, at most MOST_SENT of a connection
        self.checks = np.zeros(PROTOCOLS, np.int64)  # health checks of the last leg
        self.clocked = 0  # TLS connections of the last leg that were opened by the clock
        self.secrets: dict[tuple[int, int], list[int]] = {}  # (leg, kind) -> count, first, last (ns)
        self.distinct: dict[tuple[int, int], DistinctValues] = {}
        self.names = Tally(cap=512)  # (kind, name of the header, cookie or parameter)
        self.direct = np.zeros(2, np.int64)  # readable connections of the last leg that no known proxy opened, and their bytes
        self.judged = 0  # TCP connections of the last leg, and of those:
        self.one_direction = 0
        self.with_gaps = 0

    def fold(self, window: ServiceWindow) -> None:
        self._connections(BACK, columns(window, "connections"))
        self._connections(FRONT, Part(window.front["connections"]))
        back = columns(window, "connections")
        if len(back):
            size = back["bytes_c"] + back["bytes_s"]
            direct = _direct(window, "connections", back) & np.isin(back["protocol7"], CLEAR) & (size != 0)
            self.direct += np.array([np.count_nonzero(direct), int(size[direct].sum())])
            checks = back["protocol7"][window.health["connections"] & (back["first_data_ns"] != 0)]
            self.checks += np.bincount(checks % PROTOCOLS, minlength=PROTOCOLS)
            self.clocked += int(np.count_nonzero(back["protocol7"][window.clocked["connections"]] == Protocol7.TLS))
            flags = back["flags"][(back["proto"] == 6) & (back["first_data_ns"] != 0)]
            self.judged += len(flags)
            self.one_direction += int(((flags & np.uint32(ConnFlag.ONE_DIRECTION)) != 0).sum())
            self.with_gaps += int(((flags & np.uint32(ConnFlag.GAPS)) != 0).sum())
        secrets = columns(window, "secrets")
        direct = _direct(window, "secrets", secrets)
        # what a server gives a checker, because it gives it to everybody, opens nobody's session
        given = window.health["secrets"] & (secrets["kind"] == SecretKind.SET_COOKIE_SESSION)
        self._secrets(BACK, secrets.where(~direct & ~given))
        self._secrets(DIRECT, secrets.where(direct))
        self._secrets(FRONT, Part(window.front["secrets"]))

    def _connections(self, leg: int, rows: Part) -> None:
        if len(rows) == 0:
            return
        size = rows["bytes_c"] + rows["bytes_s"]
        data = size != 0
        protocol = np.where(data, rows["protocol7"] % PROTOCOLS, PROTOCOLS)  # payload-less ones fall off the end
        self.connections[leg] += _sums(protocol)
        self.bytes[leg] += _sums(protocol, size)
        self.sent[leg] += _sums(protocol, np.minimum(rows["bytes_c"], MOST_SENT))
        self.datagrams[leg] += _sums(protocol, rows["proto"] == 17)

    def _secrets(self, leg: int, rows: Part) -> None:
        inside = (rows["flags"] & SecretFlag.DECRYPTED) != 0
        if inside.any():  # what is inside TLS does not cross in clear
            rows = rows.where(~inside)
        if len(rows) == 0:
            return
        kinds = rows["kind"] if leg == DIRECT else _as_presented(rows["kind"])
        for kind in np.flatnonzero(np.bincount(kinds)).tolist():
            if kind == 0:
                continue
            chosen = np.flatnonzero(kinds == kind)  # whole rows would be copied field by field
            entry = self.secrets.setdefault((leg, kind), [0, int(rows["at_ns"][chosen[0]]), 0])
            entry[0] += len(chosen)
            entry[2] = int(rows["at_ns"][chosen[-1]])
            self.distinct.setdefault((leg, kind), DistinctValues()).add(rows["value"][chosen])
        self.names.add((_as_presented(kinds).astype(np.uint64) << np.uint64(32)) | rows["name"].astype(np.uint64))

    def found(self, apart: bool) -> Iterator[tuple[int, int, int, int, int, int]]:
        """(leg, kind, count, distinct, first, last) in order of leg and kind. ``apart``: what no known proxy sent is a leg.

        There, a session counts once somebody brings it: a program that is given one each time never does.
        """
        kinds = {kind: int(_as_presented(np.array([kind]))[0]) for leg, kind in self.secrets if leg == DIRECT}
        parts: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for leg, kind in sorted(self.secrets):
            if leg != DIRECT:
                parts.setdefault((leg, kind), []).append((leg, kind))
            elif not apart or (DIRECT, kinds[kind]) in self.secrets:
                parts.setdefault((DIRECT if apart else BACK, kinds[kind]), []).append((leg, kind))
        for (leg, kind), members in sorted(parts.items()):
            entries = [self.secrets[member] for member in members]
            values = self.distinct[members[0]]
            for member in members[1:]:
                values = values.united(self.distinct[member])
            yield (
                leg, kind, sum(entry[0] for entry in entries), values.count(),
                min(entry[1] for entry in entries), max(entry[2] for entry in entries),
            )  # fmt: skip

    def readable(self, leg: int) -> int:
        """Connections of a leg whose bytes anyone on the way can read."""
        return int(sum(self.connections[leg, protocol] for protocol in CLEAR))

    def encrypted(self, leg: int) -> int:
        return int(sum(self.connections[leg, protocol] for protocol in ENCRYPTED))
