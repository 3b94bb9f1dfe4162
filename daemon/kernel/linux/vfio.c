/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * VFIO character devices: opening a function's, binding it to an iommufd, attaching it to a page table.
 *
 * The node's number is taken from sysfs at the moment of opening, and the opened node is compared with the number that
 * sysfs tells: a function that is replaced in between must not be mistaken for the one that was asked for. Whose an open
 * node is, its number tells, too.
 */

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/fd-util.h"
#include "kernel/linux/linux-private.h"
#include "kernel/linux/sysfs-read.h"
#include "kernel/linux/vfio-uapi.h"

/* A request on a VFIO file. What does not know the number is none. */
static int vfio_request(int cdev, unsigned long request, void *argument) {
        int r = ioctl_retry(cdev, request, argument);

        return r == -ENOTTY ? -EBADF : r;
}

/* Reads "major:minor". */
static int read_device_number(int dir_fd, const char *name, dev_t *ret) {
        char value[32];
        unsigned ma, mi;
        int r, end = -1;

        r = sysfs_read(dir_fd, name, value, sizeof(value));
        if (r < 0)
                return r;
        if (sscanf(value, "%u:%u%n", &ma, &mi, &end) != 2 || value[end] != 0)
                return -EINVAL;
        *ret = makedev(ma, mi);
        return 0;
}

int linux_cdev_open(Kernel *k, const PciAddress *function, int *ret_cdev) {
        LinuxKernel *l = linux_kernel(k);
        char path[sizeof("vfio/devices/vfio") + 3 * sizeof(uint32_t)];
        char dev[sizeof("vfio-dev/vfio/dev") + 3 * sizeof(uint32_t)];
        _cleanup_close_ int dir_fd = -1, fd = -1;
        dev_t wanted;
        struct stat st;
        uint32_t n;
        int r;

        r = sysfs_open_function(l->sysfs_fd, function, &dir_fd);
        if (r < 0)
                return r;
        r = sysfs_read_cdev(dir_fd, &n);
        if (r < 0)
                return r;
        if (n == KERNEL_NONE)
                return -ENOENT;

        (void)snprintf(dev, sizeof(dev), "vfio-dev/vfio%" PRIu32 "/dev", n);
        if (read_device_number(dir_fd, dev, &wanted) < 0)
                return -ENOENT;

        (void)snprintf(path, sizeof(path), "vfio/devices/vfio%" PRIu32, n);
        fd = openat(l->dev_fd, path, O_RDWR | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return errno == ENXIO || errno == ENODEV ? -ENOENT : -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISCHR(st.st_mode) || st.st_rdev != wanted)
                return -ENOENT;

        *ret_cdev = TAKE_FD(fd);
        return 0;
}

int linux_cdev_bind(Kernel *k _unused_, int cdev, int iommufd, const uint8_t *vf_token,
                    uint32_t *ret_device_id) {
        struct kvfio_device_bind_iommufd bind = {
                .argsz = sizeof(bind),
                .flags = vf_token ? KVFIO_DEVICE_BIND_FLAG_TOKEN : 0,
                .iommufd = iommufd,
                .token_uuid_ptr = (uintptr_t)vf_token,
        };
        int r = vfio_request(cdev, KVFIO_DEVICE_BIND_IOMMUFD, &bind);

        if (r < 0)
                return r;
        *ret_device_id = bind.out_devid;
        return 0;
}

int linux_cdev_attach(Kernel *k _unused_, int cdev, uint32_t pt_id) {
        struct kvfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach), .pt_id = pt_id };

        return vfio_request(cdev, KVFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach);
}

int linux_cdev_detach(Kernel *k _unused_, int cdev) {
        struct kvfio_device_detach_iommufd_pt detach = { .argsz = sizeof(detach) };

        return vfio_request(cdev, KVFIO_DEVICE_DETACH_IOMMUFD_PT, &detach);
}

int linux_cdev_notify_request(Kernel *k _unused_, int cdev, int eventfd) {
        union {
                struct vfio_irq_set set;
                uint8_t bytes[sizeof(struct vfio_irq_set) + sizeof(int32_t)];
        } request = {
                .set = {
                        .argsz = sizeof(request),
                        .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                        .index = VFIO_PCI_REQ_IRQ_INDEX,
                        .count = 1,
                },
        };

        memcpy(request.set.data, &(int32_t){ eventfd }, sizeof(int32_t));
        return vfio_request(cdev, VFIO_DEVICE_SET_IRQS, &request);
}

/* Whether a function has a VFIO character device. Returns 0, -ENOENT, or what kept it from being told. */
static int check_has_cdev(const LinuxKernel *l, const PciAddress *function) {
        _cleanup_close_ int dir_fd = -1;
        uint32_t n = KERNEL_NONE;
        int r;

        r = sysfs_open_function(l->sysfs_fd, function, &dir_fd);
        if (r >= 0)
                r = sysfs_read_cdev(dir_fd, &n);
        return r >= 0 && n == KERNEL_NONE ? -ENOENT : r;
}

/* The last component of @path, which loses it. */
static const char *take_last(char *path) {
        char *slash = strrchr(path, '/');

        if (!slash)
                return "";
        *slash = '\0';
        return slash + 1;
}

/* A number belongs to what is open under it until that is closed, also when it has left sysfs. */
int linux_cdev_is(Kernel *k, int cdev, const PciAddress *function) {
        LinuxKernel *l = linux_kernel(k);
        char path[sizeof("dev/char/:") + 6 * sizeof(unsigned)], device[1024];
        PciAddress address;
        struct stat st;
        uint32_t n;
        int r;

        if (fstat(cdev, &st) < 0)
                return -errno;
        if (!S_ISCHR(st.st_mode))
                return -EBADF;
        (void)snprintf(path, sizeof(path), "dev/char/%u:%u", major(st.st_rdev), minor(st.st_rdev));
        r = sysfs_read_link(l->sysfs_fd, path, device, sizeof(device));
        if (r < 0 && sysfs_error_is_absent(r)) {
                r = check_has_cdev(l, function);
                return r < 0 ? r : -EXDEV;
        }
        if (r < 0)
                return r;

        /* ".../0000:01:00.0/vfio-dev/vfio3" */
        if (parse_numbered_name(take_last(device), "vfio", &n) < 0 ||
            !streq(take_last(device), "vfio-dev") ||
            pci_address_parse(take_last(device), &address) < 0)
                return -EBADF;
        return pci_address_equal(&address, function) ? 0 : -EXDEV;
}
