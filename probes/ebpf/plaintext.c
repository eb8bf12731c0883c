// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * Heads inside TLS, from the calls by which chosen processes read and write through their TLS library.
 *
 * Of HTTP/1 the bytes from a request or status line up to the blank line are copied, of HTTP/2 the frames that carry headers or the
 * settings they depend on. Bodies are only counted: user space, which knows their length from the head, passes over them
 * as it does over payload that a capture has cut. Only calls that begin like a head are ever searched for one.
 *
 * Which connection a library's object belongs to shows itself: while a thread is inside one of its calls, that thread's receiving
 * from a TCP socket is the library's. This needs no knowledge of the library's structures and works whether it was given a
 * descriptor or a transport of the program's own.
 */
#include "plaintext.h"
#include "registers.h"
#include "scan.h"

BPF_TABLE("hash", u64, struct thread, threads, MOST_THREADS);
BPF_ARRAY(blank, struct thread, 1); /* what a new thread's entry is copied from: too large for the stack */
BPF_TABLE("hash", struct session_key, struct session, sessions, MOST_SESSIONS);
BPF_TABLE("hash", u32, u8, processes, MOST_PROCESSES);
BPF_TABLE("hash", u16, u8, ports, 1024);
BPF_PERCPU_ARRAY(counts, u64, COUNTS);
BPF_ARRAY(spared, u32, 1); /* not 0: nothing is read, to spare the processor; written by user space */
BPF_RINGBUF_OUTPUT(heads, RING_PAGES);
BPF_PROG_ARRAY(next, 1); /* lbtop_frames, put there by user space */

static __always_inline void count(int which, u64 by)
{
    u64 *value = counts.lookup(&which);
    if (value)
        *value += by;
}

/* The thread's entry; made where there is none yet and its process is chosen. */
static __always_inline struct thread *enter(u64 id)
{
    u32 process = id >> 32;
    struct thread *t = threads.lookup(&id), *empty;
    int zero = 0;

    if (t)
        return t;
    if (!processes.lookup(&process))
        return 0;
    empty = blank.lookup(&zero);
    if (!empty)
        return 0;
    threads.insert(&id, empty);
    t = threads.lookup(&id);
    if (t)
        t->call = CALL_NONE;
    else
        count(COUNT_NO_ROOM, 1);
    return t;
}

static __always_inline int begin(struct registers *ctx, u8 call, u64 buffer, u64 length_at)
{
    struct thread *t = enter(bpf_get_current_pid_tgid());

    if (!t)
        return 0;
    if (call == CALL_HANDSHAKE && t->call != CALL_NONE && t->call != CALL_HANDSHAKE && t->session == FIRST(ctx)) {
        t->nested = 1; /* a read or write that has to shake hands first */
        return 0;
    }
    t->nested = 0;
    t->session = FIRST(ctx);
    t->buffer = buffer;
    t->length_at = length_at;
    t->began_ns = bpf_ktime_get_ns();
    t->call = call;
    return 0;
}

int lbtop_read(struct registers *ctx) { return begin(ctx, CALL_READ, SECOND(ctx), 0); }
int lbtop_write(struct registers *ctx) { return begin(ctx, CALL_WRITE, SECOND(ctx), 0); }
int lbtop_read_ex(struct registers *ctx) { return begin(ctx, CALL_READ_EX, SECOND(ctx), FOURTH(ctx)); }
int lbtop_write_ex(struct registers *ctx) { return begin(ctx, CALL_WRITE_EX, SECOND(ctx), FOURTH(ctx)); }
int lbtop_handshake(struct registers *ctx) { return begin(ctx, CALL_HANDSHAKE, 0, 0); }

int lbtop_free(struct registers *ctx)
{
    struct session_key key = {.session = FIRST(ctx), .process = bpf_get_current_pid_tgid() >> 32};

    sessions.delete(&key);
    return 0;
}

static __always_inline int is_same(const u8 *a, const u8 *b)
{
    const u64 *x = (const u64 *)a, *y = (const u64 *)b;
    return x[0] == y[0] && x[1] == y[1];
}

/* A thread has received from a TCP socket: if it is inside the library, this is the connection. */
int lbtop_received(void *ctx)
{
    u64 id = bpf_get_current_pid_tgid();
    u32 process = id >> 32;
    struct thread *t = threads.lookup(&id);
    struct session_key key = {.process = process};
    struct session *s, fresh = {};
    u8 *scope;

    if (!t || t->call == CALL_NONE)
        return 0;
    key.session = t->session;
    bpf_probe_read_kernel(fresh.local, 16, ctx + RECEIVED_SADDR_V6);
    bpf_probe_read_kernel(fresh.remote, 16, ctx + RECEIVED_DADDR_V6);
    bpf_probe_read_kernel(&fresh.local_port, 2, ctx + RECEIVED_SPORT);
    bpf_probe_read_kernel(&fresh.remote_port, 2, ctx + RECEIVED_DPORT);
    s = sessions.lookup(&key);
    if (s && s->local_port == fresh.local_port && s->remote_port == fresh.remote_port && is_same(s->local, fresh.local) &&
        is_same(s->remote, fresh.remote)) {
        s->last_ns = t->began_ns;
        return 0;
    }
    scope = processes.lookup(&process);
    if (!scope)
        return 0;
    fresh.wanted = *scope == SCOPE_ALL || ports.lookup(&fresh.local_port) != 0;
    fresh.whole = t->call == CALL_HANDSHAKE || t->nested;
    fresh.last_ns = t->began_ns;
    if (sessions.update(&key, &fresh))
        count(COUNT_NO_ROOM, 1);
    return 0;
}

/* Hands over the first `size` bytes of the thread's room. */
static __always_inline void emit(struct thread *t, struct session *s, struct direction *d, u8 written, u64 size)
{
    size = bounded(size, CHUNK);
    t->event.at_ns = written ? t->began_ns : bpf_ktime_get_ns();
    t->event.passed = d->passed;
    __builtin_memcpy(t->event.local, s->local, 16);
    __builtin_memcpy(t->event.remote, s->remote, 16);
    t->event.local_port = s->local_port;
    t->event.remote_port = s->remote_port;
    t->event.size = size;
    t->event.written = written;
    t->event.flags = (s->whole ? EVENT_WHOLE : 0) | (d->mode == MODE_OFF ? EVENT_LOST : 0);
    if (heads.ringbuf_output(&t->event, sizeof(t->event) + bounded(size, CHUNK), 1 /* BPF_RB_NO_WAKEUP: user space looks by itself */)) {
        count(COUNT_LOST, 1);
        if (d->mode == MODE_FRAMES)
            d->mode = MODE_OFF;
        else
            d->passed += size;
        return;
    }
    d->passed = 0;
    count(COUNT_EVENTS, 1);
    count(COUNT_COPIED, size);
}

/* HTTP/2: walks frames of a call from t->at on; those that headers depend on are handed over whole. */
static __always_inline void frames(struct thread *t, struct session *s, struct direction *d, u8 written)
{
#pragma nounroll
    for (int step = 0; step < FRAMES; step++) {
        u32 need = d->need, left = AGAIN(t->n) - AGAIN(t->at), take;

        if (AGAIN(t->at) >= AGAIN(t->n))
            break;
        if (AGAIN(t->out) > PART) {
            emit(t, s, d, written, AGAIN(t->out));
            AGAIN(t->out) = 0;
        }
        take = forget(t, need ? need : FRAME_HEAD - d->have);
        take = forget(t, take < left ? take : left);
        take = forget(t, take < PART ? take : PART);
        if (need == 0) {
            bpf_probe_read_user(d->frame + bounded(d->have, FRAME_HEAD), bounded(take, FRAME_HEAD), (void *)(t->buffer + AGAIN(t->at)));
            d->have += take;
            if (d->have >= FRAME_HEAD) {
                d->have = 0;
                d->need = (u32)d->frame[0] << 16 | (u32)d->frame[1] << 8 | d->frame[2];
                /* HEADERS, SETTINGS, PUSH_PROMISE, CONTINUATION (RFC 9113 section 6) */
                d->keep = 0x0232ULL >> (d->frame[3] & 63) & (d->frame[3] < 64);
                __builtin_memcpy(t->data + bounded(AGAIN(t->out), PART), d->frame, FRAME_HEAD);
                AGAIN(t->out) += d->keep * FRAME_HEAD;
            }
        } else {
            if (d->keep) {
                bpf_probe_read_user(t->data + bounded(AGAIN(t->out), PART), bounded(take, PART), (void *)(t->buffer + AGAIN(t->at)));
                AGAIN(t->out) += take;
            }
            d->need = need - take;
        }
        AGAIN(t->at) += take;
    }
    if (t->out)
        emit(t, s, d, written, t->out);
    t->out = 0;
}

/* Where the first head in t->data ends; 0: not in its first t->at bytes. Eight bytes at a time: a blank line is a line end right
 * after a line end. */
static __always_inline void find_end(struct thread *t, struct direction *d)
{
    u64 before = (u64)d->window << 48, word, back1, back2, found;
    const u64 *words = (const u64 *)t->data;

    t->out = 0;
#pragma nounroll
    for (u32 i = 0; i < CHUNK / 8; i++) {
        if (i * 8 >= t->at)
            break;
        word = words[i];
        back1 = word << 8 | before >> 56;
        back2 = word << 16 | before >> 48;
        before = word;
        found = where(word, '\n') & (where(back1, '\n') | (where(back1, '\r') & where(back2, '\n')));
        if (found) {
            /* The lowest byte found, counted from 1. */
            AGAIN(t->out) = i * 8 + ((((found & -found) - 1) & 0x0101010101010101ULL) * 0x0101010101010101ULL >> 56);
            break;
        }
    }
    if (AGAIN(t->out) > t->at)
        t->out = 0; /* behind the call's bytes */
}

/* HTTP/1: hands over what of a call belongs to a head. Where another head follows it at once, all that has been read. */
static __always_inline void head(struct thread *t, struct session *s, struct direction *d, u8 written, u32 n)
{
    u64 next = 0, end;

    t->at = n > CHUNK ? CHUNK : n;
    bpf_probe_read_user(t->data, bounded(t->at, CHUNK), (void *)t->buffer);
    find_end(t, d);
    d->mode = MODE_LOOK;
    end = t->out;
    if (end && end + 16 <= t->at) {
        __builtin_memcpy(&next, t->data + bounded(end, CHUNK - 8), 8);
        if (begins_head(next)) {
            end = bounded(t->at, CHUNK);
            __builtin_memcpy(&next, t->data + bounded(end - 8, CHUNK - 8), 8);
            next >>= 32;
            if (next != 0x0a0d0a0d)
                end = 0; /* the last one is not complete */
        }
    }
    if (end == 0) { /* it goes on in the next call, unless this one had more than is copied */
        end = t->at;
        d->length += end;
        if (n == end && d->length < LONGEST_HEAD)
            d->mode = MODE_HEAD;
        d->window = end >= 2 ? (u32)t->data[bounded(end - 2, CHUNK - 1)] : d->window >> 8;
        d->window |= (u32)t->data[bounded(end - 1, CHUNK - 1)] << 8;
    }
    emit(t, s, d, written, end);
    d->passed += n - end;
}

/* Bytes that nobody looks at: an HTTP/1 conversation is found again, the place in HTTP/2's frames is not. */
static __always_inline void pass_over(struct direction *d, u32 n)
{
    if (d->mode == MODE_FRAMES) {
        d->mode = MODE_OFF;
        count(COUNT_BROKEN, 1);
    } else if (d->mode != MODE_OFF) {
        d->mode = MODE_LOOK;
        d->began = 1;
        d->passed += n;
    }
}

/* Answers whether frames are to be walked. */
static __always_inline int look(struct thread *t, struct session *s, struct direction *d, u8 written, u32 n)
{
    struct direction *other = &s->directions[written ? 0 : 1];
    u64 words[3] = {};
    u8 *first = (u8 *)words;

    if (d->mode == MODE_OFF)
        return 0;
    if (d->mode == MODE_LOOK) {
        bpf_probe_read_user(words, bounded(n, 24), (void *)t->buffer);
        if (n >= 24 && IS(words[0], "PRI * HT") && IS(words[1], "TP/2.0\r\n") && IS(words[2], "\r\nSM\r\n\r\n")) {
            d->mode = other->mode = MODE_FRAMES;
            d->need = 24; /* the preface is passed on like a frame */
            d->keep = 1;
        } else if (!d->began && n >= 9 && first[0] == 0 && first[3] == 4 && !first[4] && !first[5] && !first[6] && !first[7] && !first[8] && first[2] % 6 == 0) {
            d->mode = MODE_FRAMES; /* the server's settings need not wait for the preface */
        }
    }
    d->began = 1;
    if (d->mode == MODE_FRAMES) {
        t->at = 0;
        t->out = 0;
        t->n = n;
        t->written = written;
        return 1;
    }
    if (d->mode == MODE_LOOK) {
        if (!begins_head(words[0])) {
            d->passed += n;
            return 0;
        }
        d->window = 0;
        d->length = 0;
    }
    head(t, s, d, written, n);
    return 0;
}

/* As many frames as the verifier lets one program walk, then itself for the rest, as often as the kernel allows (33 times). */
int lbtop_frames(struct registers *ctx)
{
    u64 id = bpf_get_current_pid_tgid();
    struct thread *t = threads.lookup(&id);
    struct session_key key = {.process = id >> 32};
    struct session *s;
    struct direction *d;

    if (!t)
        return 0;
    key.session = t->session;
    s = sessions.lookup(&key);
    if (!s)
        return 0;
    d = &s->directions[t->written & 1];
    frames(t, s, d, t->written & 1);
    if (t->at < t->n) {
        next.call(ctx, 0);
        d->mode = MODE_OFF;
        count(COUNT_BROKEN, 1);
        emit(t, s, d, t->written & 1, 0);
    }
    return 0;
}

int lbtop_return(struct registers *ctx)
{
    u64 id = bpf_get_current_pid_tgid();
    struct thread *t = threads.lookup(&id);
    struct session_key key = {.process = id >> 32};
    struct session *s;
    int result = (int)RESULT(ctx);
    u32 n = result, *off;
    int zero = 0;
    u8 call, written;

    if (!t || t->call == CALL_NONE)
        return 0;
    if (t->nested) {
        t->nested = 0;
        return 0;
    }
    call = t->call;
    t->call = CALL_NONE;
    if (call == CALL_HANDSHAKE || result <= 0)
        return 0;
    if (call == CALL_READ_EX || call == CALL_WRITE_EX) {
        u64 length = 0;
        bpf_probe_read_user(&length, sizeof(length), (void *)t->length_at);
        n = length > 0x7fffffff ? 0 : length;
    }
    if (n == 0)
        return 0;
    key.session = t->session;
    s = sessions.lookup(&key);
    if (!s) {
        count(COUNT_UNJOINED, 1);
        return 0;
    }
    s->last_ns = t->began_ns;
    if (!s->wanted)
        return 0;
    written = call == CALL_WRITE || call == CALL_WRITE_EX;
    off = spared.lookup(&zero);
    if (off && *off) {
        pass_over(&s->directions[written], n);
        return 0;
    }
    count(COUNT_CALLS, 1);
    count(COUNT_BYTES, n);
    if (look(t, s, &s->directions[written], written, n))
        next.call(ctx, 0);
    return 0;
}

/* Children of chosen processes are chosen: workers that are started later. */
int lbtop_forked(void *ctx)
{
    u32 process = bpf_get_current_pid_tgid() >> 32, child = 0;
    u8 *scope = processes.lookup(&process), same;

    if (!scope)
        return 0;
    same = *scope;
    bpf_probe_read_kernel(&child, 4, ctx + FORKED_CHILD_PID);
    processes.update(&child, &same);
    return 0;
}

int lbtop_exited(void *ctx)
{
    u64 id = bpf_get_current_pid_tgid();
    u32 thread = id;

    processes.delete(&thread);
    threads.delete(&id);
    return 0;
}
