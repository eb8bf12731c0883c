/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What the probes inside TLS libraries share with user space. plaintext.py and heads.py state the same layout; a test compares. */
#ifndef LBTOP_PLAINTEXT_H
#define LBTOP_PLAINTEXT_H

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#define CHUNK 8192 /* of one call at most so much is copied */
#define PART 4096  /* of one HTTP/2 frame at a time */
#define LONGEST_HEAD 65536
#define FRAME_HEAD 9
#define FRAMES 32 /* and pieces of frames, in one go */

/* Which of a process's connections may be looked at: values of the map `processes`. */
enum scope {
    SCOPE_ALL = 1,
    SCOPE_PORTS = 2 /* only those whose own port is in the map `ports` */
};

enum call {
    CALL_READ = 0,
    CALL_WRITE = 1,
    CALL_READ_EX = 2,  /* the length is written through a pointer */
    CALL_WRITE_EX = 3,
    CALL_HANDSHAKE = 4,
    CALL_NONE = 255
};

enum mode {
    MODE_LOOK = 0,   /* bytes are of no interest until a call begins with a head */
    MODE_HEAD = 1,   /* inside a head that the last call did not end */
    MODE_FRAMES = 2, /* HTTP/2 */
    MODE_OFF = 3     /* the place in the frames is lost */
};

enum event_flag {
    EVENT_WHOLE = 1, /* the connection is known from its handshake on */
    EVENT_LOST = 2   /* HTTP/2: frames that later headers depend on are missing */
};

/* Goes before the bytes of every record in the ring `heads`. Addresses as IPv6, ports in host order. */
struct event {
    u64 at_ns;       /* of the monotonic clock */
    u64 passed;      /* bytes of this direction, since the last event, that were not copied; HTTP/1 only */
    u8 local[16];
    u8 remote[16];
    u16 local_port;
    u16 remote_port;
    u16 size;        /* bytes that follow */
    u8 written;      /* 0: the process read them, 1: it wrote them */
    u8 flags;        /* enum event_flag */
};

struct direction {
    u64 passed;
    u32 window;      /* the last two bytes of a head so far, the later one above */
    u32 length;      /* of that head so far */
    u32 need;        /* what is left of a frame */
    u8 mode;
    u8 keep;         /* the frame at hand is one that headers depend on */
    u8 have;         /* bytes of `frame` */
    u8 began;
    u8 frame[24];    /* a frame's head, which may come in pieces; more than it needs, for the verifier's sake */
};

struct session_key {
    u64 session;     /* address of the library's object, in the process */
    u32 process;
    u32 pad;
};

struct session {
    u8 local[16] __attribute__((aligned(8)));
    u8 remote[16] __attribute__((aligned(8)));
    u16 local_port;
    u16 remote_port;
    u8 wanted;
    u8 whole;
    u8 pad[2];
    u64 last_ns;
    struct direction directions[2];
};

/* One thread: the call it is in, and room to work in. Threads may interrupt each other on a processor, so each has its own. */
struct thread {
    u64 session;
    u64 buffer;
    u64 length_at;
    u64 began_ns;
    u32 at;          /* where in the call's bytes */
    u32 out;         /* bytes of `data` that will be handed over */
    u32 n;           /* bytes of the call */
    u32 number;
    u8 call;         /* enum call */
    u8 nested;       /* calls inside it that are to be ignored */
    u8 written;
    u8 pad[5];
    struct event event;
    u8 data[CHUNK];
};

enum count {
    COUNT_CALLS = 0,      /* of chosen connections, with data */
    COUNT_BYTES = 1,
    COUNT_COPIED = 2,     /* bytes handed over */
    COUNT_EVENTS = 3,
    COUNT_LOST = 4,       /* events for which the ring had no room */
    COUNT_UNJOINED = 5,   /* calls with data whose connection is not known */
    COUNT_NO_ROOM = 6,    /* threads and sessions for which a map had no room */
    COUNT_BROKEN = 7,     /* HTTP/2 directions given up: frames larger or more than one call is searched for */
    COUNTS = 8
};

#endif
