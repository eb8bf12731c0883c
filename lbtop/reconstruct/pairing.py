"""Front and back connections of one balancer, seen together: which proves that the one was opened in answer to the other.

The marks, strongest first: one ``ClientHello.random`` on both (the client's own TLS went through); one initial sequence
number on both (the packets themselves were forwarded: DNAT, SNAT); a PROXY header that names the front connection; the
client's own address and port on both (a proxy that borrows them); the same request head on both within seconds; requests
that name a client of the front while it waits there. The first three are proofs one by one, the others in numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from lbtop.model.judgement import Evidence
from lbtop.model.observation import RespFlag, Rows, empty
from lbtop.model.record import dataclass, field
from lbtop.reconstruct.census import Census
from lbtop.reconstruct.columns import groups, in_order
from lbtop.reconstruct.facts import PairFacts
from lbtop.reconstruct.stays import Stays
from lbtop.reconstruct.tallies import Endpoint, EndpointTally

CARRIED = ("opened", "handshakes", "requests")
KEPT_ROWS = 2048
"""So many rows are carried over to the next window, for pairs that lie across its edge."""

SAMPLE = 4096
NEAR_NS = 2_000_000_000
MAX_LINKS = 4096
MAX_NAMES = 64
ENOUGH = 3
MOST = 0.5
SOME = 0.02
CLEARLY = 3

Numbers = npt.NDArray[np.uint64]
Places = npt.NDArray[np.intp]


@dataclass(slots=True, eq=False)
class Link:
    """What speaks for one front endpoint feeding one back endpoint, in pairs of connections (or requests)."""

    randoms: int = 0
    sequences: int = 0  # same initial sequence number
    headers: int = 0  # named by a PROXY header
    sources: int = 0  # same client address and port
    halves: int = 0  # of the sources: the front shows no SYN of its own, it is the same connection seen elsewhere
    heads: int = 0  # same request within seconds
    forwarded: int = 0  # requests that name a client of the front which is waiting there, or connected where that cannot be read
    explained: int = 0  # of the front's requests, or connections where those cannot be read: those with such a request inside
    likely: float = 0.0  # log-odds where no pair proves it
    callers: dict[int, int] = field(default_factory=dict)  # who opened the back connections, if not the client itself

    @property
    def proofs(self) -> int:
        return self.randoms + self.sequences + self.headers

    @property
    def pairs(self) -> int:
        return max(self.randoms, self.sequences, self.headers, self.sources, self.heads)

    @property
    def strength(self) -> int:
        return self.pairs + self.forwarded

    def promises(self, opened: int, requests: int) -> bool:
        """Whether a sample of so many rows gives reason to look on: a balancer's ports come again by chance elsewhere."""
        return bool(self.proofs or self.forwarded) or self.sources > SOME * opened or self.heads > SOME * requests

    def holds(self, front: EndpointTally | None, back: EndpointTally | None, pool: Pool) -> bool:
        """Whether the front feeds the back beyond doubt. ``pool``: what the front's links to backs of that port have together."""
        if front is None or back is None:
            return False
        if self.proofs:
            return True
        # Of several fronts of one back none has most of what the back gets, but each passes on most of what it gets itself.
        return (
            (self.sources >= ENOUGH and (self.sources >= MOST * back.connections or pool.sources >= MOST * front.connections))
            or (self.heads >= ENOUGH and (self.heads >= MOST * back.requests or pool.heads >= MOST * front.requests > 0))
            or (self.forwarded >= ENOUGH and (self.forwarded >= MOST * back.requests or pool.explains(front)))
        )


@dataclass(slots=True, eq=False)
class Pool:
    """Sums over the links of one front to all backs of one port."""

    sources: int = 0
    heads: int = 0
    explained: int = 0

    def add(self, link: Link) -> None:
        self.sources += link.sources
        self.heads += link.heads
        self.explained += link.explained

    def explains(self, front: EndpointTally) -> bool:
        """Whether most of what the front got has a back request inside that names the same client."""
        return self.explained >= MOST * (front.requests or front.connections)


@dataclass(slots=True, eq=False)
class Links:
    """Pairs of endpoints, in order of appearance."""

    links: dict[tuple[Endpoint, Endpoint], Link] = field(default_factory=dict)
    version: int = 0
    changes: int = -1  # of the census, when it was last asked
    relayed: bool = False  # some endpoint has clients that another has not
    kept: dict[str, Rows] = field(default_factory=lambda: {table: empty(table) for table in CARRIED})  # the last rows before
    ended: Rows = field(default_factory=lambda: empty("connections"))  # likewise

    def fold(self, window: Mapping[str, Rows], census: Census) -> None:
        """Looks for pairs: in a sample first, and in the whole window when there are any, or were any before."""
        if len(census.numbering) < 2:
            return
        if self.changes != census.changes:
            self.changes, self.relayed = census.changes, _may_be_relayed(census.endpoints)
        if not self.links and max(len(window[table]) for table in CARRIED) > SAMPLE:
            self._fold({table: rows[:SAMPLE] for table, rows in window.items()}, census)
            self.kept = {table: empty(table) for table in CARRIED}
            promising = any(
                link.promises(len(window["opened"][:SAMPLE]), len(window["requests"][:SAMPLE])) for link in self.links.values()
            )
            self.links.clear()
            if not promising:
                return
        self._fold(window, census)

    def _fold(self, window: Mapping[str, Rows], census: Census) -> None:
        joined = {table: _joined(self.kept[table], window[table]) for table in CARRIED}
        self._fold_sequences(joined["opened"])
        if self.relayed or self.links:
            self._fold_randoms(joined["handshakes"], joined["opened"])
            self._fold_headers(window["proxies"], joined["opened"])
            self._fold_heads(joined["requests"], window["responses"])
            self._fold_forwarded(joined, window, census)
        self.kept = {table: rows[-KEPT_ROWS:].copy() for table, rows in joined.items()}
        self.ended = _joined(self.ended, window["connections"][-KEPT_ROWS:])[-KEPT_ROWS:].copy()

    def _add(self, mark: str, front: Rows, back: Rows) -> None:
        """Counts pairs given as parallel rows that hold both ends' addresses and ports."""
        columns = front["server"], front["server_port"], back["server"], back["server_port"]
        for (front_ip, front_port, back_ip, back_port), rows in groups(*columns):
            if (front_ip, front_port) == (back_ip, back_port):
                continue
            link = self._link((front_ip, front_port), (back_ip, back_port))
            if link is None:
                continue
            before = getattr(link, mark)
            setattr(link, mark, before + len(rows))
            if before < ENOUGH or before + len(rows) >= 2 * before:
                self.version += 1
            other = back["client"][rows][back["client"][rows] != front["client"][rows]]
            for (caller,), calls in groups(other):
                if caller in link.callers or len(link.callers) < MAX_NAMES:
                    link.callers[caller] = link.callers.get(caller, 0) + len(calls)

    def _link(self, front: Endpoint, back: Endpoint) -> Link | None:
        link = self.links.get((front, back))
        if link is None and len(self.links) < MAX_LINKS:
            link = self.links[front, back] = Link()
        return link

    def _fold_randoms(self, handshakes: Rows, opened: Rows) -> None:
        first, second = _twins(handshakes["random"], handshakes["seq"], self._edge("handshakes"))
        if not len(first):
            return
        # A server hello travels towards the client: the rows' order says nothing, that of the connections does. A PROXY header
        # goes out before the client's first byte is in: what tells is the SYN.
        order = np.argsort(opened["conn"], kind="stable")
        began = np.where(opened["syn_ns"] > 0, opened["syn_ns"], opened["at_ns"])[order].astype(np.uint64)
        rank = [_looked_up(opened["conn"][order], began, handshakes["conn"][side]) for side in (first, second)]
        swap = rank[0] > rank[1]
        front, back = np.where(swap, second, first), np.where(swap, first, second)
        self._add("randoms", handshakes[front], handshakes[back])

    def _fold_sequences(self, opened: Rows) -> None:
        """One TCP connection seen before and after its addresses were rewritten; and borrowed client addresses."""
        edge = self._edge("opened")
        with_syn = np.flatnonzero((opened["syn_ns"] > 0) & (opened["isn_c"] > 0))
        first, second = _twins(opened["isn_c"][with_syn].astype(np.uint64), opened["seq"][with_syn], edge)
        self._add_near("sequences", opened, with_syn[first], with_syn[second])
        ends = (opened["client"].astype(np.uint64) << np.uint64(16)) | opened["client_port"]
        self._add_near("sources", opened, *_twins(ends, opened["seq"], edge))

    def _add_near(self, mark: str, opened: Rows, first: Places, second: Places) -> None:
        near = np.abs(opened["at_ns"][second] - opened["at_ns"][first]) <= NEAR_NS
        if not near.any():
            return
        first, second = first[near], second[near]
        # Row by row only what is paired in the end: copying whole rows costs more than all comparisons.
        one = {name: opened[name][first] for name in ("ttl_c", "ttl_s", "syn_ns")}
        other = {name: opened[name][second] for name in one}
        # Forwarding takes one off the time to live: off the client's packets behind it, off the server's before it.
        seen = (one["ttl_s"] > 0) & (other["ttl_s"] > 0) & (one["ttl_s"] != other["ttl_s"])
        asked = (one["ttl_c"] > 0) & (other["ttl_c"] > 0) & (one["ttl_c"] != other["ttl_c"])
        # A capture inside the host that rewrites may show a SYN only as rewritten: who has it alone is behind.
        alone = (one["syn_ns"] > 0) & (other["syn_ns"] == 0)
        swap = np.where(seen, one["ttl_s"] > other["ttl_s"], np.where(asked, one["ttl_c"] < other["ttl_c"], alone))
        front, back = opened[np.where(swap, second, first)], opened[np.where(swap, first, second)]
        self._add(mark, front, back)
        # Where the capture shows the client's packets only as rewritten, what is left at the front is half a connection.
        half = (front["syn_ns"] == 0) & (back["syn_ns"] > 0)
        if mark == "sources":
            self._add("halves", front[half], back[half])

    def _fold_headers(self, proxies: Rows, opened: Rows) -> None:
        named = proxies[(proxies["source"] > 0) & (proxies["source_port"] > 0)]
        if not len(named):
            return
        ends = (opened["client"].astype(np.uint64) << np.uint64(16)) | opened["client_port"]
        order = np.argsort(ends, kind="stable")
        wanted = (named["source"].astype(np.uint64) << np.uint64(16)) | named["source_port"]
        place = np.minimum(np.searchsorted(ends[order], wanted, side="right") - 1, len(ends) - 1)
        front = order[np.maximum(place, 0)]
        found = (ends[front] == wanted) & (opened["conn"][front] != named["conn"])
        self._add("headers", opened[front[found]], named[found])

    def _fold_heads(self, requests: Rows, responses: Rows) -> None:
        """The same request on two connections, the second asked and answered while the first is waiting."""
        if not len(requests):
            return
        key = (requests["path"].astype(np.uint64) << np.uint64(32)) | requests["method"]
        order = np.lexsort((requests["seq"], key))
        first, second = order[:-1], order[1:]
        other = (requests["server"][first] != requests["server"][second]) | (
            requests["server_port"][first] != requests["server_port"][second]
        )
        wait = requests["at_ns"][second] - requests["at_ns"][first]
        match = (key[first] == key[second]) & other & (wait >= 0) & (wait <= NEAR_NS)
        match &= requests["seq"][second].astype(np.int64) > self._edge("requests")
        first, second = first[match], second[match]
        # Two servers that get the same requests by turns are no front and back: the second names the first's client,
        # or is asked and answered within the first.
        responses = responses[(responses["flags"] & RespFlag.UNANSWERED) == 0]
        by = np.argsort(responses["request"], kind="stable")
        answered = [
            _looked_up(responses["request"][by], responses["at_ns"][by].astype(np.uint64), requests["request"][side])
            for side in (first, second)
        ]
        within = (answered[1] > 0) & (answered[1] <= answered[0])
        within &= requests["user_agent"][first] == requests["user_agent"][second]
        within &= requests["client"][first] != requests["client"][second]  # one client may ask two servers at once
        named = requests["forwarded0"][second] == requests["client"][first]
        # Who is sent from one front to another asks there for the same again, once it is answered here.
        named &= (answered[0] == 0) | (requests["at_ns"][second].astype(np.uint64) <= answered[0])
        paired = named | within
        if 0 < np.count_nonzero(paired) < MOST * len(requests) / 2:
            self._add_heads_in_turn(requests, key, order, responses[by], first[paired], second[paired])
        else:
            self._add("heads", requests[first[paired]], requests[second[paired]])

    def _add_heads_in_turn(
        self, requests: Rows, key: Numbers, order: Places, answers: Rows, first: Places, second: Places
    ) -> None:
        """Where many ask for the same at once, neighbours in time are no pairs: the first to come in is the first to go on.

        Only heads that came as often to the endpoint that had them first as to all others together.
        """
        at = requests["at_ns"][order]
        ends = (requests["server"][order].astype(np.uint64) << np.uint64(16)) | requests["server_port"][order]
        starts = np.concatenate(([0], np.flatnonzero(key[order][1:] != key[order][:-1]) + 1))
        sizes = np.diff(np.concatenate((starts, [len(order)])))
        of = np.repeat(np.arange(len(starts)), sizes)
        in_front = ends == np.repeat(ends[starts], sizes)
        fronts = np.bincount(of, in_front, len(starts))
        as_often = (fronts >= 0.9 * sizes / 2) & (fronts <= 1.1 * sizes / 2)
        turns = [np.cumsum(mask) - mask for mask in (in_front, ~in_front)]
        turns = [turn - np.repeat(turn[starts], sizes) for turn in turns]
        front = np.flatnonzero(in_front & as_often[of])
        back = np.flatnonzero(~in_front & as_often[of])
        codes = [(of[side] << 32) | turns[which][side] for which, side in enumerate((front, back))]
        place = np.minimum(np.searchsorted(codes[0], codes[1]), max(len(front) - 1, 0))
        met = codes[0][place] == codes[1] if len(front) else np.zeros(len(back), np.bool_)
        front, back = front[place[met]], back[met]
        wait = at[back] - at[front]
        front, back = order[front], order[back]
        answered = [
            _looked_up(answers["request"], answers["at_ns"].astype(np.uint64), requests["request"][side])
            for side in (front, back)
        ]
        good = (wait >= 0) & (wait <= NEAR_NS) & (answered[1] > 0) & (answered[1] <= answered[0])
        good &= requests["user_agent"][front] == requests["user_agent"][back]
        good &= requests["client"][front] != requests["client"][back]
        good &= requests["seq"][back].astype(np.int64) > self._edge("requests")
        good &= ~np.isin(back, second)
        self._add(
            "heads",
            requests[np.concatenate((first, front[good]))],
            requests[np.concatenate((second, back[good]))],
        )

    def _edge(self, table: str) -> int:
        """The last sequence number that was paired already."""
        kept = self.kept[table]
        return int(kept["seq"][-1]) if len(kept) else -1

    def _fold_forwarded(self, joined: Mapping[str, Rows], window: Mapping[str, Rows], census: Census) -> None:
        """Requests that name a client which is waiting for an answer at some other endpoint in view, or connected to it."""
        requests = window["requests"]
        named = requests[requests["forwarded0"] > 0]
        if not len(named):
            return
        ended = _joined(self.ended, window["connections"])
        endpoints = census.endpoints
        stays = Stays(endpoints, joined["opened"], ended, window["proxies"], joined["requests"], window["responses"])
        for (front_ip, front_port, back_ip, back_port, caller), found in stays.met_by(named):
            if (front_ip, front_port) == (back_ip, back_port):
                continue
            beside = endpoints.get((front_ip, back_port))
            if caller != front_ip and beside is not None and caller in beside.clients:
                continue  # a server of the same kind as the back, fed by the same caller, is no front of it
            link = self._link((front_ip, front_port), (back_ip, back_port))
            if link is not None:
                before = link.forwarded
                link.forwarded += len(found.requests)
                link.explained += found.stays
                self.version += before < ENOUGH or link.forwarded >= 2 * before
                link.callers[caller] = link.callers.get(caller, 0) + len(found.requests)

    def proven(self, endpoints: Mapping[Endpoint, EndpointTally]) -> dict[tuple[Endpoint, Endpoint], Link]:
        """Links beyond doubt, each in its one direction; of a front that is only guessed the strongest per back."""
        partners: dict[Endpoint, set[Endpoint]] = {}
        for front, back in self.links:
            partners.setdefault(front, set()).add(back)
            partners.setdefault(back, set()).add(front)
        pools: dict[tuple[Endpoint, int], Pool] = {}
        for (front, back), link in self.links.items():
            pools.setdefault((front, back[1]), Pool()).add(link)
        held = {}
        for (front, back), link in self.links.items():
            if not link.holds(endpoints.get(front), endpoints.get(back), pools[front, back[1]]):
                continue
            mine = link.proofs + link.sources, link.strength, len(partners[front])
            other = self.links.get((back, front))
            against = (other.proofs + other.sources, other.strength, len(partners[back])) if other else (0, 0, 0)
            if mine < against or (mine == against and (back, front) in held):
                continue
            if link.proofs or link.strength >= CLEARLY * against[1] or link.sources:
                held[front, back] = link
        # What a front is known to feed on a port, it feeds on that port elsewhere too, when less is seen of it there.
        ports = {(front, back[1]) for front, back in held}
        for (front, back), link in self.links.items():
            few = endpoints.get(back)
            if (front, back[1]) in ports and (back, front) not in held and few and link.pairs >= MOST * few.connections > 0:
                held.setdefault((front, back), link)
        best: dict[Endpoint, int] = {}
        for (_, back), link in held.items():
            best[back] = max(best.get(back, 0), link.forwarded)
        held = {
            (front, back): link
            for (front, back), link in held.items()
            if link.pairs or link.forwarded == best[back] or pools[front, back[1]].explains(endpoints[front])
        }
        return {pair: link for pair, link in held.items() if link.proofs or not _leads_over_another(pair, held)}


def _leads_over_another(pair: tuple[Endpoint, Endpoint], held: Mapping[tuple[Endpoint, Endpoint], Link]) -> bool:
    """Whether what comes in at the front goes on to another front of the same back first: a client waits at both."""
    return any(outer == pair[0] and (middle, pair[1]) in held for outer, middle in held if middle != pair[1])


def _may_be_relayed(endpoints: Mapping[Endpoint, EndpointTally]) -> bool:
    """A proxy's back has another client than its front. Where all endpoints have the same ones, packets can only be forwarded."""
    serving = [tally for tally in endpoints.values() if tally.connections]
    return any(tally.unnamed or tally.clients.keys() != serving[0].clients.keys() for tally in serving)


def _weight(link: Link | None) -> int:
    return link.strength if link else 0


def _joined(before: Rows, now: Rows) -> Rows:
    if not len(before):
        return now
    joined = np.empty(len(before) + len(now), now.dtype)
    # As bytes: field by field, as numpy copies structured rows, takes four times as long.
    octets, edge = joined.view(np.uint8), before.nbytes
    octets[:edge] = before.view(np.uint8)
    octets[edge:] = now.view(np.uint8)
    return joined


def _twins(key: Numbers, seq: Numbers, edge: int) -> tuple[Places, Places]:
    """Indices of rows that hold the same key one after the other, where the later one is new. ``seq`` ascends."""
    ordered = np.sort(key)
    if not ((ordered[1:] == ordered[:-1]) & (ordered[1:] > 0)).any():  # the usual case, told without the indices
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    order = in_order(key)
    first, second = order[:-1], order[1:]
    same = (ordered[1:] == ordered[:-1]) & (ordered[1:] > 0) & (seq.astype(np.int64) > edge)[second]
    return first[same], second[same]


def _looked_up(keys: Numbers, values: Numbers, wanted: Numbers) -> Numbers:
    """Values of sorted keys; 0 for what is not there."""
    if not len(keys):
        return np.zeros(len(wanted), np.uint64)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], np.uint64(0))


@dataclass(frozen=True, slots=True)
class Chains:
    """The proven links as a graph from front to back."""

    links: dict[tuple[Endpoint, Endpoint], Link]

    @property
    def fronts(self) -> set[Endpoint]:
        return {front for front, _ in self.links}

    @property
    def backs(self) -> set[Endpoint]:
        return {back for _, back in self.links}

    def fronts_of(self, targets: Iterable[Endpoint]) -> list[Endpoint]:
        """The endpoints that feed the targets directly, the busiest first."""
        wanted = set(targets)
        weight: dict[Endpoint, int] = {}
        for (front, back), link in self.links.items():
            if back in wanted:
                weight[front] = weight.get(front, 0) + _weight(link)
        return sorted(weight, key=lambda front: -weight[front])

    @property
    def rewritten(self) -> bool:
        """Some connections were seen before and after their addresses were rewritten."""
        return any(link.sequences or link.halves for link in self.links.values())

    @property
    def halves(self) -> int:
        """Front connections that are only the other half of a back connection."""
        return sum(link.halves for link in self.links.values())

    def callers(self) -> frozenset[int]:
        """Addresses that open back connections on behalf of a front's clients."""
        return frozenset(caller for link in self.links.values() for caller in link.callers)

    def keeps_sources(self, targets: Iterable[Endpoint]) -> int:
        """How many pairs that lead to the targets keep the client's own address."""
        wanted = set(targets)
        return sum(
            max(link.sources, link.pairs - sum(link.callers.values())) for (_, back), link in self.links.items() if back in wanted
        )

    def _legs_to(self, wanted: set[Endpoint]) -> dict[tuple[Endpoint, Endpoint], Link]:
        """The links that lead to the targets. One that only rewrites addresses is no leg of its own: what leads to it is."""
        legs: dict[tuple[Endpoint, Endpoint], Link] = {}
        for pair, link in self.links.items():
            if pair[1] in wanted:
                further = {other: outer for other, outer in self.links.items() if other[1] == pair[0]}
                legs.update(further if further and link.sequences else {pair: link})
        return legs

    def pairs(self, targets: Iterable[Endpoint], endpoints: Mapping[Endpoint, EndpointTally]) -> PairFacts:
        wanted = set(targets)
        legs = self._legs_to(wanted)
        facts = PairFacts()
        for front in dict.fromkeys(front for front, _ in legs):
            tally = endpoints[front]
            facts.front_connections += tally.connections
            facts.hellos_front += tally.client_hellos
            facts.front_plain += tally.readable
            facts.front_tls += tally.encrypted
        for back in wanted:
            if back in endpoints:
                facts.hellos_back += endpoints[back].client_hellos
        for link in legs.values():
            facts.paired += link.pairs
            facts.randoms_on_both += link.randoms
            facts.heads += link.heads
            facts.same_isn += link.sequences
        return facts

    def evidence(self, targets: Iterable[Endpoint]) -> list[Evidence]:
        """What proves that the targets' connections answer those at the front."""
        wanted = set(targets)
        total = Link()
        for (_, back), link in self.links.items():
            if back in wanted:
                for name in ("randoms", "sequences", "headers", "sources", "heads", "forwarded"):
                    setattr(total, name, getattr(total, name) + getattr(link, name))
        likely = max((link.likely for (_, back), link in self.links.items() if back in wanted), default=0.0)
        said = (
            ("same-random", "tls-stack", total.randoms, "client hellos stand on both legs"),
            ("same-sequence", "tcp-stack", total.sequences, "connections keep their initial sequence number on the way"),
            ("proxy-names-front", "proxy-header", total.headers, "PROXY headers name a connection at the front"),
            ("same-source", "addresses", total.sources, "connections keep the client's address and port"),
            ("same-request", "http-headers", total.heads, "requests are seen on both legs, one after the other"),
            ("forwards-front-clients", "http-headers", total.forwarded, "requests name a client of the front"),
        )
        evidence = [Evidence(signal, group, f"{count} {text}") for signal, group, count, text in said if count]
        if likely:
            detail = "no pair of connections proves it, but volumes, times and names on both legs agree"
            evidence.append(Evidence("legs-agree", "traffic", detail, weight=round(likely, 1)))
        return evidence
