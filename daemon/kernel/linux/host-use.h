/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the host itself needs of its PCI functions just now: disks that are mounted, swapped to or held by another device, network
 * interfaces that are up and have an address, a route or a bridge above them.
 */

#include "kernel/linux/linux-private.h"

typedef struct HostUse {
        PciAddress function;
        char words[sizeof(((PciFunctionInfo *)0)->host_use)];
} HostUse;

/* Zero-initialize. Several may be of one function. */
typedef struct HostUses {
        HostUse *entries;
        size_t n;
} HostUses;

/* Frees the entries. */
void host_uses_done(HostUses *uses);

/* Reads them from sysfs and procfs. Where the kernel does not tell of block devices or interfaces there are none. Returns 0, -ENOMEM, or
 * what kept it from being read. */
int host_uses_read(LinuxKernel *l, HostUses *ret);

/* What is said of a function first, "" when nothing is. */
const char *host_uses_find(const HostUses *uses, const PciAddress *function);
