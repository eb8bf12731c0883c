"""The inner loops of affinity: one hash lookup per arrival and key, bounded memory, nothing allocated per arrival.

A return (two consecutive arrivals of one key) is filed under its *stratum*, because mechanisms differ exactly there:

    CROSSED  the other identity changed since this key's last arrival: another user behind the address, or another address
             of the user (not where somebody unknown came in between: that may have been the same one, before it had a name)
    MARKED   the request presents a balancer's cookie (CROSSED + MARKED: both)
    FRESH    instead of these: the first return of a key that a target issued in view

and in two lanes, because a balancer decides per request or per connection: lane 0 counts every arrival, lane 1 only the
first arrival of a key on each connection.

What a return is compared with, the chance of meeting the same target, is only known when its epoch ends
(see :func:`next_cut`): until then returns are pending.
"""

import cython
import numpy as np

LANES = 2
STRATA = 5
PLAIN, CROSSED, MARKED, CROSSED_MARKED, FRESH = range(STRATA)
ISSUED, NAMELESS = 1, 2
"""Slot flags: a target set this value in view; nobody knows whose the last arrival was."""

SLOT = np.dtype(
    [
        *[(name, "u8") for name in ("value", "previous", "aux", "request", "top_conn")],
        *[(name, "i8") for name in ("first_ns", "last_ns", "assigned_ns", "longest_gap_ns", "longest_age_ns")],
        *[(name, "u4") for name in ("serial", "arrivals", "connections", "marks_any", "marks_all", "marked")],
        *[(name, "u4") for name in ("pending", "aux_changes")],
        *[(name, "u2") for name in ("first", "last", "last_conn", "flags")],
    ],
    align=True,
)
MOVE = np.dtype(
    [
        *[("at_ns", "i8"), ("gap_ns", "i8"), ("age_ns", "i8"), ("serial", "u4"), ("marks", "u4")],
        *[("source", "u2"), ("destination", "u2"), ("stratum", "u1"), ("first_return", "u1"), ("pad", "u2")],
    ],
    align=True,
)
ARRIVAL = np.dtype(
    [
        *[("presented", "u8"), ("conn", "u8"), ("request", "u8"), ("at_ns", "i8")],
        *[("marks", "u4"), ("target", "u2"), ("issued", "u2")],
    ],
    align=True,
)

_CELLS = LANES * STRATA
_STRATA = cython.declare(cython.Py_ssize_t, 5)
_CELLS_C = cython.declare(cython.Py_ssize_t, 10)
_FRESH = cython.declare(cython.Py_ssize_t, 4)
_ISSUED = cython.declare(cython.ushort, 1)
_NAMELESS = cython.declare(cython.ushort, 2)
_MULTIPLIER = cython.declare(cython.ulonglong, 0x9E3779B97F4A7C15)
SPAN_STEPS = 32
"""Bins per doubling of the durations after which keys returned to their target."""
_STEPS = cython.declare(cython.longlong, 32)
SPAN_BINS = 64 * SPAN_STEPS
_KEPT = 2048
_KEPT_C = cython.declare(cython.Py_ssize_t, 2048)
_KEPT_AT_FIRST = 32


class KeyTable:
    """What every value of one key did: last target, returns, returns to the same target, and the chance of those."""

    def __init__(self, cap=1 << 15, durations=False):
        self.cap = cap
        self.kept_rows = np.zeros((2, SPAN_BINS if durations else 0), np.uint32)
        self.kept = self.kept_rows
        self.arrivals = self.marked_arrivals = self.keys_seen = self.moves_seen = self.expired = 0
        self.used = self.indexed = self.touched_count = 0
        self._bind_slots(np.zeros(64, SLOT), np.zeros((64, 3 * _CELLS), np.uint32), np.zeros((64, _CELLS)))
        self._bind_rest(np.zeros(_KEPT_AT_FIRST, MOVE), np.zeros(_KEPT_AT_FIRST, np.uint16), np.zeros((5, 8), np.int64))
        self._reindex()

    def _bind_slots(self, slots, counts, expected):
        self.slot_rows = slots
        self.count_rows = counts
        self.expected_rows = expected
        self.slots = slots
        self.counts = counts
        self.expected = expected
        self.touched = np.zeros(len(slots), np.uint32)

    def _bind_rest(self, moves, firsts, shares):
        self.move_rows = moves
        self.first_rows = firsts
        self.share_rows = shares
        self.moves = moves
        self.firsts = firsts
        self.shares = shares
        met = np.zeros(shares.shape[1], np.uint8)
        if self.met_rows is not None:
            met[: len(self.met_rows)] = self.met_rows
        self.met_rows = met
        self.met = met

    def __len__(self):
        return self.used

    def __deepcopy__(self, memo):
        copy: KeyTable = KeyTable(self.cap)
        copy.kept_rows = self.kept_rows.copy()
        copy.kept = copy.kept_rows
        copy.arrivals = self.arrivals
        copy.marked_arrivals = self.marked_arrivals
        copy.keys_seen = self.keys_seen
        copy.moves_seen = self.moves_seen
        copy.expired = self.expired
        copy.used = self.used
        copy._bind_slots(self.slot_rows.copy(), self.count_rows.copy(), self.expected_rows.copy())
        copy._bind_rest(self.move_rows.copy(), self.first_rows.copy(), self.share_rows.copy())
        copy.met_rows[:] = self.met_rows
        pending = np.flatnonzero(copy.slot_rows["pending"][: self.used])
        copy.touched_count = len(pending)
        np.asarray(copy.touched)[: len(pending)] = pending
        copy._reindex()
        return copy

    def fold(self, rows, values, aux, start, stop):
        """Folds ``rows[start:stop]`` (ARRIVAL, in order of time) with their keys and the other identities (uint64).
        ``issued`` rows are values that a target sets: an arrival
        of the new key, unless they continue the key whose value was ``presented``. Value 0 is no key.
        Arrivals get the number of their key in ``presented``, the same however often it was re-issued."""
        done: cython.Py_ssize_t = start
        last: cython.Py_ssize_t = stop
        top = int(rows["target"][start:stop].max(initial=0)) + 1
        if top > self.share_rows.shape[1]:
            wider = np.zeros((5, 2 * top), np.int64)
            wider[:, : self.share_rows.shape[1]] = self.share_rows
            self._bind_rest(self.move_rows, self.first_rows, wider)
        self.rows = rows
        self.values = values
        self.aux = aux
        while done < last:
            done = self._fold(done, last)
            if done < last:
                self._make_room()

    def settle(self, chance, chance_by_connection):
        """Ends an epoch: each return since the last end had this chance. Clears the open epoch's assignments."""
        t: cython.Py_ssize_t
        k: cython.Py_ssize_t
        s: cython.Py_ssize_t
        request: cython.double = chance
        connection: cython.double = chance_by_connection
        for t in range(self.touched_count):
            s = self.touched[t]
            for k in range(_CELLS_C):
                if self.counts[s, 3 * k + 2]:
                    self.expected[s, k] += self.counts[s, 3 * k + 2] * (request if k < _STRATA else connection)
                    self.counts[s, 3 * k + 2] = 0
            self.slots[s].pending = 0
        self.touched_count = 0
        self.share_rows[:] = 0
        self.met_rows[:] = 0

    def recent_moves(self):
        """The latest moves (MOVE), oldest first; ``moves_seen`` says how many there were in all."""
        kept = len(self.move_rows)
        if self.moves_seen <= kept:
            return self.move_rows[: self.moves_seen]
        return np.roll(self.move_rows, -(self.moves_seen % kept))

    def recent_firsts(self):
        """Targets of the latest first assignments, oldest first."""
        kept = len(self.first_rows)
        if self.keys_seen <= kept:
            return self.first_rows[: self.keys_seen]
        return np.roll(self.first_rows, -(self.keys_seen % kept))

    def _make_room(self):
        """More slots, up to the cap; then the half of the keys that was not seen for longest goes. Longer lists of what
        happened last, up to theirs; then the oldest are written over."""
        if self.moves_seen >= len(self.move_rows) or self.keys_seen >= len(self.first_rows):
            moves, firsts = (
                np.concatenate((rows, np.zeros(min(4 * len(rows), _KEPT) - len(rows), rows.dtype))) if full else rows
                for rows, full in (
                    (self.move_rows, self.moves_seen >= len(self.move_rows) and len(self.move_rows) < _KEPT),
                    (self.first_rows, self.keys_seen >= len(self.first_rows) and len(self.first_rows) < _KEPT),
                )
            )
            self._bind_rest(moves, firsts, self.share_rows)
        if self.used >= len(self.slot_rows):
            size = len(self.slot_rows)
            if size < self.cap:
                grown = min(4 * size, self.cap)
                slots, counts, expected = (
                    np.concatenate((array, np.zeros((grown - size, *array.shape[1:]), array.dtype)))
                    for array in (self.slot_rows, self.count_rows, self.expected_rows)
                )
            else:
                order = np.argsort(self.slot_rows["last_ns"], kind="stable")
                keep = np.sort(order[size // 2 :])
                self.expired += size - len(keep)
                slots, counts, expected = (
                    np.concatenate((array[keep], np.zeros((size - len(keep), *array.shape[1:]), array.dtype)))
                    for array in (self.slot_rows, self.count_rows, self.expected_rows)
                )
                self.used = len(keep)
            self._bind_slots(slots, counts, expected)
            pending = np.flatnonzero(slots["pending"][: self.used])
            self.touched_count = len(pending)
            np.asarray(self.touched)[: len(pending)] = pending
        self._reindex()

    def _reindex(self):
        """Every slot's present and previous value; older ones are forgotten here."""
        s: cython.Py_ssize_t
        turn: cython.int
        place: cython.Py_ssize_t
        value: cython.ulonglong
        size = 256
        while size < 4 * len(self.slot_rows):
            size *= 2
        self.index = np.zeros(size, np.uint32)
        self.indexed = 0
        for turn in range(2):
            for s in range(self.used):
                value = self.slots[s].previous if turn else self.slots[s].value
                if value == 0:
                    continue
                place = self._place(value)
                if self.index[place] == 0:
                    self.index[place] = cython.cast(cython.uint, s + 1)
                    self.indexed += 1

    def _place(self, value):
        mask: cython.ulonglong = self.index.shape[0] - 1
        mixed: cython.ulonglong = value * _MULTIPLIER
        place: cython.ulonglong = (mixed ^ (mixed >> 29)) & mask
        slot: cython.uint
        while self.index[place] != 0:
            slot = self.index[place] - 1
            if self.slots[slot].value == value or self.slots[slot].previous == value:
                break
            place = (place + 1) & mask
        return cython.cast(cython.Py_ssize_t, place)

    def _fold(self, start, stop):
        i: cython.Py_ssize_t = start
        while i < stop:
            if self.used >= self.slots.shape[0] or self.indexed * 2 >= self.index.shape[0]:
                break
            if self.moves_seen >= self.moves.shape[0] and self.moves.shape[0] < _KEPT_C:
                break
            if self.keys_seen >= self.firsts.shape[0] and self.firsts.shape[0] < _KEPT_C:
                break
            if self.values[i] != 0:
                self._arrive(i)
            i += 1
        return i

    def _arrive(self, i):
        place: cython.Py_ssize_t
        s: cython.Py_ssize_t
        value: cython.ulonglong = self.values[i]
        if self.rows[i].issued and self.rows[i].presented != 0 and self.rows[i].presented != value:
            place = self._place(self.rows[i].presented)
            if self.index[place] != 0:
                s = self.index[place] - 1
                if self.slots[s].value != value:  # the key goes on under a new value
                    self.slots[s].previous = self.slots[s].value
                    self.slots[s].value = value
                    place = self._place(value)
                    if self.index[place] == 0:
                        self.index[place] = cython.cast(cython.uint, s + 1)
                        self.indexed += 1
                return 0
        place = self._place(value)
        if self.index[place] == 0:
            self._begin(i, place)
            return 0
        if self.rows[i].issued:
            return 0  # set again, unchanged: its request already counted
        s = self.index[place] - 1
        if self.rows[i].request != 0 and self.slots[s].request == self.rows[i].request:
            return 0  # the same name twice in one request
        self._return(s, i)
        return 0

    def _begin(self, i, place):
        s: cython.Py_ssize_t = self.used
        target: cython.ushort = self.rows[i].target
        self.used += 1
        self.indexed += 1
        self.index[place] = cython.cast(cython.uint, s + 1)
        self.slots[s].value = self.values[i]
        self.slots[s].previous = 0
        self.slots[s].serial = cython.cast(cython.uint, self.keys_seen)
        self.slots[s].first = target
        self.slots[s].last = target
        self.slots[s].last_conn = target
        self.slots[s].top_conn = self.rows[i].conn
        self.slots[s].request = self.rows[i].request
        self.slots[s].aux = self.aux[i]
        self.slots[s].first_ns = self.rows[i].at_ns
        self.slots[s].last_ns = self.rows[i].at_ns
        self.slots[s].assigned_ns = self.rows[i].at_ns
        self.slots[s].arrivals = 1
        self.slots[s].connections = 1
        self.slots[s].marks_any = self.rows[i].marks
        self.slots[s].marks_all = self.rows[i].marks
        self.slots[s].marked = 1 if self.rows[i].marks != 0 else 0
        self.slots[s].flags = _ISSUED if self.rows[i].issued else 0
        if not self.rows[i].issued:
            self.rows[i].presented = self.slots[s].serial
        self.met[target] = 1
        self.shares[0, target] += 1
        self.firsts[cython.cast(cython.Py_ssize_t, self.keys_seen % self.firsts.shape[0])] = target
        self.keys_seen += 1
        self.arrivals += 1
        self.marked_arrivals += self.slots[s].marked
        return 0

    def _return(self, s, i):
        target: cython.ushort = self.rows[i].target
        aux: cython.ulonglong = self.aux[i]
        stratum: cython.Py_ssize_t = 0
        cell: cython.Py_ssize_t
        gap_ns: cython.longlong = self.rows[i].at_ns - self.slots[s].last_ns
        age_ns: cython.longlong = self.rows[i].at_ns - self.slots[s].assigned_ns
        if aux != 0 and self.slots[s].aux != 0 and aux != self.slots[s].aux:
            self.slots[s].aux_changes += 1
            stratum = 0 if self.slots[s].flags & _NAMELESS else 1
        if self.rows[i].marks != 0:
            stratum += 2
            self.slots[s].marked += 1
            self.marked_arrivals += 1
        if self.slots[s].arrivals == 1 and self.slots[s].flags & _ISSUED:
            stratum = _FRESH
        if self.slots[s].pending == 0:
            self.touched[self.touched_count] = cython.cast(cython.uint, s)
            self.touched_count += 1
        self.slots[s].pending += 1
        self.met[target] = 1
        cell = 3 * stratum
        self.counts[s, cell] += 1
        if self.met[self.slots[s].last]:  # to a target that is gone nothing returns, not even by chance
            self.counts[s, cell + 2] += 1
        if self.slots[s].last == target:
            self.counts[s, cell + 1] += 1
            if self.kept.shape[1] > 0:
                self._kept(0, gap_ns)
                self._kept(1, age_ns)
            if gap_ns > self.slots[s].longest_gap_ns:
                self.slots[s].longest_gap_ns = gap_ns
            if age_ns > self.slots[s].longest_age_ns:
                self.slots[s].longest_age_ns = age_ns
        else:
            self._moved(s, i, stratum, gap_ns, age_ns)
        if self.rows[i].conn > self.slots[s].top_conn:  # connections are numbered in the order they opened
            self.slots[s].top_conn = self.rows[i].conn
            self.slots[s].connections += 1
            cell = 3 * (_STRATA + stratum)
            self.counts[s, cell] += 1
            if self.met[self.slots[s].last_conn]:
                self.counts[s, cell + 2] += 1
            if self.slots[s].last_conn == target:
                self.counts[s, cell + 1] += 1
            else:
                self.shares[3, target] += 1
                self.shares[4, self.slots[s].last_conn] += 1
            self.slots[s].last_conn = target
        self.slots[s].arrivals += 1
        self.arrivals += 1
        self.slots[s].marks_any |= self.rows[i].marks
        self.slots[s].marks_all &= self.rows[i].marks
        if aux != 0:
            self.slots[s].aux = aux
            self.slots[s].flags &= ~_NAMELESS
        else:
            self.slots[s].flags |= _NAMELESS
        self.slots[s].request = self.rows[i].request
        self.slots[s].last_ns = self.rows[i].at_ns
        self.rows[i].presented = self.slots[s].serial
        return 0

    def _kept(self, row, duration_ns):
        doublings: cython.longlong = 0
        value: cython.longlong = duration_ns
        if value < 0:
            value = 0
        while value >= 1 << 17:
            value >>= 8
            doublings += 8
        while value >= 2 * _STEPS:
            value >>= 1
            doublings += 1
        self.kept[row, cython.cast(cython.Py_ssize_t, doublings * _STEPS + value)] += 1
        return 0

    def _moved(self, s, i, stratum, gap_ns, age_ns):
        m: cython.Py_ssize_t = cython.cast(cython.Py_ssize_t, self.moves_seen % self.moves.shape[0])
        target: cython.ushort = self.rows[i].target
        self.shares[1, target] += 1
        self.shares[2, self.slots[s].last] += 1
        self.moves[m].at_ns = self.rows[i].at_ns
        self.moves[m].gap_ns = gap_ns
        self.moves[m].age_ns = age_ns
        self.moves[m].serial = self.slots[s].serial
        self.moves[m].marks = self.rows[i].marks
        self.moves[m].source = self.slots[s].last
        self.moves[m].destination = target
        self.moves[m].stratum = cython.cast(cython.uchar, stratum)
        self.moves[m].first_return = 1 if self.slots[s].arrivals == 1 else 0
        self.moves_seen += 1
        self.slots[s].assigned_ns = self.rows[i].at_ns
        self.slots[s].last = target
        return 0


@cython.ccall
def next_cut(
    targets: cython.ushort[::1],
    start: cython.Py_ssize_t,
    stop: cython.Py_ssize_t,
    seen: cython.longlong[:, ::1],
    clock: cython.longlong[::1],
    longest: cython.longlong,
) -> cython.Py_ssize_t:
    """Where the epoch that is open at ``start`` ends: the first arrival of the next one, or ``stop`` when it goes on.

    An epoch is a run of arrivals over which the same targets are in service. It ends when a target appears that so many
    arrivals would hardly have missed, when one stays away for longer than its share allows, and after ``longest`` arrivals.
    ``seen[0]`` arrivals per target in this epoch, ``seen[1]`` in all, ``seen[2]`` when the last one was (in arrivals);
    ``clock``: arrivals in this epoch, arrivals in all, targets in this epoch.
    """
    i: cython.Py_ssize_t = start
    t: cython.Py_ssize_t
    x: cython.Py_ssize_t
    silent: cython.longlong
    gone: cython.bint = False
    with cython.nogil:
        while i < stop:
            x = targets[i]
            if clock[0] >= longest:
                break
            if seen[0, x] == 0 and clock[0] > 0:
                if seen[1, x] == 0:
                    if clock[0] > 5 * (clock[2] + 1) + 8:
                        break
                elif clock[0] * seen[1, x] > 10 * clock[1]:
                    break
            if (clock[0] & 15) == 15:
                for t in range(seen.shape[1]):
                    silent = clock[1] - seen[2, t]
                    if seen[0, t] != 0 and silent > 32 and silent * seen[0, t] > 10 * clock[0]:
                        gone = True
                        break
                if gone:
                    break
            if seen[0, x] == 0:
                clock[2] += 1
            seen[0, x] += 1
            seen[1, x] += 1
            clock[0] += 1
            clock[1] += 1
            seen[2, x] = clock[1]
            i += 1
    return i


def span_edges():
    """The lower edge, in nanoseconds, of each bin of ``kept_rows``, as floats; the first 64 bins are single nanoseconds."""
    bins = np.arange(SPAN_BINS)
    doublings = np.maximum(bins // SPAN_STEPS - 1, 0)
    return (bins - doublings * SPAN_STEPS) * 2.0**doublings


class PairCounter:
    """How many distinct values each of up to ``keys`` small numbers was met with; bounded, says when it is full."""

    def __init__(self, keys, cap=1 << 15):
        self.cap = cap
        self.full = False
        self.held = 0
        self.count_rows = np.zeros(keys, np.uint32)
        self.counts = self.count_rows
        self._grow(256)

    def _grow(self, size):
        members = np.zeros(size, np.uint64)
        owners = np.zeros(size, np.uint32)
        if self.held:
            members[: self.held] = np.asarray(self.members)[: self.held]
            owners[: self.held] = np.asarray(self.owners)[: self.held]
        held = self.held
        self.members = members
        self.owners = owners
        self.index = np.zeros(2 << (size - 1).bit_length(), np.uint32)
        self.counts = np.zeros(len(self.count_rows), np.uint32)
        self.held = 0
        self._fold(owners[:held].copy(), members[:held].copy())
        self.counts = self.count_rows

    def __deepcopy__(self, memo):
        copy: PairCounter = PairCounter(len(self.count_rows), self.cap)
        copy.full = self.full
        copy.held = self.held
        copy.members = np.array(self.members)
        copy.owners = np.array(self.owners)
        copy.index = np.array(self.index)
        copy.count_rows = self.count_rows.copy()
        copy.counts = copy.count_rows
        return copy

    def widen(self, keys):
        """Room for numbers below ``keys``."""
        have = len(self.count_rows)
        if keys > have:
            self.count_rows = np.concatenate((self.count_rows, np.zeros(keys - have, np.uint32)))
            self.counts = self.count_rows

    def fold(self, keys, values):
        """Pairs of a number (uint32) and a value (uint64; 0 is none)."""
        done = self._fold(keys, values)
        while done < len(keys):
            if self.held >= self.cap:
                self.full = True
                return
            self._grow(min(4 * self.held, self.cap))
            done += self._fold(keys[done:], values[done:])

    def _fold(self, keys, values):
        i: cython.Py_ssize_t = 0
        n: cython.Py_ssize_t = keys.shape[0]
        mask: cython.ulonglong = self.index.shape[0] - 1
        place: cython.ulonglong
        mixed: cython.ulonglong
        member: cython.uint
        while i < n:
            if values[i] != 0 and keys[i] < self.counts.shape[0]:
                mixed = (values[i] + cython.cast(cython.ulonglong, keys[i]) * 7919) * _MULTIPLIER
                place = (mixed ^ (mixed >> 31)) & mask
                while self.index[place] != 0:
                    member = self.index[place] - 1
                    if self.members[member] == values[i] and self.owners[member] == keys[i]:
                        break
                    place = (place + 1) & mask
                if self.index[place] == 0:
                    if self.held >= self.members.shape[0]:
                        break
                    self.members[self.held] = values[i]
                    self.owners[self.held] = keys[i]
                    self.held += 1
                    self.index[place] = cython.cast(cython.uint, self.held)
                    self.counts[keys[i]] += 1
            i += 1
        return i
