"""Silences of connections: which were survived, which ended them and how; requests that were cut off while waiting."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lbtop.model.observation import ConnFlag, End, RespFlag, Rows, Side
from lbtop.reconstruct.arrivals import Part, columns, counted, places_of
from lbtop.reconstruct.window import NO_TARGET, ServiceWindow

KEPT = 4096
ASKED_KEPT = 1 << 15
SHORTEST_NS = 500_000_000
"""Silences shorter than this are think time, not idling."""

ENDING = np.dtype(
    [
        *[("at_ns", "i8"), ("idle_ns", "i8"), ("age_ns", "i8"), ("client", "u4"), ("flags", "u4")],
        *[("probes", "u4"), ("responses", "u4"), ("target", "u2"), ("end", "u1"), ("closer", "u1"), ("tail", "u1")],
    ]
)
RESET, SILENCE, ORDERLY = range(3)
WAITING = np.dtype([("conn", "u8"), ("age_ns", "i8"), ("at_ns", "i8"), ("target", "u2"), ("closer", "u1"), ("end", "u1")])


class IdleLedger:
    """Folds ``connections``, ``requests`` and ``responses`` of the back leg, and of the front leg what died."""

    def __init__(self) -> None:
        self.survived: npt.NDArray[np.int64] = np.zeros((0, 2), np.int64)  # the longest silences survived: duration, client
        self.endings: Rows = np.zeros(0, ENDING)  # connections that ended after a silence, the latest
        self.reset_after_idle = 0
        self.silent_after_idle = 0
        self.races = 0
        self.race_times: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self.reused = 0  # silences survived on kept-alive connections: reuses at risk of a race
        self.waiting: Rows = np.zeros(0, WAITING)  # requests cut off while a response was due, the latest
        self._asked: npt.NDArray[np.int64] = np.zeros((2, 0), np.int64)  # numbers and times of the latest requests
        self._unanswered: Rows = np.zeros(0, WAITING)  # not yet matched with the end of their connection

    def fold(self, window: ServiceWindow) -> None:
        self._remember_requests(window)
        self._fold_unanswered(window)
        rows, target = counted(window, "connections")
        data = rows["first_data_ns"] != 0
        rows, target = rows.where(data), target[data]
        if not len(rows):
            return
        # a first request that is turned away is no race: nothing was kept alive before the target had answered
        races = ((rows["flags"] & np.uint32(ConnFlag.KEEPALIVE_RACE)) != 0) & (rows["bytes_s"] > 0)
        self.races += int(races.sum())
        self.race_times = np.concatenate((self.race_times, rows["at_ns"][races]))[-1024:]
        survived = rows["idle_survived_ns"]
        long_ones = survived >= SHORTEST_NS
        self.reused += int(long_ones.sum())
        fresh = np.stack((survived[long_ones], rows["client"][long_ones]), 1).astype(np.int64)
        if len(fresh):
            both = np.concatenate((self.survived, fresh))
            self.survived = both[np.argsort(-both[:, 0], kind="stable")[:KEPT]]
        self._fold_endings(rows, target)
        self._match_unanswered(rows)
        front = window.front.get("connections")
        if front is not None and len(front):
            # on the clients' leg: what died, for the same tracker may forget either leg
            dead = np.flatnonzero((front["flags"] & np.uint32(ConnFlag.RST_AFTER_IDLE | ConnFlag.SILENT_END)) != 0)
            self._fold_endings(Part(front, dead), np.zeros(len(dead), np.uint16))

    def _fold_endings(self, rows: Part, target: npt.NDArray[np.uint16]) -> None:
        idle = rows["idle_before_end_ns"] >= SHORTEST_NS
        flags = rows["flags"]
        reset = (flags & np.uint32(ConnFlag.RST_AFTER_IDLE)) != 0
        silent = (flags & np.uint32(ConnFlag.SILENT_END)) != 0
        # an RST may follow an orderly close: what TLS says at the end meets a socket that is gone
        closed = (rows["end"] == End.FIN) | ((rows["end"] == End.RST) & ((flags & np.uint32(ConnFlag.FIN_SEEN)) != 0) & ~reset)
        orderly = closed & (rows["first_closer"] != Side.NONE)
        wanted = idle & (reset | silent | orderly)
        self.reset_after_idle += int((idle & reset).sum())
        self.silent_after_idle += int((idle & silent & ~reset).sum())
        if not wanted.any():
            return
        made = np.zeros(int(wanted.sum()), ENDING)
        chosen = rows.where(wanted)
        for name in ("at_ns", "client", "flags", "end"):
            made[name] = chosen[name]
        made["idle_ns"] = chosen["idle_before_end_ns"]
        made["age_ns"] = chosen["last_ns"] - chosen["opened_ns"]
        made["target"] = target[wanted]
        made["closer"] = chosen["first_closer"]
        made["probes"] = chosen["keepalive_probes"]
        made["responses"] = chosen["responses"]
        made["tail"] = np.where(reset[wanted], RESET, np.where(silent[wanted], SILENCE, ORDERLY))
        self.endings = np.concatenate((self.endings, made))[-KEPT:]

    def _remember_requests(self, window: ServiceWindow) -> None:
        requests = columns(window, "requests")
        if len(requests):
            fresh = np.stack((requests["request"].astype(np.int64), requests["at_ns"]))
            self._asked = np.concatenate((self._asked, fresh), 1)[:, -ASKED_KEPT:]

    def _fold_unanswered(self, window: ServiceWindow) -> None:
        rows, target = columns(window, "responses"), window.target["responses"]
        wanted = ((rows["flags"] & np.uint32(RespFlag.UNANSWERED)) != 0) & ~window.health["responses"] & (target != NO_TARGET)
        if not wanted.any():
            return
        made = np.zeros(int(wanted.sum()), WAITING)
        made["conn"] = rows["conn"][wanted]
        places = places_of(self._asked[0].astype(np.uint64), rows["request"][wanted])
        if self._asked.shape[1]:
            made["age_ns"] = np.where(places >= 0, rows["at_ns"][wanted] - self._asked[1][places], 0)
        made["at_ns"] = rows["at_ns"][wanted]
        made["target"] = target[wanted]
        self._unanswered = np.concatenate((self._unanswered, made))[-1024:]

    def _match_unanswered(self, rows: Part) -> None:
        if not len(self._unanswered):
            return
        order = np.argsort(rows["conn"], kind="stable")
        ended = rows["conn"][order]
        places = np.minimum(np.searchsorted(ended, self._unanswered["conn"]), len(rows) - 1)
        known = ended[places] == self._unanswered["conn"]
        matched = self._unanswered[known].copy()
        found = order[places[known]]
        matched["closer"] = rows["first_closer"][found]
        matched["end"] = rows["end"][found]
        self.waiting = np.concatenate((self.waiting, matched))[-1024:]
        self._unanswered = self._unanswered[~known]
