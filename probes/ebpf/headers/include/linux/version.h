/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* bcc asks for the version only to choose between old helper names; anything from 5.8 (ring buffers) on is the same. */
#define LINUX_VERSION_CODE 0x050800
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
