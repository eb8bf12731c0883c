/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Classic BPF opcodes: nothing here uses them, bpf.h only includes the file. */
