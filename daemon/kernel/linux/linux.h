/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The table of kernel calls (kernel/kernel.h) that speaks to the running Linux. */

#include "kernel/kernel.h"

/* Where a table looks for the kernel's file systems. */
typedef struct LinuxRoots {
        const char *sysfs; /* "/sys" */
        const char *dev;   /* "/dev" */
        const char *proc;  /* "/proc" */
        const char *const
                *ivrs; /* files to try for the ACPI IVRS table, in this order, then NULL */
} LinuxRoots;

/* Makes the table for the running host. Nothing is opened yet but the directories /sys, /dev and /proc.
 * Returns 0, -ENOMEM, or what opening them gave. */
int linux_kernel_new(Kernel **ret);

/* The same on other roots, for tests of what is read there. The paths are copied where they are kept. */
int linux_kernel_new_at(const LinuxRoots *roots, Kernel **ret);
