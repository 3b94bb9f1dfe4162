/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the files of this folder share: the object behind the table and the functions in it.
 *
 * The directories are opened once and never change, so that every call may come from any thread. The monitor is the one
 * part with a state: watch() and watch_drain() belong to one thread, the one that polls.
 */

#include <errno.h>
#include <sys/ioctl.h>

#include "kernel/linux/linux.h"

#define LINUX_IVRS_FILES_MAX 4

typedef struct Monitor Monitor;

typedef struct LinuxKernel {
        Kernel kernel;
        int sysfs_fd, dev_fd, proc_fd; /* O_PATH */
        char *ivrs[LINUX_IVRS_FILES_MAX];
        Monitor *monitor; /* NULL until watch() */
} LinuxKernel;

static inline LinuxKernel *linux_kernel(Kernel *k) {
        return container_of(k, LinuxKernel, kernel);
}

/* An ioctl, again while a signal interrupts it. Returns 0 or a negative errno. */
static inline int ioctl_retry(int fd, unsigned long request, void *argument) {
        int r;

        do
                r = ioctl(fd, request, argument);
        while (r < 0 && errno == EINTR);
        return r < 0 ? -errno : 0;
}

/* An iommufd request, as ioctl_retry(). Where the descriptor does not know the number, tells why:
 * -EBADF it is no iommufd, -EOPNOTSUPP the kernel is older than the request. */
int iommufd_request(int iommufd, unsigned long request, void *argument);

/* The host: sysfs-*.c, monitor.c */
int linux_scan(Kernel *k, const PciAddress *only, size_t n_only, HostScan **ret);
int linux_watch(Kernel *k, int *ret_fd);
int linux_watch_drain(Kernel *k, bool *ret_changed);
Monitor *monitor_free(Monitor *m);

/* iommufd.c */
int linux_iommufd_open(Kernel *k, int *ret_iommufd);
int linux_iommufd_account_process(Kernel *k, int iommufd);
int linux_ioas_alloc(Kernel *k, int iommufd, uint32_t *ret_ioas_id);
int linux_ioas_map_file(Kernel *k, int iommufd, uint32_t ioas_id, const KernelMapping *mapping);
int linux_ioas_unmap(Kernel *k, int iommufd, uint32_t ioas_id, uint64_t iova, uint64_t length);
int linux_object_destroy(Kernel *k, int iommufd, uint32_t object_id);
int linux_object_probe(Kernel *k, int iommufd, KernelObjectKind kind, uint32_t object_id);

/* viommu.c */
int linux_hwpt_alloc_nest_parent(Kernel *k, int iommufd, uint32_t device_id, uint32_t ioas_id,
                                 uint32_t *ret_hwpt_id);
int linux_viommu_alloc(Kernel *k, int iommufd, const KernelViommuRequest *request,
                       KernelViommu *ret);
int linux_hw_queue_probe(Kernel *k, int iommufd, uint32_t viommu_id);
int linux_vfmmio_map(Kernel *k, int iommufd, uint64_t offset, volatile void **ret_page);
int linux_vfmmio_unmap(Kernel *k, int iommufd, uint64_t offset, volatile void *page);
int linux_vdevice_alloc(Kernel *k, int iommufd, uint32_t viommu_id, uint32_t device_id,
                        GuestDeviceId guest_id, uint32_t *ret_vdevice_id);

/* vfio.c */
int linux_cdev_open(Kernel *k, const PciAddress *function, int *ret_cdev);
int linux_cdev_bind(Kernel *k, int cdev, int iommufd, const uint8_t *vf_token,
                    uint32_t *ret_device_id);
int linux_cdev_attach(Kernel *k, int cdev, uint32_t pt_id);
int linux_cdev_detach(Kernel *k, int cdev);
int linux_cdev_notify_request(Kernel *k, int cdev, int eventfd);
int linux_cdev_is(Kernel *k, int cdev, const PciAddress *function);
