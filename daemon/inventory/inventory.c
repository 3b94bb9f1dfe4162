/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "inventory/inventory.h"

#include <errno.h>
#include <stdio.h>

struct Inventory {
        HostScan *scan;
        HostIommu *iommus; /* one for each of scan->iommus, in the same order */
        uint64_t generation;
};

int inventory_new(Inventory **ret) {
        _cleanup_(inventory_freep) Inventory *inv = new0(Inventory, 1);

        if (!inv)
                return -ENOMEM;

        inv->scan = new0(HostScan, 1);
        if (!inv->scan)
                return -ENOMEM;

        inv->scan->iommufd_error = -ENOENT;
        *ret = TAKE_PTR(inv);
        return 0;
}

Inventory *inventory_free(Inventory *inv) {
        if (!inv)
                return NULL;

        host_scan_free(inv->scan);
        free(inv->iommus);
        free(inv);
        return NULL;
}

/* Whether an error of opening /dev/iommu says that it is not to be had, rather than that the daemon was short of something. */
static bool says_not_there(int error) {
        return error == -ENOENT || error == -ENODEV || error == -ENXIO || error == -EACCES ||
               error == -EPERM;
}

/* From whose memory the kernel serves @node, which may be none or have none: then from the nearest, or, as far as is known, from the first. */
static uint32_t find_memory_node(const HostScan *scan, uint32_t node) {
        for (size_t i = 0; i < scan->n_nodes; i++)
                if (scan->nodes[i].node == node && scan->nodes[i].memory_node != KERNEL_NONE)
                        return scan->nodes[i].memory_node;
        for (size_t i = 0; i < scan->n_nodes; i++)
                if (scan->nodes[i].total_bytes > 0)
                        return scan->nodes[i].node;
        return scan->n_nodes > 0 ? scan->nodes[0].node : 0;
}

int inventory_apply(Inventory *inv, HostScan **scan) {
        HostIommu *iommus = new0(HostIommu, MAX((*scan)->n_iommus, (size_t)1));

        if (!iommus)
                return -ENOMEM;
        /* What could be opened before and has not been said to be gone is there still, and with it what was probed. */
        if (inv->scan->iommufd_error == 0 && !says_not_there((*scan)->iommufd_error))
                (*scan)->iommufd_error = 0;

        for (size_t i = 0; i < (*scan)->n_iommus; i++) {
                const HostIommu *old = inventory_find_iommu(inv, (*scan)->iommus[i].index);
                HostIommu *h = iommus + i;

                h->info = (*scan)->iommus[i];
                h->memory_node = find_memory_node(*scan, h->info.numa_node);
                h->level = kernel_level_from_scan(&h->info, (*scan)->iommufd_error,
                                                  h->level_reason);
                if (h->level == KERNEL_LEVEL_UNKNOWN && old && old->probed) {
                        h->probed = true;
                        h->level = old->level;
                        memcpy(h->level_reason, old->level_reason, sizeof(h->level_reason));
                }
        }

        host_scan_free(inv->scan);
        free(inv->iommus);
        inv->scan = TAKE_PTR(*scan);
        inv->iommus = iommus;
        inv->generation++;
        return 0;
}

static bool address_in(const PciAddress *a, const PciAddress *list, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (pci_address_equal(a, list + i))
                        return true;
        return false;
}

/* Whether @f is among @functions, or was of a group that is listed there with all who are left of it. */
static bool is_replaced(const PciFunctionInfo *f, const PciFunctionInfo *functions, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (pci_address_equal(&f->address, &functions[i].address) ||
                    (f->group != KERNEL_NONE && f->group == functions[i].group))
                        return true;
        return false;
}

int inventory_apply_partial(Inventory *inv, const PciAddress *only, size_t n_only,
                            const HostScan *scan) {
        HostScan *own = inv->scan;
        PciFunctionInfo *merged = new0(PciFunctionInfo,
                                       MAX(own->n_functions + scan->n_functions, (size_t)1));
        size_t n = 0, i = 0, j = 0;

        if (!merged)
                return -ENOMEM;

        /* Both arrays are sorted: a merge that drops from the old one what was asked about. */
        while (i < own->n_functions || j < scan->n_functions) {
                const PciAddress *a = i < own->n_functions ? &own->functions[i].address : NULL;

                if (a && (address_in(a, only, n_only) ||
                          is_replaced(own->functions + i, scan->functions, scan->n_functions))) {
                        i++;
                        continue;
                }
                if (!a || (j < scan->n_functions &&
                           pci_address_compare(&scan->functions[j].address, a) < 0))
                        merged[n++] = scan->functions[j++];
                else
                        merged[n++] = own->functions[i++];
        }

        for (size_t k = 0; k < own->n_nodes; k++)
                for (size_t m = 0; m < scan->n_nodes; m++)
                        if (own->nodes[k].node == scan->nodes[m].node)
                                own->nodes[k] = scan->nodes[m];

        free(own->functions);
        own->functions = merged;
        own->n_functions = n;
        inv->generation++;
        return 0;
}

uint64_t inventory_get_generation(const Inventory *inv) {
        return inv->generation;
}

const HostScan *inventory_get_scan(const Inventory *inv) {
        return inv->scan;
}

static int function_compare(const void *key, const void *member) {
        return pci_address_compare(key, &((const PciFunctionInfo *)member)->address);
}

const PciFunctionInfo *inventory_find_function(const Inventory *inv, const PciAddress *address) {
        if (inv->scan->n_functions == 0)
                return NULL;
        return bsearch(address, inv->scan->functions, inv->scan->n_functions,
                       sizeof(PciFunctionInfo), function_compare);
}

const NodeInfo *inventory_find_node(const Inventory *inv, uint32_t node) {
        for (size_t i = 0; i < inv->scan->n_nodes; i++)
                if (inv->scan->nodes[i].node == node)
                        return inv->scan->nodes + i;
        return NULL;
}

const HostIommu *inventory_get_iommus(const Inventory *inv, size_t *ret_n_iommus) {
        *ret_n_iommus = inv->scan->n_iommus;
        return inv->iommus;
}

const HostIommu *inventory_find_iommu(const Inventory *inv, uint32_t index) {
        for (size_t i = 0; i < inv->scan->n_iommus; i++)
                if (inv->iommus[i].info.index == index)
                        return inv->iommus + i;
        return NULL;
}

const HostIommu *inventory_find_iommu_by_name(const Inventory *inv, const char *name) {
        for (size_t i = 0; i < inv->scan->n_iommus; i++)
                if (streq(inv->iommus[i].info.name, name))
                        return inv->iommus + i;
        return NULL;
}

void inventory_set_level(Inventory *inv, uint32_t index, KernelLevel level, const char *reason) {
        HostIommu *h = (HostIommu *)inventory_find_iommu(inv, index);

        if (!h)
                return;
        h->probed = true;
        h->level = level;
        (void)snprintf(h->level_reason, sizeof(h->level_reason), "%s", reason);
        inv->generation++;
}

KernelLevel inventory_best_level(const Inventory *inv) {
        KernelLevel best = KERNEL_LEVEL_NONE;
        bool unknown = false;

        for (size_t i = 0; i < inv->scan->n_iommus; i++)
                if (inv->iommus[i].level == KERNEL_LEVEL_UNKNOWN)
                        unknown = true;
                else
                        best = MAX(best, inv->iommus[i].level);

        return best == KERNEL_LEVEL_NONE && unknown ? KERNEL_LEVEL_UNKNOWN : best;
}

bool pci_function_is_on_vfio(const PciFunctionInfo *function) {
        return function->cdev != KERNEL_NONE;
}

bool pci_function_has_vfio_driver(const PciFunctionInfo *function) {
        return pci_function_is_on_vfio(function) || strstr(function->driver, "vfio");
}

bool pci_function_is_virtual_of(const PciFunctionInfo *function, const PciFunctionInfo *physical) {
        return function->is_virtual &&
               pci_address_equal(&function->physical_function, &physical->address);
}
