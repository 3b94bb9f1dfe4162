/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/policy-host.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "ledger/quota.h"

typedef struct Listener {
        void (*found)(void *userdata, const char *text);
        void *userdata;
} Listener;

static void say(const Listener *l, const ConfigPlace *place, const char *format, ...)
        _printf_(3, 4);

static void say(const Listener *l, const ConfigPlace *place, const char *format, ...) {
        char text[512];
        va_list ap;
        int n;

        n = snprintf(text, sizeof(text), "%s:%i: ", place->file, place->line);
        va_start(ap, format);
        if (n >= 0 && (size_t)n < sizeof(text))
                (void)vsnprintf(text + n, sizeof(text) - (size_t)n, format, ap);
        va_end(ap);
        l->found(l->userdata, text);
}

static const LedgerAccount *find_account(const Ledger *ledger, ResourceKind kind, uint32_t scope) {
        size_t n;
        const LedgerAccount *accounts = ledger_get_accounts(ledger, &n);

        return quota_find_account(accounts, n, kind, scope);
}

static bool has_amd_iommu(const Inventory *inventory, uint32_t index) {
        const HostIommu *iommu = inventory_find_iommu(inventory, index);

        return iommu && iommu->info.vendor == IOMMU_VENDOR_AMD;
}

static bool has_segment(const Inventory *inventory, uint32_t segment) {
        const HostScan *scan = inventory_get_scan(inventory);

        for (size_t i = 0; i < scan->n_iommus; i++)
                if (scan->iommus[i].address.segment == segment)
                        return true;
        return false;
}

static void check_scopes(const Policy *policy, const Inventory *inventory, const Listener *l) {
        for (size_t i = 0; i < policy->n_host_iommus; i++) {
                const HostIommuPolicy *p = policy->host_iommus + i;

                if (limit_is_set(&p->instances) && !has_amd_iommu(inventory, p->scope))
                        say(l, &p->instances.place, "This host has no AMD IOMMU ivhd%" PRIu32 ".",
                            p->scope);
        }
        for (size_t i = 0; i < policy->n_nodes; i++) {
                const NodePolicy *p = policy->nodes + i;

                if (limit_is_set(&p->contiguous_memory_percent) &&
                    !inventory_find_node(inventory, p->scope))
                        say(l, &p->contiguous_memory_percent.place,
                            "This host has no NUMA node %" PRIu32 ".", p->scope);
        }
        for (size_t i = 0; i < policy->n_segments; i++) {
                const SegmentPolicy *p = policy->segments + i;

                if (limit_is_set(&p->hotplug_devids_reserved) && !has_segment(inventory, p->scope))
                        say(l, &p->hotplug_devids_reserved.place,
                            "This host has no IOMMU in PCI segment %04" PRIx32 ".", p->scope);
        }
}

static void check_reserves(const Policy *policy, const Inventory *inventory, const Ledger *ledger,
                           const Listener *l) {
        const LedgerAccount *memory = find_account(ledger, RESOURCE_PINNED_MEMORY, 0);
        uint64_t capacity = memory ? memory->capacity : 0, sum = 0;

        for (size_t i = 0; i < policy->n_tenants; i++) {
                const PartyPolicy *t = policy->tenants + i;

                for (size_t j = 0; j < t->n_reserved_instances; j++)
                        if (!has_amd_iommu(inventory, t->reserved_instances[j].scope))
                                say(l, &t->reserved_instances[j].place,
                                    "This host has no AMD IOMMU ivhd%" PRIu32
                                    " of which to keep instances for tenant %s.",
                                    t->reserved_instances[j].scope, t->name);
                if (!limit_is_set(&t->reserved_pinned_memory))
                        continue;
                sum += t->reserved_pinned_memory.value;
                if (sum > capacity)
                        say(l, &t->reserved_pinned_memory.place,
                            "With ReservedPinnedMemory= of [Tenant %s], %" PRIu64
                            " MiB are kept for tenants, but only %" PRIu64
                            " MiB may be pinned on this host: no others can pin any.",
                            t->name, sum >> 20, capacity >> 20);
        }
}

void policy_check_host(const Config *config, const Inventory *inventory, const Ledger *ledger,
                       void (*found)(void *userdata, const char *text), void *userdata) {
        const Listener l = { found, userdata };

        if (!config->policy)
                return;
        check_scopes(config->policy, inventory, &l);
        check_reserves(config->policy, inventory, ledger, &l);
}

void log_config_warning(void *userdata, bool is_warning, const char *text) {
        (void)userdata;
        if (is_warning)
                log_msg(LOG_WARNING, "%s", text);
}
