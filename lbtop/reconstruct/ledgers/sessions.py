"""Application sessions: which target issued them, where they were presented, and where they were answered as new."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lbtop.model.observation import CookieFlag, HelloFlag, RespFlag
from lbtop.reconstruct.arrivals import Part, columns, counted
from lbtop.reconstruct.window import NO_TARGET, ServiceWindow

ISSUED_KEPT = 1 << 16
ISSUER, ELSEWHERE, UNKNOWN_ISSUER = range(3)
"""Where a session was presented: at the target that issued it, at another one, or nobody in view had issued it."""
REISSUED, LOGIN, UNAUTHORIZED = range(3)
_NAMES = 32


class SessionLedger:
    """Folds ``cookies`` (Set-Cookie of sessions), ``responses`` and ``handshakes`` of the back leg."""

    def __init__(self) -> None:
        self.names: dict[int, int] = {}  # session cookie's name number -> row of the counts
        self.presented = np.zeros((_NAMES, 3), np.int64)  # answered requests with a session, by where
        self.answered_new = np.zeros((_NAMES, 3, 3), np.int64)  # of these as new: [name, where, how]
        self.lost_at = np.zeros(0, np.int64)  # times of the latest
        self.lost_by_target: dict[tuple[int, int], int] = {}  # (issuer or -1, target) -> lost
        self.expired = False  # the oldest issued values were forgotten
        self.tickets_offered = 0
        self.tickets_accepted = 0
        self._values: npt.NDArray[np.uint64] = np.zeros(0, np.uint64)  # issued values in order, by whom, how recently
        self._issuers: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        self._numbers: npt.NDArray[np.int64] = np.zeros(0, np.int64)

    def fold(self, window: ServiceWindow) -> None:
        cookies = columns(window, "cookies")
        if len(cookies):
            wanted = np.uint32(CookieFlag.SET | CookieFlag.SESSION)
            issued = (cookies["flags"] & np.uint32(wanted | CookieFlag.DELETE | CookieFlag.CUT)) == wanted
            issued &= (window.target["cookies"] != NO_TARGET) & ~window.health["cookies"]
            self._issue(cookies["value"][issued], window.target["cookies"][issued], cookies["seq"][issued])
        responses, target = counted(window, "responses")
        answered = (responses["flags"] & np.uint32(RespFlag.SESSION_PRESENTED)) != 0
        answered &= (responses["status"] != 0) & (responses["session"] != 0)
        if answered.any():
            self._answered(responses.where(answered), target[answered])
        hellos = columns(window, "handshakes")
        if len(hellos):
            flags = hellos["flags"][~window.health["handshakes"]]
            offered = (flags & np.uint32(HelloFlag.TICKET_OFFERED | HelloFlag.SESSION_ID_OFFERED | HelloFlag.PSK_OFFERED)) != 0
            offered &= (flags & np.uint32(HelloFlag.SERVER_SEEN)) != 0
            self.tickets_offered += int(offered.sum())
            self.tickets_accepted += int((offered & ((flags & np.uint32(HelloFlag.RESUMED)) != 0)).sum())

    def _issue(self, values: npt.NDArray[np.uint64], targets: npt.NDArray[np.uint16], numbers: npt.NDArray[np.uint64]) -> None:
        if not len(values):
            return
        every = np.concatenate((values, self._values))
        issuers = np.concatenate((targets.astype(np.int32), self._issuers))
        order_of = np.concatenate((numbers.astype(np.int64), self._numbers))
        order = np.lexsort((-order_of, every))  # the latest issue of a value comes first
        ordered = every[order]
        first = np.concatenate(([True], ordered[1:] != ordered[:-1]))
        chosen = order[first]
        if len(chosen) > ISSUED_KEPT:
            recent = np.sort(np.argsort(-order_of[chosen], kind="stable")[: ISSUED_KEPT // 2])
            chosen = chosen[recent]
            self.expired = True
        self._values, self._issuers, self._numbers = every[chosen], issuers[chosen], order_of[chosen]

    def _answered(self, rows: Part, targets: npt.NDArray[np.uint16]) -> None:
        issuer = np.full(len(rows), -1, np.int32)
        if len(self._values):
            places = np.minimum(np.searchsorted(self._values, rows["session"]), len(self._values) - 1)
            known = self._values[places] == rows["session"]
            issuer[known] = self._issuers[places[known]]
        where = np.where(issuer < 0, UNKNOWN_ISSUER, np.where(issuer == targets, ISSUER, ELSEWHERE))
        name = self._name_rows(rows["session_name"])
        np.add.at(self.presented, (name, where), 1)
        flags = rows["flags"]
        reissued = (flags & np.uint32(RespFlag.SESSION_REISSUED)) != 0
        login = ~reissued & ((flags & np.uint32(RespFlag.LOGIN_REDIRECT)) != 0)
        unauthorized = ~reissued & ~login & (rows["status"] == 401)
        for how, lost in ((REISSUED, reissued), (LOGIN, login), (UNAUTHORIZED, unauthorized)):
            if lost.any():
                np.add.at(self.answered_new[:, :, how], (name[lost], where[lost]), 1)
        lost = (reissued | login | unauthorized) & (where != ISSUER)
        self.lost_at = np.concatenate((self.lost_at, rows["at_ns"][lost]))[-1024:]
        for source, target in zip(issuer[lost].tolist(), targets[lost].tolist(), strict=True):
            if (source, target) in self.lost_by_target or len(self.lost_by_target) < 1024:
                self.lost_by_target[source, target] = self.lost_by_target.get((source, target), 0) + 1

    def _name_rows(self, names: npt.NDArray[np.uint32]) -> npt.NDArray[np.intp]:
        rows = np.zeros(len(names), np.intp)
        left = names
        while len(left):
            name = int(left[0])
            row = self.names.setdefault(name, min(len(self.names), _NAMES - 1)) if len(self.names) < _NAMES else _NAMES - 1
            rows[names == name] = row
            left = left[left != name]
        return rows

    # -- reading ----------------------------------------------------------------------------------------------------

    def _new_answers(self, rotating: float) -> npt.NDArray[np.int64]:
        """Answered as new, [name, where]; re-issues of a cookie whose own issuer replaces it all the time do not count."""
        counts = self.answered_new.sum(2)
        at_issuer = self.presented[:, ISSUER]
        everywhere = self.presented.sum(1)
        replaced = np.where(at_issuer >= 5, self.answered_new[:, ISSUER, REISSUED], self.answered_new[:, :, REISSUED].sum(1))
        of = np.where(at_issuer >= 5, at_issuer, everywhere)
        carries_state = (replaced > rotating * np.maximum(of, 1)) & (of >= 5)
        counts[carries_state] -= self.answered_new[carries_state][:, :, REISSUED]
        result: npt.NDArray[np.int64] = counts
        return result

    def lost(self, rotating: float) -> int:
        """Requests with a session that were answered as new."""
        return int(self._new_answers(rotating).sum())

    def lost_elsewhere(self, rotating: float) -> int:
        """Of these, those at a target that had not issued the session in view."""
        return int(self._new_answers(rotating)[:, ELSEWHERE:].sum())
