# Primitives every parser uses, inline in the declaration file so that each module gets its own copy: a call through a
# function pointer would cost as much as the work.
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memchr

from lbtop.probes.wire.buffer cimport Buffer

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #define LB_ONES 0x0101010101010101ULL
    #define LB_HIGHS 0x8080808080808080ULL
    #define LB_CASE 0x2020202020202020ULL
    #define LB_MIX 0x9E3779B97F4A7C15ULL
    static inline int lb_first_byte(uint64_t marks) { return __builtin_ctzll(marks) >> 3; }
    static inline int lb_bits(uint64_t word) { return __builtin_popcountll(word); }

    /* Eight bytes at a time, the last eight overlapping; with a length known when it is compiled, some comparisons with constants. */
    static inline __attribute__((always_inline)) int lb_same_folded(const uint8_t *at, const char *word, int length) {
        uint64_t a, b;
        int i = 0;
        for (; i + 8 <= length; i += 8) {
            memcpy(&a, at + i, 8);
            memcpy(&b, word + i, 8);
            if ((a ^ b) & ~LB_CASE) return 0;
        }
        if (i == length) return 1;
        if (length >= 8) {
            memcpy(&a, at + length - 8, 8);
            memcpy(&b, word + length - 8, 8);
            return ((a ^ b) & ~LB_CASE) == 0;
        }
        a = b = 0;
        if (length >= 4) {
            memcpy(&a, at, 4);
            memcpy(&b, word, 4);
            if ((a ^ b) & ~LB_CASE) return 0;
            memcpy(&a, at + length - 4, 4);
            memcpy(&b, word + length - 4, 4);
            return ((a ^ b) & ~LB_CASE) == 0;
        }
        for (; i < length; i++)
            if ((at[i] ^ (uint8_t)word[i]) & 0xDF) return 0;
        return 1;
    }

    /* Branches would be guessed wrong once a value. */
    static inline __attribute__((always_inline)) int lb_all_hex(const uint8_t *at, int length) {
        int i, bad = 0;
        for (i = 0; i < length; i++)
            bad |= ((uint8_t)(at[i] - '0') > 9) & ((uint8_t)((at[i] | 0x20) - 'a') > 5);
        return !bad;
    }

    static inline uint64_t lb_fold(uint64_t a, uint64_t b) {
        unsigned __int128 product = (unsigned __int128)a * b;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    }

    /* A multiply-and-fold over sixteen bytes at a time; the last ones overlap those before them. Never 0. */
    static inline uint64_t lb_hash(const uint8_t *at, uint64_t length, uint64_t seed) {
        uint64_t first, last, value = seed ^ length * LB_MIX, left = length;
        uint32_t low, high;
        for (; left > 16; left -= 16, at += 16) {
            memcpy(&first, at, 8);
            memcpy(&last, at + 8, 8);
            value = lb_fold(first ^ LB_MIX, last ^ value);
        }
        if (left >= 8) {
            memcpy(&first, at, 8);
            memcpy(&last, at + left - 8, 8);
        } else if (left >= 4) {
            memcpy(&low, at, 4);
            memcpy(&high, at + left - 4, 4);
            first = low;
            last = high;
        } else if (left) {
            first = at[0] | (uint64_t)at[left / 2] << 8;
            last = at[left - 1];
        } else
            first = last = 0;
        value = lb_fold(first ^ LB_MIX, last ^ value);
        return lb_fold(value ^ seed, LB_MIX) | 1;
    }
    """
    const uint64_t ONES "LB_ONES"
    const uint64_t HIGHS "LB_HIGHS"
    const uint64_t CASE "LB_CASE"
    const uint64_t MIX "LB_MIX"
    int first_byte "lb_first_byte"(uint64_t marks) noexcept nogil
    int bits "lb_bits"(uint64_t word) noexcept nogil
    bint only_hex "lb_all_hex"(const uint8_t *at, int length) noexcept nogil
    uint64_t fold "lb_fold"(uint64_t a, uint64_t b) noexcept nogil
    uint64_t hash_bytes "lb_hash"(const uint8_t *at, uint64_t length, uint64_t seed) noexcept nogil
    bint same_folded "lb_same_folded"(const uint8_t *at, const char *word, int length) noexcept nogil


cdef inline Py_ssize_t find_byte(Buffer buffer, Py_ssize_t at, Py_ssize_t end, uint8_t byte) except -2 nogil:
    """Position of the first ``byte`` in [at, end), -1 without one. Both ends are checked, once, before libc searches."""
    cdef const uint8_t *start
    cdef const uint8_t *last
    cdef const uint8_t *found
    if at >= end:
        return -1
    start = &buffer.u8[at]
    last = &buffer.u8[end - 1]
    found = <const uint8_t *>memchr(start, byte, last - start + 1)
    return -1 if found == NULL else at + (found - start)


cdef inline uint64_t folded(Buffer buffer, Py_ssize_t at, Py_ssize_t length) except? 1 nogil:
    """The first eight bytes of a word of ``length``, ASCII letters in lower case; shorter ones padded with zero bytes."""
    cdef uint64_t word = buffer.u64[at] | CASE
    if length >= 8:
        return word
    return word & ((<uint64_t>1 << (8 * length)) - 1) if length > 0 else 0


cdef inline bint starts_folded(Buffer buffer, Py_ssize_t at, Py_ssize_t end, const char *word, int length) except -1 nogil:
    """Does [at, end) start with ``word`` (given in lower case), whatever the case?"""
    cdef const uint8_t *start
    cdef const uint8_t *last
    if end - at < length:
        return False
    if length <= 0:
        return True
    start = &buffer.u8[at]
    last = &buffer.u8[at + length - 1]
    return last >= start and same_folded(start, word, length)


cdef inline bint holds_folded(Buffer buffer, Py_ssize_t at, Py_ssize_t end, const char *word, int length) except -1 nogil:
    """Does [at, end) hold ``word`` (given in lower case) anywhere, whatever the case?"""
    while at + length <= end:
        if starts_folded(buffer, at, end, word, length):
            return True
        at += 1
    return False


cdef inline bint all_hex(Buffer buffer, Py_ssize_t at, int length) except -1 nogil:
    """Are the ``length`` bytes at ``at`` hexadecimal digits?"""
    cdef const uint8_t *start = &buffer.u8[at]
    cdef const uint8_t *last = &buffer.u8[at + length - 1]
    return last >= start and only_hex(start, length)


cdef inline uint64_t hashed(Buffer buffer, Py_ssize_t at, Py_ssize_t length, uint64_t seed) except? 2 nogil:
    """A seeded hash of the ``length`` bytes at ``at``, at least one; odd."""
    cdef const uint8_t *start = &buffer.u8[at]
    cdef const uint8_t *last = &buffer.u8[at + length - 1]
    return hash_bytes(start, last - start + 1, seed)


cdef inline bint is_blank(uint8_t byte) noexcept nogil:
    return byte == 0x20 or byte == 0x09


cdef inline bint is_digit(uint8_t byte) noexcept nogil:
    return byte >= 0x30 and byte <= 0x39

