"""TLS (QUIC, DTLS) handshakes of a service: whose stacks they are, what was negotiated, what was resumed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lbtop.model.observation import HelloFlag, Rows
from lbtop.reconstruct.ledgers.tally import Numbers, Tally, alike, pair
from lbtop.reconstruct.window import NO_TARGET, ServiceWindow

RESUMPTION = HelloFlag.TICKET_OFFERED | HelloFlag.SESSION_ID_OFFERED | HelloFlag.PSK_OFFERED
_NEGOTIATED = 1 << 16
_CLIENT_MASK = (1 << 20) - 1
_SESSIONS_OF_ONE = 4096
_HELLOS_OF_STORES = 16_384
NEAR_NS = 2_000_000_000
_KEPT_FRONTS = 256


_DISTINGUISHING = ("flags", "version", "cipher", "ja4", "sni", "alpn", "alpn_chosen", "family", "client")


def _alike(rows: Rows) -> tuple[Rows, Numbers]:
    """One row of each kind of handshake, and how many there are of it."""
    if len(rows) == 0:
        return rows, np.zeros(0, np.int64)
    first, count = alike(*(np.ascontiguousarray(rows[name]) for name in _DISTINGUISHING))
    return rows[first], count


class Negotiated:
    """What the handshakes of one leg agreed on, health checks left out."""

    def __init__(self) -> None:
        self.hellos = 0
        self.offered = 0  # sessions offered for resumption to a server whose answer was seen
        self.accepted = 0
        self.versions = Tally(cap=64)  # negotiated version, both hellos seen
        self.ciphers = Tally(cap=512)  # negotiated version << 16 | cipher
        self.ja4 = Tally(cap=1024)
        self.sni = Tally(cap=1024)
        self.alpn = Tally(cap=256)  # chosen, or first offered where the choice is encrypted

    def fold(self, rows: Rows, count: Numbers) -> None:
        """``count``: how many handshakes each row stands for."""
        if len(rows) == 0:
            return
        flags = rows["flags"]
        self.hellos += int(count.sum())
        seen = (flags & np.uint32(HelloFlag.SERVER_SEEN)) != 0
        offered = seen & ((flags & np.uint32(RESUMPTION)) != 0)
        self.offered += int(count[offered].sum())
        self.accepted += int(count[seen & ((flags & np.uint32(HelloFlag.RESUMED)) != 0)].sum())
        agreed = seen & (rows["version"] != 0)
        version = rows["version"][agreed].astype(np.uint64)
        self.versions.add(version, rows=count[agreed])
        self.ciphers.add(version * np.uint64(_NEGOTIATED) + rows["cipher"][agreed].astype(np.uint64), rows=count[agreed])
        alpn = np.where(rows["alpn_chosen"] != 0, rows["alpn_chosen"], rows["alpn"])
        for values, tally in ((rows["ja4"], self.ja4), (rows["sni"], self.sni), (alpn, self.alpn)):
            there = values != 0
            tally.add(values[there].astype(np.uint64), rows=count[there])

    def cipher_counts(self) -> list[tuple[int, int, int]]:
        """(version, cipher, connections), in order of version and cipher."""
        return [(key // _NEGOTIATED, key % _NEGOTIATED, numbers[0]) for key, numbers in self.ciphers.items()]


class HandshakeLedger:
    """Folds HANDSHAKE rows of both legs. Bounded by the caps of its tallies (some 300 KB)."""

    def __init__(self) -> None:
        self.back = Negotiated()
        self.front = Negotiated()
        self.families = Tally(columns=5, cap=8192)
        """(family, client): hellos, with GREASE, with ECH, with a post-quantum share, offering a session. Like all tallies
        below, without what is opened by the clock: a balancer's health checks have its own stack, whoever's TLS it passes on."""
        self.checks = Tally(cap=1024)  # (family, client) of hellos by the clock
        self.watched = Tally(cap=1024)  # (client, target), likewise
        self.stores = Tally(columns=5, cap=8192)
        """(client, target): hellos, offering a session to a server that answered, resumed, Σ and Σ² of the name asked for."""
        self.due = 0  # hellos that came while others came in front: were they the clients' own, these would be the same
        self._fronts: npt.NDArray[np.int64] = np.zeros(0, np.int64)  # times of the last hellos in front
        self.sni_families = Tally(cap=4096)  # (sni, family)
        self.sessions = Tally(columns=3, cap=8192)  # offered session: hellos, Σ and Σ² of client numbers
        self.certificates = Tally(columns=1, cap=1024)  # (target, certificate number), where readable
        self.certificate_hashes: dict[int, int] = {}  # keyed hash -> dense number
        self.validity: dict[int, tuple[int, int]] = {}  # certificate number -> not before, not after (ns)

    def fold(self, window: ServiceWindow) -> None:
        rows = window.back["handshakes"]
        if len(rows):
            data, clocked, target = ~window.health["handshakes"], window.clocked["handshakes"], window.target["handshakes"]
            self._certificates(rows, target)
            if not data.all():
                rows, clocked, target = rows[data], clocked[data], target[data]
            kinds, count = _alike(rows)
            self.back.fold(kinds, count)
            if clocked.any():
                self.checks.add(pair(rows["family"], rows["client"])[clocked])
                self.watched.add(pair(rows["client"], target)[clocked])
                rows, target = rows[~clocked], target[~clocked]
                kinds, count = _alike(rows)
            self._stacks(kinds, count)
            if len(rows):
                self._sessions(rows)
                self._stores(rows, target)
        self.front.fold(*_alike(window.front["handshakes"]))
        if len(window.front_hellos) or len(self._fronts):
            self._due(rows, window.front_hellos)

    def _stacks(self, rows: Rows, count: Numbers) -> None:
        flags = rows["flags"]
        bits = [
            ((flags & np.uint32(mask)) != 0) * count
            for mask in (HelloFlag.GREASE, HelloFlag.ECH, HelloFlag.POST_QUANTUM, RESUMPTION)
        ]
        known = rows["family"] != 0
        self.families.add(pair(rows["family"], rows["client"])[known], *(bit[known] for bit in bits), rows=count[known])
        self.sni_families.add(pair(rows["sni"], rows["family"])[known], rows=count[known])

    def _stores(self, rows: Rows, target: npt.NDArray[np.uint16]) -> None:
        if self.stores.total >= _HELLOS_OF_STORES:
            return  # how sessions are kept shows long before
        flags, sni = rows["flags"], rows["sni"].astype(np.int64)
        answered = (flags & np.uint32(HelloFlag.SERVER_SEEN)) != 0
        offered = answered & ((flags & np.uint32(RESUMPTION)) != 0)
        resumed = offered & ((flags & np.uint32(HelloFlag.RESUMED)) != 0)
        known = rows["family"] != 0
        self.stores.add(pair(rows["client"], target)[known], *(each[known] for each in (offered, resumed, sni, sni * sni)))

    def _due(self, back: Rows, front_ns: npt.NDArray[np.int64]) -> None:
        fronts = np.sort(np.concatenate([self._fronts, front_ns]))
        self._fronts = fronts[-_KEPT_FRONTS:]
        at = back["at_ns"][back["random"] > 0]
        near = np.searchsorted(fronts, at - NEAR_NS) < np.searchsorted(fronts, at + NEAR_NS, side="right")
        self.due += int(np.count_nonzero(near))

    def _sessions(self, rows: Rows) -> None:
        """Who offers a session, as sums: all offers of one session came from one address exactly when n·Σc² = (Σc)²."""
        session, client = np.ascontiguousarray(rows["session"]), np.ascontiguousarray(rows["client"])
        if self.sessions.total >= _SESSIONS_OF_ONE and (client == client[0]).all():
            return  # a balancer's address, most likely: the first few thousand tell how many sessions it holds
        there = session != 0
        number = (client[there] & np.uint32(_CLIENT_MASK)).astype(np.int64)
        self.sessions.add(session[there], number, number * number)

    def shared_sessions(self) -> tuple[int, int]:
        """(sessions that several addresses offered, hellos that offered one of them)."""
        shared = [n for _, (n, total, squares) in self.sessions.items() if n * squares != total * total]
        return len(shared), sum(shared)

    def repeated_sessions(self) -> tuple[int, int]:
        """Sessions offered twice or more, always from one address: (how many, from how many addresses)."""
        own = [total // n for _, (n, total, squares) in self.sessions.items() if n > 1 and n * squares == total * total]
        return len(own), len(set(own))

    def _certificates(self, rows: Rows, target: np.ndarray[tuple[int], np.dtype[np.uint16]]) -> None:
        shown = rows["certificate"] != 0
        if not shown.any():
            return
        rows, target = rows[shown], target[shown]
        hashes, first = np.unique(rows["certificate"], return_index=True)
        for place in np.sort(first).tolist():
            value = int(rows["certificate"][place])
            if value not in self.certificate_hashes and len(self.certificate_hashes) < 256:
                number = self.certificate_hashes[value] = len(self.certificate_hashes) + 1
                self.validity[number] = (int(rows["not_before_ns"][place]), int(rows["not_after_ns"][place]))
        numbers = np.array([self.certificate_hashes.get(int(value), 0) for value in hashes], np.uint64)
        dense = numbers[np.searchsorted(hashes, rows["certificate"])]
        kept = (dense != 0) & (target != NO_TARGET)
        self.certificates.add(pair(target, dense)[kept])
