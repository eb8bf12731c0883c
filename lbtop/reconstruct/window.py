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


@dataclass(slots=True, eq=False)
class ServiceWindow:
    """The rows of one service in one window, in order of ``seq``.

    ``back`` holds the last leg (balancer, or client where there is none, to target); ``front`` the first leg
    (client to balancer) where it is in view. ``target[table]`` and ``health[table]`` run parallel to ``back[table]``: the dense
    number of the row's target (its index in :attr:`ServiceFacts.targets`) and whether the row belongs to a health check.
    """

    back: dict[str, Rows]
    front: dict[str, Rows]
    target: dict[str, npt.NDArray[np.uint16]]
    health: dict[str, npt.NDArray[np.bool_]]
    strings: Interner
    addresses: Interner
    proxies: frozenset[int] = field(default=frozenset())  # address numbers of recognised proxies (balancers, CDN nodes)
    first: bool = False
    memo: dict[str, Any] = field(default_factory=dict)
    """What several ledgers need and one worked out; see :mod:`lbtop.reconstruct.arrivals`."""
