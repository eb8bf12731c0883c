cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from lbtop.probes.files.comments cimport Comments
from lbtop.probes.files.reading cimport Readers
from lbtop.probes.wire.buffer cimport Buffer, fetch_ahead, swap32
from lbtop.probes.wire.decoder cimport Decoder

# Four bytes of a file whose byte order may not be the machine's.
cdef inline uint32_t field(Buffer buffer, Py_ssize_t offset, bint swapped) except? 0xFFFFFFFE nogil:
    cdef uint32_t value = buffer.u32[offset]
    return swap32(value) if swapped else value

# Why walk came back.
cdef enum:
    DONE = 0            # every input is at its end
    BATCH = 1           # enough rows wait, or so much was read that progress wants to be shown
    NEED = 2            # input `which` wants more bytes
    BLOCK = 3           # input `which` is at a pcapng block that only Python code understands; it lies whole in the area
    DAMAGED = 4         # input `which` cannot be read any further
    ACTIVATE = 5        # time has come to the first packet of a file that is not read yet
    AGAIN = 6           # only between the functions here: a record was too large, and is to be passed over

cdef enum:
    PCAP = 1
    PCAPNG = 2

cdef struct Input:
    int64_t ts_ns               # of the record at hand
    Py_ssize_t area             # where its read area begins
    Py_ssize_t position         # first byte not consumed
    Py_ssize_t end              # end of the bytes in the area
    Py_ssize_t data             # of the record at hand: first byte, bytes captured, bytes on the wire, where the next begins
    Py_ssize_t captured
    Py_ssize_t wire
    Py_ssize_t following
    uint64_t skip               # bytes of a record too large for the area that are still to be passed over
    uint64_t before             # bytes of the file that lie before the area
    int64_t fraction_ns         # nanoseconds per unit of a pcap record's fraction
    int32_t linktype            # of the record at hand; for pcap of all
    uint32_t interface
    uint32_t first_interface    # of this section, in the table of interfaces
    uint32_t interfaces
    uint8_t format, swapped, looked, active
    int32_t reader              # its number among the Readers, -1 where whoever walks reads it
    uint32_t extra              # bytes that a modified pcap record header has more
    Py_ssize_t options          # of the record at hand: where its options begin and end; 0 without
    Py_ssize_t options_end

# Of a pcapng section.
cdef struct Interface:
    int64_t offset_ns
    int64_t factor              # units per 10^-9 s, or the reverse, see kind
    int32_t linktype
    uint32_t snaplen
    uint32_t kind               # 0: multiply, 1: divide, 2: units of 2^-factor s
    uint32_t host_side          # see formats.Description


@cython.final
cdef class Records:
    cdef Buffer buffer
    cdef Decoder decoder
    cdef Readers readers
    cdef Comments comments
    cdef Input[::1] inputs
    cdef Interface[::1] interfaces
    cdef uint32_t interfaces_used
    cdef uint32_t count                 # inputs
    cdef readonly uint32_t which
    cdef readonly uint64_t oversized    # packets larger than a read area, passed over
    cdef public int64_t since_ns
    cdef public int64_t until_ns
    cdef public int64_t activate_ns
    cdef int refills                    # chunks taken from the readers in this walk

    cdef int _walk(self) except -1 nogil
    cdef int _alone(self, Input *entry) except -1 nogil
    cdef int _merged(self) except -1 nogil
    cdef inline int _take(self, Input *entry, uint32_t origin) except -1 nogil
    cdef int _look(self, Input *entry) except -1 nogil
    cdef int _refill(self, Input *entry) except -1 nogil
    cdef inline int _look_pcap(self, Input *entry) except -1 nogil
    cdef int _look_pcapng(self, Input *entry) except -1 nogil
    cdef bint _host_side(self, Input *entry) except -1 nogil
    cdef int64_t _time(self, uint32_t interface, uint64_t units) noexcept nogil
