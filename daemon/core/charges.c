/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/charges.h"

#include <errno.h>

#define DEVICE_IDS      UINT32_C(65536) /* a segment */
#define HOST_DOMAIN_IDS UINT64_C(65535) /* 1..65535 in one pool */

int charge_for_memory(DemandSet *set, uint64_t bytes) {
        return demand_set_add(set, RESOURCE_PINNED_MEMORY, 0, bytes);
}

int charge_for_vm(DemandSet *set, uint64_t memory_bytes) {
        int r;

        r = demand_set_add(set, RESOURCE_DOMAIN_IDS, 0, 1);
        if (r >= 0)
                r = charge_for_memory(set, memory_bytes);
        if (r >= 0) /* its iommufd and its leash */
                r = demand_set_add(set, RESOURCE_DESCRIPTORS, 0, 2);
        return r;
}

int charge_for_viommu(DemandSet *set, const ContextViommu *v, uint32_t guest_domains) {
        int r;

        r = demand_set_add(set, RESOURCE_INSTANCES, v->host_iommu, 1);
        if (r >= 0)
                r = demand_set_add(set, RESOURCE_TRANS_DEVIDS, v->segment, 1);
        if (r >= 0)
                r = demand_set_add(set, RESOURCE_CONTIGUOUS_MEMORY, v->numa_node,
                                   VIOMMU_TABLE_BYTES);
        if (r >= 0)
                r = demand_set_add(set, RESOURCE_DOMAIN_IDS, 0, guest_domains);
        return r;
}

int charge_for_function(DemandSet *set, VmTier tier) {
        int r = demand_set_add(set, RESOURCE_DESCRIPTORS, 0, 1);

        if (r >= 0 && tier != TIER_HARDWARE)
                r = demand_set_add(set, RESOURCE_DOMAIN_IDS, 0, 1);
        return r;
}

int charge_for_context(DemandSet *set, const VmContext *ctx, uint32_t guest_domains,
                       uint64_t memory_bytes) {
        uint64_t mapped = 0;
        int r = 0;

        for (size_t i = 0; i < ctx->n_functions && r >= 0; i++)
                r = charge_for_function(set, ctx->tier);
        for (size_t i = 0; i < ctx->n_viommus && r >= 0; i++)
                r = charge_for_viommu(set, ctx->viommus + i, guest_domains);
        for (size_t i = 0; i < ctx->n_mappings && r >= 0; i++)
                if (__builtin_add_overflow(mapped, ctx->mappings[i].length, &mapped))
                        r = -EOVERFLOW;
        return r >= 0 && mapped > memory_bytes ? charge_for_memory(set, mapped - memory_bytes) : r;
}

/* ---- capacities ---- */

typedef struct DeviceIdMap {
        uint64_t words[DEVICE_IDS / 64];
} DeviceIdMap;

static void device_id_set(DeviceIdMap *map, uint16_t bdf) {
        map->words[bdf / 64] |= UINT64_C(1) << (bdf % 64);
}

/* TransDevIDs share the segment's 16-bit device ids with everything that is there: functions, their aliases, the IOMMUs
 * themselves; a range is kept back for what is hot plugged later. */
static uint64_t count_trans_devids(const HostScan *scan, uint16_t segment, DeviceIdMap *map,
                                   const Config *config) {
        const SegmentPolicy *policy = policy_find_segment(config->policy, segment);
        uint64_t taken = 0, reserved = policy && limit_is_set(&policy->hotplug_devids_reserved)
                                               ? policy->hotplug_devids_reserved.value
                                               : config->hotplug_devids_reserved;

        *map = (DeviceIdMap){};
        device_id_set(map, 0);
        for (size_t i = 0; i < scan->n_iommus; i++)
                if (scan->iommus[i].has_address && scan->iommus[i].address.segment == segment)
                        device_id_set(map, pci_address_bdf(&scan->iommus[i].address));
        for (size_t i = 0; i < scan->n_functions; i++) {
                const PciFunctionInfo *f = scan->functions + i;

                if (f->address.segment != segment)
                        continue;
                device_id_set(map, pci_address_bdf(&f->address));
                for (size_t j = 0; j < f->n_aliases; j++)
                        device_id_set(map, f->aliases[j]);
        }
        for (size_t i = 0; policy && i < policy->n_hotplug_buses; i++)
                for (unsigned id = policy->hotplug_buses[i].first * 256U;
                     id < (policy->hotplug_buses[i].last + 1U) * 256; id++)
                        device_id_set(map, (uint16_t)id);

        for (size_t i = 0; i < ELEMENTSOF(map->words); i++)
                taken += (uint64_t)__builtin_popcountll(map->words[i]);
        return DEVICE_IDS > taken + reserved ? DEVICE_IDS - taken - reserved : 0;
}

/* What is not named again below is gone. */
static int capacity_clear(Ledger *ledger) {
        size_t n;
        const LedgerAccount *accounts = ledger_get_accounts(ledger, &n);
        int r = 0;

        for (size_t i = 0; i < n && r >= 0; i++)
                if (accounts[i].kind <= RESOURCE_CONTIGUOUS_MEMORY)
                        r = ledger_set_capacity(ledger, accounts[i].kind, accounts[i].scope, 0);
        return r;
}

static int capacity_of_iommus(Ledger *ledger, const Inventory *inventory, const Config *config,
                              DeviceIdMap *map) {
        size_t n;
        const HostIommu *iommus = inventory_get_iommus(inventory, &n);
        int r = 0;

        for (size_t i = 0; i < n && r >= 0; i++) {
                const HostIommuInfo *info = &iommus[i].info;
                const HostIommuPolicy *policy = policy_find_host_iommu(config->policy, info->index);
                bool seen = false;

                if (info->vendor != IOMMU_VENDOR_AMD)
                        continue;
                r = ledger_set_capacity(ledger, RESOURCE_INSTANCES, info->index,
                                        policy && limit_is_set(&policy->instances)
                                                ? policy->instances.value
                                                : config->instances_per_iommu);
                for (size_t j = 0; j < i; j++)
                        seen |= iommus[j].info.vendor == IOMMU_VENDOR_AMD &&
                                iommus[j].info.address.segment == info->address.segment;
                if (r >= 0 && !seen)
                        r = ledger_set_capacity(
                                ledger, RESOURCE_TRANS_DEVIDS, info->address.segment,
                                count_trans_devids(inventory_get_scan(inventory),
                                                   info->address.segment, map, config));
        }
        return r;
}

static uint64_t contiguous_memory_of(const NodeInfo *node, const Config *config) {
        const NodePolicy *policy = policy_find_node(config->policy, node->node);

        return node->total_bytes / 100 *
               (policy && limit_is_set(&policy->contiguous_memory_percent)
                        ? policy->contiguous_memory_percent.value
                        : config->contiguous_memory_per_node_percent);
}

int capacity_update(Ledger *ledger, const Inventory *inventory, const Config *config) {
        _cleanup_free_ DeviceIdMap *map = new0(DeviceIdMap, 1);
        const HostScan *scan = inventory_get_scan(inventory);
        int r;

        if (!map) /* before anything is cleared */
                return -ENOMEM;

        r = capacity_clear(ledger);
        if (r >= 0)
                r = capacity_of_iommus(ledger, inventory, config, map);
        for (size_t i = 0; i < scan->n_nodes && r >= 0; i++)
                r = ledger_set_capacity(ledger, RESOURCE_CONTIGUOUS_MEMORY, scan->nodes[i].node,
                                        contiguous_memory_of(scan->nodes + i, config));
        if (r >= 0)
                r = ledger_set_capacity(ledger, RESOURCE_DOMAIN_IDS, 0,
                                        HOST_DOMAIN_IDS - config->domain_ids_reserved);
        if (r >= 0)
                r = ledger_set_capacity(ledger, RESOURCE_PINNED_MEMORY, 0,
                                        scan->total_memory_bytes / 100 *
                                                config->pinned_memory_percent);
        if (r >= 0)
                r = ledger_set_capacity(ledger, RESOURCE_DESCRIPTORS, 0, config->max_descriptors);
        return r;
}
