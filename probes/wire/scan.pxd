# Primitives every parser uses, inline in the declaration file so that each module gets its own copy: a call through a
# function pointer would cost as much as the work.
from libc.stdint cimport uint8_t, uint64_t

from lbtop.probes.wire.buffer cimport Buffer

cdef extern from *:
    """
    #include <stdint.h>
    #define LB_ONES 0x0101010101010101ULL
    #define LB_HIGHS 0x8080808080808080ULL
    #define LB_CASE 0x2020202020202020ULL
    #define LB_MIX 0x9E3779B97F4A7C15ULL
    static inline int lb_first_byte(uint64_t marks) { return __builtin_ctzll(marks) >> 3; }
    static inline int lb_bits(uint64_t word) { return __builtin_popcountll(word); }
    """
    const uint64_t ONES "LB_ONES"
    const uint64_t HIGHS "LB_HIGHS"
    const uint64_t CASE "LB_CASE"
    const uint64_t MIX "LB_MIX"
    int first_byte "lb_first_byte"(uint64_t marks) noexcept nogil
    int bits "lb_bits"(uint64_t word) noexcept nogil


cdef inline Py_ssize_t find_byte(Buffer buffer, Py_ssize_t at, Py_ssize_t end, uint8_t byte) except -2 nogil:
    """Position of the first ``byte`` in [at, end), -1 without one. Reads up to seven bytes of slack behind the end."""
    cdef uint64_t pattern = ONES * byte
    cdef uint64_t word, marks
    while at < end:
        word = buffer.u64[at] ^ pattern
        marks = (word - ONES) & ~word & HIGHS
        if marks:
            at += first_byte(marks)
            return at if at < end else -1
        at += 8
    return -1


cdef inline uint64_t folded(Buffer buffer, Py_ssize_t at, Py_ssize_t length) except? 1 nogil:
    """The first eight bytes of a word of ``length``, ASCII letters in lower case; shorter ones padded with zero bytes."""
    cdef uint64_t word = buffer.u64[at] | CASE
    if length >= 8:
        return word
    return word & ((<uint64_t>1 << (8 * length)) - 1) if length > 0 else 0


cdef inline bint starts_folded(Buffer buffer, Py_ssize_t at, Py_ssize_t end, const char *word, int length) except -1 nogil:
    """Does [at, end) start with ``word`` (given in lower case), whatever the case?"""
    cdef int i
    if end - at < length:
        return False
    for i in range(length):
        if buffer.u8[at + i] | 0x20 != <uint8_t>word[i] | 0x20:
            return False
    return True


cdef inline bint holds_folded(Buffer buffer, Py_ssize_t at, Py_ssize_t end, const char *word, int length) except -1 nogil:
    """Does [at, end) hold ``word`` (given in lower case) anywhere, whatever the case?"""
    while at + length <= end:
        if starts_folded(buffer, at, end, word, length):
            return True
        at += 1
    return False


cdef inline bint is_blank(uint8_t byte) noexcept nogil:
    return byte == 0x20 or byte == 0x09


cdef inline bint is_digit(uint8_t byte) noexcept nogil:
    return byte >= 0x30 and byte <= 0x39

