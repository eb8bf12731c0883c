/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What the socket filter and user space share. program.py states the same layout; a test compares sizes and offsets. */
#ifndef LBTOP_LEDGER_H
#define LBTOP_LEDGER_H

#define LBTOP_DIRECTIONS 2
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/* One connection, the same for both directions: `low` is the end with the smaller (address, port). Addresses in network order. */
struct flow4 {
    u32 low;
    u32 high;
    u16 low_port; /* host order */
    u16 high_port;
    u32 proto;
};

struct flow6 {
    u8 low[16];
    u8 high[16];
    u16 low_port;
    u16 high_port;
    u32 proto;
};

/* The kernel's own count, to be compared with what the decoder saw: never added to it. Index 0: sent by `low`.
 * With 48 bytes of the kernel's and a flow4 before it, it is a cache line of its own. */
struct flow_ledger {
    u64 first_ns;
    u64 last_ns;
    u64 packets[LBTOP_DIRECTIONS];
    u64 bytes[LBTOP_DIRECTIONS]; /* payload, retransmits included */
    u32 syn_to_synack_us;
    u8 flags[LBTOP_DIRECTIONS]; /* TCP flags seen, ORed */
    u8 pad[10];
};

enum bulk_mode {
    BULK_NONE = 0,
    BULK_UNTIL = 1,  /* payload wholly before sequence number `until` is of no interest */
    BULK_FOREVER = 2
};

/* Written by user space only: what the decoder no longer needs. */
struct flow_bulk {
    u32 until[LBTOP_DIRECTIONS];
    u8 mode[LBTOP_DIRECTIONS];
    u8 pad[2];
};

/* What lbtop reads of every connection. It goes down this list when it must, and says so. */
enum effort {
    EFFORT_HEADS = 0,       /* all that the decoder asks for */
    EFFORT_HANDSHAKES = 1,  /* the first bytes of every direction */
    EFFORT_LEDGER = 2       /* headers only */
};

/* A map in memory that user space shares and writes without a system call. */
#define HINTS (1 << 14)
struct control {
    u32 effort; /* enum effort */
    u8 marked[HINTS]; /* by hint(): 0 where no connection is marked, and nothing has to be looked up */
};

/* `low` and `high`: the last four bytes of the addresses. */
static __always_inline u32 hint(u32 low, u32 high, u16 low_port, u16 high_port)
{
    u32 ports = (u32)low_port << 16 | high_port;
    return (low * 0x9E3779B1u + high * 0x85EBCA77u + ports * 0xC2B2AE3Du) >> 18; /* 14 bits */
}

enum counter {
    COUNT_CUT = 0,          /* reduced to their headers */
    COUNT_CUT_BYTES = 1,    /* payload that stayed in the kernel */
    COUNT_NO_ROOM = 2,      /* packets of connections that the ledger had no room for: delivered whole */
    COUNT_NOT_PARSED = 3,   /* neither TCP nor UDP over IP: delivered whole */
    COUNTERS = 4
};

#endif
