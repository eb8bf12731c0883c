from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

# One key value and what it did last. The layout of keytable.SLOT (checked when a view is taken).
cdef struct Slot:
    uint64_t value, previous, aux, request, top_conn
    int64_t first_ns, last_ns, assigned_ns, longest_gap_ns, longest_age_ns
    uint32_t serial, arrivals, connections, marks_any, marks_all, marked
    uint32_t pending, aux_changes
    uint16_t first, last, last_conn, flags

# One key that changed its target. The layout of keytable.MOVE.
cdef struct Move:
    int64_t at_ns, gap_ns, age_ns
    uint32_t serial, marks
    uint16_t source, destination
    uint8_t stratum, first_return
    uint16_t pad

# One arrival. The layout of keytable.ARRIVAL.
cdef struct Arrival:
    uint64_t presented, conn, request
    int64_t at_ns
    uint32_t marks
    uint16_t target, issued


cdef class KeyTable:
    cdef public object cap                  # most keys it holds; beyond that the longest unseen are forgotten
    cdef public object slot_rows, count_rows, expected_rows, move_rows, first_rows, share_rows, kept_rows, met_rows
    cdef public long long arrivals, marked_arrivals, keys_seen, moves_seen, expired
    cdef Py_ssize_t used, indexed, touched_count
    cdef Slot[::1] slots
    cdef uint32_t[:, ::1] counts            # per key: (returns, same, returns of the open epoch) x strata x lanes
    cdef double[:, ::1] expected            # per key: sum of chance x strata x lanes, closed epochs
    cdef uint32_t[::1] index                # hash of a value to slot + 1
    cdef uint32_t[::1] touched              # slots with returns in the open epoch
    cdef int64_t[:, ::1] shares             # open epoch, per target: first assignments; moves to, moves from; the same by connection
    cdef uint8_t[::1] met                   # targets that any key met in the open epoch
    cdef Move[::1] moves
    cdef uint16_t[::1] firsts
    cdef uint32_t[:, ::1] kept              # returns to the same target by duration: since the last arrival, since the assignment
    cdef Arrival[::1] rows
    cdef uint64_t[::1] values               # parallel to rows: the key, and the other identity
    cdef uint64_t[::1] aux

    cdef Py_ssize_t _place(self, uint64_t value) except -1 nogil
    cdef Py_ssize_t _fold(self, Py_ssize_t start, Py_ssize_t stop) except -1 nogil
    cdef int _arrive(self, Py_ssize_t i) except -1 nogil
    cdef int _begin(self, Py_ssize_t i, Py_ssize_t place) except -1 nogil
    cdef int _return(self, Py_ssize_t s, Py_ssize_t i) except -1 nogil
    cdef int _kept(self, Py_ssize_t row, int64_t duration_ns) except -1 nogil
    cdef int _moved(self, Py_ssize_t s, Py_ssize_t i, Py_ssize_t stratum, int64_t gap_ns, int64_t age_ns) except -1 nogil


cdef class PairCounter:
    cdef public object cap
    cdef public object count_rows
    cdef public bint full
    cdef Py_ssize_t held
    cdef uint64_t[::1] members
    cdef uint32_t[::1] owners
    cdef uint32_t[::1] index
    cdef uint32_t[::1] counts

    cdef Py_ssize_t _fold(self, uint32_t[::1] keys, uint64_t[::1] values) except -1 nogil
