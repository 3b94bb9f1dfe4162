/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Nesting: nest parents, vIOMMUs and what sits on them.
 *
 * A success of viommu_alloc says little by itself: stock drivers for AMD up to 7.3-rc7 take any type and ignore the user
 * data. The offset that comes back is what tells; it stays 0 where the kernel wrote none.
 */

#include <sys/mman.h>

#include "kernel/linux/iommufd-uapi.h"
#include "kernel/linux/linux-private.h"

/* Above what any stage-2 table of AMD's can hold under a guest, page aligned, and never mapped. */
#define UNMAPPED_IOVA (UINT64_C(1) << 51)

int linux_hwpt_alloc_nest_parent(Kernel *k _unused_, int iommufd, uint32_t device_id,
                                 uint32_t ioas_id, uint32_t *ret_hwpt_id) {
        struct kiommu_hwpt_alloc alloc = {
                .size = sizeof(alloc),
                .flags = KIOMMU_HWPT_ALLOC_NEST_PARENT,
                .dev_id = device_id,
                .pt_id = ioas_id,
        };
        int r = iommufd_request(iommufd, KIOMMU_HWPT_ALLOC, &alloc);

        if (r < 0)
                return r;
        *ret_hwpt_id = alloc.out_hwpt_id;
        return 0;
}

int linux_viommu_alloc(Kernel *k _unused_, int iommufd, const KernelViommuRequest *request,
                       KernelViommu *ret) {
        struct kiommu_viommu_amd data = {};
        struct kiommu_viommu_alloc alloc = {
                .size = sizeof(alloc),
                .type = request->type,
                .dev_id = request->device_id,
                .hwpt_id = request->hwpt_id,
                .data_len = request->data_len,
                .data_uptr = request->data_len > 0 ? (uintptr_t)&data : 0,
        };
        int r;

        /* A kernel takes no more than the struct that it knows. The largest one is this. */
        if (request->data_len > sizeof(data))
                return -EINVAL;

        r = iommufd_request(iommufd, KIOMMU_VIOMMU_ALLOC, &alloc);
        if (r < 0)
                return r;

        *ret = (KernelViommu){
                .viommu_id = alloc.out_viommu_id,
                .vfmmio_offset = data.out_vfmmio_mmap_offset,
        };
        return 0;
}

/* Asks for a queue of @type that cannot work. *ret_answer is what the kernel says to that. A queue that it grants
 * nonetheless is taken back. Returns 0, or why that failed. */
static int ask_hw_queue(Kernel *k, int iommufd, uint32_t viommu_id, uint32_t type,
                        int *ret_answer) {
        struct kiommu_hw_queue_alloc alloc = {
                .size = sizeof(alloc),
                .viommu_id = viommu_id,
                .type = type,
                .nesting_parent_iova = UNMAPPED_IOVA,
                .length = 4096,
        };

        *ret_answer = iommufd_request(iommufd, KIOMMU_HW_QUEUE_ALLOC, &alloc);
        return *ret_answer < 0 ? 0 : linux_object_destroy(k, iommufd, alloc.out_hw_queue_id);
}

int linux_hw_queue_probe(Kernel *k, int iommufd, uint32_t viommu_id) {
        int r, answer;

        r = ask_hw_queue(k, iommufd, viommu_id, KIOMMU_HW_QUEUE_TYPE_AMD_CMD, &answer);
        if (r >= 0 &&
            answer ==
                    -ENOENT) /* "not there" is also what a look-up says that fails for want of memory: once */
                r = ask_hw_queue(k, iommufd, viommu_id, KIOMMU_HW_QUEUE_TYPE_AMD_CMD, &answer);
        if (r < 0)
                return r;
        if (answer == -EOPNOTSUPP || answer == -ENOMEM || answer == -EBADF)
                return answer;
        if (answer != -ENOENT)
                return 0;

        /* Is the mapping missing, as it should, or the vIOMMU? With a type that no driver has, only the latter matters. */
        r = ask_hw_queue(k, iommufd, viommu_id, UINT32_MAX, &answer);
        if (r < 0)
                return r;
        return answer == -EOPNOTSUPP ? 0 : answer;
}

int linux_vfmmio_map(Kernel *k _unused_, int iommufd, uint64_t offset, volatile void **ret_page) {
        void *page;

        if (offset > INT64_MAX)
                return -ENXIO;
        page = mmap(NULL, KERNEL_VFMMIO_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, iommufd,
                    (off_t)offset);
        if (page == MAP_FAILED)
                return -errno;
        *ret_page = page;
        return 0;
}

int linux_vfmmio_unmap(Kernel *k _unused_, int iommufd _unused_, uint64_t offset _unused_,
                       volatile void *page) {
        return munmap((void *)page, KERNEL_VFMMIO_SIZE) < 0 ? -errno : 0;
}

int linux_vdevice_alloc(Kernel *k _unused_, int iommufd, uint32_t viommu_id, uint32_t device_id,
                        GuestDeviceId guest_id, uint32_t *ret_vdevice_id) {
        struct kiommu_vdevice_alloc alloc = {
                .size = sizeof(alloc),
                .viommu_id = viommu_id,
                .dev_id = device_id,
                .virt_id = guest_id.bdf,
        };
        int r = iommufd_request(iommufd, KIOMMU_VDEVICE_ALLOC, &alloc);

        if (r < 0)
                return r;
        *ret_vdevice_id = alloc.out_vdevice_id;
        return 0;
}
