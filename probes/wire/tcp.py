"""What a TCP segment (RFC 9293) or a datagram does to its connection.

The columns of OPENED and CONNECTION are defined in lbtop.model.observation; the order of the steps here follows that text.
"""

import cython
from cython.cimports.lbtop.probes.wire.assembly import (
    ACKED,
    ANCHORED,
    CLIENT,
    FIN_SEEN,
    OPAQUE,
    RESENT,
    STARTED,
    SYN_SEEN,
    Half,
)
from cython.cimports.lbtop.probes.wire.buffer import be16
from cython.cimports.lbtop.probes.wire.frame import ACK, FIN, PROTO_UDP, RST, SYN
from cython.cimports.lbtop.probes.wire.slots import (
    ACTIVE,
    DELIVERING,
    ENDING,
    HALF_OPEN,
    RESET,
    SYNACK_SEEN,
    Connection,
)
from cython.cimports.lbtop.probes.wire.stream import PROVEN, SENDER_CLIENT, SWAP
from cython.cimports.lbtop.probes.wire.syn import SynOptions, read_syn
from cython.cimports.libc.stdint import int32_t, int64_t, uint32_t

from lbtop.model.observation import ConnFlag, End, Orientation

LINGER = cython.declare(int64_t, 60_000_000_000)
TCP_EXPIRY = cython.declare(int64_t, 7_200_000_000_000)
UDP_EXPIRY = cython.declare(int64_t, 120_000_000_000)
# A shorter silence is no idling.
LEAST_IDLE = cython.declare(int64_t, 1_000_000_000)
# A hole the other end has acknowledged: how long its bytes may still come, for captures that reorder packets of several queues;
# and how long a hole is waited for where no acknowledgements are in view.
REORDERING = cython.declare(int64_t, 10_000_000)
UNACKNOWLEDGED = cython.declare(int64_t, 2_000_000_000)

MOST_ALERT = cython.declare(cython.Py_ssize_t, 64)
BY_SYN = cython.declare(cython.int, int(Orientation.SYN))
BY_PAYLOAD = cython.declare(cython.int, int(Orientation.PAYLOAD))
BY_LISTENER = cython.declare(cython.int, int(Orientation.LISTENER))
BY_PORT = cython.declare(cython.int, int(Orientation.PORT))
BY_NOTHING = cython.declare(cython.int, int(Orientation.UNKNOWN))
END_EXPIRED = cython.declare(cython.int, int(End.EXPIRED))
END_REUSED = cython.declare(cython.int, int(End.REUSED))
FLAG_SYN = cython.declare(uint32_t, int(ConnFlag.SYN))
FLAG_SYNACK = cython.declare(uint32_t, int(ConnFlag.SYNACK))
FLAG_REFUSED = cython.declare(uint32_t, int(ConnFlag.REFUSED))
FLAG_TRUNCATED = cython.declare(uint32_t, int(ConnFlag.TRUNCATED))
FLAG_RACE = cython.declare(uint32_t, int(ConnFlag.KEEPALIVE_RACE))
FLAG_RST_AFTER_IDLE = cython.declare(uint32_t, int(ConnFlag.RST_AFTER_IDLE))
FLAG_RST_BARE = cython.declare(uint32_t, int(ConnFlag.RST_BARE))
FLAG_SIMULTANEOUS = cython.declare(uint32_t, int(ConnFlag.SIMULTANEOUS))
FLAG_ZERO_WINDOW = cython.declare(uint32_t, int(ConnFlag.ZERO_WINDOW))


def segment(table, frame, slot):
    h: cython.size_t
    conn: cython.pointer(Connection)
    half: cython.pointer(Half)
    other: cython.pointer(Half)
    flags: cython.int = frame.flags
    if slot >= 0:
        conn = cython.address(table.all[slot])
        if (flags & SYN or frame.ts_ns - conn.last_ns > LINGER) and begins_anew(table, frame, slot):
            if frame.ts_ns - conn.last_ns > TCP_EXPIRY:
                table.remove(slot, END_EXPIRED, conn.last_ns + TCP_EXPIRY)
            else:
                table.remove(slot, END_REUSED, frame.ts_ns)
            slot = -1
    if slot < 0:
        slot = open_connection(table, frame)
        conn = cython.address(table.all[slot])
    # Slots and their halves never move: what points to them holds.
    h = cython.cast(cython.size_t, slot) * 2 + table.end
    half = cython.address(table.assembly.halves[h])
    other = cython.address(table.assembly.halves[h ^ 1])
    silences(conn, half, other, table.end, frame.ts_ns, not flags & RST)
    if half.packets == 0:
        half.ttl = frame.ttl
    half.packets += 1
    if frame.captured < frame.wire:
        conn.flags |= FLAG_TRUNCATED
    if flags & RST:
        reset(table, frame, slot)
        return 0
    if flags & ACK:
        if not other.flags & ACKED:
            other.acked = frame.ack
            other.flags |= ACKED
        elif cython.cast(int32_t, frame.ack - other.acked) > 0:
            other.acked = frame.ack
        if other.waiting >= 0:
            take_in(table, frame, slot, give_up_if_lost(table, frame, h ^ 1))
    if flags & SYN:
        handshake(table, frame, slot)
    else:
        if frame.window == 0:
            conn.flags |= FLAG_ZERO_WINDOW
        if conn.ack_ns == 0 and flags & ACK and conn.state & SYNACK_SEEN and half.flags & CLIENT:
            conn.ack_ns = frame.ts_ns - conn.synack_ns
            if conn.queue == HALF_OPEN:
                table.requeue(slot, ACTIVE)
        if frame.length == 0 and half.flags & STARTED and not flags & FIN:
            # A third of all packets: it takes no sequence space, and is nothing but an acknowledgement or a keep-alive probe.
            if frame.seq + 1 == half.next:
                half.probes += 1
            return 0
    return payload(table, frame, slot, conn, half, h)


def datagram(table, frame, slot):
    h: cython.size_t
    conn: cython.pointer(Connection)
    half: cython.pointer(Half)
    learned: cython.int
    if slot >= 0:
        conn = cython.address(table.all[slot])
        if frame.ts_ns - conn.last_ns > UDP_EXPIRY:
            table.remove(slot, END_EXPIRED, conn.last_ns + UDP_EXPIRY)
            slot = -1
    if slot < 0:
        slot = open_connection(table, frame)
    h = cython.cast(cython.size_t, slot) * 2 + table.end
    conn = cython.address(table.all[slot])
    half = cython.address(table.assembly.halves[h])
    silences(conn, half, cython.address(table.assembly.halves[h ^ 1]), table.end, frame.ts_ns, True)
    if half.packets == 0:
        half.ttl = frame.ttl
    half.packets += 1
    if frame.captured < frame.wire:
        conn.flags |= FLAG_TRUNCATED
    if frame.length <= 0:
        return 0
    look_at_payload(table, frame, slot)
    half.bytes += frame.length
    if frame.payload_captured > 0 and not half.flags & OPAQUE:
        learned = table.streams.deliver(slot, 0 if half.flags & CLIENT else 1, frame.payload, frame.payload_captured, frame.ts_ns)
        if learned:
            take_in(table, frame, slot, table.assembly._learn(h, learned))
    return 0


def begins_anew(table, frame, slot):
    """Whether the segment belongs to a new connection on a five-tuple that is known."""
    h: cython.size_t = cython.cast(cython.size_t, slot) * 2 + table.end
    half: cython.pointer(Half) = cython.address(table.assembly.halves[h])
    other: cython.pointer(Half) = cython.address(table.assembly.halves[h ^ 1])
    conn: cython.pointer(Connection) = cython.address(table.all[slot])
    silence: int64_t = frame.ts_ns - conn.last_ns
    if silence > TCP_EXPIRY:
        return True
    if not frame.flags & SYN:
        return silence > LINGER and table.ended(slot)
    if frame.flags & ACK:
        # The answer to a SYN that the capture has not got.
        return half.flags & SYN_SEEN != 0 and half.isn != frame.seq and table.ended(slot)
    if half.flags & SYN_SEEN or conn.state & SYNACK_SEEN:
        # Taps whose clocks differ show the answer first. It says which SYN it answers.
        return half.isn != frame.seq
    # Both ends may send a SYN at once (RFC 9293 section 3.5): then nothing else has been sent yet.
    return not (other.flags & SYN_SEEN and half.packets == 0 and conn.first_data_ns == 0)


def open_connection(table, frame):
    """A new connection; who is the client is known from a SYN, else guessed until the payload says more."""
    client: cython.int = table.end
    why: cython.int = BY_SYN
    source: cython.bint
    target: cython.bint
    if frame.proto != PROTO_UDP and frame.flags & SYN:
        if frame.flags & ACK:
            client = 1 - client
    else:
        source = table.listeners.has(frame.proto, frame.source_high, frame.source_low, frame.source_port)
        target = table.listeners.has(frame.proto, frame.target_high, frame.target_low, frame.target_port)
        if source != target:
            why = BY_LISTENER
            if source:
                client = 1 - client
        elif frame.source_port == frame.target_port:
            why = BY_NOTHING
        else:
            why = BY_PORT
            if frame.source_port < frame.target_port:
                client = 1 - client
    return table.create(frame, client, why)


def silences(conn, half, other, end, ts_ns, answers):
    """Which silence this packet broke, and which one broken by the other end it answers."""
    silence: int64_t = ts_ns - conn.last_ns
    if silence > 0:
        conn.last_ns = ts_ns
    else:
        silence = 0
    conn.silence = silence
    if answers:
        if other.silence > 0:
            if other.silence > conn.survived and conn.first_closer == 0:  # after a FIN nothing is kept alive
                conn.survived = other.silence
            other.silence = 0
        if silence > half.silence:
            half.silence = silence
        conn.last_silence = silence
        conn.last_sender = 1 + end
    if silence > conn.longest:
        conn.longest = silence
    return 0


def give_up_if_lost(table, frame, h):
    """Gives up holes of half ``h`` that the capture will not fill any more; what Streams learned from what followed."""
    learned: cython.int = 0
    first: cython.int
    behind: int32_t
    while True:
        first = table.assembly.halves[h].waiting
        if first < 0:
            break
        behind = cython.cast(int32_t, table.assembly.halves[h].acked - table.assembly.ranges[first].seq)
        if not table.assembly.halves[h].flags & ACKED or behind < 0:
            break
        if frame.length == 0 and frame.ts_ns - table.assembly.holes[h].since < REORDERING:
            break
        learned |= table.assembly.give_up(h)
    return learned


def reset(table, frame, slot):
    h: cython.size_t = cython.cast(cython.size_t, slot) * 2 + table.end
    half: cython.pointer(Half) = cython.address(table.assembly.halves[h])
    other: cython.pointer(Half) = cython.address(table.assembly.halves[h ^ 1])
    conn: cython.pointer(Connection) = cython.address(table.all[slot])
    answers: cython.bint = conn.last_sender == 2 - table.end
    half.resets += 1
    if conn.first_closer == 0:
        conn.first_closer = 1 + table.end
    # A request whose sender could not know of the FIN yet, and that was never acknowledged. Its sender may have sent a FIN since.
    if (
        not half.flags & CLIENT
        and half.flags & FIN_SEEN
        and other.bytes > 0
        and cython.cast(int32_t, other.data_ack - half.fin) <= 0
        and other.flags & ACKED
        and cython.cast(int32_t, other.acked - other.data_end) < 0
    ):
        conn.flags |= FLAG_RACE
    if conn.state & RESET or (half.flags & other.flags & FIN_SEEN):
        return 0
    conn.state |= RESET
    if not conn.state & ENDING:
        conn.state |= ENDING
        conn.before_end = conn.last_silence if answers else conn.silence
    if answers and conn.last_silence >= LEAST_IDLE and conn.last_silence >= conn.longest:
        conn.flags |= FLAG_RST_AFTER_IDLE
    if frame.window == 0 and frame.options_length == 0:
        conn.flags |= FLAG_RST_BARE
    if (
        not half.flags & CLIENT
        and conn.syn_ns
        and not conn.state & SYNACK_SEEN
        and conn.first_data_ns == 0
        and not half.flags & STARTED
    ):
        conn.flags |= FLAG_REFUSED
    table.close(slot)
    return 0


def handshake(table, frame, slot):
    h: cython.size_t = cython.cast(cython.size_t, slot) * 2 + table.end
    half: cython.pointer(Half) = cython.address(table.assembly.halves[h])
    other: cython.pointer(Half) = cython.address(table.assembly.halves[h ^ 1])
    conn: cython.pointer(Connection) = cython.address(table.all[slot])
    found: SynOptions
    if half.flags & SYN_SEEN:
        return 0
    if frame.flags & ACK:
        conn.flags |= FLAG_SYNACK
        if not conn.state & SYNACK_SEEN:
            conn.state |= SYNACK_SEEN
            conn.synack_ns = frame.ts_ns
            table.prove_listener(slot)
            if not other.flags & SYN_SEEN:
                other.isn = frame.ack - 1
    elif half.flags & CLIENT:
        conn.flags |= FLAG_SYN
        conn.syn_ns = frame.ts_ns
    else:
        conn.flags |= FLAG_SIMULTANEOUS
    if half.flags & CLIENT:
        read_syn(table.assembly.buffer, table.tables, cython.address(table.stacks[0]), frame, cython.address(found))
        conn.mss = found.mss
        conn.tsval = found.tsval
        conn.stack = found.stack
        conn.window = frame.window
    return 0


def payload(table, frame, slot, conn, half, h):
    """Sequence numbers: what of the segment is new, what was sent again, and whether it ends its direction."""
    flags: cython.int = frame.flags
    seq: uint32_t = frame.seq
    length: cython.Py_ssize_t = frame.length
    gap: int32_t
    resent: cython.bint = False
    learned: cython.int = 0
    if flags & SYN:
        if half.flags & SYN_SEEN:
            if length == 0:
                half.retransmits += 1
                return 0
        else:
            half.isn = seq
            if not half.flags & ANCHORED:
                half.next = seq + 1
            half.flags |= STARTED | ANCHORED | SYN_SEEN
        seq += 1
    elif not half.flags & STARTED:
        half.next = seq
        if length <= 1 and half.flags & ACKED and half.acked == seq + 1:
            # Nothing of this direction is in view yet, but what the other end expects of it is: a keep-alive probe.
            half.next = seq + 1
        half.flags |= STARTED
    gap = cython.cast(int32_t, seq - half.next)
    if gap == -1 and length <= 1 and not flags & (SYN | FIN):
        half.probes += 1
        return 0
    if length > 0:
        if length > MOST_ALERT or not closes_tls(table.assembly.buffer, frame):
            half.data_end = seq + cython.cast(uint32_t, length)
            half.data_ack = frame.ack
        if not half.flags & ANCHORED:
            half.next = seq
            half.flags |= ANCHORED
            gap = 0
        if gap + length <= 0:
            resent = table.assembly.late(h, seq, length) == 0
        else:
            if not conn.state & DELIVERING:
                look_at_payload(table, frame, slot)
            if gap == 0 and half.waiting < 0:
                # In its turn, as nearly every segment is.
                half.next += cython.cast(uint32_t, length)
                half.flags &= ~RESENT
                if half.flags & OPAQUE:
                    half.bytes += length
                else:
                    learned = table.assembly.hand_over(h, frame.payload, frame.payload_captured, length, frame.ts_ns)
            else:
                learned = table.assembly.accept(h, seq, frame.payload, frame.payload_captured, length, frame.ts_ns)
                if half.waiting >= 0 and not half.flags & ACKED and frame.ts_ns - table.assembly.holes[h].since > UNACKNOWLEDGED:
                    learned |= table.assembly.give_up(h)
                if table.assembly.repeated:
                    resent = True
                else:
                    half.flags &= ~RESENT
    if flags & FIN:
        if not half.flags & FIN_SEEN:
            half.fin = seq + cython.cast(uint32_t, length)
            half.flags |= FIN_SEEN
            if conn.first_closer == 0:
                conn.first_closer = 1 + table.end
            if not conn.state & ENDING:
                conn.state |= ENDING
                conn.before_end = conn.last_silence
            if table.ended(slot):
                table.close(slot)
        elif length == 0:
            resent = True
    if resent:
        half.retransmits += 1
        half.flags |= RESENT
    if learned:
        take_in(table, frame, slot, learned)
    return 0


def closes_tls(buffer, frame):
    """Whether a short segment is one TLS record that can only be, or has the size of, a closing alert: it asks for nothing."""
    at: cython.Py_ssize_t = frame.payload
    if frame.payload_captured < 5 or buffer.u8[at + 1] != 3:
        return False
    if be16(buffer, at + 3) + 5 != frame.length:
        return False
    # In TLS 1.3 the record's type hides: two bytes of alert, the type and a tag of 16 bytes (RFC 8446 section 5.2).
    return buffer.u8[at] == 21 or (buffer.u8[at] == 23 and frame.length == 24)


def look_at_payload(table, frame, slot):
    """Before the first payload byte is delivered: who its sender is, where no SYN told; then the connection counts."""
    h: cython.size_t = cython.cast(cython.size_t, slot) * 2 + table.end
    half: cython.pointer(Half) = cython.address(table.assembly.halves[h])
    other: cython.pointer(Half) = cython.address(table.assembly.halves[h ^ 1])
    conn: cython.pointer(Connection) = cython.address(table.all[slot])
    sender: cython.int
    if conn.state & DELIVERING:
        return 0
    if conn.orientation != BY_SYN and frame.payload_captured > 0:
        if frame.proto == PROTO_UDP:
            sender = table.streams.proof_of_datagram(frame.payload, frame.payload_captured)
        else:
            sender = table.streams.proof(frame.payload, frame.payload_captured)
        if sender != 0:
            if (sender == SENDER_CLIENT) != (half.flags & CLIENT != 0):
                half.flags ^= CLIENT
                other.flags ^= CLIENT
            conn.orientation = BY_PAYLOAD
            table.prove_listener(slot)
    table.first_payload(slot, frame)
    return 0


def take_in(table, frame, slot, learned):
    """What Streams found out about the orientation."""
    if learned & (PROVEN | SWAP) and table.all[slot].orientation < BY_PAYLOAD:
        table.all[slot].orientation = BY_PAYLOAD
        table.prove_listener(slot)
    return 0
