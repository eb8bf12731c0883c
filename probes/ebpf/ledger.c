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
#define WHOLE -1
#define HANDSHAKE_BYTES 8192
#define WORTH_CUTTING 128 /* payload below this is delivered without a look at the marks */
#define LINK_LEAST 18     /* an Ethernet header with one VLAN tag */
#define LINK_MOST 64
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define PLACE(index, bits) ((bits) * (index))
#else
#define PLACE(index, bits) ((bits) * (1 - (index)))
#endif
#define MOST_AHEAD (1 << 30) /* sequence numbers are compared within a part of their circle */
#define MOST_SEGMENT (1 << 20)

/* Apart, because the shorter key makes the usual packet touch two cache lines less. */
BPF_TABLE("hash", struct flow4, struct flow_ledger, ledger4, LEDGER_ENTRIES);
BPF_TABLE("hash", struct flow6, struct flow_ledger, ledger6, LEDGER_ENTRIES);
BPF_TABLE("hash", struct flow4, struct flow_bulk, bulk4, LEDGER_ENTRIES);
BPF_TABLE("hash", struct flow6, struct flow_bulk, bulk6, LEDGER_ENTRIES);
BPF_PERCPU_ARRAY(counters, u64, COUNTERS);
BPF_F_TABLE("array", u32, struct control, control, 1, BPF_F_MMAPABLE);

struct packet {
    u32 link;      /* what lies before the network header; with padding behind the packet, more */
    u32 header;    /* network and transport header together */
    u32 payload;
    u32 seq;
    u32 hint;
    u8 proto;
    u8 flags;
    u8 direction;  /* 0: sent by the low end */
};

static __always_inline void count(int which, u64 by)
{
    u64 *value = counters.lookup(&which);
    if (value)
        *value += by;
}

static __always_inline u16 port(const u8 *head, int at)
{
    return (u16)head[at] << 8 | head[at + 1];
}

/* `head`: the first bytes of the transport header, 20 of TCP's, 8 of UDP's. */
static __always_inline int transport(struct __sk_buff *skb, struct packet *p, const u8 *head, u32 ip_header, u32 ip_total)
{
    u32 need = 8;

    if (p->proto == PROTO_TCP) {
        need = (u32)(head[12] >> 4) * 4;
        if (need < 20)
            return -1;
        p->flags = head[13];
        p->seq = (u32)head[4] << 24 | (u32)head[5] << 16 | (u32)head[6] << 8 | head[7];
    }
    p->link = skb->len > ip_total ? skb->len - ip_total : 0;
    p->header = ip_header + need;
    p->payload = ip_total > p->header ? ip_total - p->header : 0;
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

/*
 * 0 or 1, of which the verifier knows no more than that: without CAP_PERFMON it refuses an index that it knows on one path and not
 * on another. (No packet is of 2 GB.)
 */
static __always_inline u8 either(struct __sk_buff *skb, int which)
{
    return (which ^ (skb->len >> 31)) & 1;
}

static __always_inline int parse4(struct __sk_buff *skb, struct packet *p, struct flow4 *key)
{
    u8 ip[40] __attribute__((aligned(8)));
    u32 header, total, src, dst;
    u16 sport, dport;
    int swapped;
    /* Both headers in one go where they have their usual lengths. */
    int at_once = !bpf_skb_load_bytes_relative(skb, 0, ip, 40, BPF_HDR_START_NET);

    if (!at_once && bpf_skb_load_bytes_relative(skb, 0, ip, 20, BPF_HDR_START_NET))
        return -1;
    header = (u32)(ip[0] & 15) * 4;
    total = (u32)ip[2] << 8 | ip[3];
    p->proto = ip[9];
    if (ip[0] >> 4 != 4 || header < 20 || (ip[6] & 0x3f) || ip[7]) /* a fragment: whole, the decoder puts it together */
        return -1;
    if (total == 0) /* segments merged beyond 64 KB say 0 */
        total = skb->len;
    if (!at_once || header != 20 || (p->proto != PROTO_TCP && p->proto != PROTO_UDP))
        if (read_head(skb, ip + 20, header, p->proto))
            return -1;
    if (transport(skb, p, ip + 20, header, total))
        return -1;
    src = *(u32 *)(ip + 12);
    dst = *(u32 *)(ip + 16);
    sport = port(ip, 20);
    dport = port(ip, 22);
    swapped = src != dst ? src > dst : sport > dport; /* any total order will do: compared as the machine reads it */
    p->direction = either(skb, swapped);
    key->low = swapped ? dst : src;
    key->high = swapped ? src : dst;
    key->low_port = swapped ? dport : sport;
    key->high_port = swapped ? sport : dport;
    key->proto = p->proto;
    p->hint = hint(key->low, key->high, key->low_port, key->high_port);
    return 0;
}

static __always_inline int parse6(struct __sk_buff *skb, struct packet *p, struct flow6 *key)
{
    u8 ip[60] __attribute__((aligned(8)));
    u64 *src = (u64 *)(ip + 8), *dst = (u64 *)(ip + 24);
    u32 total;
    u16 sport, dport;
    int swapped;

    if (bpf_skb_load_bytes_relative(skb, 0, ip, 40, BPF_HDR_START_NET) || ip[0] >> 4 != 6)
        return -1;
    total = 40 + ((u32)ip[4] << 8 | ip[5]);
    if (total == 40)
        total = skb->len;
    p->proto = ip[6]; /* extension headers: delivered whole */
    if (read_head(skb, ip + 40, 40, p->proto) || transport(skb, p, ip + 40, 40, total))
        return -1;
    sport = port(ip, 40);
    dport = port(ip, 42);
    swapped = src[0] != dst[0] ? src[0] > dst[0] : src[1] != dst[1] ? src[1] > dst[1] : sport > dport;
    p->direction = either(skb, swapped);
    __builtin_memcpy(key->low, swapped ? dst : src, 16);
    __builtin_memcpy(key->high, swapped ? src : dst, 16);
    key->low_port = swapped ? dport : sport;
    key->high_port = swapped ? sport : dport;
    key->proto = p->proto;
    p->hint = hint(*(u32 *)(key->low + 12), *(u32 *)(key->high + 12), key->low_port, key->high_port);
    return 0;
}

/* The entry of a connection; none where there is no room. Another CPU may be first to insert it. */
static __always_inline struct flow_ledger *entry4(const struct flow4 *key)
{
    struct flow_ledger *entry = ledger4.lookup(key);
    if (!entry) {
        struct flow_ledger fresh = {};
        fresh.first_ns = bpf_ktime_get_ns();
        ledger4.insert(key, &fresh);
        entry = ledger4.lookup(key);
    }
    return entry;
}

static __always_inline struct flow_ledger *entry6(const struct flow6 *key)
{
    struct flow_ledger *entry = ledger6.lookup(key);
    if (!entry) {
        struct flow_ledger fresh = {};
        fresh.first_ns = bpf_ktime_get_ns();
        ledger6.insert(key, &fresh);
        entry = ledger6.lookup(key);
    }
    return entry;
}

/* Counts the packet. Returns the payload that its direction had sent before. */
static __always_inline u64 enter(const struct packet *p, struct flow_ledger *entry)
{
    u8 d = p->direction & 1;

    if (!entry) {
        count(COUNT_NO_ROOM, 1);
        return 0;
    }
    entry->last_ns = CLOCK();
    if ((p->flags & 18) == 18 && !entry->syn_to_synack_us)
        entry->syn_to_synack_us = (u32)((bpf_ktime_get_ns() - entry->first_ns) / 1000);
    __sync_fetch_and_add(&entry->packets[d], 1);
    if (p->flags & ~entry->flags[d])
        entry->flags[d] |= p->flags;
    if (!p->payload)
        return 0;
    return __sync_fetch_and_add(&entry->bytes[d], (u64)p->payload);
}

static __always_inline int is_syn(const struct packet *p)
{
    return (p->flags & 18) == 2;
}

/* When lbtop must not cost what it costs: only the beginning of every direction, then only headers. User space says so on screen. */
static __always_inline int is_spared(const struct control *asked, u64 sent_before)
{
    if (asked->effort == EFFORT_HEADS)
        return 0;
    return asked->effort == EFFORT_LEDGER || sent_before >= HANDSHAKE_BYTES;
}

static __always_inline int is_bulk(const struct packet *p, const struct flow_bulk *mark)
{
    u8 d = p->direction & 1, mode;
    s32 beyond;

    if (!mark || p->proto != PROTO_TCP || p->flags & 7) /* FIN, SYN, RST: rare, and they matter */
        return 0;
    /* Both at once, then shifted: no index into a map's value, whichever map it is. */
    mode = *(const u16 *)mark->mode >> PLACE(d, 8);
    if (mode == BULK_FOREVER)
        return 1;
    beyond = (s32)(p->seq + p->payload - (u32)(*(const u64 *)mark->until >> PLACE(d, 32)));
    return mode == BULK_UNTIL && beyond <= 0 && beyond >= -MOST_AHEAD - MOST_SEGMENT;
}

/* How many bytes of the packet user space gets. */
static __always_inline int wanted(const struct packet *p, const struct control *asked, const struct flow_bulk *mark, u64 sent_before)
{
    if (p->payload < WORTH_CUTTING || p->link > LINK_MOST)
        return WHOLE;
    if (!is_bulk(p, mark) && !is_spared(asked, sent_before))
        return WHOLE;
    count(COUNT_CUT, 1);
    count(COUNT_CUT_BYTES, p->payload);
    return (p->link > LINK_LEAST ? p->link : LINK_LEAST) + p->header;
}

/* A SYN voids what was known of an older connection with its ports. */
static __always_inline int filter4(struct __sk_buff *skb, const struct control *asked)
{
    struct flow_bulk *mark = 0;
    struct packet p = {};
    struct flow4 key;
    u64 before;

    if (parse4(skb, &p, &key)) {
        count(COUNT_NOT_PARSED, 1);
        return WHOLE;
    }
    before = enter(&p, entry4(&key));
    if (asked->marked[p.hint & (HINTS - 1)]) {
        if (is_syn(&p))
            bulk4.delete(&key);
        else
            mark = bulk4.lookup(&key);
    }
    return wanted(&p, asked, mark, before);
}

static __always_inline int filter6(struct __sk_buff *skb, const struct control *asked)
{
    struct flow_bulk *mark = 0;
    struct packet p = {};
    struct flow6 key;
    u64 before;

    if (parse6(skb, &p, &key)) {
        count(COUNT_NOT_PARSED, 1);
        return WHOLE;
    }
    before = enter(&p, entry6(&key));
    if (asked->marked[p.hint & (HINTS - 1)]) {
        if (is_syn(&p))
            bulk6.delete(&key);
        else
            mark = bulk6.lookup(&key);
    }
    return wanted(&p, asked, mark, before);
}

int lbtop_filter(struct __sk_buff *skb)
{
    int zero = 0;
    const struct control *asked = control.lookup(&zero);

    /* By its type and not by its first bits: behind a second VLAN tag the network header is that tag. */
    if (asked && skb->protocol == __builtin_bswap16(ETH_IPV4))
        return filter4(skb, asked);
    if (asked && skb->protocol == __builtin_bswap16(ETH_IPV6))
        return filter6(skb, asked);
    count(COUNT_NOT_PARSED, 1);
    return WHOLE;
}
