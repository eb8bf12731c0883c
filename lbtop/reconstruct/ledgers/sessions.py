"""Application sessions: which target issued them, where they were presented, and where they were answered as new."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from lbtop.model.observation import CookieFlag, HelloFlag, RespFlag
from lbtop.model.record import dataclass
from lbtop.reconstruct.arrivals import U64, Part, columns, counted, numbers, places_of
from lbtop.reconstruct.ledgers.series import Series
from lbtop.reconstruct.ledgers.tally import Tally
from lbtop.reconstruct.window import NO_TARGET, ServiceWindow

ISSUED_KEPT = 1 << 16
ISSUER, ELSEWHERE, UNKNOWN_ISSUER = range(3)
"""Where a session was presented: at the target that issued it, at another one, or nobody in view had issued it."""
KEPT, OTHER, REISSUED, RENEWED, LOGIN, UNAUTHORIZED, DELETED = range(7)
"""How it was answered: as known; with an error that says nothing; with another value; with another value and a redirect to a
page that is no login; with a redirect to a login; 401; the cookie deleted."""
STATE_SEEN = 5
"""Fewer requests do not tell a cookie that carries state."""
ENDED_AT_HOME = 3
"""So many requests of one kind that the issuer answers as new, and most of that kind: that is what the request is for."""
_NAMES = 32
_PATHS = 4096
"""Paths are told apart modulo this."""
_SAFE = (b"GET", b"HEAD", b"OPTIONS")
_LEAVING = (b"logout", b"log-out", b"log_out", b"logoff", b"signout", b"sign-out", b"sign_out")
_LATEST = 1024
_LOOKED_UP = 1 << 14


@dataclass(frozen=True, slots=True)
class Losses:
    """Requests whose session was lost."""

    at_home: int  # at the target that had issued the session
    by_target: dict[int, int]  # elsewhere, by the target that answered
    first_ns: int | None  # the first elsewhere, of the latest ones

    @property
    def elsewhere(self) -> int:
        return sum(self.by_target.values())


class SessionLedger:
    """Folds ``cookies`` (Set-Cookie of sessions), ``responses`` and ``handshakes`` of the back leg."""

    def __init__(self) -> None:
        self.names: dict[int, int] = {}  # session cookie's name number -> row of the counts
        self.presented = np.zeros((_NAMES, 3), np.int64)  # answered requests with a session, by where
        self.over_time = Series(2)  # the same by time: at the issuer, elsewhere (or nobody in view had issued it)
        self.answers = Tally(cap=1 << 15)
        """Of these by name, whether the request may have asked for a new session, path, target, where and how (:func:`_key`)."""
        self.expired = False  # the oldest issued values were forgotten
        self.tickets_offered = 0
        self.tickets_accepted = 0
        self._values: npt.NDArray[np.uint64] = np.zeros(0, np.uint64)  # issued values in order, by whom, how recently
        self._issuers: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        self._numbers: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._requests: tuple[U64, npt.NDArray[np.uint32], npt.NDArray[np.bool_]] | None = None  # of the last window, see _asked
        self._changes: dict[int, bool] = {}  # method -> whether it changes something
        self._leaves: dict[int, bool] = {}  # path -> whether it is one to log out by
        self._new_at: npt.NDArray[np.int64] = np.zeros(0, np.int64)  # when, of the latest answered as new elsewhere
        self._new_keys: U64 = np.zeros(0, np.uint64)

    def fold(self, window: ServiceWindow) -> None:
        cookies = columns(window, "cookies")
        if len(cookies):
            wanted = np.uint32(CookieFlag.SET | CookieFlag.SESSION)
            issued = (cookies["flags"] & np.uint32(wanted | CookieFlag.DELETE | CookieFlag.CUT)) == wanted
            issued &= (window.target["cookies"] != NO_TARGET) & ~window.health["cookies"]
            issued &= cookies["presented"] != cookies["value"]  # sent along again, whoever issued it
            self._issue(cookies["value"][issued], window.target["cookies"][issued], cookies["seq"][issued])
        responses, target = counted(window, "responses")
        answered = (responses["flags"] & np.uint32(RespFlag.SESSION_PRESENTED)) != 0
        answered &= (responses["status"] != 0) & (responses["session"] != 0)
        requests = self._seen_requests(window)
        if answered.any():
            self._answered(responses.where(answered), target[answered], requests)
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

    def _seen_requests(self, window: ServiceWindow) -> tuple[U64, npt.NDArray[np.uint32], npt.NDArray[np.bool_]]:
        """Number, path and whether it may ask for a new session, of the requests of this window and the one before: whoever
        posts may log in or out, which ends the session that was presented and loses none."""
        rows, _ = counted(window, "requests")
        changes = _looked_up(rows["method"], self._changes, lambda number: window.strings[number] not in _SAFE)
        leaves = _looked_up(rows["path"], self._leaves, lambda number: _is_leaving(window.strings[number]))
        mine = numbers(rows, "request"), rows["path"], changes | leaves
        before, self._requests = self._requests, mine
        if before is None or not len(before[0]):
            return mine
        return np.concatenate((before[0], mine[0])), np.concatenate((before[1], mine[1])), np.concatenate((before[2], mine[2]))

    def _answered(
        self,
        rows: Part,
        targets: npt.NDArray[np.uint16],
        requests: tuple[U64, npt.NDArray[np.uint32], npt.NDArray[np.bool_]],
    ) -> None:
        issuer = np.full(len(rows), -1, np.int32)
        if len(self._values):
            places = np.minimum(np.searchsorted(self._values, rows["session"]), len(self._values) - 1)
            known = self._values[places] == rows["session"]
            issuer[known] = self._issuers[places[known]]
        where = np.where(issuer < 0, UNKNOWN_ISSUER, np.where(issuer == targets, ISSUER, ELSEWHERE))
        name = self._name_rows(rows["session_name"])
        np.add.at(self.presented, (name, where), 1)
        for column, chosen in enumerate((where == ISSUER, where != ISSUER)):
            self.over_time.add(column, rows["at_ns"][chosen], targets[chosen])
        asked, paths = np.ones(len(rows), np.bool_), np.zeros(len(rows), np.uint32)
        places = places_of(requests[0], numbers(rows, "request"))
        there = places >= 0
        paths[there], asked[there] = requests[1][places[there]], requests[2][places[there]]
        how = _how(rows)
        keys = _key(name, asked, paths, targets, where, how)
        self.answers.add(keys)
        new = (how >= REISSUED) & (where != ISSUER)
        self._new_at = np.concatenate((self._new_at, rows["at_ns"][new]))[-_LATEST:]
        self._new_keys = np.concatenate((self._new_keys, keys[new]))[-_LATEST:]

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

    def losses(self, rotating: float) -> Losses:
        """Where sessions were lost: answered as new, and not because that is what the request was for.

        A login gives a new name to the session and a logout ends it, at its own target as well. What may be either (a request
        that changes something, a new value with a redirect to a page, a deletion) is a loss only where the issuer keeps the
        session of such requests; what may not, unless the issuer ends it, too. Values that a target accepts although another
        one issued them are known everywhere: where that is the rule for requests of a kind, none of them is a loss. Nor are
        re-issues of a cookie whose own issuer replaces it all the time.
        """
        kinds, targets, where, how = _parts(self.answers.keys)
        counts = self.answers.counts
        _, kind = np.unique(kinds, return_inverse=True)
        new, home = how >= REISSUED, where == ISSUER

        def of_kind(chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
            """The chosen answers summed over each kind of request."""
            sums: npt.NDArray[np.int64] = np.bincount(kind, counts * chosen, int(kind.max(initial=-1)) + 1).astype(np.int64)[kind]
            return sums

        kept_there, new_there = of_kind(home & (how == KEPT)), of_kind(home & new)
        meant = ((kinds & np.uint64(1)) != 0) | (how == RENEWED) | (how == DELETED)
        ends_there = (new_there >= ENDED_AT_HOME) & (new_there > kept_there)
        lost = new & np.where(meant, kept_there > new_there, ~ends_there)
        reissued = (how == REISSUED) | (how == RENEWED)
        names = (kinds >> np.uint64(_NAME_AT)).astype(np.intp)
        lost &= ~(reissued & self._carries_state(names, counts * reissued, home, rotating)[names])
        elsewhere = where == ELSEWHERE
        shared = of_kind(lost & ~home) > 0
        if counts[shared & elsewhere & (how == KEPT)].sum() > counts[lost & elsewhere].sum():
            lost &= home
        away = lost & ~home
        by_target = np.bincount(targets[away], counts[away]).astype(np.int64)
        first = np.flatnonzero(np.isin(self._new_keys, self.answers.keys[away]))
        return Losses(
            int(counts[lost & home].sum()),
            {int(target): int(by_target[target]) for target in np.flatnonzero(by_target)},
            int(self._new_at[first[0]]) if len(first) else None,
        )

    def _carries_state(
        self, names: npt.NDArray[np.intp], reissued: npt.NDArray[np.int64], home: npt.NDArray[np.bool_], rotating: float
    ) -> npt.NDArray[np.bool_]:
        """Per name, whether its own issuer replaces the cookie all the time."""
        at_issuer = self.presented[:, ISSUER]
        enough = at_issuer >= STATE_SEEN
        replaced = np.where(enough, np.bincount(names, reissued * home, _NAMES), np.bincount(names, reissued, _NAMES))
        of = np.where(enough, at_issuer, self.presented.sum(1))
        state: npt.NDArray[np.bool_] = (replaced > rotating * np.maximum(of, 1)) & (of >= STATE_SEEN)
        return state

    def renamed(self) -> int:
        """Requests answered with another value of their session cookie by a target that had not issued it."""
        _, _, where, how = _parts(self.answers.keys)
        return int(self.answers.counts[(where != ISSUER) & ((how == REISSUED) | (how == RENEWED))].sum())


_TARGET_AT, _KIND_AT = 5, 21
_NAME_AT = 13  # within the kind: one bit for what asks, twelve for the path


def _key(
    name: npt.NDArray[np.intp],
    asked: npt.NDArray[np.bool_],
    path: npt.NDArray[np.uint32],
    target: npt.NDArray[np.uint16],
    where: npt.NDArray[np.intp],
    how: npt.NDArray[np.intp],
) -> U64:
    """One number of all: the kind of request (name, path, whether it may ask for a new session), target, where and how."""
    kind = (name.astype(np.uint64) << np.uint64(_NAME_AT)) | (path.astype(np.uint64) % np.uint64(_PATHS) << np.uint64(1))
    kind |= asked.astype(np.uint64)
    found: U64 = (kind << np.uint64(_KIND_AT)) | (target.astype(np.uint64) << np.uint64(_TARGET_AT))
    found |= (where * 8 + how).astype(np.uint64)
    return found


def _parts(keys: U64) -> tuple[U64, npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """(kind, target, where, how) of what :func:`_key` made."""
    low = (keys & np.uint64(0x1F)).astype(np.intp)
    target = ((keys >> np.uint64(_TARGET_AT)) & np.uint64(0xFFFF)).astype(np.intp)
    return keys >> np.uint64(_KIND_AT), target, low >> 3, low & 7


def _how(rows: Part) -> npt.NDArray[np.intp]:
    flags, status = rows["flags"], rows["status"]
    reissued, login, deleted = (
        (flags & np.uint32(bit)) != 0 for bit in (RespFlag.SESSION_REISSUED, RespFlag.LOGIN_REDIRECT, RespFlag.SESSION_DELETED)
    )
    elsewhere = (status >= 300) & (status < 400) & ~login
    found: npt.NDArray[np.intp] = np.select(
        [deleted, reissued & elsewhere, reissued, login, status == 401, status >= 400],
        [DELETED, RENEWED, REISSUED, LOGIN, UNAUTHORIZED, OTHER],
        KEPT,
    )
    return found


def _looked_up(values: npt.NDArray[np.uint32], known: dict[int, bool], ask: Callable[[int], bool]) -> npt.NDArray[np.bool_]:
    """What is said of each number, asked once of each."""
    if not len(values):
        return np.zeros(0, np.bool_)
    present = np.flatnonzero(np.bincount(values))
    said = np.zeros(int(present[-1]) + 1, np.bool_)
    for number in present.tolist():
        answer = known.get(number)
        if answer is None:
            answer = ask(number)
            if len(known) < _LOOKED_UP:
                known[number] = answer
        said[number] = answer
    found: npt.NDArray[np.bool_] = said[values]
    return found


def _is_leaving(path: bytes) -> bool:
    lowered = path.lower()
    return any(word in lowered for word in _LEAVING)
