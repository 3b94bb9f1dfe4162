/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The parts of a scan. Each fills its own array of @scan, sorted; what vanishes while it reads is left out. */

#include <errno.h>

#include "kernel/linux/linux-private.h"

/* Makes room for one more element in an array that grows. Returns 0 or -ENOMEM. */
#define ARRAY_GROW(array, n)                                                                       \
        ({                                                                                         \
                /* Powers of two: room is missing exactly when @n is one, or nothing is there. */  \
                int _r = 0;                                                                        \
                if (((n) & ((n) - 1)) == 0) {                                                      \
                        typeof(array) _a = reallocarray((array), (n) > 0 ? 2 * (n) : 1,            \
                                                        sizeof(*(array)));                         \
                        if (_a)                                                                    \
                                (array) = _a;                                                      \
                        else                                                                       \
                                _r = -ENOMEM;                                                      \
                }                                                                                  \
                _r;                                                                                \
        })

/* The full names of the host IOMMUs, by which functions refer to them. */
typedef struct IommuNames {
        size_t n;
        struct {
                char *name;
                uint32_t index;
        } *entries;
} IommuNames;

void iommu_names_done(IommuNames *names);

/* The index of the host IOMMU of this name, KERNEL_NONE if there is none. */
uint32_t iommu_names_find(const IommuNames *names, const char *name);

/* Read the three parts. Return 0, -ENOMEM or -EIO. @names is filled by the first and used by the second, and is the
 * caller's to clean up whatever happens. */
int scan_iommus(LinuxKernel *l, HostScan *scan, IommuNames *names);
int scan_functions(LinuxKernel *l, const PciAddress *only, size_t n_only, const IommuNames *names,
                   HostScan *scan);
int scan_memory(LinuxKernel *l, HostScan *scan);

/* What a failure to read means for a scan. */
static inline int scan_error(int error) {
        return error == -ENOMEM ? -ENOMEM : -EIO;
}
