"""Hands every row of a window to the service and leg it belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lbtop.model.observation import TABLES, Interner, Rows, empty
from lbtop.reconstruct.health import HealthChecks
from lbtop.reconstruct.roles import Leg, Roles
from lbtop.reconstruct.window import ServiceWindow


def endpoint_keys(rows: Rows) -> npt.NDArray[np.uint64]:
    """The server's address number and port in one number."""
    keys: npt.NDArray[np.uint64] = (rows["server"].astype(np.uint64) << np.uint64(16)) | rows["server_port"]
    return keys


@dataclass(slots=True, eq=False)
class Router:
    """The roles as sorted arrays, for one window."""

    roles: Roles
    health: HealthChecks
    strings: Interner
    addresses: Interner
    _keys: npt.NDArray[np.uint64] = field(init=False)
    _service: npt.NDArray[np.int32] = field(init=False)  # -1: no service
    _target: npt.NDArray[np.int32] = field(init=False)  # -1: front leg

    def __post_init__(self) -> None:
        known = []
        for (address, port), (service, target) in self.roles.place.items():
            leg = self.roles.legs.get((address, port))
            if leg is Leg.TARGET and target >= 0:
                known.append(((address << 16) | port, service, target))
            elif leg is Leg.FRONT:
                known.append(((address << 16) | port, service, -1))
        known.sort()
        self._keys = np.array([key for key, _, _ in known] + [2**63], np.uint64)
        self._service = np.array([service for _, service, _ in known] + [-1], np.int32)
        self._target = np.array([target for _, _, target in known] + [-1], np.int32)

    def split(self, window: dict[str, Rows]) -> Iterator[tuple[int, ServiceWindow]]:
        """The service's number and its part of the window, for every service with rows in it."""
        places = {table: self._places(rows) for table, rows in window.items() if len(rows)}
        present = np.zeros(len(self.roles.services) + 1, np.bool_)
        for place in places.values():
            present[self._service[place]] = True
        for number in np.flatnonzero(present[:-1]).tolist():
            yield number, self._part(number, window, places)

    def _places(self, rows: Rows) -> npt.NDArray[np.intp]:
        """Index into the sorted arrays for every row; the last one for rows of no service."""
        keys = endpoint_keys(rows)
        found = np.searchsorted(self._keys, keys)
        return np.where(self._keys[found] == keys, found, len(self._keys) - 1)

    def _part(self, number: int, window: dict[str, Rows], places: dict[str, npt.NDArray[np.intp]]) -> ServiceWindow:
        part = ServiceWindow(
            back={}, front={}, target={}, health={}, strings=self.strings, addresses=self.addresses, proxies=self.roles.proxies
        )
        mine = self._service == number
        at_back, at_front = mine & (self._target >= 0), mine & (self._target < 0)
        for table in TABLES:
            place = places.get(table)
            back = front = empty(table)
            target = np.zeros(0, np.uint16)
            if place is not None:
                chosen = at_back[place]
                back = window[table] if chosen.all() else window[table][chosen]
                target = self._target[place[chosen]].astype(np.uint16)
                if at_front.any():
                    front = window[table][at_front[place]]
            part.back[table], part.front[table], part.target[table] = back, front, target
            part.health[table] = self.health.of_connections(back["conn"])
        return part
