"""A stretch of observations with roles assigned: what ledgers fold.

The reconstructor cuts the stream of rows into windows by sequence number, never by batch, so that any batching of the same
input gives the same windows. Within a window roles are fixed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lbtop.model.observation import Interner, Rows
from lbtop.model.record import dataclass, field

NO_TARGET = 0xFFFF
CLOCKED = ("handshakes", "connections")
"""Tables of which is told what belongs to connections opened by the clock."""


@dataclass(slots=True, eq=False)
class ServiceWindow:
    """The rows of one service in one window, in order of ``seq``.

    ``back`` holds the last leg (balancer, or client where there is none, to target); ``front`` the first leg
    (client to balancer) where it is in view. ``target[table]`` and ``health[table]`` run parallel to ``back[table]``: the dense
    number of the row's target (its index in :attr:`ServiceFacts.targets`) and whether the row belongs to a health check.
    ``clocked[table]``, for the tables in :data:`CLOCKED`: whether it belongs to a TLS connection opened by the clock, most
    likely a health check that nobody can read.
    """

    back: dict[str, Rows]
    front: dict[str, Rows]
    target: dict[str, npt.NDArray[np.uint16]]
    health: dict[str, npt.NDArray[np.bool_]]
    strings: Interner
    addresses: Interner
    proxies: frozenset[int] = field(default=frozenset())  # address numbers of recognised proxies (balancers, CDN nodes)
    first: bool = False
    clocked: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    front_hellos: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """When client hellos came at the service's fronts, those included that feed several services and stand in one's ``front``."""
    memo: dict[str, Any] = field(default_factory=dict)
    """What several ledgers need and one worked out; see :mod:`lbtop.reconstruct.arrivals`."""
