/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What bcc includes first and a program limited to UAPI types needs: no kernel headers required on the host. */
#ifndef LBTOP_STUB_KCONFIG_H
#define LBTOP_STUB_KCONFIG_H
#define CONFIG_BPF_SYSCALL 1
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;
typedef short s16;
typedef int s32;
typedef long long s64;
#ifndef __cplusplus
typedef _Bool bool;
#define true 1
#define false 0
#endif
typedef unsigned long size_t;
typedef unsigned long uintptr_t;
typedef u64 phys_addr_t;
#endif
