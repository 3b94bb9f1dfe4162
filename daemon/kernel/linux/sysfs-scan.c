/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/linux/sysfs-scan.h"

/*
 * The scan: one reading of the host from sysfs and procfs.
 *
 * It reads plain files. sd-device would read the udev database for each of thousands of functions besides, knows no
 * other root than /sys, and would leave nothing of this to unit tests; it serves where it is strong, in monitor.c.
 *
 * The host changes while it is read. A function that vanishes is left out; a value that cannot be read is unknown, and
 * unknown never makes a function look better than it is.
 */

#include <fcntl.h>
#include <unistd.h>

#include "base/fd-util.h"

static void scan_devices(LinuxKernel *l, HostScan *scan) {
        _cleanup_close_ int iommufd = -1;

        scan->iommufd_error = linux_iommufd_open(&l->kernel, &iommufd);
        scan->has_vfio_cdev = faccessat(l->dev_fd, "vfio", F_OK, 0) == 0;
}

int linux_scan(Kernel *k, const PciAddress *only, size_t n_only, HostScan **ret) {
        _cleanup_(host_scan_freep) HostScan *scan = NULL;
        _cleanup_(iommu_names_done) IommuNames names = {};
        LinuxKernel *l = linux_kernel(k);
        int r;

        scan = new0(HostScan, 1);
        if (!scan)
                return -ENOMEM;

        scan_devices(l, scan);

        r = scan_iommus(l, scan, &names);
        if (r < 0)
                return r;
        r = scan_functions(l, only, n_only, &names, scan);
        if (r < 0)
                return r;
        r = scan_memory(l, scan);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(scan);
        return 0;
}
