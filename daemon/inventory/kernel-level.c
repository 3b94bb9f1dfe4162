/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "inventory/kernel-level.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

const char *kernel_level_to_string(KernelLevel level) {
        static const char *const names[_KERNEL_LEVEL_MAX] = {
                [KERNEL_LEVEL_NONE] = "none",         [KERNEL_LEVEL_NESTING] = "nesting",
                [KERNEL_LEVEL_PLUMBING] = "plumbing", [KERNEL_LEVEL_ACCELERATED] = "accelerated",
                [KERNEL_LEVEL_UNKNOWN] = "unknown",
        };

        assert(level < _KERNEL_LEVEL_MAX);
        return names[level];
}

int kernel_level_from_string(const char *word, KernelLevel *ret) {
        for (KernelLevel level = 0; level < KERNEL_LEVEL_UNKNOWN; level++)
                if (streq(kernel_level_to_string(level), word)) {
                        *ret = level;
                        return 0;
                }
        return -EINVAL;
}

static KernelLevel verdict(KernelLevel level, char reason[static KERNEL_LEVEL_REASON_SIZE],
                           const char *format, ...) _printf_(3, 4);

static KernelLevel verdict(KernelLevel level, char reason[static KERNEL_LEVEL_REASON_SIZE],
                           const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(reason, KERNEL_LEVEL_REASON_SIZE, format, ap);
        va_end(ap);
        return level;
}

KernelLevel kernel_level_from_scan(const HostIommuInfo *iommu, int iommufd_error,
                                   char reason[static KERNEL_LEVEL_REASON_SIZE]) {
        if (iommufd_error == -ENOENT)
                return verdict(
                        KERNEL_LEVEL_NONE, reason,
                        "There is no /dev/iommu: load the iommufd module, or use a kernel with "
                        "CONFIG_IOMMUFD, CONFIG_VFIO_DEVICE_CDEV and CONFIG_AMD_IOMMU_IOMMUFD.");
        if (iommufd_error < 0)
                return verdict(KERNEL_LEVEL_NONE, reason, "/dev/iommu cannot be opened: %s.",
                               strerror(-iommufd_error));
        if (iommu->vendor != IOMMU_VENDOR_AMD)
                return verdict(KERNEL_LEVEL_NONE, reason, "%s is not an AMD IOMMU.", iommu->name);
        if (!(iommu->efr & EFR_GT) || !(iommu->efr & EFR_GIO) || !(iommu->efr2 & EFR2_GCR3TRP_MODE))
                return verdict(KERNEL_LEVEL_NONE, reason, "The IOMMU cannot nest: EFR lacks%s%s%s.",
                               iommu->efr & EFR_GT ? "" : " GTSup",
                               iommu->efr & EFR_GIO ? "" : " GIOSup",
                               iommu->efr2 & EFR2_GCR3TRP_MODE ? "" : " GCR3TRPMode");
        return verdict(KERNEL_LEVEL_UNKNOWN, reason, "Not probed yet.");
}

/* Whether that says something about the kernel, or only that the asking failed. */
static bool is_answer(int r) {
        return r == 0 || r == -EOPNOTSUPP || r == -EINVAL || r == -ENOENT;
}

KernelLevel kernel_level_decide(const HostIommuInfo *iommu, const KernelProbe *p,
                                char reason[static KERNEL_LEVEL_REASON_SIZE]) {
        if (p->open < 0)
                return verdict(KERNEL_LEVEL_UNKNOWN, reason,
                               "The probe could not open its descriptors: %s.", strerror(-p->open));
        if (p->bind != 0)
                return verdict(KERNEL_LEVEL_UNKNOWN, reason,
                               "The probe could not bind its function: %s.", strerror(-p->bind));
        if (p->nest_parent == -EOPNOTSUPP)
                return verdict(KERNEL_LEVEL_NONE, reason,
                               "The kernel refuses nest parents on this IOMMU.");
        if (p->nest_parent != 0)
                return verdict(KERNEL_LEVEL_UNKNOWN, reason,
                               "The probe could not allocate a nest parent: %s.",
                               strerror(-p->nest_parent));
        if (p->type_amd == -EOPNOTSUPP)
                return verdict(KERNEL_LEVEL_NESTING, reason, "The kernel has no AMD vIOMMU type.");
        if (!is_answer(p->type_bogus))
                return verdict(KERNEL_LEVEL_UNKNOWN, reason,
                               "The probe could not ask for vIOMMU types: %s.",
                               strerror(-p->type_bogus));
        if (p->type_bogus != -EOPNOTSUPP)
                return verdict(KERNEL_LEVEL_NESTING, reason,
                               "The kernel accepts any vIOMMU type, so it knows no AMD one.");
        if (p->alloc == -ENOSPC || p->alloc == -ENOMEM)
                return verdict(KERNEL_LEVEL_UNKNOWN, reason,
                               "The kernel has the AMD vIOMMU type; no instance was free to look "
                               "further (%s).",
                               strerror(-p->alloc));
        if (!is_answer(p->alloc) || p->alloc == -ENOENT) /* all that it names is there */
                return verdict(KERNEL_LEVEL_UNKNOWN, reason,
                               "The probe could not allocate a vIOMMU: %s.", strerror(-p->alloc));
        if (p->alloc != 0)
                return verdict(KERNEL_LEVEL_NESTING, reason,
                               "The kernel knows the AMD vIOMMU type but makes no instance: %s.",
                               strerror(-p->alloc));
        if (p->vfmmio_offset == 0)
                return verdict(KERNEL_LEVEL_NESTING, reason,
                               "VIOMMU_ALLOC succeeds but gives no VF MMIO page: nothing stands "
                               "behind it.");
        if (p->hw_queue != 0 && p->hw_queue != -EOPNOTSUPP)
                return verdict(KERNEL_LEVEL_UNKNOWN, reason,
                               "The probe could not ask for hardware queues: %s.",
                               strerror(-p->hw_queue));
        if (p->hw_queue != 0)
                return verdict(
                        KERNEL_LEVEL_PLUMBING, reason,
                        "The kernel gives VF MMIO pages on %s but has no AMD hardware queues.",
                        iommu->name);
        return verdict(KERNEL_LEVEL_ACCELERATED, reason,
                       "The kernel gives VF MMIO pages and hardware queues on %s.", iommu->name);
}
