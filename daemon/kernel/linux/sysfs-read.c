/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/linux/sysfs-read.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd-util.h"

int sysfs_read(int dir_fd, const char *path, char *ret_value, size_t size) {
        _cleanup_close_ int fd = -1;
        size_t n = 0;

        assert(size > 0);

        fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return -errno;

        for (;;) {
                ssize_t k = read(fd, ret_value + n, size - n);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        break;
                n += (size_t)k;
                if (n == size)
                        return -E2BIG;
        }

        if (n > 0 && ret_value[n - 1] == '\n')
                n--;
        ret_value[n] = 0;
        return memchr(ret_value, 0, n) ? -EINVAL : 0;
}

int parse_u64(const char *s, int base, uint64_t max, uint64_t *ret) {
        unsigned long long v;
        char *end;

        /* Neither white space nor a sign, both of which strtoull() would take. */
        if (!isxdigit((unsigned char)*s))
                return -EINVAL;

        errno = 0;
        v = strtoull(s, &end, base);
        if (end == s || *end != 0)
                return -EINVAL;
        if (errno == ERANGE || v > max)
                return -ERANGE;
        *ret = v;
        return 0;
}

int parse_numbered_name(const char *s, const char *prefix, uint32_t *ret) {
        size_t n = strlen(prefix);
        uint64_t v;

        if (strncmp(s, prefix, n) != 0 || parse_u64(s + n, 10, KERNEL_NONE - 1, &v) < 0)
                return -EINVAL;
        *ret = (uint32_t)v;
        return 0;
}

int sysfs_read_u64(int dir_fd, const char *path, int base, uint64_t max, uint64_t *ret) {
        char value[32];
        int r = sysfs_read(dir_fd, path, value, sizeof(value));

        return r < 0 ? r : parse_u64(value, base, max, ret);
}

int sysfs_read_link(int dir_fd, const char *path, char *ret_target, size_t size) {
        ssize_t n;

        assert(size > 0);

        n = readlinkat(dir_fd, path, ret_target, size);
        if (n < 0)
                return -errno;
        if ((size_t)n == size)
                return -E2BIG;
        ret_target[n] = 0;
        return 0;
}

int sysfs_read_link_name(int dir_fd, const char *path, char *ret_name, size_t size) {
        char target[PATH_MAX];
        const char *name;
        int r;

        r = sysfs_read_link(dir_fd, path, target, sizeof(target));
        if (r < 0)
                return r;
        name = strrchr(target, '/');
        name = name ? name + 1 : target;
        if (strlen(name) >= size)
                return -E2BIG;
        strcpy(ret_name, name);
        return 0;
}

int sysfs_open_dir(int dir_fd, const char *path, DIR **ret) {
        _cleanup_close_ int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d;

        if (fd < 0)
                return negative_errno();
        d = fdopendir(fd);
        if (!d)
                return negative_errno();
        fd = -1; /* the stream's now */
        *ret = d;
        return 0;
}

int sysfs_open_file(int dir_fd, const char *path, FILE **ret) {
        _cleanup_close_ int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        FILE *f;

        if (fd < 0)
                return negative_errno();
        f = fdopen(fd, "re");
        if (!f)
                return negative_errno();
        fd = -1; /* the stream's now */
        *ret = f;
        return 0;
}

int sysfs_open_function(int sysfs_fd, const PciAddress *address, int *ret_fd) {
        char path[sizeof("bus/pci/devices/") + PCI_ADDRESS_STRING_SIZE];
        int fd;

        (void)snprintf(path, sizeof(path), "bus/pci/devices/%s", PCI_ADDRESS_STRING(address));
        fd = openat(sysfs_fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

int sysfs_read_cdev(int dir_fd, uint32_t *ret) {
        _cleanup_(closedirp) DIR *d = NULL;
        const struct dirent *e;
        int r;

        *ret = KERNEL_NONE;
        r = sysfs_open_dir(dir_fd, "vfio-dev", &d);
        if (r < 0)
                return sysfs_error_is_trouble(r) ? r : 0;
        assert(d);
        errno = 0;
        while ((e = readdir(d))) {
                char dev[sizeof("vfio/dev") + NAME_MAX];
                uint32_t n;

                if (parse_numbered_name(e->d_name, "vfio", &n) < 0)
                        continue;
                /* The folder is there without CONFIG_VFIO_DEVICE_CDEV too, of a device without a number. */
                (void)snprintf(dev, sizeof(dev), "%s/dev", e->d_name);
                if (faccessat(dirfd(d), dev, F_OK, 0) >= 0) {
                        *ret = n;
                        return 0;
                }
                if (sysfs_error_is_trouble(-errno))
                        return -errno;
                errno = 0;
        }
        return sysfs_error_is_trouble(-errno) ? -errno : 0;
}

uint32_t sysfs_read_numa_node(int dir_fd, const char *path) {
        uint64_t node;

        /* "-1" stands for none, and does not parse. */
        if (sysfs_read_u64(dir_fd, path, 10, KERNEL_NONE - 1, &node) < 0)
                return KERNEL_NONE;
        return (uint32_t)node;
}
