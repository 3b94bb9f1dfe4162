/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host.h"

#include "unit.h"

HostScan *host_scan_new(uint64_t total_bytes) {
        HostScan *scan = new0(HostScan, 1);

        assert_non_null(scan);
        scan->has_vfio_cdev = true;
        scan->total_memory_bytes = total_bytes;
        return scan;
}

/* Room for one more at @at. */
static void *array_insert(void *array, size_t *n, size_t size, size_t at) {
        void **items = array;
        char *grown = realloc(*items, (*n + 1) * size);

        assert_non_null(grown);
        *items = grown;
        memmove(grown + (at + 1) * size, grown + at * size, (*n - at) * size);
        memset(grown + at * size, 0, size);
        (*n)++;
        return grown + at * size;
}

HostIommuInfo *host_add_iommu(HostScan *scan, uint32_t index, const char *a, uint32_t node) {
        HostIommuInfo *info;
        size_t at = 0;

        while (at < scan->n_iommus && scan->iommus[at].index < index)
                at++;
        info = array_insert(&scan->iommus, &scan->n_iommus, sizeof(*info), at);
        *info = (HostIommuInfo){ .index = index,
                                 .vendor = IOMMU_VENDOR_AMD,
                                 .has_address = true,
                                 .address = address(a),
                                 .numa_node = node,
                                 .efr = HOST_EFR,
                                 .efr2 = HOST_EFR2 };
        (void)snprintf(info->name, sizeof(info->name), "ivhd%u", index);
        return info;
}

PciFunctionInfo *host_add_function(HostScan *scan, const char *a, uint32_t iommu, uint32_t group,
                                   const char *driver) {
        PciAddress where = address(a);
        PciFunctionInfo *info;
        size_t at = 0;

        while (at < scan->n_functions &&
               pci_address_compare(&scan->functions[at].address, &where) < 0)
                at++;
        info = array_insert(&scan->functions, &scan->n_functions, sizeof(*info), at);
        *info = (PciFunctionInfo){
                .address = where,
                .host_iommu = iommu,
                .group = group,
                .cdev = streq(driver, "vfio-pci") ? (uint32_t)scan->n_functions : KERNEL_NONE,
        };
        (void)snprintf(info->driver, sizeof(info->driver), "%s", driver);
        return info;
}

NodeInfo *host_add_node(HostScan *scan, uint32_t node, uint64_t total, uint64_t free_contiguous) {
        NodeInfo *info = array_insert(&scan->nodes, &scan->n_nodes, sizeof(*info), scan->n_nodes);

        *info = (NodeInfo){ .node = node,
                            .memory_node = node,
                            .total_bytes = total,
                            .free_contiguous_bytes = free_contiguous };
        return info;
}

static void *copy_array(const void *array, size_t n, size_t size) {
        void *copy = calloc(n + 1, size);

        assert_non_null(copy);
        if (n > 0)
                memcpy(copy, array, n * size);
        return copy;
}

HostScan *host_scan_copy(const HostScan *scan) {
        HostScan *copy = new0(HostScan, 1);

        assert_non_null(copy);
        *copy = *scan;
        copy->iommus = copy_array(scan->iommus, scan->n_iommus, sizeof(HostIommuInfo));
        copy->functions = copy_array(scan->functions, scan->n_functions, sizeof(PciFunctionInfo));
        copy->nodes = copy_array(scan->nodes, scan->n_nodes, sizeof(NodeInfo));
        return copy;
}

void host_remove_function(HostScan *scan, const char *a) {
        PciAddress where = address(a);

        for (size_t i = 0; i < scan->n_functions; i++)
                if (pci_address_equal(&scan->functions[i].address, &where)) {
                        scan->n_functions--;
                        memmove(scan->functions + i, scan->functions + i + 1,
                                (scan->n_functions - i) * sizeof(PciFunctionInfo));
                        return;
                }
        fail_msg("%s is not there", a);
}
