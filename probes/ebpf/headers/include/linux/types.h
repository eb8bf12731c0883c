/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The few names of <linux/types.h> that bcc's own copy of bpf.h uses, so that not even libc's headers are needed. */
#ifndef LBTOP_STUB_TYPES_H
#define LBTOP_STUB_TYPES_H
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __le16;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;
typedef __u16 __sum16;
#define __aligned_u64 __u64 __attribute__((aligned(8)))
#endif
