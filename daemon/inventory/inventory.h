/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the host has: host IOMMUs with their kernel level, PCI functions, NUMA nodes.
 *
 * The inventory is the last scan, corrected by partial scans; it is read on the event loop only. Scans themselves run on
 * workers and arrive here whole. It knows nothing of VMs: who holds a function is the ledger's and the core's matter.
 */

#include "base/problem.h"
#include "inventory/kernel-level.h"

typedef struct HostIommu {
        HostIommuInfo info;
        uint32_t
                memory_node; /* from whose memory the kernel takes what it keeps for it: its own, or where that has none another's */
        KernelLevel level;
        bool probed; /* the level is what a probe found, not what a scan tells by itself */
        char level_reason[KERNEL_LEVEL_REASON_SIZE];
} HostIommu;

typedef struct Inventory Inventory;

int inventory_new(Inventory **ret);
Inventory *inventory_free(Inventory *inv);
DEFINE_CLEANUP(Inventory, inventory_free);

/* Takes over a whole scan. Kernel levels that were probed are kept, unless the scan says that there can be none. Returns 0 or -ENOMEM; takes *scan
 * (NULL afterwards) on success only. */
int inventory_apply(Inventory *inv, HostScan **scan);

/* Takes over a scan that was limited to @only: those functions and their groups are replaced, those of @only that it
 * lacks are gone. Nodes are refreshed. Returns 0 or -ENOMEM, then nothing has changed. */
int inventory_apply_partial(Inventory *inv, const PciAddress *only, size_t n_only,
                            const HostScan *scan);

/* Grows whenever something has been applied. */
uint64_t inventory_get_generation(const Inventory *inv);

const HostScan *inventory_get_scan(const Inventory *inv);
const PciFunctionInfo *inventory_find_function(const Inventory *inv, const PciAddress *address);
const NodeInfo *inventory_find_node(const Inventory *inv, uint32_t node);

const HostIommu *inventory_get_iommus(const Inventory *inv, size_t *ret_n_iommus);
const HostIommu *inventory_find_iommu(const Inventory *inv, uint32_t index);
const HostIommu *inventory_find_iommu_by_name(const Inventory *inv, const char *name);

/* Records what a probe found. */
void inventory_set_level(Inventory *inv, uint32_t index, KernelLevel level, const char *reason);

/* The best level of any host IOMMU; NONE when there is no IOMMU. */
KernelLevel inventory_best_level(const Inventory *inv);

/* Whether a function is on a vfio driver with a device node, so that it can be bound to an iommufd. */
bool pci_function_is_on_vfio(const PciFunctionInfo *function);

/* Whether it is on a vfio driver, with a device node or without: vfio-pci or one of its variants ("mlx5_vfio_pci"). */
bool pci_function_has_vfio_driver(const PciFunctionInfo *function);

/* Whether it is an SR-IOV VF of @physical, whose reset resets it too. */
bool pci_function_is_virtual_of(const PciFunctionInfo *function, const PciFunctionInfo *physical);

/* The sentences that say what this host lacks, in a NULL-terminated array that the caller frees with
 * inventory_problems_free(). Returns 0 or -ENOMEM. */
int inventory_describe_problems(const Inventory *inv, char ***ret);
char **inventory_problems_free(char **problems);
