/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#ifndef LBTOP_REGISTERS_H
#define LBTOP_REGISTERS_H

/* The probed function's registers, as perf hands them over (asm/ptrace.h). */
#if defined(__x86_64__) || defined(bpf_target_x86)
struct registers {
    u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di;
};
#define FIRST(c) ((c)->di)
#define SECOND(c) ((c)->si)
#define FOURTH(c) ((c)->cx)
#define RESULT(c) ((c)->ax)
#else
struct registers {
    u64 x[31];
};
#define FIRST(c) ((c)->x[0])
#define SECOND(c) ((c)->x[1])
#define FOURTH(c) ((c)->x[3])
#define RESULT(c) ((c)->x[0])
#endif

#endif
