"""Sessions and connections one by one, for a person who drills down: rows from the history ledger, no judgement."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lbtop.model.address import endpoint_text, ip_text
from lbtop.model.observation import ConnFlag, End, HelloFlag, Protocol7, RespFlag, Rows, Side
from lbtop.model.snapshot import ConnectionRow, Detail, Event, SessionRow
from lbtop.model.text import SafeText, safe_text
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.ledgers.history import HistoryLedger

SESSIONS = 200
STRIP = 48
SHOWN_CONNECTIONS = 200
EVENTS = 24
"""Requests and responses of one connection that are told one by one: the first half and the last half of this number."""
TLS_NAMES = {0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}


def service_detail(facts: ServiceFacts, history: HistoryLedger) -> Detail:
    """The newest sessions (most recent arrival first) and connections (newest first) in view."""
    return Detail(_sessions(facts, history), _connections(facts, history))


def _sessions(facts: ServiceFacts, history: HistoryLedger) -> tuple[SessionRow, ...]:
    rows = history.arrivals
    place = _places(facts)
    rows = rows[place[rows["target"]] >= 0]
    if bool((rows["layer7"] == 1).any()):
        rows = rows[rows["layer7"] == 1]
    if not len(rows):
        return ()
    known = rows["session"] != 0
    keys = np.where(known, rows["session"], rows["client"].astype(np.uint64))
    order = np.lexsort((np.arange(len(rows)), keys, known))
    sorted_keys, sorted_known = keys[order], known[order]
    starts = np.flatnonzero(np.r_[True, (sorted_keys[1:] != sorted_keys[:-1]) | (sorted_known[1:] != sorted_known[:-1])])
    ends = np.r_[starts[1:], len(order)]
    last = rows["at_ns"][order[ends - 1]]
    result: list[SessionRow] = []
    for group in np.argsort(-last, kind="stable")[:SESSIONS]:
        mine = rows[order[starts[group] : ends[group]]]
        targets = place[mine["target"]]
        connections = mine["conn"][-STRIP:].tolist()
        client = ip_text(facts.addresses[int(mine["client"][-1])])
        session = int(mine["session"][-1])
        number = history.numbers[session] if session else 0
        result.append(
            SessionRow(
                key=f"session {number}" if number else client,
                client=client,
                arrivals=len(mine),
                first_ns=int(mine["at_ns"][0]),
                last_ns=int(mine["at_ns"][-1]),
                strip=tuple((int(a), int(t)) for a, t in zip(mine["at_ns"][-STRIP:], targets[-STRIP:], strict=True)),
                moves=int((targets[1:] != targets[:-1]).sum()),
                connections=tuple(dict.fromkeys(reversed(connections)))[::-1],
            )
        )
    return tuple(result)


def _places(facts: ServiceFacts) -> npt.NDArray[np.int64]:
    """Where a target of the ledger stands in the table that is shown; -1 where it is no target after all."""
    known = min(len(facts.targets), len(facts.ledgers.targets.connections))
    places = np.full(1 << 16, -1, np.int64)
    kept = [number for number in range(known) if number not in facts.former]
    places[kept] = np.arange(len(kept))
    return places


def _connections(facts: ServiceFacts, history: HistoryLedger) -> tuple[ConnectionRow, ...]:
    rows = history.connections[-SHOWN_CONNECTIONS:][::-1]
    requests, responses, hellos = (_by_connection(table) for table in (history.requests, history.responses, history.handshakes))
    return tuple(
        _connection(
            facts, history, row, requests.get(int(row["conn"])), responses.get(int(row["conn"])), hellos.get(int(row["conn"]))
        )
        for row in rows
    )


def _by_connection(rows: Rows) -> dict[int, Rows]:
    order = np.argsort(rows["conn"], kind="stable")
    ordered = rows[order]
    numbers, starts = np.unique(ordered["conn"], return_index=True)
    return {int(number): part for number, part in zip(numbers, np.split(ordered, starts[1:]), strict=True)} if len(rows) else {}


def _connection(
    facts: ServiceFacts, history: HistoryLedger, row: np.void, requests: Rows | None, responses: Rows | None, hellos: Rows | None
) -> ConnectionRow:
    flags = int(row["flags"])
    events = list(_life(row))
    for hello in hellos if hellos is not None else ():
        events.append(_hello_event(facts, hello))
    for request in _ends(requests):
        head = b"%s %s" % (facts.strings[int(request["method"])], facts.strings[int(request["path"])])
        events.append(Event(int(request["at_ns"]), "request", safe_text(head, 120)))
    for response in _ends(responses):
        unanswered = int(response["flags"]) & RespFlag.UNANSWERED
        text = "never answered" if unanswered else f"{int(response['status'])} after {int(response['delay_ns']) / 1e6:.1f} ms"
        events.append(Event(int(response["at_ns"]), "response", SafeText(text)))
    if requests is not None and len(requests) > EVENTS:
        left_out = requests[EVENTS // 2 : -(EVENTS // 2)]
        events.append(Event(int(left_out["at_ns"][0]), "…", SafeText(f"{len(left_out):,} requests not told one by one")))
    events.sort(key=lambda event: event.at_ns)
    side = Side(int(row["first_closer"]))
    return ConnectionRow(
        number=int(row["conn"]),
        client=endpoint_text(facts.addresses[int(row["client"])], int(row["client_port"])),
        target=endpoint_text(facts.addresses[int(row["server"])], int(row["server_port"])),
        opened_ns=int(row["opened_ns"]),
        last_ns=int(row["last_ns"]),
        protocol=Protocol7(int(row["protocol7"])).name.lower(),
        requests=int(row["requests"]),
        bytes_in=int(row["bytes_c"]),
        bytes_out=int(row["bytes_s"]),
        retransmits=int(row["retransmits_c"]) + int(row["retransmits_s"]),
        end=End(int(row["end"])).name.lower(),
        closed_by={Side.CLIENT: "client", Side.SERVER: "target"}.get(side, ""),
        connect_ms=int(row["connect_ns"]) / 1e6 if row["connect_ns"] else None,
        idle_s=max(int(row["idle_survived_ns"]), int(row["idle_before_end_ns"])) / 1e9,
        seen_from_start=bool(flags & ConnFlag.SYN),
        health_check=bool(flags & ConnFlag.PROXIED_LOCAL),
        events=tuple(events),
    )


def _ends(rows: Rows | None) -> Rows | tuple[()]:
    """The first and the last rows, where there are many."""
    if rows is None:
        return ()
    return rows if len(rows) <= EVENTS else np.concatenate([rows[: EVENTS // 2], rows[-(EVENTS // 2) :]])


def _life(row: np.void) -> list[Event]:
    flags = int(row["flags"])
    events = [
        Event(
            int(row["opened_ns"]),
            "syn" if flags & ConnFlag.SYN else "joined",
            SafeText("SYN" if flags & ConnFlag.SYN else "joined in the middle"),
        )
    ]
    if row["connect_ns"]:
        events.append(
            Event(
                int(row["opened_ns"]) + int(row["connect_ns"]),
                "synack",
                SafeText(f"accepted after {int(row['connect_ns']) / 1e6:.2f} ms"),
            )
        )
    if int(row["idle_before_end_ns"]) > 1_000_000_000:
        silent = int(row["idle_before_end_ns"]) / 1e9
        events.append(
            Event(
                int(row["last_ns"]) - int(row["idle_before_end_ns"]), "idle", SafeText(f"silent for {silent:.1f} s until the end")
            )
        )
    end = End(int(row["end"]))
    if end is not End.OPEN:
        by = {Side.CLIENT: " by the client", Side.SERVER: " by the target"}.get(Side(int(row["first_closer"])), "")
        events.append(
            Event(int(row["last_ns"]), "close", SafeText(f"{end.name}{by}" if end in (End.FIN, End.RST) else end.name.lower()))
        )
    return events


def _hello_event(facts: ServiceFacts, hello: np.void) -> Event:
    name = safe_text(facts.strings[int(hello["sni"])], 80)
    version = TLS_NAMES.get(int(hello["version"]), "TLS") if int(hello["flags"]) & HelloFlag.SERVER_SEEN else "no server hello"
    resumed = ", resumed" if int(hello["flags"]) & HelloFlag.RESUMED else ""
    return Event(int(hello["at_ns"]), "hello", safe_text(f"client hello for {name or 'no name'}: {version}{resumed}", 160))
