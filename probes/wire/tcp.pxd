from libc.stdint cimport int32_t, int64_t

from lbtop.probes.wire.assembly cimport Half
from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.connections cimport Connections
from lbtop.probes.wire.frame cimport Frame
from lbtop.probes.wire.slots cimport Connection

# Folds one segment, whose connection `table.find(frame)` was asked for (slot, or -1), into the table.
cdef int segment(Connections table, Frame frame, int32_t slot) except -1 nogil
# Folds one datagram.
cdef int datagram(Connections table, Frame frame, int32_t slot) except -1 nogil

cdef bint begins_anew(Connections table, Frame frame, int32_t slot) except -1 nogil
cdef int32_t open_connection(Connections table, Frame frame) except -2 nogil
cdef inline int silences(Connection *conn, Half *half, Half *other, int end, int64_t ts_ns, bint answers) noexcept nogil
cdef int give_up_if_lost(Connections table, Frame frame, size_t h) except -1 nogil
cdef int reset(Connections table, Frame frame, int32_t slot) except -1 nogil
cdef int handshake(Connections table, Frame frame, int32_t slot) except -1 nogil
cdef inline int payload(Connections table, Frame frame, int32_t slot, Connection *conn, Half *half, size_t h) except -1 nogil
cdef bint closes_tls(Buffer buffer, Frame frame) except -1 nogil
cdef int look_at_payload(Connections table, Frame frame, int32_t slot) except -1 nogil
cdef int take_in(Connections table, Frame frame, int32_t slot, int learned) except -1 nogil
