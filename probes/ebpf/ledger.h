/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What the socket filter and user space share. program.py states the same layout; a test compares sizes and offsets. */
#ifndef LBTOP_LEDGER_H
#define LBTOP_LEDGER_H

#define LBTOP_DIRECTIONS 2
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/* One connection, the same for both directions: `low` is the end with the smaller (address, port). IPv4 is mapped into IPv6. */
struct flow_key {
    u8 low[16];
    u8 high[16];
    u16 low_port;  /* host order */
    u16 high_port;
    u8 proto;
    u8 pad[3];
};

/* The kernel's own count, to be compared with what the decoder saw: never added to it. Index 0: sent by `low`. */
struct flow_ledger {
    u64 first_ns;
    u64 last_ns;
    u64 packets[LBTOP_DIRECTIONS];
    u64 bytes[LBTOP_DIRECTIONS]; /* payload, retransmits included */
    u32 syn_to_synack_us;
    u8 flags[LBTOP_DIRECTIONS]; /* TCP flags seen, ORed */
    u8 pad[2];
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

enum counter {
    COUNT_CUT = 0,          /* reduced to their headers */
    COUNT_CUT_BYTES = 1,    /* payload that stayed in the kernel */
    COUNT_NO_ROOM = 2,      /* packets of connections that the ledger had no room for: delivered whole */
    COUNT_NOT_PARSED = 3,   /* neither TCP nor UDP over IP: delivered whole */
    COUNTERS = 4
};

#endif
