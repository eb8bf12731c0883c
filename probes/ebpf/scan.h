/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* How plaintext.c looks at bytes: eight at a time, and in such a way that the verifier can follow it. */
#ifndef LBTOP_SCAN_H
#define LBTOP_SCAN_H

#include "plaintext.h"

/* A size, in a register of which the verifier sees that it is at most `most` although the compiler thinks it knows already. */
static __always_inline u64 bounded(u64 size, u64 most)
{
    asm volatile("" : "+r"(size));
    if (size > most)
        size = most;
    return size;
}

/* Map memory, read and written each time it is named. What a loop changes stands there: the verifier forgets what it knows of
 * a number that goes through memory, and paths that differ only in such knowledge are one path to it. */
#define AGAIN(number) (*(volatile u32 *)&(number))

static __always_inline u32 forget(struct thread *t, u32 number)
{
    AGAIN(t->number) = number;
    return AGAIN(t->number);
}

/* Up to eight letters as they lie in memory (little-endian, as every machine this runs on). */
#define LETTER(word, i) ((u64)(u8)(word)[(i) < sizeof(word) - 1 ? (i) : 0] << 8 * (i))
#define LETTERS(word) \
    ((LETTER(word, 0) | LETTER(word, 1) | LETTER(word, 2) | LETTER(word, 3) | LETTER(word, 4) | LETTER(word, 5) | LETTER(word, 6) | \
      LETTER(word, 7)) & MASK(word))
#define MASK(word) (~0ULL >> 8 * (8 - (sizeof(word) - 1)))
#define IS(eight, word) (((eight) & MASK(word)) == LETTERS(word))

/* Do eight bytes begin a status line, or a request line with a method that is in use (RFC 9110, RFC 5789, RFC 4918)? */
static __always_inline int begins_head(u64 b)
{
    return IS(b, "HTTP/1.") | IS(b, "GET ") | IS(b, "POST ") | IS(b, "HEAD ") | IS(b, "PUT ") | IS(b, "PATCH ") | IS(b, "DELETE ") |
           IS(b, "OPTIONS ") | IS(b, "CONNECT ") | IS(b, "TRACE ") | IS(b, "PROPFIND") | IS(b, "PROPPATC") | IS(b, "REPORT ") |
           IS(b, "MKCOL ") | IS(b, "MOVE ") | IS(b, "COPY ") | IS(b, "LOCK ") | IS(b, "UNLOCK ");
}

/* 0x80 in every byte of `word` that is `byte`. */
static __always_inline u64 where(u64 word, u8 byte)
{
    u64 x = word ^ byte * 0x0101010101010101ULL, low = 0x7f7f7f7f7f7f7f7fULL;

    return ~(((x & low) + low) | x | low);
}

#endif
