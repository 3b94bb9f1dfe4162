/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Requests on an iommufd that need no bound device: the file itself, address spaces, and what concerns any object.
 *
 * Existence is asked for with requests that change nothing. Each looks the id up first and complains about the rest
 * afterwards, so any answer but ENOENT means that the object is there. The request that serves for objects of any kind
 * does so since 6.13; before, it looks up nested HWPTs, and says ENOENT of all others.
 */

#include <fcntl.h>

#include "kernel/linux/iommufd-uapi.h"
#include "kernel/linux/linux-private.h"

/* Whether @fd answers a question that every iommufd since the first (6.2) answers. */
static bool is_iommufd(int fd) {
        struct kiommu_option get = {
                .size = sizeof(get),
                .option_id = KIOMMU_OPTION_RLIMIT_MODE,
                .op = KIOMMU_OPTION_OP_GET,
        };
        int r = ioctl_retry(fd, KIOMMU_OPTION, &get);

        return r >= 0 || r == -EPERM;
}

int iommufd_request(int iommufd, unsigned long request, void *argument) {
        int r = ioctl_retry(iommufd, request, argument);

        if (r != -ENOTTY)
                return r;
        return is_iommufd(iommufd) ? -EOPNOTSUPP : -EBADF;
}

int linux_iommufd_open(Kernel *k, int *ret_iommufd) {
        int fd = openat(linux_kernel(k)->dev_fd, "iommu", O_RDWR | O_CLOEXEC | O_NOCTTY);

        if (fd < 0)
                return -errno;
        *ret_iommufd = fd;
        return 0;
}

int linux_iommufd_account_process(Kernel *k _unused_, int iommufd) {
        struct kiommu_option set = {
                .size = sizeof(set),
                .option_id = KIOMMU_OPTION_RLIMIT_MODE,
                .op = KIOMMU_OPTION_OP_SET,
                .val64 = 1,
        };

        return iommufd_request(iommufd, KIOMMU_OPTION, &set);
}

int linux_ioas_alloc(Kernel *k _unused_, int iommufd, uint32_t *ret_ioas_id) {
        struct kiommu_ioas_alloc alloc = { .size = sizeof(alloc) };
        int r = iommufd_request(iommufd, KIOMMU_IOAS_ALLOC, &alloc);

        if (r < 0)
                return r;
        *ret_ioas_id = alloc.out_ioas_id;
        return 0;
}

int linux_ioas_map_file(Kernel *k _unused_, int iommufd, uint32_t ioas_id,
                        const KernelMapping *mapping) {
        struct kiommu_ioas_map_file map = {
                .size = sizeof(map),
                .flags = KIOMMU_MAP_FIXED_IOVA | KIOMMU_MAP_READABLE |
                         (mapping->writable ? KIOMMU_MAP_WRITEABLE : 0),
                .ioas_id = ioas_id,
                .fd = mapping->fd,
                .start = mapping->offset,
                .length = mapping->length,
                .iova = mapping->iova,
        };

        return iommufd_request(iommufd, KIOMMU_IOAS_MAP_FILE, &map);
}

int linux_ioas_unmap(Kernel *k _unused_, int iommufd, uint32_t ioas_id, uint64_t iova,
                     uint64_t length) {
        struct kiommu_ioas_unmap unmap = {
                .size = sizeof(unmap),
                .ioas_id = ioas_id,
                .iova = iova,
                .length = length,
        };

        return iommufd_request(iommufd, KIOMMU_IOAS_UNMAP, &unmap);
}

int linux_object_destroy(Kernel *k _unused_, int iommufd, uint32_t object_id) {
        struct kiommu_destroy destroy = { .size = sizeof(destroy), .id = object_id };

        return iommufd_request(iommufd, KIOMMU_DESTROY, &destroy);
}

static int probe_device(int iommufd, uint32_t id) {
        struct kiommu_hw_info info = { .size = sizeof(info), .dev_id = id };

        return iommufd_request(iommufd, KIOMMU_GET_HW_INFO, &info);
}

static int probe_ioas(int iommufd, uint32_t id) {
        struct kiommu_option get = {
                .size = sizeof(get),
                .option_id = KIOMMU_OPTION_HUGE_PAGES,
                .op = KIOMMU_OPTION_OP_GET,
                .object_id = id,
        };

        return iommufd_request(iommufd, KIOMMU_OPTION, &get);
}

static int probe_any(int iommufd, uint32_t id) {
        struct kiommu_hwpt_invalidate invalidate = {
                .size = sizeof(invalidate), .hwpt_id = id, .data_type = UINT32_MAX, /* nobody's */
        };

        return iommufd_request(iommufd, KIOMMU_HWPT_INVALIDATE, &invalidate);
}

int linux_object_probe(Kernel *k _unused_, int iommufd, KernelObjectKind kind, uint32_t object_id) {
        int r;

        switch (kind) {
        case KERNEL_OBJECT_DEVICE:
                return probe_device(iommufd, object_id);
        case KERNEL_OBJECT_IOAS:
                return probe_ioas(iommufd, object_id);
        case KERNEL_OBJECT_ANY:
                r = probe_any(iommufd, object_id);
                /* There, but of a kind that knows no invalidation, or not this one. */
                return r == -EINVAL || r == -EOPNOTSUPP ? 0 : r;
        }
        assert(false && "unknown kind of object");
        return -EINVAL;
}
