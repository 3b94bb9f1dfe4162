/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vm/kernel-refusal.h"

#include <errno.h>

static const char *const steps[_STEP_MAX] = {
        [STEP_IOMMUFD_OPEN] = "opening /dev/iommu",
        [STEP_ACCOUNTING] = "IOMMU_OPTION (accounting by process)",
        [STEP_IOAS_ALLOC] = "IOMMU_IOAS_ALLOC",
        [STEP_CDEV_OPEN] = "opening the VFIO device node",
        [STEP_BIND] = "VFIO_DEVICE_BIND_IOMMUFD",
        [STEP_NEST_PARENT] = "IOMMU_HWPT_ALLOC (nest parent)",
        [STEP_ATTACH] = "VFIO_DEVICE_ATTACH_IOMMUFD_PT",
        [STEP_VIOMMU_ALLOC] = "IOMMU_VIOMMU_ALLOC",
        [STEP_VFMMIO] = "mapping the VF MMIO page",
        [STEP_VDEVICE_ALLOC] = "IOMMU_VDEVICE_ALLOC",
        [STEP_MAP] = "IOMMU_IOAS_MAP_FILE",
        [STEP_UNMAP] = "IOMMU_IOAS_UNMAP",
        [STEP_DESTROY] = "IOMMU_DESTROY",
};

/* The errnos that mean something to an administrator, with what to do about them. */
static const struct Meaning {
        KernelStep step;
        int error;
        ProblemKind kind;
        const char *text; /* %s: the subject */
} meanings[] = {
        { STEP_IOMMUFD_OPEN, ENOENT, PROBLEM_TIER_UNAVAILABLE,
          "There is no /dev/iommu%.0s: load the iommufd module, or ask for handover \"none\"." },
        { STEP_IOMMUFD_OPEN, EACCES, PROBLEM_TIER_UNAVAILABLE,
          "The daemon may not open /dev/iommu%.0s: let its user own the node (udev rule "
          "60-aviommu)." },
        { STEP_IOMMUFD_OPEN, EPERM, PROBLEM_TIER_UNAVAILABLE,
          "The service may not open /dev/iommu%.0s, which came after its start: restart "
          "aviommud.service." },
        { STEP_ACCOUNTING, EPERM, PROBLEM_KERNEL,
          "The daemon lacks CAP_SYS_RESOURCE%.0s, without which pinned memory cannot be accounted "
          "by process: start it from "
          "its unit." },
        { STEP_CDEV_OPEN, ENOENT, PROBLEM_FUNCTION_NOT_BOUND,
          "%s has no VFIO device node: bind it to vfio-pci, for instance with 'driverctl "
          "set-override'." },
        { STEP_CDEV_OPEN, EACCES, PROBLEM_FUNCTION_NOT_BOUND,
          "The daemon may not open the VFIO device node of %s: let its user own it (udev rule "
          "60-aviommu)." },
        { STEP_CDEV_OPEN, EPERM, PROBLEM_KERNEL,
          "The service may not open the VFIO device node of %s, as VFIO came after its start: "
          "restart aviommud.service." },
        { STEP_BIND, EPERM, PROBLEM_FUNCTION_IN_USE,
          "The IOMMU group of %s belongs to another iommufd or has a function on a host driver, or "
          "its interrupts are not isolated: see who holds the group, and whether interrupt "
          "remapping is on." },
        { STEP_BIND, EINVAL, PROBLEM_FUNCTION_IN_USE,
          "%s is bound already by another process, or takes no VF token and was given one." },
        { STEP_BIND, EAGAIN, PROBLEM_NO_SUCH_FUNCTION, "%s is being taken out of the host." },
        { STEP_BIND, EBUSY, PROBLEM_FUNCTION_IN_USE,
          "The IOMMU group of %s is in use, by a host driver or through /dev/vfio/GROUP: free all "
          "of its functions." },
        { STEP_BIND, EACCES, PROBLEM_VF_TOKEN,
          "%s is a VF whose PF is on vfio-pci: give the PF's VF token (vf-token), or the one given "
          "is wrong." },
        { STEP_BIND, ENODEV, PROBLEM_NO_SUCH_FUNCTION, "%s has just gone from the host." },
        { STEP_NEST_PARENT, EOPNOTSUPP, PROBLEM_TIER_UNAVAILABLE,
          "The IOMMU of %s cannot nest on this kernel: use tier \"emulated\" or \"virtio\"." },
        { STEP_ATTACH, EADDRINUSE, PROBLEM_MEMORY_OVERLAP,
          "A mapping of this VM covers a region that %s reserves (MSI window or similar): map "
          "around it." },
        { STEP_ATTACH, EBUSY, PROBLEM_BUSY,
          "%s cannot be attached now: it is being reset, or its device id has been given out as a "
          "TransDevID." },
        { STEP_VIOMMU_ALLOC, EOPNOTSUPP, PROBLEM_TIER_UNAVAILABLE,
          "The kernel has no AMD vIOMMU type on %s." },
        { STEP_VIOMMU_ALLOC, ENOSPC, PROBLEM_NO_FREE_INSTANCE,
          "The kernel has no Guest ID or TransDevID left on %s, although the ledger has: another "
          "program holds some. See who "
          "else has /dev/iommu open." },
        { STEP_VIOMMU_ALLOC, ENOMEM, PROBLEM_NO_CONTIGUOUS_MEMORY,
          "The kernel found no 1.5 MiB of contiguous memory for a vIOMMU on %s: free memory on its "
          "node." },
        { STEP_VDEVICE_ALLOC, EEXIST, PROBLEM_DUPLICATE_GUEST_ID,
          "The guest device id of %s is taken on its vIOMMU: choose another." },
        { STEP_MAP, EEXIST, PROBLEM_MEMORY_OVERLAP,
          "The range at %s overlaps one that is mapped." },
        { STEP_MAP, EADDRINUSE, PROBLEM_MEMORY_OVERLAP,
          "The range at %s covers a region that one of the functions reserves." },
        { STEP_MAP, EINVAL, PROBLEM_NOT_MAPPABLE,
          "The range at %s cannot be mapped: it wants a memfd, shmem or hugetlbfs file that is "
          "long enough, and an IOVA that "
          "the functions do not reserve." },
        { STEP_MAP, EBADF, PROBLEM_NOT_MAPPABLE,
          "The range at %s cannot be mapped: the descriptor is no memfd, shmem or hugetlbfs "
          "file." },
        { STEP_MAP, EOVERFLOW, PROBLEM_NOT_MAPPABLE, "The range at %s leaves the address space." },
        { STEP_MAP, ENOMEM, PROBLEM_NO_PINNABLE_MEMORY,
          "The kernel would not pin the range at %s: the memlock limit is reached, or memory is "
          "short." },
        { STEP_UNMAP, ENOENT, PROBLEM_NO_SUCH_MAPPING,
          "Nothing is mapped at %s with that length." },
        { STEP_DESTROY, EBUSY, PROBLEM_BUSY,
          "%s is in use still: a VF MMIO page is mapped, or the VMM holds objects or functions on "
          "it." },
};

int kernel_refusal(Problem *p, KernelStep step, const char *subject, int error) {
        assert(step < _STEP_MAX);
        assert(error < 0);

        if (error == -ECANCELED)
                (void)problem_set(p, PROBLEM_CANCELLED,
                                  "The operation was cancelled; everything is as before.");
        else {
                (void)problem_set(p, PROBLEM_KERNEL, "The kernel refused %s for %s: %s.",
                                  steps[step], subject, strerror(-error));
                for (size_t i = 0; i < ELEMENTSOF(meanings); i++)
                        if (meanings[i].step == step && meanings[i].error == -error) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
                                (void)problem_set(p, meanings[i].kind, meanings[i].text, subject);
#pragma GCC diagnostic pop
                        }
        }
        return error;
}
