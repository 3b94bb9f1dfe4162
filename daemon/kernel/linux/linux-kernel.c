/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/linux/linux.h"

/*
 * The object behind the real table: the directories it reads from, and the table itself.
 *
 * The ACPI IVRS table in sysfs is for root only. The service has a copy made for it at start and looks for that first: as a
 * credential, then in the runtime directory. Without any of them, and without being root, there are no aliases from it.
 */

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "kernel/linux/linux-private.h"

#define IVRS_SYSFS   "/sys/firmware/acpi/tables/IVRS"
#define IVRS_RUNTIME "/run/aviommu-host/ivrs"

static void linux_free(Kernel *k) {
        LinuxKernel *l = linux_kernel(k);

        monitor_free(l->monitor);
        for (size_t i = 0; i < ELEMENTSOF(l->ivrs); i++)
                free(l->ivrs[i]);
        (void)fd_close(l->sysfs_fd);
        (void)fd_close(l->dev_fd);
        (void)fd_close(l->proc_fd);
        free(l);
}

static const KernelOps linux_ops = {
        .name = "linux",
        .free = linux_free,

        .scan = linux_scan,
        .watch = linux_watch,
        .watch_drain = linux_watch_drain,

        .iommufd_open = linux_iommufd_open,
        .iommufd_account_process = linux_iommufd_account_process,
        .ioas_alloc = linux_ioas_alloc,
        .ioas_map_file = linux_ioas_map_file,
        .ioas_unmap = linux_ioas_unmap,
        .hwpt_alloc_nest_parent = linux_hwpt_alloc_nest_parent,
        .viommu_alloc = linux_viommu_alloc,
        .hw_queue_probe = linux_hw_queue_probe,
        .vfmmio_map = linux_vfmmio_map,
        .vfmmio_unmap = linux_vfmmio_unmap,
        .vdevice_alloc = linux_vdevice_alloc,
        .object_destroy = linux_object_destroy,
        .object_probe = linux_object_probe,

        .cdev_open = linux_cdev_open,
        .cdev_bind = linux_cdev_bind,
        .cdev_attach = linux_cdev_attach,
        .cdev_detach = linux_cdev_detach,
        .cdev_notify_request = linux_cdev_notify_request,
        .cdev_is = linux_cdev_is,
};

static int open_root(const char *path, int *ret_fd) {
        int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

int linux_kernel_new_at(const LinuxRoots *roots, Kernel **ret) {
        _cleanup_(kernel_freep) Kernel *k = NULL;
        LinuxKernel *l;
        int r;

        l = new0(LinuxKernel, 1);
        if (!l)
                return -ENOMEM;
        l->kernel.ops = &linux_ops;
        l->sysfs_fd = l->dev_fd = l->proc_fd = -1;
        k = &l->kernel;

        r = open_root(roots->sysfs, &l->sysfs_fd);
        if (r < 0)
                return r;
        r = open_root(roots->dev, &l->dev_fd);
        if (r < 0)
                return r;
        r = open_root(roots->proc, &l->proc_fd);
        if (r < 0)
                return r;

        for (size_t i = 0; roots->ivrs && roots->ivrs[i] && i < ELEMENTSOF(l->ivrs); i++) {
                l->ivrs[i] = strdup(roots->ivrs[i]);
                if (!l->ivrs[i])
                        return -ENOMEM;
        }

        *ret = TAKE_PTR(k);
        return 0;
}

int linux_kernel_new(Kernel **ret) {
        _cleanup_free_ char *credential = NULL;
        const char *ivrs[LINUX_IVRS_FILES_MAX] = {}, *directory;
        size_t n = 0;

        directory = secure_getenv("CREDENTIALS_DIRECTORY");
        if (directory) {
                if (asprintf(&credential, "%s/ivrs", directory) < 0)
                        return -ENOMEM;
                ivrs[n++] = credential;
        }
        ivrs[n++] = IVRS_RUNTIME;
        ivrs[n++] = IVRS_SYSFS;

        return linux_kernel_new_at(
                &(const LinuxRoots){
                        .sysfs = "/sys", .dev = "/dev", .proc = "/proc", .ivrs = ivrs },
                ret);
}
