"""Hands every row of a window to the service and leg it belongs to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lbtop.model.observation import TABLES, Interner, Rows, empty
from lbtop.reconstruct.clock import Watches
from lbtop.reconstruct.columns import Keys, Numbers, keys_of
from lbtop.reconstruct.health import HealthChecks
from lbtop.reconstruct.roles import Leg, Roles
from lbtop.reconstruct.window import CLOCKED, ServiceWindow

NOBODY = -1


class Router:
    """The roles as arrays, by the census' endpoint numbers (the last entry is for rows of no endpoint)."""

    def __init__(self, roles: Roles, endpoints: Keys) -> None:
        count = len(endpoints)
        self._services = len(roles.services)
        self._service = np.full(count + 1, NOBODY, np.int32)
        self._target = np.full(count + 1, NOBODY, np.int32)  # of a front: nobody
        for number, key in enumerate(endpoints.tolist()):
            endpoint = key >> 16, key & 0xFFFF
            service, target = roles.place.get(endpoint, (NOBODY, NOBODY))
            leg = roles.legs.get(endpoint)
            if leg is Leg.TARGET and target >= 0:
                self._service[number], self._target[number] = service, target
            elif leg is Leg.FRONT:
                self._service[number] = service
        self._fronts = [np.flatnonzero(np.isin(endpoints, keys_of(service.vips))) for service in roles.services]

    def split(
        self,
        window: dict[str, Rows],
        places: dict[str, Numbers],
        health: HealthChecks,
        watches: Watches,
        proxies: frozenset[int],
        strings: Interner,
        addresses: Interner,
    ) -> Iterator[tuple[int, ServiceWindow]]:
        """The service's number and its part of the window, for every service with rows in it."""
        present = np.zeros(self._services + 1, np.bool_)
        for place in places.values():
            present[self._service[np.flatnonzero(np.bincount(place + 1, minlength=len(self._service))) - 1]] = True
        for number in np.flatnonzero(present[:-1]).tolist():
            part = ServiceWindow({}, {}, {}, {}, strings, addresses, proxies)
            at_back = (self._service == number) & (self._target >= 0)
            at_front = (self._service == number) & (self._target < 0)
            for table in TABLES:
                self._take(part, table, window[table], places[table], at_back, at_front)
                part.health[table] = health.among(part.back[table])
            fronts = self._fronts[number]
            if len(fronts):
                asked = np.isin(places["handshakes"], fronts) & (window["handshakes"]["random"] > 0)
                part.front_hellos = window["handshakes"]["at_ns"][asked]
            for table in CLOCKED:
                part.clocked[table] = watches.of_connections(part.back[table]["conn"]) & ~part.health[table]
            yield number, part

    def _take(
        self,
        part: ServiceWindow,
        table: str,
        rows: Rows,
        place: Numbers,
        at_back: npt.NDArray[np.bool_],
        at_front: npt.NDArray[np.bool_],
    ) -> None:
        part.back[table] = part.front[table] = empty(table)
        part.target[table] = np.zeros(0, np.uint16)
        if not len(rows):
            return
        chosen = at_back[place]
        if chosen.all():
            part.back[table], part.target[table] = rows, self._target[place].astype(np.uint16)
            return
        part.back[table], part.target[table] = rows[chosen], self._target[place[chosen]].astype(np.uint16)
        if at_front.any():
            part.front[table] = rows[at_front[place]]
