/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The PCI functions of the host, or those that a limited scan asks for with the rest of their IOMMU groups.
 *
 * A function is read from its own directory, held open: everything read is of the same device, and once it is removed
 * every read fails. Whether it was there at the end decides whether it is told of.
 */

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "kernel/linux/aliases.h"
#include "kernel/linux/host-use.h"
#include "kernel/linux/sysfs-read.h"
#include "kernel/linux/sysfs-scan.h"

typedef struct Addresses {
        PciAddress *entries;
        size_t n;
} Addresses;

static void addresses_done(Addresses *a) {
        free(a->entries);
}

static int address_compare(const void *a, const void *b) {
        return pci_address_compare(a, b);
}

static int addresses_add(Addresses *a, const PciAddress *address) {
        if (ARRAY_GROW(a->entries, a->n) < 0)
                return -ENOMEM;
        a->entries[a->n++] = *address;
        return 0;
}

/* Adds the addresses that the directory @path lists. One that is not there lists none. */
static int addresses_add_directory(Addresses *a, int sysfs_fd, const char *path) {
        _cleanup_(closedirp) DIR *d = NULL;
        const struct dirent *e;
        PciAddress address;
        int r;

        r = sysfs_open_dir(sysfs_fd, path, &d);
        if (r < 0)
                return sysfs_error_is_absent(r) ? 0 : scan_error(r);
        for (;;) {
                errno = 0;
                e = readdir(d);
                if (!e)
                        return errno > 0 && !sysfs_error_is_absent(-errno) ? -EIO : 0;
                if (pci_address_parse(e->d_name, &address) < 0)
                        continue;
                r = addresses_add(a, &address);
                if (r < 0)
                        return r;
        }
}

/* Reads the name that a link points to, "" when it is not there. Returns 0, or what kept it from being read. */
static int read_link(int dir_fd, const char *link, char ret_name[static NAME_MAX + 1]) {
        int r = sysfs_read_link_name(dir_fd, link, ret_name, NAME_MAX + 1);

        if (r < 0)
                ret_name[0] = '\0';
        return sysfs_error_is_trouble(r) ? r : 0;
}

static int read_group(int dir_fd, uint32_t *ret) {
        char name[NAME_MAX + 1];
        int r;

        r = read_link(dir_fd, "iommu_group", name);
        if (r < 0 || parse_numbered_name(name, "", ret) < 0)
                *ret = KERNEL_NONE;
        return r;
}

/* Adds the function @address, if it exists, and the members of its group. */
static int addresses_add_with_group(Addresses *a, int sysfs_fd, const PciAddress *address) {
        char path[sizeof("kernel/iommu_groups//devices") + 3 * sizeof(uint32_t)];
        _cleanup_close_ int dir_fd = -1;
        uint32_t group;
        int r;

        r = sysfs_open_function(sysfs_fd, address, &dir_fd);
        if (r < 0)
                return sysfs_error_is_absent(r) ? 0 : scan_error(r);
        r = addresses_add(a, address);
        if (r < 0)
                return r;
        r = read_group(dir_fd, &group);
        if (r < 0 || group == KERNEL_NONE)
                return r < 0 ? scan_error(r) : 0;
        (void)snprintf(path, sizeof(path), "kernel/iommu_groups/%" PRIu32 "/devices", group);
        return addresses_add_directory(a, sysfs_fd, path);
}

static uint32_t read_number(int dir_fd, const char *name, uint32_t max) {
        uint64_t v;

        return sysfs_read_u64(dir_fd, name, 16, max, &v) < 0 ? 0 : (uint32_t)v;
}

static void read_group_type(int sysfs_fd, PciFunctionInfo *f) {
        char path[sizeof("kernel/iommu_groups//type") + 3 * sizeof(uint32_t)];

        (void)snprintf(path, sizeof(path), "kernel/iommu_groups/%" PRIu32 "/type", f->group);
        if (sysfs_read(sysfs_fd, path, f->group_type, sizeof(f->group_type)) < 0)
                f->group_type[0] = 0;
}

/* What ties a function to the rest: its PF, its IOMMU and its group. Returns 0, or what kept it from being read. */
static int read_ties(LinuxKernel *l, int dir_fd, const IommuNames *names, PciFunctionInfo *f) {
        char name[NAME_MAX + 1];
        int r;

        r = read_link(dir_fd, "physfn", name);
        if (r < 0)
                return r;
        f->is_virtual = pci_address_parse(name, &f->physical_function) >= 0;

        r = read_link(dir_fd, "iommu", name);
        if (r < 0)
                return r;
        if (name[0])
                f->host_iommu = iommu_names_find(names, name);

        r = read_group(dir_fd, &f->group);
        if (r >= 0 && f->group != KERNEL_NONE)
                read_group_type(l->sysfs_fd, f);
        return r;
}

/* Reads one function. Returns 0, -ENOENT: not there, or not any more; or what kept it from being read. */
static int read_function(LinuxKernel *l, const PciAddress *address, const IommuNames *names,
                         const AliasTable *aliases, PciFunctionInfo *ret) {
        PciFunctionInfo f = { .address = *address, .host_iommu = KERNEL_NONE };
        char name[NAME_MAX + 1];
        _cleanup_close_ int dir_fd = -1;
        int r;

        r = sysfs_open_function(l->sysfs_fd, address, &dir_fd);
        if (r < 0)
                return sysfs_error_is_trouble(r) ? r : -ENOENT;

        f.class_code = read_number(dir_fd, "class", 0xffffff);
        f.vendor_id = (uint16_t)read_number(dir_fd, "vendor", UINT16_MAX);
        f.device_id = (uint16_t)read_number(dir_fd, "device", UINT16_MAX);
        f.is_bridge = pci_class_is_bridge(f.class_code);
        f.numa_node = sysfs_read_numa_node(dir_fd, "numa_node");

        r = read_ties(l, dir_fd, names, &f);
        if (r < 0)
                return r;
        aliases_read(l, aliases, &f);

        /* These two change while a function stays: last, so that they are the freshest. */
        r = read_link(dir_fd, "driver", name);
        if (r >= 0)
                r = sysfs_read_cdev(dir_fd, &f.cdev);
        if (r < 0)
                return r;
        (void)snprintf(f.driver, sizeof(f.driver), "%.*s", (int)sizeof(f.driver) - 1, name);

        if (faccessat(dir_fd, "class", F_OK, 0) < 0)
                return sysfs_error_is_trouble(-errno) ? -errno : -ENOENT;
        *ret = f;
        return 0;
}

static int list_addresses(LinuxKernel *l, const PciAddress *only, size_t n_only, Addresses *a) {
        size_t n = 0;
        int r = 0;

        if (n_only == 0)
                r = addresses_add_directory(a, l->sysfs_fd, "bus/pci/devices");
        for (size_t i = 0; r >= 0 && i < n_only; i++)
                r = addresses_add_with_group(a, l->sysfs_fd, &only[i]);
        if (r < 0 || a->n == 0)
                return r;

        qsort(a->entries, a->n, sizeof(PciAddress), address_compare);
        for (size_t i = 0; i < a->n; i++)
                if (n == 0 || !pci_address_equal(&a->entries[n - 1], &a->entries[i]))
                        a->entries[n++] = a->entries[i];
        a->n = n;
        return 0;
}

int scan_functions(LinuxKernel *l, const PciAddress *only, size_t n_only, const IommuNames *names,
                   HostScan *scan) {
        _cleanup_(alias_table_freep) AliasTable *aliases = NULL;
        _cleanup_(addresses_done) Addresses a = {};
        _cleanup_(host_uses_done) HostUses uses = {};
        int r;

        r = alias_table_new(l, &aliases);
        if (r < 0)
                return r;
        r = host_uses_read(l, &uses);
        if (r < 0)
                return scan_error(r);
        r = list_addresses(l, only, n_only, &a);
        if (r < 0 || a.n == 0)
                return r;

        scan->functions = new0(PciFunctionInfo, a.n);
        if (!scan->functions)
                return -ENOMEM;
        for (size_t i = 0; i < a.n; i++) {
                PciFunctionInfo *f = scan->functions + scan->n_functions;

                r = read_function(l, &a.entries[i], names, aliases, f);
                if (r < 0 && r != -ENOENT)
                        return scan_error(r);
                if (r < 0)
                        continue;
                (void)snprintf(f->host_use, sizeof(f->host_use), "%s",
                               host_uses_find(&uses, &f->address));
                scan->n_functions++;
        }
        return 0;
}
