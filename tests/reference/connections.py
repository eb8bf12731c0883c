"""The connection table: which packet belongs to what, what is delivered in order, how it ends."""

from __future__ import annotations

from lbtop.model.observation import ConnFlag, End, Orientation, Side
from tests.reference.connection import Connection, Endpoint, Half, crossed
from tests.reference.conversation import Conversation, prove
from tests.reference.packets import ACK, FIN, RST, SYN, TCP, UDP, Packet, syn_options
from tests.reference.rows import Recorder

SECOND = 10**9
DUPLICATE_NS = SECOND // 100
AT_ONCE_NS = SECOND // 1000
LINGER_NS = 60 * SECOND  # a closed connection still owns its five-tuple's late packets
EXPIRY_NS = {TCP: 7200 * SECOND, UDP: 120 * SECOND}
REORDERING_NS = 10 * 10**6  # a bare acknowledgement may overtake what it acknowledges by so much
UNACKNOWLEDGED_NS = 2 * SECOND  # nobody acknowledges in a capture of one direction
HELD_BYTES = 256 << 10  # out of order and waiting for a hole to be filled


class Table:
    """Live connections by five-tuple, and everything that is known about listeners."""

    def __init__(self, rows: Recorder, recognition: object) -> None:
        self._rows = rows
        self._recognition = recognition
        self._live: dict[tuple[int, frozenset[Endpoint]], Connection] = {}
        self._listeners: set[tuple[int, Endpoint]] = set()
        self._copies: dict[tuple[object, ...], list[tuple[int, tuple[object, ...]]]] = {}
        self._count = 0
        self._swept = 0

    def packet(self, packet: Packet) -> bool:
        """False for a second copy of a packet already seen."""
        self._sweep(packet.ts_ns)
        source, destination = (packet.source, packet.source_port), (packet.destination, packet.destination_port)
        key = (packet.proto, frozenset((source, destination)))
        connection = self._live.get(key)
        if self._is_copy(packet):
            if connection is not None:
                connection.duplicates += 1
            return False
        if connection is not None and self._is_new(connection, packet, source):
            if connection.end is End.OPEN:
                connection.forced_end = End.REUSED
            self._finish(key)
            connection = None
        if connection is None:
            connection = self._live[key] = self._open(packet, source, destination)
        self._fold(connection, packet, Side.CLIENT if connection.client.endpoint == source else Side.SERVER)
        return True

    def finish(self, ended_ns: int) -> None:
        for key in list(self._live):
            self._finish(key, ended_ns)

    def _is_copy(self, packet: Packet) -> bool:
        key = (
            packet.proto,
            packet.source,
            packet.destination,
            packet.source_port,
            packet.destination_port,
            packet.ip_id,
            packet.seq,
            packet.ack,
            packet.flags,
            packet.length,
            packet.payload if packet.proto == UDP else b"",
            None if packet.proto == UDP or packet.ip_id else (packet.window, b"" if packet.flags & SYN else packet.options),
        )
        place = (packet.interface, packet.vlan, packet.ttl, packet.link)
        seen = [one for one in self._copies.get(key, []) if packet.ts_ns - one[0] <= DUPLICATE_NS]
        at_once = AT_ONCE_NS if packet.proto == TCP else -1
        copy = any(packet.ip_id or place != other or packet.ts_ns - at <= at_once for at, other in seen)
        self._copies[key] = [*seen, (packet.ts_ns, place)]
        return copy

    @staticmethod
    def _is_new(connection: Connection, packet: Packet, source: Endpoint) -> bool:
        if packet.proto != TCP:
            return False
        closed = connection.end in (End.FIN, End.RST)
        half, other = connection.client, connection.server
        if half.endpoint != source:
            half, other = other, half
        if packet.flags & (SYN | ACK) == SYN | ACK:  # of a SYN that is not in view
            return closed and half.isn not in (None, packet.seq)
        if not packet.flags & SYN:
            return closed and packet.ts_ns - connection.last_ns > LINGER_NS
        if half.isn is not None or half.answered is not None:
            return packet.seq not in (half.isn, half.answered)
        simultaneous = other.isn is not None and not half.packets and not connection.first_data_ns
        return not simultaneous

    def _open(self, packet: Packet, source: Endpoint, destination: Endpoint) -> Connection:
        client, server, why = source, destination, Orientation.SYN
        if packet.flags & (SYN | ACK) == SYN | ACK:
            client, server = destination, source
        elif not packet.flags & SYN:
            known = [(packet.proto, end) in self._listeners for end in (source, destination)]
            if known[0] != known[1]:
                why = Orientation.LISTENER
                swap = known[0]
            else:
                why = Orientation.PORT if source[1] != destination[1] else Orientation.UNKNOWN
                swap = source[1] < destination[1]
            if swap:
                client, server = server, client
        self._count += 1
        conversation = Conversation(self._rows, self._recognition, self._count, packet.proto)
        return Connection(
            self._count,
            packet.proto,
            Half(client),
            Half(server),
            packet.ts_ns,
            packet.interface,
            packet.vlan,
            why,
            conversation,
            last_ns=packet.ts_ns,
        )

    def _fold(self, connection: Connection, packet: Packet, side: Side) -> None:
        half = connection.half(side)
        other = connection.server if half is connection.client else connection.client
        earlier = (connection.last_side, connection.silence)
        connection.silence = max(0, packet.ts_ns - connection.last_ns)
        connection.last_ns = max(connection.last_ns, packet.ts_ns)
        connection.last_side = side
        half.packets += 1
        half.ttl = half.ttl or packet.ttl
        if packet.truncated:
            connection.flags |= ConnFlag.TRUNCATED
        if packet.flags & RST:
            self._reset(connection, half, packet, side, earlier)
        else:
            self._silence(connection, side)
            if packet.proto == UDP:
                self._payload(connection, half, packet.payload, packet.length, packet.ts_ns)
            else:
                self._segment(connection, half, other, packet, side)
        connection.longest_silence = max(connection.longest_silence, connection.silence)

    @staticmethod
    def _silence(connection: Connection, side: Side) -> None:
        """A silence is survived when the end that did not break it is heard again, before anybody closes."""
        for breaker in list(connection.unanswered):
            if breaker is not side:
                silence = connection.unanswered.pop(breaker)
                if not connection.first_closer:
                    connection.survived = max(connection.survived, silence)
        connection.unanswered[side] = max(connection.unanswered.get(side, 0), connection.silence)

    @staticmethod
    def _reset(connection: Connection, half: Half, packet: Packet, side: Side, earlier: tuple[Side, int]) -> None:
        half.resets += 1
        connection.first_closer = connection.first_closer or side
        if side is Side.SERVER and crossed(connection):
            connection.flags |= ConnFlag.KEEPALIVE_RACE
        if connection.reset or None not in (connection.client.fin_at, connection.server.fin_at):
            return
        connection.reset = True
        last_side, silence = earlier
        answers = last_side not in (side, Side.NONE)
        if connection.idle_before_end is None:
            connection.idle_before_end = silence if answers else connection.silence
        if answers and silence >= SECOND and silence >= connection.longest_silence:
            connection.flags |= ConnFlag.RST_AFTER_IDLE
        if not packet.window and not packet.options:
            connection.flags |= ConnFlag.RST_BARE
        # A server that said anything else before, or was sent data, had accepted: its SYN-ACK is missing from the capture.
        untouched = half.packets == half.resets and not connection.first_data_ns
        if side is Side.SERVER and connection.syn_ns and not connection.synack_ns and untouched:
            connection.flags |= ConnFlag.REFUSED

    def _segment(self, connection: Connection, half: Half, other: Half, packet: Packet, side: Side) -> None:
        if packet.flags & ACK:
            acked = other.unwrap(packet.ack)
            other.acked = acked if other.acked is None else max(other.acked, acked)
            self._acknowledged(connection, other, packet)
        if packet.flags & SYN:
            self._syn(connection, half, other, packet, side)
            if packet.flags & ACK:
                self._listeners.add((TCP, half.endpoint))
        elif connection.synack_ns and not connection.ack_ns and side is Side.CLIENT and packet.flags & ACK:
            connection.ack_ns = packet.ts_ns - connection.synack_ns
        if not packet.window and not packet.flags & SYN:
            connection.flags |= ConnFlag.ZERO_WINDOW
        start = half.unwrap(packet.seq) + bool(packet.flags & SYN)
        if half.expected is None:  # of a keep-alive probe the number that follows
            half.begun = start + (packet.length <= 1 and half.acked == start + 1)
        if half.expected is None or (not half.anchored and start > half.expected):
            half.expected = start
        if not packet.flags & (SYN | FIN) and packet.length <= 1 and half.anchored and start == half.expected - 1:
            connection.probes += 1
            return
        fin = bool(packet.flags & FIN) and half.fin_at is None  # a FIN takes a sequence number, once
        old = start + packet.length + fin <= half.expected or (not packet.length and half.fin_at == start)
        late = self._late(half, start, start + packet.length) if packet.length else 0
        if packet.length or packet.flags & (SYN | FIN):
            repeated = half.isn_repeated if packet.flags & SYN else (old and not late) or start in half.waiting
            half.retransmits += repeated
            half.last_resent = repeated and not packet.flags & SYN
        if packet.length:
            half.last_data = (start + packet.length, other.unwrap(packet.ack))
            half.anchored = True
            self._arrived(connection, half, start, packet)
        if packet.flags & FIN and half.fin_at is None:
            half.fin_at = start + packet.length
            if not connection.first_closer:
                connection.first_closer = side
                connection.idle_before_end = connection.silence
            self._drain(connection, half, give_up=False)

    @staticmethod
    def _syn(connection: Connection, half: Half, other: Half, packet: Packet, side: Side) -> None:
        half.isn_repeated = half.isn == packet.seq
        half.isn = packet.seq
        was_anchored, half.anchored = half.anchored, True
        half.expected = half.expected if half.isn_repeated or was_anchored else packet.seq + 1
        if packet.flags & ACK:
            connection.flags |= ConnFlag.SYNACK
            if not connection.synack_ns:
                connection.synack_ns = packet.ts_ns
                other.answered = (packet.ack - 1) & 0xFFFFFFFF
                if connection.syn_ns:
                    connection.connect_ns = packet.ts_ns - connection.syn_ns
            return
        if side is Side.SERVER:
            connection.flags |= ConnFlag.SIMULTANEOUS
            return
        connection.flags |= ConnFlag.SYN
        connection.orientation = Orientation.SYN
        if not connection.syn_ns:
            options = syn_options(packet.options)
            connection.syn_ns = packet.ts_ns
            connection.mss, connection.window, connection.tsval = options.mss, packet.window, options.tsval
            connection.stack = options.stack(packet.window)

    def _arrived(self, connection: Connection, half: Half, start: int, packet: Packet) -> None:
        assert half.expected is not None
        length, payload = packet.length, packet.payload
        if start < half.expected:  # overlap: what was there first stays
            payload = payload[half.expected - start :]
            length -= half.expected - start
            start = half.expected
        if length <= 0:
            return
        if not connection.first_data_ns:
            self._first_payload(connection, half, payload, packet.ts_ns)
        if start == half.expected:
            half.expected += length
            self._payload(connection, half, payload, length, packet.ts_ns)
        else:
            known = half.waiting.get(start)
            if known is None or known[0] < length:
                half.waiting[start] = (length, payload, packet.ts_ns)
        self._drain(connection, half, give_up=sum(one[0] for one in half.waiting.values()) > HELD_BYTES)
        if half.waiting and half.acked is None and packet.ts_ns - half.waiting[min(half.waiting)][2] > UNACKNOWLEDGED_NS:
            self._drain(connection, half, give_up=True, once=True)

    def _drain(self, connection: Connection, half: Half, give_up: bool, once: bool = False) -> None:
        """Delivers what has become in order; when giving up, holes are skipped and counted."""
        while half.waiting:
            start = min(half.waiting)
            assert half.expected is not None
            if start > half.expected:
                if not give_up:
                    return
                give_up = not once
                half.holes.append((half.expected, start))
                hole = start - half.expected
                half.missing += hole
                half.expected = start
                connection.conversation.skip(self._side(connection, half), hole, half.waiting[start][2])
            length, payload, ts_ns = half.waiting.pop(start)
            if start + length > half.expected:
                cut = half.expected - start
                half.expected = start + length
                self._payload(connection, half, payload[cut:], length - cut, ts_ns)

    def _acknowledged(self, connection: Connection, half: Half, packet: Packet) -> None:
        """Its receiver has what this capture lacks: a hole that was acknowledged will not be filled any more."""
        while half.waiting and half.acked is not None and half.acked >= min(half.waiting):
            since = half.waiting[min(half.waiting)][2]
            if not packet.length and packet.ts_ns - since < REORDERING_NS:
                return
            self._drain(connection, half, give_up=True, once=True)

    @staticmethod
    def _late(half: Half, start: int, end: int) -> int:
        """Bytes of a hole that was given up and is filled after all: they count, but nobody reads them any more."""
        found = 0
        for at, (begin, stop) in enumerate(half.holes):
            low, high = max(start, begin), min(end, stop)
            if low < high:
                found += high - low
                half.holes[at : at + 1] = [(begin, low), (high, stop)]
        half.carried += found
        half.missing -= found
        return found

    @staticmethod
    def _side(connection: Connection, half: Half) -> Side:
        return Side.CLIENT if half is connection.client else Side.SERVER

    def _payload(self, connection: Connection, half: Half, payload: bytes, length: int, ts_ns: int) -> None:
        if not length:
            return
        if not connection.first_data_ns:
            self._first_payload(connection, half, payload, ts_ns)
        elif connection.orientation < Orientation.PAYLOAD:
            self._orient(connection, half, payload)
        half.carried += length
        half.clock = max(half.clock, ts_ns)
        side = self._side(connection, half)
        connection.conversation.deliver(side, payload, half.clock)
        if length > len(payload):
            connection.conversation.skip(side, length - len(payload), half.clock)

    def _orient(self, connection: Connection, half: Half, payload: bytes) -> None:
        proven = prove(payload, connection.proto)
        if proven is not Side.NONE:
            if proven is not self._side(connection, half):
                connection.swap(Orientation.PAYLOAD)
            connection.orientation = Orientation.PAYLOAD
            self._bind(connection)

    def _bind(self, connection: Connection) -> None:
        number = self._rows.addresses.number
        client, server = connection.client.endpoint, connection.server.endpoint
        connection.conversation.ends.update(
            client=number(client[0]), server=number(server[0]), client_port=client[1], server_port=server[1]
        )
        if connection.orientation is Orientation.PAYLOAD or connection.synack_ns:
            self._listeners.add((connection.proto, server))

    def _first_payload(self, connection: Connection, half: Half, payload: bytes, ts_ns: int) -> None:
        connection.first_data_ns = ts_ns
        connection.conversation.midstream = not connection.flags & (ConnFlag.SYN | ConnFlag.SYNACK)
        connection.conversation.whole = not connection.conversation.midstream
        if connection.orientation < Orientation.PAYLOAD:
            self._orient(connection, half, payload)
        self._bind(connection)
        connection.data_order = self._side(connection, half)
        self._rows.add(
            "opened",
            at_ns=ts_ns,
            conn=connection.number,
            syn_ns=connection.syn_ns,
            **connection.conversation.ends,
            **self._stack(connection),
            proto=connection.proto,
            orientation=connection.orientation,
            interface=connection.interface,
        )

    def _stack(self, connection: Connection) -> dict[str, int]:
        return {
            "isn_c": connection.client.isn or 0,
            "stack": self._rows.strings.number(connection.stack),
            "mss": connection.mss,
            "window": connection.window,
            "ttl_c": connection.client.ttl,
            "ttl_s": connection.server.ttl,
        }

    def _sweep(self, now: int) -> None:
        """Ends what has been silent for too long, looked at once a second of capture time."""
        if now - self._swept < SECOND:
            return
        self._swept = now
        self._copies = {key: seen for key, seen in self._copies.items() if now - seen[-1][0] <= DUPLICATE_NS}
        for key, connection in list(self._live.items()):
            if now - connection.last_ns > EXPIRY_NS[connection.proto]:
                if connection.end is End.OPEN:
                    connection.forced_end = End.EXPIRED
                self._finish(key)

    def _finish(self, key: tuple[int, frozenset[Endpoint]], ended_ns: int = 0) -> None:
        connection = self._live.pop(key)
        client, server, conversation = connection.client, connection.server, connection.conversation
        for half in (client, server):
            self._drain(connection, half, give_up=True)
        self._bind(connection)
        for half in (client, server):
            missing = half.unseen
            half.missing += missing
            if missing:
                conversation.miss(self._side(connection, half), missing)
        conversation.close(connection.last_ns, server.packets > 0)
        if connection.one_direction:
            connection.flags |= ConnFlag.ONE_DIRECTION
        if client.missing or server.missing:
            connection.flags |= ConnFlag.GAPS
        if client.fin_at is not None or server.fin_at is not None:
            connection.flags |= ConnFlag.FIN_SEEN
        if any(half.last_resent and (half.acked is None or half.acked < (half.expected or 0)) for half in (client, server)):
            connection.flags |= ConnFlag.SILENT_END
        idle = connection.idle_before_end
        self._rows.add(
            "connections",
            at_ns=connection.last_ns,
            conn=connection.number,
            opened_ns=connection.opened_ns,
            first_data_ns=connection.first_data_ns,
            last_ns=connection.last_ns,
            bytes_c=client.carried,
            bytes_s=server.carried,
            connect_ns=connection.connect_ns,
            ack_ns=connection.ack_ns,
            turn_ns=conversation.turn_ns,
            idle_survived_ns=connection.survived,
            idle_before_end_ns=max(0, ended_ns - connection.last_ns) if idle is None and ended_ns else idle or 0,
            missing_bytes=client.missing + server.missing,
            **conversation.ends,
            **self._stack(connection),
            packets_c=client.packets,
            packets_s=server.packets,
            retransmits_c=client.retransmits,
            retransmits_s=server.retransmits,
            requests=conversation.requests,
            responses=conversation.responses,
            keepalive_probes=connection.probes,
            flags=connection.flags | conversation.flags,
            tsval_c=connection.tsval,
            duplicates=connection.duplicates,
            resets_c=client.resets,
            resets_s=server.resets,
            interface=connection.interface,
            vlan=connection.vlan,
            proto=connection.proto,
            protocol7=conversation.protocol,
            orientation=connection.orientation,
            end=connection.end,
            first_closer=connection.first_closer,
            data_order=connection.data_order,
        )
