cimport cython
from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

# What will be read soon may be on its way from memory before it is asked for. Any address will do.
cdef extern from *:
    void prefetch "__builtin_prefetch"(const void *place) noexcept nogil

cdef enum:
    LINE = 64               # bytes that the processor fetches at a time

cdef inline void fetch(const void *place, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t at = 0
    while at < size:
        prefetch((<const uint8_t *>place) + at)
        at += LINE
    prefetch((<const uint8_t *>place) + size - 1)

cdef enum:
    AHEAD = 512             # bytes that are on their way while a packet is decoded

# Of packets that lie behind each other, written by another processor, so that they are in no cache of this one; where one's headers
# are is only known from the one before. Small ones come faster than memory answers: theirs are fetched with all that lies between.
# Most of a large one nobody reads.
cdef inline void fetch_ahead(const uint8_t *packet, Py_ssize_t size) noexcept nogil:
    if size < AHEAD:
        fetch(packet + AHEAD, size)
    else:
        fetch(packet + size, AHEAD)

# Both halves of the 128 bits of a product: the quickest way to let every bit of two words reach every bit of one.
cdef extern from *:
    """
    static CYTHON_INLINE uint64_t lbtop_multiplied(uint64_t a, uint64_t b) {
        unsigned __int128 product = (unsigned __int128)a * b;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    """
    uint64_t multiplied "lbtop_multiplied"(uint64_t a, uint64_t b) noexcept nogil

cdef enum:
    SCRATCH = 64            # offset of the scratch area: never a slot, never packet data
    SCRATCH_SIZE = 8128
    POOL = 8192             # offset of the first block of the slot pool
    BLOCK = 65536
    SLACK = 8

cdef inline uint16_t swap16(uint16_t value) noexcept nogil:
    return <uint16_t>((value >> 8) | (value << 8))

cdef inline uint32_t swap32(uint32_t value) noexcept nogil:
    return (<uint32_t>swap16(<uint16_t>value) << 16) | swap16(<uint16_t>(value >> 16))

cdef inline uint64_t swap64(uint64_t value) noexcept nogil:
    return (<uint64_t>swap32(<uint32_t>value) << 32) | swap32(<uint32_t>(value >> 32))

# Headers of fixed size: their place is checked once, their fields are read by pointer.
ctypedef const uint8_t *Octets

cdef inline Octets span(Buffer buffer, Py_ssize_t offset, Py_ssize_t n) except NULL nogil:
    # Both ends are checked; between two bytes of the array lie only bytes of the array.
    cdef Octets first = &buffer.u8[offset]
    cdef Octets last = &buffer.u8[offset + n - 1]
    return first + (last - first) - (n - 1)

cdef inline uint16_t word16(Octets at) noexcept nogil:
    cdef uint16_t value
    memcpy(&value, at, sizeof(value))
    return value

cdef inline uint32_t word32(Octets at) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, at, sizeof(value))
    return value

cdef inline uint64_t word64(Octets at) noexcept nogil:
    cdef uint64_t value
    memcpy(&value, at, sizeof(value))
    return value

# The value of an error (only an index error is possible) is one that data can have as well: Cython then asks PyErr_Occurred.
cdef inline uint16_t be16(Buffer buffer, Py_ssize_t offset) except? 0xFFFE nogil:
    return swap16(buffer.u16[offset])

cdef inline uint32_t be24(Buffer buffer, Py_ssize_t offset) except? 0xFFFFFE nogil:
    return (<uint32_t>buffer.u8[offset] << 16) | swap16(buffer.u16[offset + 1])

cdef inline uint32_t be32(Buffer buffer, Py_ssize_t offset) except? 0xFFFFFFFE nogil:
    return swap32(buffer.u32[offset])

cdef inline uint64_t be64(Buffer buffer, Py_ssize_t offset) except? 0xFFFFFFFFFFFFFFFE nogil:
    return swap64(buffer.u64[offset])


@cython.final
cdef class Buffer:
    cdef readonly object array
    cdef uint8_t[::1] u8
    cdef uint16_t[:] u16
    cdef uint32_t[:] u32
    cdef uint64_t[:] u64
    cdef readonly Py_ssize_t area         # offset of the first read area
    cdef readonly Py_ssize_t area_size
    cdef readonly int areas
    cdef readonly Py_ssize_t spare        # offset of what lies behind the read areas
    cdef readonly uint64_t refused        # slots asked for and not available
    cdef readonly Py_ssize_t taken        # slots in use

    cdef int blocks
    cdef int fresh                        # blocks never used yet start here
    cdef int empty                        # list of blocks that became empty again
    cdef int partial[3]                   # per size class: list of blocks with a free slot
    cdef uint32_t[::1] free_slots         # per block: bit set of its free slots
    cdef uint8_t[::1] block_class
    cdef int32_t[::1] next_block
    cdef int32_t[::1] previous_block

    cdef Py_ssize_t take(self, Py_ssize_t size) except -2 nogil
    cdef int give(self, Py_ssize_t offset) except -1 nogil
    cdef Py_ssize_t capacity(self, Py_ssize_t offset) except -1 nogil
    cdef int copy(self, Py_ssize_t target, Py_ssize_t source, Py_ssize_t size) except -1 nogil
    cdef int _link(self, int block, int size_class) except -1 nogil
    cdef int _unlink(self, int block, int size_class) except -1 nogil
