/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The kernel level of a host IOMMU: how far this kernel and this IOMMU can carry a vIOMMU.
 *
 * Success of an ioctl is no feature test (Linux 7.3 accepts any vIOMMU type on AMD and does nothing with it), so the
 * level follows from several answers together. The decision is pure; kernel_probe() collects the answers.
 */

#include "kernel/kernel.h"

typedef enum KernelLevel {
        KERNEL_LEVEL_NONE,     /* no iommufd, or no nesting */
        KERNEL_LEVEL_NESTING,  /* nest parents work, there is no AMD vIOMMU type */
        KERNEL_LEVEL_PLUMBING, /* the v3 uAPI: type 3 is told from others and gives a VF MMIO page */
        KERNEL_LEVEL_ACCELERATED, /* hw queues too */
        KERNEL_LEVEL_UNKNOWN,     /* not probed yet, or nothing to probe with */
        _KERNEL_LEVEL_MAX,
} KernelLevel;

const char *kernel_level_to_string(KernelLevel level);

/* The levels that a probe can find: 0, or -EINVAL for "unknown" and what is no word of it. */
int kernel_level_from_string(const char *word, KernelLevel *ret);

/* What a probe saw, each 0 or a negative errno; 1 where the step was not reached. */
typedef struct KernelProbe {
        int open, bind, nest_parent;
        int type_amd, type_bogus; /* VIOMMU_ALLOC with hwpt 0 */
        int alloc;                /* VIOMMU_ALLOC for real */
        uint64_t vfmmio_offset;
        int hw_queue;
} KernelProbe;

#define KERNEL_LEVEL_REASON_SIZE 192

/* Judges @probe. Writes a sentence that says how it is known. */
KernelLevel kernel_level_decide(const HostIommuInfo *iommu, const KernelProbe *probe,
                                char reason[static KERNEL_LEVEL_REASON_SIZE]);

/* What is known without a probe: NONE with its reason, or UNKNOWN. @iommufd_error: HostScan's. */
KernelLevel kernel_level_from_scan(const HostIommuInfo *iommu, int iommufd_error,
                                   char reason[static KERNEL_LEVEL_REASON_SIZE]);

/* Asks the kernel, on a scratch iommufd, with an idle function on vfio-pci behind the IOMMU in question; @vf_token: 16 bytes
 * or NULL. The function is reset by this. Everything is closed again. Runs on a worker. Returns 0 (answers in @ret) or
 * -ENOMEM. */
int kernel_probe(Kernel *k, const PciAddress *function, const uint8_t *vf_token, KernelProbe *ret);
