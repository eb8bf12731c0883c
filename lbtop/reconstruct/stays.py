"""Who was where when: clients at endpoints, as long as they were connected or waited for an answer there.

A request that names its client was passed on by a front only while that client was there. Where the front's requests can be
read, it waited for one of them; elsewhere it was connected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from lbtop.model.observation import Rows
from lbtop.model.record import dataclass
from lbtop.reconstruct.columns import endpoint_keys, groups, keys_of
from lbtop.reconstruct.ledgers.heads import HTTP
from lbtop.reconstruct.tallies import ENCRYPTED, Endpoint, EndpointTally

Times = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.uint64]

SLACK_NS = 20_000_000  # clocks of two capturing hosts
LONGEST_NS = 250_000_000  # where the answer is not in view: what is passed on is passed on at once
FOREVER = np.iinfo(np.int64).max // 2
MOST_AT_ONCE = 16  # stays of one client that are looked at for one moment


@dataclass(frozen=True, slots=True, eq=False)
class Met:
    """Requests that fell into stays of the client they name, and how many stays those were."""

    requests: npt.NDArray[np.intp]
    stays: int


class Stays:
    """Stays at endpoints: of requests where they can be read, else of connections."""

    def __init__(
        self,
        endpoints: Mapping[Endpoint, EndpointTally],
        opened: Rows,
        ended: Rows,
        proxies: Rows,
        requests: Rows,
        responses: Rows,
    ) -> None:
        readable = keys_of(endpoint for endpoint, tally in endpoints.items() if tally.requests)
        encrypted = keys_of(endpoint for endpoint, tally in endpoints.items() if tally.protocol in ENCRYPTED)
        parts = [_of_connections(opened, ended, proxies, readable), _of_requests(requests, responses)]
        client, server, begin, end = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        order = np.lexsort((begin, client))
        self._client, self._server, self._begin, self._end = client[order], server[order], begin[order], end[order]
        self._encrypted = np.isin(self._server, encrypted)

    def met_by(self, named: Rows) -> Iterator[tuple[tuple[int, int, int, int, int], Met]]:
        """By front, back (address and port each) and caller: the requests that name a client who stays at the front."""
        who = named["forwarded0"].astype(np.uint64)
        at_ns = named["at_ns"]
        first = np.searchsorted(self._client, who)
        # Where the client's stays that began before the request end, in the order of client and begin.
        after = _insertion(self._client, self._begin, who, at_ns)
        hits: list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]] = []
        for back in range(1, MOST_AT_ONCE + 1):
            place = after - back
            rows = np.flatnonzero(place >= first)
            if not len(rows):
                break
            place = place[rows]
            inside = self._end[place] >= at_ns[rows]
            inside &= ~(self._encrypted[place] & (named["forwarded_proto"][rows] == HTTP))
            hits.append((rows[inside], place[inside]))
        if not hits:
            return
        rows, place = (np.concatenate(columns) for columns in zip(*hits, strict=True))
        server = self._server[place]
        columns = (server >> np.uint64(16)).astype(np.uint32), (server & np.uint64(0xFFFF)).astype(np.uint16)
        mine = named[rows]
        for key, members in groups(*columns, mine["server"], mine["server_port"], mine["client"]):
            front_ip, front_port, back_ip, back_port, caller = key
            found = Met(np.unique(rows[members]), len(np.unique(place[members])))
            yield (front_ip, front_port, back_ip, back_port, caller), found


Part = tuple[Numbers, Numbers, Times, Times]


def _of_connections(opened: Rows, ended: Rows, proxies: Rows, readable: Numbers) -> Part:
    """Connections to endpoints whose requests cannot be read, of whom a PROXY header names. What has not ended lasts."""
    still = opened[~np.isin(opened["conn"], ended["conn"])]
    began = ended[ended["first_data_ns"] > 0]
    client = np.concatenate([began["client"], still["client"]]).astype(np.uint64)
    told = np.sort(proxies[proxies["source"] > 0], order="conn")
    if len(told):
        conn = np.concatenate([began["conn"], still["conn"]])
        place = np.minimum(np.searchsorted(told["conn"], conn), len(told) - 1)
        client = np.where(told["conn"][place] == conn, told["source"][place].astype(np.uint64), client)
    server = np.concatenate([endpoint_keys(began), endpoint_keys(still)])
    begin = np.concatenate([began["opened_ns"], still["at_ns"]]).astype(np.int64) - SLACK_NS
    end = np.concatenate([began["last_ns"] + SLACK_NS, np.full(len(still), FOREVER)]).astype(np.int64)
    keep = ~np.isin(server, readable)
    return client[keep], server[keep], begin[keep], end[keep]


def _of_requests(requests: Rows, responses: Rows) -> Part:
    """Requests in clear, from the head to the answer's."""
    order = np.argsort(responses["request"], kind="stable")
    number, answered = responses["request"][order], responses["at_ns"][order]
    end = requests["at_ns"] + LONGEST_NS
    if len(number):
        place = np.minimum(np.searchsorted(number, requests["request"]), len(number) - 1)
        end = np.where(number[place] == requests["request"], answered[place], end)
    return requests["client"].astype(np.uint64), endpoint_keys(requests), requests["at_ns"].astype(np.int64), end.astype(np.int64)


def _insertion(client: Numbers, begin: Times, who: Numbers, at_ns: Times) -> npt.NDArray[np.intp]:
    """For each pair where it would go behind its equals, in an order by client and then begin."""
    joined_client = np.concatenate([client, who])
    joined_time = np.concatenate([begin, at_ns])
    mine = np.concatenate([np.zeros(len(client), np.int8), np.ones(len(who), np.int8)])
    order = np.lexsort((mine, joined_time, joined_client))
    before = np.cumsum(order < len(client))
    place = np.empty(len(order), np.intp)
    place[order] = before
    return place[len(client) :]
