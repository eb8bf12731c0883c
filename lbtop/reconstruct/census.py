"""Who talks to whom: every endpoint that accepted a connection, and what each client address did there.

Bounded: at most :data:`MAX_ENDPOINTS` endpoints, and of each the first :data:`MAX_CLIENTS` client addresses by name (the
rest are counted). Counts are exact; only the list of names is cut.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lbtop.model.observation import ConnFlag, ProxyFlag, Rows
from lbtop.reconstruct.columns import Keys, Numbering, Numbers, endpoint_keys, first_seen, groups
from lbtop.reconstruct.tallies import ClientTally, Endpoint, EndpointTally

MAX_ENDPOINTS = 4096
MAX_CLIENTS = 64
MAX_NAMES = 16
SAMPLE = 512  # heads of a window that are asked for a name
PROTOCOLS = 32
ATTEMPT = ConnFlag.SYN | ConnFlag.SYNACK
INITIAL_TTLS = (32, 64, 128, 255)

Counts = npt.NDArray[np.int64]

OF_ENDPOINTS = (
    "connections",
    "refused",
    "probes",
    "ended",
    "bytes_c",
    "bytes_s",
    "requests",
    "hellos",
    "unnamed",
    "named",
    "client_hellos",
    "near_clients",
    "near_servers",
    "hops_known",
)
OF_CLIENTS = ("connections", "requests", "forwarded", "proxied", "checks", "attempts", "connect_ns", "ack_ns", "handshakes")


class Census:
    """Endpoints are numbered in order of appearance. ``changes`` grows when one is new, or a client of it."""

    def __init__(self) -> None:
        self.numbering = Numbering()
        self.full = False
        self.changes = 0
        self._clients = Numbering()  # endpoint number and client address
        self._endpoint: dict[str, Counts] = {name: np.zeros(0, np.int64) for name in OF_ENDPOINTS}
        self._client: dict[str, Counts] = {name: np.zeros(0, np.int64) for name in OF_CLIENTS}
        self._protocols = np.zeros((0, PROTOCOLS), np.int64)
        self._names: dict[int, dict[int, int]] = {}
        self._view: dict[Endpoint, EndpointTally] | None = None

    def fold(self, window: dict[str, Rows], checks: npt.NDArray[np.bool_]) -> dict[str, Numbers]:
        """Counts a window. Returns for every row of every table the number of its endpoint, -1 for none."""
        self._view = None
        places = {}
        for table, rows in window.items():
            keys = endpoint_keys(rows)
            places[table] = self.numbering.of(keys)
            if table == "opened" or table == "connections":
                unknown = places[table] < 0
                if table == "connections":
                    unknown &= rows["first_data_ns"] == 0
                if unknown.any():
                    self._add_endpoints(first_seen(keys[unknown]))
                    places[table] = self.numbering.of(keys)
        self._fold_opened(window["opened"], places["opened"])
        self._fold_connections(window["connections"], places["connections"])
        proxies = window["proxies"]
        local = (proxies["flags"] & ProxyFlag.LOCAL) != 0
        # a check over a connection that says itself that it is one counts once
        once = checks & ~np.isin(window["requests"]["conn"], proxies["conn"][local]) if local.any() else checks
        self._fold_requests(window["requests"], places["requests"], checks, once)
        self._sum("hellos", places["handshakes"])
        self._sum("client_hellos", places["handshakes"][window["handshakes"]["random"] > 0])
        self._add_names(places["handshakes"][:SAMPLE], window["handshakes"]["sni"][:SAMPLE])
        pairs = self._pairs(places["proxies"], proxies["client"], False)
        self._sum_clients("proxied", pairs[~local])
        self._sum_clients("checks", pairs[local])
        return places

    def _fold_opened(self, rows: Rows, places: Numbers) -> None:
        self._sum("connections", places)
        pairs = self._pairs(places, rows["client"], True)
        self._sum_clients("connections", pairs)
        self._sum("unnamed", places[pairs < 0])

    def _fold_requests(self, rows: Rows, places: Numbers, checks: npt.NDArray[np.bool_], once: npt.NDArray[np.bool_]) -> None:
        wanted = ~checks
        self._sum("requests", places[wanted])
        sample = np.flatnonzero(wanted)[:SAMPLE]
        self._add_names(places[sample], rows["host"][sample])
        pairs = self._pairs(places, rows["client"], False)
        self._sum_clients("checks", pairs[once])
        self._sum_clients("requests", pairs[wanted])
        self._sum_clients("forwarded", pairs[wanted & (rows["forwarded_count"] > 0)])

    def _fold_connections(self, rows: Rows, places: Numbers) -> None:
        """Ends of connections, and attempts without a byte."""
        if not len(rows):
            return
        empty = rows["first_data_ns"] == 0
        both = (rows["ttl_c"] > 0) & (rows["ttl_s"] > 0)
        self._sum("hops_known", places[both])
        self._sum("near_clients", places[both & np.isin(rows["ttl_c"], INITIAL_TTLS)])
        self._sum("near_servers", places[both & np.isin(rows["ttl_s"], INITIAL_TTLS)])
        flags = rows["flags"]
        refused = (flags & ConnFlag.REFUSED) != 0
        # What is left of a connection whose start or bytes were not captured is no attempt.
        whole = ((flags & ATTEMPT) == ATTEMPT) & ((flags & (ConnFlag.GAPS | ConnFlag.ONE_DIRECTION)) == 0)
        self._sum("refused", places[refused])
        self._sum("probes", places[empty & ~refused])
        self._sum("ended", places)
        self._sum("bytes_c", places, rows["bytes_c"])
        self._sum("bytes_s", places, rows["bytes_s"])
        known = (places >= 0) & ~empty
        protocol = np.minimum(rows["protocol7"][known], PROTOCOLS - 1)
        flat = np.bincount(places[known].astype(np.intp) * PROTOCOLS + protocol, minlength=self._protocols.size)
        self._protocols += flat.reshape(self._protocols.shape)
        pairs = self._pairs(places, rows["client"], True)
        self._sum_clients("attempts", pairs[empty & (whole | refused)])
        connect_ns, ack_ns = rows["connect_ns"], rows["ack_ns"]
        timed = (connect_ns > 0) & (ack_ns > 0)
        if timed.any():
            self._sum_clients("handshakes", pairs[timed])
            self._sum_clients("connect_ns", pairs[timed], connect_ns[timed])
            self._sum_clients("ack_ns", pairs[timed], ack_ns[timed])

    def _sum(self, name: str, places: Numbers, amounts: npt.NDArray[np.integer] | None = None) -> None:
        _add(self._endpoint[name], places, amounts)

    def _sum_clients(self, name: str, pairs: Numbers, amounts: npt.NDArray[np.integer] | None = None) -> None:
        _add(self._client[name], pairs, amounts)

    def _add_endpoints(self, keys: Keys) -> None:
        room = MAX_ENDPOINTS - len(self.numbering)
        if len(keys) > room:
            self.full = True
            keys = keys[:room]
        self.numbering.add(keys)
        self.changes += len(keys)
        self._endpoint = {name: _longer(counts, len(self.numbering)) for name, counts in self._endpoint.items()}
        wider = np.zeros((len(self.numbering), PROTOCOLS), np.int64)
        wider[: len(self._protocols)] = self._protocols
        self._protocols = wider

    def _pairs(self, places: Numbers, clients: npt.NDArray[np.uint32], add: bool) -> Numbers:
        """The number of every row's endpoint and client together; new ones are added while there is room."""
        keys = (places.astype(np.uint64) << np.uint64(32)) | clients
        keys[places < 0] = np.iinfo(np.uint64).max
        pairs = self._clients.of(keys)
        if not add:
            return pairs
        unknown = (pairs < 0) & (places >= 0)
        if not unknown.any():
            return pairs
        named = self._endpoint["named"]
        fresh = []
        for key in first_seen(keys[unknown & (named[places] < MAX_CLIENTS)]).tolist():
            if named[key >> 32] < MAX_CLIENTS:
                named[key >> 32] += 1
                fresh.append(key)
        if fresh:
            self._clients.add(np.array(fresh, np.uint64))
            self.changes += len(fresh)
            self._client = {name: _longer(counts, len(self._clients)) for name, counts in self._client.items()}
            pairs = self._clients.of(keys)
        return pairs

    def _add_names(self, places: Numbers, names: npt.NDArray[np.uint32]) -> None:
        for (place, name), rows in groups(places.astype(np.uint32), names):
            if name > 1 and place < len(self.numbering):
                counts = self._names.setdefault(place, {})
                if name in counts or len(counts) < MAX_NAMES:
                    counts[name] = counts.get(name, 0) + len(rows)

    @property
    def total(self) -> int:
        """Connections counted so far."""
        return int(self._endpoint["connections"].sum())

    @property
    def endpoints(self) -> dict[Endpoint, EndpointTally]:
        """Everything known, in order of appearance."""
        if self._view is None:
            self._view = self._tallies()
        return self._view

    def _tallies(self) -> dict[Endpoint, EndpointTally]:
        of_endpoints = {name: counts.tolist() for name, counts in self._endpoint.items() if name != "named"}
        tallies: list[EndpointTally] = []
        view: dict[Endpoint, EndpointTally] = {}
        for number, key in enumerate(self.numbering.keys.tolist()):
            tally = EndpointTally(**{name: counts[number] for name, counts in of_endpoints.items()})
            protocols = self._protocols[number]
            tally.protocols = {int(protocol): int(protocols[protocol]) for protocol in np.flatnonzero(protocols)}
            tally.names = self._names.get(number, {})
            tallies.append(tally)
            view[key >> 16, key & 0xFFFF] = tally
        of_clients = {name: counts.tolist() for name, counts in self._client.items()}
        for number, key in enumerate(self._clients.keys.tolist()):
            part = ClientTally(**{name: counts[number] for name, counts in of_clients.items()})
            tallies[key >> 32].clients[key & 0xFFFFFFFF] = part
        return view


def _longer(counts: Counts, size: int) -> Counts:
    longer = np.zeros(size, np.int64)
    longer[: len(counts)] = counts
    return longer


def _add(counts: Counts, numbers: Numbers, amounts: npt.NDArray[np.integer] | None) -> None:
    """Adds one, or an amount, per row; rows numbered -1 are left out."""
    if not len(numbers) or not len(counts):
        return
    # Doubles hold sums below 2^53 exactly, far more than one window carries.
    weights = None if amounts is None else amounts.astype(np.float64)
    counts += np.bincount(numbers + 1, weights, len(counts) + 1)[1:].astype(np.int64)
