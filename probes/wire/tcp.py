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
    o: cython.size_t
    flags: cython.int = frame.flags
    if slot >= 0 and begins_anew(table, frame, slot):
        if frame.ts_ns - table.all[slot].last_ns > TCP_EXPIRY:
            table.remove(slot, END_EXPIRED, table.all[slot].last_ns + TCP_EXPIRY)
        else:
            table.remove(slot, END_REUSED, frame.ts_ns)
        slot = -1
    if slot < 0:
        slot = open_connection(table, frame)
    h = cython.cast(cython.size_t, slot) * 2 + table.end
    o = h ^ 1
    silences(table, frame, slot, not flags & RST)
    if table.assembly.halves[h].packets == 0:
        table.assembly.halves[h].ttl = frame.ttl
    table.assembly.halves[h].packets += 1
    if frame.captured < frame.wire:
        table.all[slot].flags |= FLAG_TRUNCATED
    if flags & RST:
        reset(table, frame, slot)
        return 0
    if flags & ACK:
        if not table.assembly.halves[o].flags & ACKED:
            table.assembly.halves[o].acked = frame.ack
            table.assembly.halves[o].flags |= ACKED
        elif cython.cast(int32_t, frame.ack - table.assembly.halves[o].acked) > 0:
            table.assembly.halves[o].acked = frame.ack
        if table.assembly.halves[o].waiting >= 0:
            take_in(table, frame, slot, give_up_if_lost(table, frame, o))
    if flags & SYN:
        handshake(table, frame, slot)
    else:
        if frame.window == 0:
            table.all[slot].flags |= FLAG_ZERO_WINDOW
        if (
            flags & ACK
            and table.all[slot].state & SYNACK_SEEN
            and table.all[slot].ack_ns == 0
            and table.assembly.halves[h].flags & CLIENT
        ):
            table.all[slot].ack_ns = frame.ts_ns - table.all[slot].synack_ns
            if table.all[slot].queue == HALF_OPEN:
                table.requeue(slot, ACTIVE)
    payload(table, frame, slot)
    return 0


def datagram(table, frame, slot):
    h: cython.size_t
    learned: cython.int
    if slot >= 0 and frame.ts_ns - table.all[slot].last_ns > UDP_EXPIRY:
        table.remove(slot, END_EXPIRED, table.all[slot].last_ns + UDP_EXPIRY)
        slot = -1
    if slot < 0:
        slot = open_connection(table, frame)
    h = cython.cast(cython.size_t, slot) * 2 + table.end
    silences(table, frame, slot, True)
    if table.assembly.halves[h].packets == 0:
        table.assembly.halves[h].ttl = frame.ttl
    table.assembly.halves[h].packets += 1
    if frame.captured < frame.wire:
        table.all[slot].flags |= FLAG_TRUNCATED
    if frame.length <= 0:
        return 0
    look_at_payload(table, frame, slot)
    table.assembly.halves[h].bytes += frame.length
    if frame.payload_captured > 0 and not table.assembly.halves[h].flags & OPAQUE:
        learned = table.streams.deliver(
            slot, 0 if table.assembly.halves[h].flags & CLIENT else 1, frame.payload, frame.payload_captured, frame.ts_ns
        )
        if learned:
            take_in(table, frame, slot, table.assembly._learn(h, learned))
    return 0


def begins_anew(table, frame, slot):
    """Whether the segment belongs to a new connection on a five-tuple that is known."""
    h: cython.size_t = cython.cast(cython.size_t, slot) * 2 + table.end
    o: cython.size_t = h ^ 1
    silence: int64_t = frame.ts_ns - table.all[slot].last_ns
    if silence > TCP_EXPIRY:
        return True
    if not frame.flags & SYN:
        return silence > LINGER and table.ended(slot)
    if frame.flags & ACK:
        # The answer to a SYN that the capture has not got.
        return table.assembly.halves[h].flags & SYN_SEEN != 0 and table.assembly.halves[h].isn != frame.seq and table.ended(slot)
    if table.assembly.halves[h].flags & SYN_SEEN:
        return table.assembly.halves[h].isn != frame.seq
    # Both ends may send a SYN at once (RFC 9293 section 3.5): then nothing else has been sent yet.
    return not (
        table.assembly.halves[o].flags & SYN_SEEN and table.assembly.halves[h].packets == 0 and table.all[slot].first_data_ns == 0
    )


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


def silences(table, frame, slot, answers):
    """Which silence this packet broke, and which one broken by the other end it answers."""
    h: cython.size_t = cython.cast(cython.size_t, slot) * 2 + table.end
    o: cython.size_t = h ^ 1
    silence: int64_t = frame.ts_ns - table.all[slot].last_ns
    if silence > 0:
        table.all[slot].last_ns = frame.ts_ns
    else:
        silence = 0
    table.all[slot].silence = silence
    if answers:
        if table.assembly.halves[o].silence > 0:
            if table.assembly.halves[o].silence > table.all[slot].survived:
                table.all[slot].survived = table.assembly.halves[o].silence
            table.assembly.halves[o].silence = 0
        if silence > table.assembly.halves[h].silence:
            table.assembly.halves[h].silence = silence
        table.all[slot].last_silence = silence
        table.all[slot].last_sender = 1 + table.end
    if silence > table.all[slot].longest:
        table.all[slot].longest = silence
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
    o: cython.size_t = h ^ 1
    answers: cython.bint = table.all[slot].last_sender == 2 - table.end
    table.assembly.halves[h].resets += 1
    if table.all[slot].first_closer == 0:
        table.all[slot].first_closer = 1 + table.end
    # A request whose sender could not know of the FIN yet, and that was never acknowledged. Its sender may have sent a FIN since.
    if (
        not table.assembly.halves[h].flags & CLIENT
        and table.assembly.halves[h].flags & FIN_SEEN
        and table.assembly.halves[o].bytes > 0
        and cython.cast(int32_t, table.assembly.halves[o].data_ack - table.assembly.halves[h].fin) <= 0
        and table.assembly.halves[o].flags & ACKED
        and cython.cast(int32_t, table.assembly.halves[o].acked - table.assembly.halves[o].data_end) < 0
    ):
        table.all[slot].flags |= FLAG_RACE
    if table.all[slot].state & RESET or (table.assembly.halves[h].flags & table.assembly.halves[o].flags & FIN_SEEN):
        return 0
    table.all[slot].state |= RESET
    if not table.all[slot].state & ENDING:
        table.all[slot].state |= ENDING
        table.all[slot].before_end = table.all[slot].last_silence if answers else table.all[slot].silence
    if answers and table.all[slot].last_silence >= LEAST_IDLE and table.all[slot].last_silence >= table.all[slot].longest:
        table.all[slot].flags |= FLAG_RST_AFTER_IDLE
    if frame.window == 0 and frame.options_length == 0:
        table.all[slot].flags |= FLAG_RST_BARE
    if (
        not table.assembly.halves[h].flags & CLIENT
        and table.all[slot].syn_ns
        and not table.all[slot].state & SYNACK_SEEN
        and table.all[slot].first_data_ns == 0
        and not table.assembly.halves[h].flags & STARTED
    ):
        table.all[slot].flags |= FLAG_REFUSED
    table.close(slot)
    return 0


def handshake(table, frame, slot):
    h: cython.size_t = cython.cast(cython.size_t, slot) * 2 + table.end
    found: SynOptions
    if table.assembly.halves[h].flags & SYN_SEEN:
        return 0
    if frame.flags & ACK:
        table.all[slot].flags |= FLAG_SYNACK
        if not table.all[slot].state & SYNACK_SEEN:
            table.all[slot].state |= SYNACK_SEEN
            table.all[slot].synack_ns = frame.ts_ns
            table.prove_listener(slot)
    elif table.assembly.halves[h].flags & CLIENT:
        table.all[slot].flags |= FLAG_SYN
        table.all[slot].syn_ns = frame.ts_ns
    else:
        table.all[slot].flags |= FLAG_SIMULTANEOUS
    if table.assembly.halves[h].flags & CLIENT:
        read_syn(table.assembly.buffer, table.tables, frame, cython.address(found))
        table.all[slot].mss = found.mss
        table.all[slot].tsval = found.tsval
        table.all[slot].stack = found.stack
        table.all[slot].window = frame.window
    return 0


def payload(table, frame, slot):
    """Sequence numbers: what of the segment is new, what was sent again, and whether it ends its direction."""
    h: cython.size_t = cython.cast(cython.size_t, slot) * 2 + table.end
    flags: cython.int = frame.flags
    seq: uint32_t = frame.seq
    length: cython.Py_ssize_t = frame.length
    gap: int32_t
    resent: cython.bint = False
    learned: cython.int = 0
    if flags & SYN:
        if table.assembly.halves[h].flags & SYN_SEEN:
            if length == 0:
                table.assembly.halves[h].retransmits += 1
                return 0
        else:
            table.assembly.halves[h].isn = seq
            if not table.assembly.halves[h].flags & ANCHORED:
                table.assembly.halves[h].next = seq + 1
            table.assembly.halves[h].flags |= STARTED | ANCHORED | SYN_SEEN
        seq += 1
    elif not table.assembly.halves[h].flags & STARTED:
        table.assembly.halves[h].next = seq
        if length <= 1 and table.assembly.halves[h].flags & ACKED and table.assembly.halves[h].acked == seq + 1:
            # Nothing of this direction is in view yet, but what the other end expects of it is: a keep-alive probe.
            table.assembly.halves[h].next = seq + 1
        table.assembly.halves[h].flags |= STARTED
    gap = cython.cast(int32_t, seq - table.assembly.halves[h].next)
    if gap == -1 and length <= 1 and not flags & (SYN | FIN):
        table.assembly.halves[h].probes += 1
        return 0
    if length > 0:
        if not closes_tls(table.assembly.buffer, frame):
            table.assembly.halves[h].data_end = seq + cython.cast(uint32_t, length)
            table.assembly.halves[h].data_ack = frame.ack
        if not table.assembly.halves[h].flags & ANCHORED:
            table.assembly.halves[h].next = seq
            table.assembly.halves[h].flags |= ANCHORED
            gap = 0
        if gap + length <= 0:
            resent = table.assembly.late(h, seq, length) == 0
        else:
            if not table.all[slot].state & DELIVERING:
                look_at_payload(table, frame, slot)
            learned = table.assembly.accept(h, seq, frame.payload, frame.payload_captured, length, frame.ts_ns)
            if (
                table.assembly.halves[h].waiting >= 0
                and not table.assembly.halves[h].flags & ACKED
                and frame.ts_ns - table.assembly.holes[h].since > UNACKNOWLEDGED
            ):
                learned |= table.assembly.give_up(h)
            if table.assembly.repeated:
                resent = True
            else:
                table.assembly.halves[h].flags &= ~RESENT
    if flags & FIN:
        if not table.assembly.halves[h].flags & FIN_SEEN:
            table.assembly.halves[h].fin = seq + cython.cast(uint32_t, length)
            table.assembly.halves[h].flags |= FIN_SEEN
            if table.all[slot].first_closer == 0:
                table.all[slot].first_closer = 1 + table.end
            if not table.all[slot].state & ENDING:
                table.all[slot].state |= ENDING
                table.all[slot].before_end = table.all[slot].last_silence
            if table.ended(slot):
                table.close(slot)
        elif length == 0:
            resent = True
    if resent:
        table.assembly.halves[h].retransmits += 1
        table.assembly.halves[h].flags |= RESENT
    if learned:
        take_in(table, frame, slot, learned)
    return 0


def closes_tls(buffer, frame):
    """Whether the segment is one TLS record that can only be, or has the size of, a closing alert: it asks for nothing."""
    at: cython.Py_ssize_t = frame.payload
    if frame.length > MOST_ALERT or frame.payload_captured < 5 or buffer.u8[at + 1] != 3:
        return False
    if be16(buffer, at + 3) + 5 != frame.length:
        return False
    # In TLS 1.3 the record's type hides: two bytes of alert, the type and a tag of 16 bytes (RFC 8446 section 5.2).
    return buffer.u8[at] == 21 or (buffer.u8[at] == 23 and frame.length == 24)


def look_at_payload(table, frame, slot):
    """Before the first payload byte is delivered: who its sender is, where no SYN told; then the connection counts."""
    h: cython.size_t = cython.cast(cython.size_t, slot) * 2 + table.end
    sender: cython.int
    if table.all[slot].state & DELIVERING:
        return 0
    if table.all[slot].orientation != BY_SYN and frame.payload_captured > 0:
        if frame.proto == PROTO_UDP:
            sender = table.streams.proof_of_datagram(frame.payload, frame.payload_captured)
        else:
            sender = table.streams.proof(frame.payload, frame.payload_captured)
        if sender != 0:
            if (sender == SENDER_CLIENT) != (table.assembly.halves[h].flags & CLIENT != 0):
                table.assembly.halves[h].flags ^= CLIENT
                table.assembly.halves[h ^ 1].flags ^= CLIENT
            table.all[slot].orientation = BY_PAYLOAD
            table.prove_listener(slot)
    table.first_payload(slot, frame)
    return 0


def take_in(table, frame, slot, learned):
    """What Streams found out about the orientation."""
    if learned & (PROVEN | SWAP) and table.all[slot].orientation < BY_PAYLOAD:
        table.all[slot].orientation = BY_PAYLOAD
        table.prove_listener(slot)
    return 0
