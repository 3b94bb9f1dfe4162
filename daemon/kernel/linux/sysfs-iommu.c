/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The host IOMMUs, from the class "iommu".
 *
 * AMD's are called ivhdN after the driver's own index, Intel's dmarN. An AMD IOMMU is a PCI function, to which the class
 * device points; the others are not, and their segment is that of the first function behind them.
 */

#include <limits.h>
#include <stdio.h>

#include "kernel/linux/sysfs-read.h"
#include "kernel/linux/sysfs-scan.h"

typedef struct Entry {
        char *name;
        HostIommuInfo info;
} Entry;

typedef struct Entries {
        Entry *entries;
        size_t n;
} Entries;

static void entries_done(Entries *e) {
        for (size_t i = 0; i < e->n; i++)
                free(e->entries[i].name);
        free(e->entries);
}

void iommu_names_done(IommuNames *names) {
        for (size_t i = 0; i < names->n; i++)
                free(names->entries[i].name);
        free(names->entries);
}

uint32_t iommu_names_find(const IommuNames *names, const char *name) {
        for (size_t i = 0; i < names->n; i++)
                if (streq(names->entries[i].name, name))
                        return names->entries[i].index;
        return KERNEL_NONE;
}

/* Reads "EFR" or "EFR:EFR2", hexadecimal. What is neither leaves both unknown. */
static void read_features(int class_fd, HostIommuInfo *info, const char *name) {
        char path[NAME_MAX + sizeof("/amd-iommu/features")], value[64], *colon;
        uint64_t efr, efr2 = 0;

        (void)snprintf(path, sizeof(path), "%s/amd-iommu/features", name);
        if (sysfs_read(class_fd, path, value, sizeof(value)) < 0)
                return;
        colon = strchr(value, ':');
        if (colon) {
                *colon = 0;
                if (parse_u64(colon + 1, 16, UINT64_MAX, &efr2) < 0)
                        return;
        }
        if (parse_u64(value, 16, UINT64_MAX, &efr) < 0)
                return;
        info->efr = efr;
        info->efr2 = efr2;
}

static uint16_t read_segment_of_devices(int class_fd, const char *name) {
        char path[NAME_MAX + sizeof("/devices")];
        _cleanup_(closedirp) DIR *d = NULL;
        const struct dirent *e;
        PciAddress a;

        (void)snprintf(path, sizeof(path), "%s/devices", name);
        if (sysfs_open_dir(class_fd, path, &d) < 0)
                return 0;
        while ((e = readdir(d)))
                if (pci_address_parse(e->d_name, &a) >= 0)
                        return a.segment;
        return 0;
}

static void read_iommu(int class_fd, const char *name, HostIommuInfo *ret) {
        char path[NAME_MAX + sizeof("/device/numa_node")], target[NAME_MAX + 1];
        uint32_t n;

        *ret = (HostIommuInfo){ .index = KERNEL_NONE, .vendor = IOMMU_VENDOR_OTHER };
        (void)snprintf(ret->name, sizeof(ret->name), "%.*s", (int)sizeof(ret->name) - 1, name);

        if (parse_numbered_name(name, "ivhd", &n) >= 0) {
                ret->vendor = IOMMU_VENDOR_AMD;
                ret->index = n;
                read_features(class_fd, ret, name);
        } else if (parse_numbered_name(name, "dmar", &n) >= 0)
                ret->vendor = IOMMU_VENDOR_INTEL;

        (void)snprintf(path, sizeof(path), "%s/device", name);
        if (sysfs_read_link_name(class_fd, path, target, sizeof(target)) >= 0)
                ret->has_address = pci_address_parse(target, &ret->address) >= 0;
        if (!ret->has_address)
                ret->address = (PciAddress){ .segment = read_segment_of_devices(class_fd, name) };

        (void)snprintf(path, sizeof(path), "%s/device/numa_node", name);
        ret->numa_node = sysfs_read_numa_node(class_fd, path);
}

/* AMD's by their index, then the others by their names, numbers in them counted as such. */
static int entry_compare(const void *a, const void *b) {
        const Entry *x = a, *y = b;
        bool x_is_amd = x->info.vendor == IOMMU_VENDOR_AMD;

        if (x_is_amd != (y->info.vendor == IOMMU_VENDOR_AMD))
                return x_is_amd ? -1 : 1;
        if (x_is_amd && x->info.index != y->info.index)
                return x->info.index < y->info.index ? -1 : 1;
        return strverscmp(x->name, y->name);
}

static int read_class(LinuxKernel *l, Entries *e) {
        _cleanup_(closedirp) DIR *d = NULL;
        const struct dirent *entry;
        int r;

        r = sysfs_open_dir(l->sysfs_fd, "class/iommu", &d);
        if (r < 0)
                return sysfs_error_is_absent(r) ? 0 : scan_error(r);

        for (;;) {
                errno = 0;
                entry = readdir(d);
                if (!entry)
                        return errno > 0 ? -EIO : 0;
                /* CONFIG_IOMMUFD_TEST adds an IOMMU that is none. */
                if (entry->d_name[0] == '.' || strncmp(entry->d_name, "iommufd_selftest", 16) == 0)
                        continue;

                if (ARRAY_GROW(e->entries, e->n) < 0)
                        return -ENOMEM;
                e->entries[e->n].name = strdup(entry->d_name);
                if (!e->entries[e->n].name)
                        return -ENOMEM;
                read_iommu(dirfd(d), entry->d_name, &e->entries[e->n].info);
                e->n++;
        }
}

int scan_iommus(LinuxKernel *l, HostScan *scan, IommuNames *names) {
        _cleanup_(entries_done) Entries e = {};
        uint32_t next = 0;
        int r;

        r = read_class(l, &e);
        if (r < 0 || e.n == 0)
                return r;
        qsort(e.entries, e.n, sizeof(Entry), entry_compare);

        scan->iommus = new0(HostIommuInfo, e.n);
        names->entries = calloc(e.n, sizeof(*names->entries));
        if (!scan->iommus || !names->entries)
                return -ENOMEM;

        for (size_t i = 0; i < e.n; i++) {
                HostIommuInfo *info = &e.entries[i].info;

                if (info->vendor != IOMMU_VENDOR_AMD)
                        info->index = next;
                /* "ivhd1" and "ivhd01" are one index; a kernel makes no such pair. */
                else if (info->index < next)
                        continue;
                next = info->index + 1;

                scan->iommus[scan->n_iommus++] = *info;
                names->entries[names->n].index = info->index;
                names->entries[names->n++].name = TAKE_PTR(e.entries[i].name);
        }
        return 0;
}
