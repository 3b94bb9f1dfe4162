/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A host made of files: a temporary directory with sysfs, procfs and device nodes as a kernel lays them out, and the
 * real kernel table on top of it.
 *
 * Links are relative and devices sit in sys/devices below their bridges, as in the original: the code under test reads
 * where links lead to.
 */

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "kernel/linux/linux.h"

#define TREE_PATH_MAX 512

typedef struct Tree {
        char root[sizeof("/tmp/aviommu-tree-XXXXXX")];
        Kernel *kernel;
} Tree;

static inline char *tree_path(const Tree *t, char buf[static TREE_PATH_MAX], const char *format,
                              va_list ap) _printf_(3, 0);

static inline char *tree_path(const Tree *t, char buf[static TREE_PATH_MAX], const char *format,
                              va_list ap) {
        int n = snprintf(buf, TREE_PATH_MAX, "%s/", t->root);

        n += vsnprintf(buf + n, (size_t)(TREE_PATH_MAX - n), format, ap);
        assert_true(n < TREE_PATH_MAX);
        return buf;
}

static inline void tree_make_parents(char *path) {
        for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = 0;
                (void)mkdir(path, 0755); /* if it fails for good, so does what is made in it */
                *slash = '/';
        }
}

_printf_(4, 5) static inline void tree_put_bytes(const Tree *t, const void *data, size_t size,
                                                 const char *format, ...) {
        char path[TREE_PATH_MAX];
        va_list ap;
        int fd;

        va_start(ap, format);
        tree_path(t, path, format, ap);
        va_end(ap);
        tree_make_parents(path);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, data, size), (ssize_t)size);
        assert_int_equal(close(fd), 0);
}

#define tree_put(t, content, ...) tree_put_bytes((t), (content), strlen(content), __VA_ARGS__)

_printf_(3, 4) static inline void tree_link(const Tree *t, const char *target, const char *format,
                                            ...) {
        char path[TREE_PATH_MAX];
        va_list ap;

        va_start(ap, format);
        tree_path(t, path, format, ap);
        va_end(ap);
        tree_make_parents(path);
        (void)unlink(path);
        assert_int_equal(symlink(target, path), 0);
}

_printf_(2, 3) static inline void tree_mkdir(const Tree *t, const char *format, ...) {
        char path[TREE_PATH_MAX];
        va_list ap;

        va_start(ap, format);
        tree_path(t, path, format, ap);
        va_end(ap);
        tree_make_parents(path);
        assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
}

static inline int tree_remove_one(const char *path, const struct stat *st _unused_,
                                  int type _unused_, struct FTW *ftw _unused_) {
        return remove(path);
}

_printf_(2, 3) static inline void tree_remove(const Tree *t, const char *format, ...) {
        char path[TREE_PATH_MAX];
        va_list ap;

        va_start(ap, format);
        tree_path(t, path, format, ap);
        va_end(ap);
        assert_int_equal(nftw(path, tree_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* Adds a function with ids and class. @under is its path below sys/devices, "" for a root bus of its own number. */
static inline void tree_add_function(const Tree *t, const char *under, const char *address,
                                     const char *class_code) {
        char place[TREE_PATH_MAX];

        (void)snprintf(place, sizeof(place), "%s/%s", under, address);
        tree_put(t, class_code, "sys/devices/%s/class", place);
        tree_put(t, "0x1022\n", "sys/devices/%s/vendor", place);
        tree_put(t, "0x1480\n", "sys/devices/%s/device", place);
        tree_put(t, "0\n", "sys/devices/%s/numa_node", place);
        {
                char target[TREE_PATH_MAX + 32];

                (void)snprintf(target, sizeof(target), "../../../devices/%s", place);
                tree_link(t, target, "sys/bus/pci/devices/%s", address);
        }
}

/* Puts the function, by way of its link on the bus, into a group behind a host IOMMU (NULL: none). Targets need not
 * resolve: the names in them are what is read. */
static inline void tree_set_iommu(const Tree *t, const char *address, unsigned group,
                                  const char *iommu) {
        char target[TREE_PATH_MAX];

        (void)snprintf(target, sizeof(target), "../../../kernel/iommu_groups/%u", group);
        tree_link(t, target, "sys/bus/pci/devices/%s/iommu_group", address);
        tree_put(t, "DMA-FQ\n", "sys/kernel/iommu_groups/%u/type", group);
        tree_link(t, "../../../../devices/x", "sys/kernel/iommu_groups/%u/devices/%s", group,
                  address);
        if (iommu) {
                (void)snprintf(target, sizeof(target), "../0000:00:00.2/iommu/%s", iommu);
                tree_link(t, target, "sys/bus/pci/devices/%s/iommu", address);
        }
}

/* Adds an AMD IOMMU with its own PCI function. */
static inline void tree_add_amd(const Tree *t, const char *name, const char *address,
                                const char *features) {
        char target[TREE_PATH_MAX], bus[PCI_ADDRESS_STRING_SIZE + 4];

        (void)snprintf(bus, sizeof(bus), "pci%.7s", address);
        tree_add_function(t, bus, address, "0x080600\n");
        tree_put(t, features, "sys/devices/%s/%s/iommu/%s/amd-iommu/features", bus, address, name);
        (void)snprintf(target, sizeof(target), "../../../%s", address);
        tree_link(t, target, "sys/devices/%s/%s/iommu/%s/device", bus, address, name);
        (void)snprintf(target, sizeof(target), "../../devices/%s/%s/iommu/%s", bus, address, name);
        tree_link(t, target, "sys/class/iommu/%s", name);
}

static inline int tree_setup(void **state) {
        char sysfs[64], dev[64], proc[64], first[64], second[64];
        const char *const ivrs[] = { first, second, NULL };
        Tree *t = new0(Tree, 1);

        assert_non_null(t);
        strcpy(t->root, "/tmp/aviommu-tree-XXXXXX");
        assert_non_null(mkdtemp(t->root));
        tree_mkdir(t, "sys");
        tree_mkdir(t, "dev");
        tree_mkdir(t, "proc");
        (void)snprintf(sysfs, sizeof(sysfs), "%s/sys", t->root);
        (void)snprintf(dev, sizeof(dev), "%s/dev", t->root);
        (void)snprintf(proc, sizeof(proc), "%s/proc", t->root);
        (void)snprintf(first, sizeof(first), "%s/ivrs-1", t->root);
        (void)snprintf(second, sizeof(second), "%s/ivrs-2", t->root);
        assert_int_equal(linux_kernel_new_at(
                                 &(const LinuxRoots){
                                         .sysfs = sysfs, .dev = dev, .proc = proc, .ivrs = ivrs },
                                 &t->kernel),
                         0);
        *state = t;
        return 0;
}

static inline int tree_teardown(void **state) {
        Tree *t = *state;

        t->kernel = kernel_free(t->kernel);
        assert_int_equal(nftw(t->root, tree_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
        free(t);
        return 0;
}

static inline HostScan *tree_scan(const Tree *t, const PciAddress *only, size_t n_only) {
        HostScan *scan = NULL;

        assert_int_equal(t->kernel->ops->scan(t->kernel, only, n_only, &scan), 0);
        assert_non_null(scan);
        return scan;
}

static inline const PciFunctionInfo *tree_find(const HostScan *scan, const char *address) {
        PciAddress a;

        assert_int_equal(pci_address_parse(address, &a), 0);
        for (size_t i = 0; i < scan->n_functions; i++)
                if (pci_address_equal(&scan->functions[i].address, &a))
                        return &scan->functions[i];
        return NULL;
}
