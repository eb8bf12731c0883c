// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * Socket filter: how many bytes of a packet deserve to reach user space, and the ledger of every connection.
 *
 * It never guesses what a request head looks like: segments merged by offload, pipelining and heads over several segments would
 * make every such guess lose requests silently. A packet is delivered whole unless user space, whose decoder knows how many
 * bytes of a body are left or that a TLS handshake is over, has marked that stretch of that direction as bulk. Then it is cut to its
 * headers, never to nothing: sequence numbers, retransmits and byte counts stay exact and come from one place, the decoder.
 * A mark that comes late costs bytes, not facts.
 */
#include "ledger.h"

#ifndef CLOCK
#define CLOCK bpf_ktime_get_ns /* the coarse one costs half as much, and came with Linux 5.11 */
#endif
#define ETH_IPV4 0x0800
#define ETH_IPV6 0x86DD
#define PROTO_TCP 6
#define PROTO_UDP 17
#define HANDSHAKE_BYTES 8192
#define WORTH_CUTTING 128 /* payload below this is delivered without a look at the marks */
#define LINK_LEAST 18     /* an Ethernet header with one VLAN tag */
#define LINK_MOST 64
#define MOST_AHEAD (1 << 30) /* sequence numbers are compared within a part of their circle */
#define MOST_SEGMENT (1 << 20)

BPF_TABLE("hash", struct flow_key, struct flow_ledger, ledger, LEDGER_ENTRIES);
BPF_TABLE("hash", struct flow_key, struct flow_bulk, bulk, LEDGER_ENTRIES);
BPF_PERCPU_ARRAY(counters, u64, COUNTERS);
BPF_ARRAY(effort, u32, 1); /* enum effort, written by user space */

struct packet {
    struct flow_key key;
    u32 link;      /* what lies before the network header; with padding behind the packet, more */
    u32 header;    /* network and transport header together */
    u32 payload;
    u32 seq;
    u8 flags;
    u8 direction;  /* 0: sent by the low end */
};

static __always_inline void count(int which, u64 by)
{
    u64 *value = counters.lookup(&which);
    if (value)
        *value += by;
}

static __always_inline int order(const u8 *a, const u8 *b, u16 a_port, u16 b_port)
{
    const u64 *x = (const u64 *)a, *y = (const u64 *)b;
    /* Any total order will do: compared as the machine reads it. */
    if (x[0] != y[0])
        return x[0] < y[0];
    if (x[1] != y[1])
        return x[1] < y[1];
    return a_port <= b_port;
}

/* `head`: the first bytes of the transport header, 20 of TCP's, 8 of UDP's. */
static __always_inline int transport(struct __sk_buff *skb, struct packet *p, u8 *src, u8 *dst, const u8 *head, u32 ip_header, u32 ip_total, u8 proto)
{
    u16 sport = (u16)head[0] << 8 | head[1];
    u16 dport = (u16)head[2] << 8 | head[3];
    u32 need = 8;

    if (proto == PROTO_TCP) {
        need = (u32)(head[12] >> 4) * 4;
        if (need < 20)
            return -1;
        p->flags = head[13];
        p->seq = (u32)head[4] << 24 | (u32)head[5] << 16 | (u32)head[6] << 8 | head[7];
    }
    p->link = skb->len > ip_total ? skb->len - ip_total : 0;
    p->header = ip_header + need;
    p->payload = ip_total > p->header ? ip_total - p->header : 0;
    p->key.proto = proto;
    if (order(src, dst, sport, dport)) {
        __builtin_memcpy(p->key.low, src, 16);
        __builtin_memcpy(p->key.high, dst, 16);
        p->key.low_port = sport;
        p->key.high_port = dport;
        p->direction = 0;
    } else {
        __builtin_memcpy(p->key.low, dst, 16);
        __builtin_memcpy(p->key.high, src, 16);
        p->key.low_port = dport;
        p->key.high_port = sport;
        p->direction = 1;
    }
    return 0;
}

/* Reads the transport header; -1 when it is not all there. */
static __always_inline int read_head(struct __sk_buff *skb, u8 *head, u32 at, u8 proto)
{
    if (proto == PROTO_TCP)
        return bpf_skb_load_bytes_relative(skb, at, head, 20, BPF_HDR_START_NET) ? -1 : 0;
    if (proto == PROTO_UDP)
        return bpf_skb_load_bytes_relative(skb, at, head, 8, BPF_HDR_START_NET) ? -1 : 0;
    return -1;
}

static __always_inline int parse(struct __sk_buff *skb, struct packet *p)
{
    u8 ip[60] __attribute__((aligned(8)));
    u8 src[16] __attribute__((aligned(8))) = {};
    u8 dst[16] __attribute__((aligned(8))) = {};
    u32 header, total;

    /* By its type and not by its first bits: behind a second VLAN tag the network header is that tag. */
    if (skb->protocol == __builtin_bswap16(ETH_IPV4)) {
        /* Both headers in one go where they have their usual lengths. */
        int at_once = !bpf_skb_load_bytes_relative(skb, 0, ip, 40, BPF_HDR_START_NET);
        if (!at_once && bpf_skb_load_bytes_relative(skb, 0, ip, 20, BPF_HDR_START_NET))
            return -1;
        if (ip[0] >> 4 != 4)
            return -1;
        header = (u32)(ip[0] & 15) * 4;
        total = (u32)ip[2] << 8 | ip[3];
        if (header < 20 || (ip[6] & 0x3f) || ip[7]) /* a fragment: whole, the decoder puts it together */
            return -1;
        if (total == 0) /* segments merged beyond 64 KB say 0 */
            total = skb->len;
        src[10] = src[11] = dst[10] = dst[11] = 0xff;
        __builtin_memcpy(src + 12, ip + 12, 4);
        __builtin_memcpy(dst + 12, ip + 16, 4);
        if (!at_once || header != 20 || (ip[9] != PROTO_TCP && ip[9] != PROTO_UDP))
            if (read_head(skb, ip + 20, header, ip[9]))
                return -1;
        return transport(skb, p, src, dst, ip + 20, header, total, ip[9]);
    }
    if (skb->protocol == __builtin_bswap16(ETH_IPV6)) {
        if (bpf_skb_load_bytes_relative(skb, 0, ip, 40, BPF_HDR_START_NET) || ip[0] >> 4 != 6)
            return -1;
        total = 40 + ((u32)ip[4] << 8 | ip[5]);
        if (total == 40)
            total = skb->len;
        __builtin_memcpy(src, ip + 8, 16);
        __builtin_memcpy(dst, ip + 24, 16);
        header = ip[6]; /* extension headers: delivered whole */
        if (read_head(skb, ip + 40, 40, header))
            return -1;
        return transport(skb, p, src, dst, ip + 40, 40, total, header);
    }
    return -1;
}

/* Counts the packet. Returns the payload that its direction had sent before. */
static __always_inline u64 enter(struct packet *p)
{
    struct flow_ledger *entry = ledger.lookup(&p->key);
    u64 now = p->flags & 2 ? bpf_ktime_get_ns() : CLOCK(); /* only handshakes are timed */
    u8 d = p->direction & 1;
    u64 before;

    if ((p->flags & 18) == 2)
        bulk.delete(&p->key); /* a SYN: what was known of an older connection with these ports is void */
    if (!entry) {
        struct flow_ledger fresh = {};
        fresh.first_ns = now;
        if (ledger.insert(&p->key, &fresh)) {
            entry = ledger.lookup(&p->key); /* another CPU was first, or there is no room */
            if (!entry) {
                count(COUNT_NO_ROOM, 1);
                return 0;
            }
        } else {
            entry = ledger.lookup(&p->key);
            if (!entry)
                return 0;
        }
    }
    entry->last_ns = now;
    if (p->flags & 2 && p->flags & 16 && !entry->syn_to_synack_us)
        entry->syn_to_synack_us = (u32)((now - entry->first_ns) / 1000);
    before = entry->bytes[d];
    __sync_fetch_and_add(&entry->packets[d], 1);
    if (p->payload)
        __sync_fetch_and_add(&entry->bytes[d], (u64)p->payload);
    if (p->flags & ~entry->flags[d])
        entry->flags[d] |= p->flags;
    return before;
}

/* When lbtop must not cost what it costs: only the beginning of every direction, then only headers. User space says so on screen. */
static __always_inline int is_spared(struct packet *p, u64 sent_before)
{
    int zero = 0;
    u32 *level = effort.lookup(&zero);

    if (!level || *level == EFFORT_HEADS)
        return 0;
    return *level == EFFORT_LEDGER || sent_before >= HANDSHAKE_BYTES;
}

static __always_inline int is_bulk(struct packet *p)
{
    struct flow_bulk *mark;
    u8 d = p->direction & 1;
    s32 beyond;

    if (p->key.proto != PROTO_TCP || p->flags & 7) /* FIN, SYN, RST: rare, and they matter */
        return 0;
    mark = bulk.lookup(&p->key);
    if (!mark)
        return 0;
    if (mark->mode[d] == BULK_FOREVER)
        return 1;
    beyond = (s32)(p->seq + p->payload - mark->until[d]);
    return mark->mode[d] == BULK_UNTIL && beyond <= 0 && beyond >= -MOST_AHEAD - MOST_SEGMENT;
}

int lbtop_filter(struct __sk_buff *skb)
{
    struct packet p = {};
    u64 before;

    if (parse(skb, &p)) {
        count(COUNT_NOT_PARSED, 1);
        return -1; /* whole */
    }
    before = enter(&p);
    if (p.payload >= WORTH_CUTTING && p.link <= LINK_MOST && (is_bulk(&p) || is_spared(&p, before))) {
        count(COUNT_CUT, 1);
        count(COUNT_CUT_BYTES, p.payload);
        return (p.link > LINK_LEAST ? p.link : LINK_LEAST) + p.header;
    }
    return -1;
}
