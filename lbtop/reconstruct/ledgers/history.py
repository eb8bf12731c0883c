"""The last arrivals and connections of a service, one by one: what a person drills down to. Bounded rings, never the whole run.

Only the dashboard asks for it (`Options.detail`): a diagnosis keeps none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lbtop.model.observation import TABLES, CookieFlag, Rows, empty
from lbtop.model.record import dataclass, field
from lbtop.reconstruct.window import NO_TARGET, ServiceWindow

ARRIVALS = 20_000
CONNECTIONS = 2_000
HEADS = 8_000

ARRIVAL = np.dtype([
    ("at_ns", "i8"), ("conn", "u8"), ("session", "u8"),   # session: keyed hash of the first application session cookie, 0 none
    ("client", "u4"), ("target", "u2"), ("layer7", "u1"), ("pad", "u1"),
])  # fmt: skip


class Numbers:
    """Dense numbers for keyed hashes, in order of first appearance. Shared by all copies: numbers never change."""

    LIMIT = 100_000

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}

    def __deepcopy__(self, memo: object) -> Numbers:
        return self

    def __getitem__(self, value: int) -> int:
        """1, 2, 3 …; 0 when so many were seen that no more are numbered."""
        found = self._numbers.get(value)
        if found is None:
            if len(self._numbers) >= self.LIMIT:
                return 0
            found = self._numbers[value] = len(self._numbers) + 1
        return found


@dataclass(slots=True, eq=False)
class HistoryLedger:
    """Newest last. ``enabled`` is set by whoever wants the detail."""

    enabled: bool = False
    arrivals: npt.NDArray[np.void] = field(default_factory=lambda: np.zeros(0, ARRIVAL))
    connections: Rows = field(default_factory=lambda: empty("connections"))
    connection_targets: npt.NDArray[np.uint16] = field(default_factory=lambda: np.zeros(0, np.uint16))
    requests: Rows = field(default_factory=lambda: empty("requests"))
    responses: Rows = field(default_factory=lambda: empty("responses"))
    handshakes: Rows = field(default_factory=lambda: empty("handshakes"))
    numbers: Numbers = field(default_factory=Numbers)

    def fold(self, window: ServiceWindow) -> None:
        if not self.enabled:
            return
        fresh = [_opened_arrivals(window), _request_arrivals(window)]
        arrivals = np.concatenate([self.arrivals, *fresh])
        arrivals = arrivals[np.argsort(arrivals["at_ns"], kind="stable")]
        self.arrivals = arrivals[-ARRIVALS:]
        self.connections = _tail(self.connections, window.back["connections"], CONNECTIONS)
        targets = np.concatenate([self.connection_targets, window.target["connections"].astype(np.uint16)])
        self.connection_targets = targets[-CONNECTIONS:]
        self.requests = _tail(self.requests, window.back["requests"], HEADS)
        self.responses = _tail(self.responses, window.back["responses"], HEADS)
        self.handshakes = _tail(self.handshakes, window.back["handshakes"], CONNECTIONS)


def _tail(kept: Rows, fresh: Rows, limit: int) -> Rows:
    if len(fresh) >= limit:
        return fresh[-limit:].copy()
    return np.concatenate([kept, fresh])[-limit:]


def _opened_arrivals(window: ServiceWindow) -> npt.NDArray[np.void]:
    opened = window.back["opened"]
    chosen = ~window.health["opened"] & (window.target["opened"] != NO_TARGET)
    rows = np.zeros(int(chosen.sum()), ARRIVAL)
    for name in ("at_ns", "conn", "client"):
        rows[name] = opened[name][chosen]
    rows["target"] = window.target["opened"][chosen]
    return rows


def _request_arrivals(window: ServiceWindow) -> npt.NDArray[np.void]:
    requests = window.back["requests"]
    chosen = ~window.health["requests"] & (window.target["requests"] != NO_TARGET)
    rows = np.zeros(int(chosen.sum()), ARRIVAL)
    picked = requests[chosen]
    rows["at_ns"], rows["conn"], rows["target"], rows["layer7"] = (
        picked["at_ns"],
        picked["conn"],
        window.target["requests"][chosen],
        1,
    )
    rows["client"] = _client(picked, window.proxies)
    cookies = window.back["cookies"]
    sessions = cookies[(cookies["flags"] & (CookieFlag.SET | CookieFlag.SESSION | CookieFlag.CUT)) == CookieFlag.SESSION]
    if len(sessions) and len(picked):
        first, where = np.unique(sessions["request"], return_index=True)
        at = np.searchsorted(first, picked["request"])
        at[at == len(first)] = 0
        found = first[at] == picked["request"]
        rows["session"][found] = sessions["value"][where[at[found]]]
    return rows


def _client(requests: Rows, proxies: Sequence[int] | frozenset[int]) -> npt.NDArray[np.uint32]:
    """The rightmost forwarded address that is no recognised proxy, else the PROXY header's, else the peer's."""
    client = np.where(requests["proxy_source"] != 0, requests["proxy_source"], requests["client"]).astype(np.uint32)
    known = np.array(sorted(proxies), np.uint32)
    for column in ("forwarded3", "forwarded2", "forwarded1", "forwarded0"):
        address = requests[column]
        usable = (address != 0) & ~np.isin(address, known)
        client = np.where(usable, address, client)
    return client


assert {"opened", "requests", "cookies", "connections"} <= TABLES.keys()
