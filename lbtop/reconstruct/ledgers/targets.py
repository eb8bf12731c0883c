"""What every target of a service got and answered: the counts of the contract, exactly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lbtop.model.observation import ConnFlag, End, Interner, Protocol7, RespFlag, Rows
from lbtop.model.record import dataclass, field
from lbtop.model.text import SafeText, safe_text
from lbtop.reconstruct.arrivals import Part, columns
from lbtop.reconstruct.window import ServiceWindow

Counts = npt.NDArray[np.int64]

BINS_PER_OCTAVE = 32
FIRST_OCTAVE = 10  # 1.02 µs
OCTAVES = 32  # up to an hour and more
MAX_CLIENTS = 65_536  # client addresses kept apart: those met first, of all services; further ones are not counted
MAX_NAMES = 64
STATUS_CLASSES = 6


def _zeros() -> Counts:
    return np.zeros(0, np.int64)


def _no_bins() -> npt.NDArray[np.uint32]:
    return np.zeros((0, OCTAVES * BINS_PER_OCTAVE), np.uint32)


def _no_clients() -> npt.NDArray[np.bool_]:
    return np.zeros((0, 0), np.bool_)


@dataclass(slots=True, eq=False)
class TargetLedger:
    """Arrays by the target's dense number."""

    connections: Counts = field(default_factory=_zeros)  # with at least one payload byte, health checks included
    health_connections: Counts = field(default_factory=_zeros)
    ended: Counts = field(default_factory=_zeros)  # of `connections`
    requests: Counts = field(default_factory=_zeros)  # without health checks
    health_checks: Counts = field(default_factory=_zeros)  # requests that are health checks
    bare_checks: Counts = field(
        default_factory=_zeros
    )  # connections that are health checks, by a LOCAL header, and carry no request
    probes: Counts = field(default_factory=_zeros)  # opened and closed without a byte; a rest without its SYN is none
    refused: Counts = field(default_factory=_zeros)
    unanswered: Counts = field(default_factory=_zeros)  # SYNs that nobody answered
    bytes_in: Counts = field(default_factory=_zeros)
    bytes_out: Counts = field(default_factory=_zeros)
    retransmits: Counts = field(default_factory=_zeros)
    resets_by_target: Counts = field(default_factory=_zeros)  # connections the target reset, health checks left out
    resets_by_client: Counts = field(default_factory=_zeros)  # connections the other end reset …
    resets_in_reply: Counts = field(default_factory=_zeros)  # … of these, while a response was due
    status: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, STATUS_CLASSES), np.int64))
    first_ns: Counts = field(default_factory=_zeros)  # first and last sign of life, probes included; 0 none
    last_ns: Counts = field(default_factory=_zeros)
    first_data_ns: Counts = field(default_factory=_zeros)  # first and last arrival of payload, health checks left out
    last_data_ns: Counts = field(default_factory=_zeros)
    connect: npt.NDArray[np.uint32] = field(default_factory=_no_bins)
    response: npt.NDArray[np.uint32] = field(default_factory=_no_bins)
    clients: npt.NDArray[np.bool_] = field(default_factory=_no_clients)  # target × client address number
    clients_named: bool = False  # some arrivals named their client (forwarded address, PROXY header)
    protocols: dict[int, int] = field(default_factory=dict)  # Protocol7 of ended connections
    clients_full: bool = False  # there were more of them than are kept apart
    names: dict[int, int] = field(default_factory=dict)  # SNI and Host (string numbers): how often, health checks left out
    heads: int = 0  # requests and hellos that were asked for a name

    def caps_reached(self) -> list[str]:
        """What was left out because a table was full, for the source's list of caps."""
        return [f"{MAX_CLIENTS:,} client addresses told apart at the targets"] if self.clients_full else []

    def _grow(self, targets: int) -> None:
        known = len(self.connections)
        if targets <= known:
            return
        for name in self.__match_args__:
            array = getattr(self, name)
            if isinstance(array, np.ndarray):
                wider = np.zeros((targets, *array.shape[1:]), array.dtype)
                wider[:known] = array
                setattr(self, name, wider)

    def fold(self, window: ServiceWindow) -> None:
        self._grow(max((int(target.max()) + 1 for target in window.target.values() if len(target)), default=0))
        self._fold_opened(window)
        self._fold_requests(window)
        self._fold_responses(window)
        self._fold_connections(window)
        self._fold_proxies(window)
        self._add_names(columns(window, "handshakes")["sni"][~window.health["handshakes"]])

    def _count(self, target: npt.NDArray[np.uint16], mask: npt.NDArray[np.bool_] | None = None) -> Counts:
        chosen = target if mask is None else target[mask]
        return np.bincount(chosen, minlength=len(self.connections))

    def _seen(self, target: npt.NDArray[np.uint16], first: Counts, last: Counts, data: bool) -> None:
        """Widens the time between first and last sign of life."""
        if not len(target):
            return
        bounds = [(self.first_ns, self.last_ns)] + ([(self.first_data_ns, self.last_data_ns)] if data else [])
        for low, high in bounds:
            lows = np.where(low == 0, np.iinfo(np.int64).max, low)
            np.minimum.at(lows, target, first)
            low[:] = np.where(lows == np.iinfo(np.int64).max, 0, lows)
            np.maximum.at(high, target, last)

    def _fold_opened(self, window: ServiceWindow) -> None:
        rows, target, health = columns(window, "opened"), window.target["opened"], window.health["opened"]
        if not len(rows):
            return
        self.connections += self._count(target)
        self.health_connections += self._count(target, health)
        self._seen(target, rows["at_ns"], rows["at_ns"], data=False)
        self._seen(target[~health], rows["at_ns"][~health], rows["at_ns"][~health], data=True)
        self._add_clients(target[~health], rows["client"][~health], window)

    def _fold_requests(self, window: ServiceWindow) -> None:
        rows, target, health = columns(window, "requests"), window.target["requests"], window.health["requests"]
        if not len(rows):
            return
        checks = self._count(target, health)
        self.health_checks += checks
        self.requests += self._count(target) - checks
        self._seen(target[~health], rows["at_ns"][~health], rows["at_ns"][~health], data=True)
        self._add_names(rows["host"][~health])
        client = client_addresses(rows, window.proxies)
        named = (client > 0) & ~health
        if named.any():
            self.clients_named = True
            self._add_clients(target[named], client[named], window)

    def _fold_responses(self, window: ServiceWindow) -> None:
        rows, target = columns(window, "responses"), window.target["responses"]
        keep = ~window.health["responses"] & ((rows["flags"] & RespFlag.UNANSWERED) == 0)
        if not keep.any():
            return
        kept = target[keep]
        classes = np.minimum(rows["status"][keep] // 100, STATUS_CLASSES - 1).astype(np.intp)
        flat = np.bincount(kept.astype(np.intp) * STATUS_CLASSES + classes, minlength=self.status.size)
        self.status += flat.reshape(self.status.shape)
        add_times(self.response, kept, rows["delay_ns"][keep])

    def _fold_connections(self, window: ServiceWindow) -> None:
        rows, target, health = columns(window, "connections"), window.target["connections"], window.health["connections"]
        if not len(rows):
            return
        flags = rows["flags"]
        data = rows["first_data_ns"] != 0
        refused = (flags & ConnFlag.REFUSED) != 0
        silent = ~data & ~refused & ((flags & ConnFlag.SYN) != 0) & ((flags & ConnFlag.SYNACK) == 0)
        self.refused += self._count(target, refused & ~data)
        self.unanswered += self._count(target, silent)
        self.probes += self._count(target, ~data & ~refused & ~silent & ((flags & ConnFlag.SYN) != 0))
        self.ended += self._count(target, data & (rows["end"] != End.OPEN))
        self.bare_checks += self._count(target, data & ((flags & ConnFlag.PROXIED_LOCAL) != 0) & (rows["requests"] == 0))
        size = len(self.connections)
        for total, names in (
            (self.bytes_in, ("bytes_c",)),
            (self.bytes_out, ("bytes_s",)),
            (self.retransmits, ("retransmits_c", "retransmits_s")),
        ):
            for column in names:
                # Doubles are exact up to 2^53: far above what one window carries.
                total += np.bincount(target, rows[column].astype(np.float64), size).astype(np.int64)
        reset = data & ~health & (rows["end"] == End.RST)
        by_target = reset & (rows["resets_s"] > 0)
        by_client = reset & ~by_target & (rows["resets_c"] > 0)
        self.resets_by_target += self._count(target, by_target)
        self.resets_by_client += self._count(target, by_client)
        due = (rows["requests"] > rows["responses"]) & (rows["packets_s"] > 0)  # where no answers are in view, none is missing
        self.resets_in_reply += self._count(target, by_client & due)
        timed = (rows["connect_ns"] > 0) & ~refused
        add_times(self.connect, target[timed], rows["connect_ns"][timed])
        protocols, counts = np.unique(rows["protocol7"][data & ~health], return_counts=True)
        for protocol, count in zip(protocols.tolist(), counts.tolist(), strict=True):
            self.protocols[protocol] = self.protocols.get(protocol, 0) + count
        alive = ~refused & ~silent
        self._seen(target[alive], rows["opened_ns"][alive], rows["last_ns"][alive], data=False)

    def _fold_proxies(self, window: ServiceWindow) -> None:
        rows, target = columns(window, "proxies"), window.target["proxies"]
        named = rows["source"] > 0
        if named.any():
            self.clients_named = True
            self._add_clients(target[named], rows["source"][named], window)

    def _add_clients(self, target: npt.NDArray[np.uint16], address: npt.NDArray[np.uint32], window: ServiceWindow) -> None:
        if not len(target):
            return
        if window.proxies:
            own = ~np.isin(address, np.fromiter(window.proxies, np.uint32))
            target, address = target[own], address[own]
            if not len(target):
                return
        width = int(address.max()) + 1
        if width > self.clients.shape[1]:
            wider = np.zeros((len(self.clients), min(max(width, 2 * self.clients.shape[1], 64), MAX_CLIENTS)), np.bool_)
            wider[:, : self.clients.shape[1]] = self.clients
            self.clients = wider
        inside = address < self.clients.shape[1]
        self.clients_full |= not bool(inside.all())
        self.clients[target[inside], address[inside]] = True

    def _add_names(self, names: npt.NDArray[np.uint32]) -> None:
        self.heads += len(names)
        for number, count in zip(*(part.tolist() for part in np.unique(names, return_counts=True)), strict=True):
            if number in self.names or len(self.names) < MAX_NAMES:
                self.names[number] = self.names.get(number, 0) + count

    def usual_name(self, strings: Interner) -> SafeText | None:
        """The SNI or Host of most hellos and requests; None where there is none. An address is no name."""
        named = {number: count for number, count in self.names.items() if number > 1}
        if not named:
            return None
        number = min(named, key=lambda name: (-named[name], name))
        text = safe_text(strings[number])
        host = text.rpartition(":")[0] if text.rpartition(":")[2].isdigit() else text
        if 2 * named[number] < self.heads or not host or host.startswith("[") or host.replace(".", "").isdigit():
            return None
        return safe_text(host)

    @property
    def live(self) -> Counts:
        """Connections that carried data and have not ended."""
        live: Counts = np.maximum(self.connections - self.ended, 0)
        return live

    @property
    def resets(self) -> Counts:
        """Connections cut by a reset. A client's habit of ending each connection with RST when all is said is none."""
        habitual = (self.resets_by_client - self.resets_in_reply) * 2 > self.ended
        http = self.requests > 0
        by_client = np.where(http | habitual, self.resets_in_reply, self.resets_by_client)
        return np.add(self.resets_by_target, by_client)

    @property
    def is_http(self) -> bool:
        web = (Protocol7.HTTP1, Protocol7.HTTP2, Protocol7.WEBSOCKET)
        heads = int(self.requests.sum() + self.health_checks.sum())
        return heads > 0 or any(self.protocols.get(protocol) for protocol in web[:1])

    def percentile_ms(self, times: npt.NDArray[np.uint32], target: int, share: float) -> float | None:
        """A percentile of :attr:`connect` or :attr:`response` in milliseconds, within 2.2 %."""
        counts = times[target]
        total = int(counts.sum())
        if total == 0:
            return None
        rank = share * (total - 1)
        place = int(np.searchsorted(np.cumsum(counts), rank, side="right"))
        return float(2.0 ** (FIRST_OCTAVE + (place + 0.5) / BINS_PER_OCTAVE) / 1e6)


def add_times(bins: npt.NDArray[np.uint32], target: npt.NDArray[np.uint16], duration_ns: Counts) -> None:
    """Counts durations into logarithmic bins, per target."""
    width = bins.shape[1]
    place = ((np.log2(np.maximum(duration_ns, 1)) - FIRST_OCTAVE) * BINS_PER_OCTAVE).astype(np.intp)
    flat = target.astype(np.intp) * width + np.clip(place, 0, width - 1)
    bins += np.bincount(flat, minlength=bins.size).reshape(bins.shape).astype(np.uint32)


def client_addresses(requests: Rows | Part, proxies: frozenset[int]) -> npt.NDArray[np.uint32]:
    """The rightmost forwarded address that is no recognised proxy, else the PROXY header's source; 0 where none is named."""
    own = requests["proxy_source"].copy()
    known = np.fromiter(proxies, np.uint32) if proxies else np.zeros(0, np.uint32)
    for column in ("forwarded3", "forwarded2", "forwarded1", "forwarded0"):
        address = requests[column]
        named = address > 0
        if named.any():
            if len(known):
                named &= ~np.isin(address, known)
            own[named] = address[named]
    return own
