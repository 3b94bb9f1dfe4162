/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "base/fd-util.h"
#include "inventory/kernel-level.h"

/* Asks for a type on a nest parent that is not there. "Not there" is also what a look-up says that fails for want of memory, so it has to be
 * said twice. */
static int ask_for_type(Kernel *k, int iommufd, KernelViommuRequest *request, uint32_t type) {
        KernelViommu viommu;
        int r;

        request->type = type;
        r = k->ops->viommu_alloc(k, iommufd, request, &viommu);
        return r == -ENOENT ? k->ops->viommu_alloc(k, iommufd, request, &viommu) : r;
}

/* The part that needs a bound function: @device_id on @iommufd. Leaves its objects to the iommufd's end, in order. */
static int probe_objects(Kernel *k, int iommufd, uint32_t device_id, KernelProbe *p) {
        KernelViommuRequest request = { .device_id = device_id, .data_len = 8 };
        uint32_t ioas_id, hwpt_id;
        KernelViommu viommu;
        int r;

        r = k->ops->ioas_alloc(k, iommufd, &ioas_id);
        if (r < 0)
                return r;

        p->nest_parent = k->ops->hwpt_alloc_nest_parent(k, iommufd, device_id, ioas_id, &hwpt_id);
        if (p->nest_parent == 0) {
                p->type_amd = ask_for_type(k, iommufd, &request, KERNEL_VIOMMU_TYPE_AMD);
                p->type_bogus = ask_for_type(k, iommufd, &request, KERNEL_VIOMMU_TYPE_BOGUS);

                request.type = KERNEL_VIOMMU_TYPE_AMD;
                request.hwpt_id = hwpt_id;
                p->alloc = k->ops->viommu_alloc(k, iommufd, &request, &viommu);
                if (p->alloc == -EINVAL) {
                        request.data_len = 16;
                        p->alloc = k->ops->viommu_alloc(k, iommufd, &request, &viommu);
                }
                if (p->alloc == 0) {
                        p->vfmmio_offset = viommu.vfmmio_offset;
                        p->hw_queue = k->ops->hw_queue_probe(k, iommufd, viommu.viommu_id);
                        (void)k->ops->object_destroy(k, iommufd, viommu.viommu_id);
                }
                (void)k->ops->object_destroy(k, iommufd, hwpt_id);
        }
        (void)k->ops->object_destroy(k, iommufd, ioas_id);
        return 0;
}

int kernel_probe(Kernel *k, const PciAddress *function, const uint8_t *vf_token, KernelProbe *ret) {
        KernelProbe p = { .bind = 1,
                          .nest_parent = 1,
                          .type_amd = 1,
                          .type_bogus = 1,
                          .alloc = 1,
                          .hw_queue = 1 };
        _cleanup_close_ int iommufd = -1, cdev = -1;
        uint32_t device_id;
        int r = 0;

        p.open = k->ops->iommufd_open(k, &iommufd);
        if (p.open == 0)
                p.open = kernel_open_cdev(k, function, &cdev);
        if (p.open == 0)
                p.bind = k->ops->cdev_bind(k, cdev, iommufd, vf_token, &device_id);
        if (p.open == 0 && p.bind == 0)
                r = probe_objects(k, iommufd, device_id, &p);
        if (r < 0)
                return r;

        /* The descriptors are closed on return, the cdev first: that is what lets go of the function. */
        cdev = fd_close(cdev);
        *ret = p;
        return 0;
}
