/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What does not go together, as far as the configuration alone tells. That reserves exceed what the host has is refused where no host
 * could have it; what only can never be reached is remarked on. */

#include <inttypes.h>

#include "config/config-reader.h"

#define HOST_DOMAIN_IDS UINT64_C(65535)

static void check_reserve(ConfigReader *reader, const PartyPolicy *tenant, uint64_t reserved,
                          const ConfigPlace *place, const char *key, QuotaKind kind) {
        const Limit *max = tenant->max + kind;

        if (limit_is_set(max) && reserved > max->value)
                reader_refuse_at(reader, place,
                                 "%s= of [Tenant %s] is %" PRIu64 ", more than its %s=%" PRIu64
                                 " (%s:%i).",
                                 key, tenant->name, reserved, quota_kind_to_key(kind), max->value,
                                 max->place.file, max->place.line);
}

static void check_tenant(ConfigReader *reader, const PartyPolicy *tenant) {
        const Limit *ids = &tenant->reserved_domain_ids, *memory = &tenant->reserved_pinned_memory;
        uint64_t instances = 0;

        for (size_t i = 0; i < tenant->n_reserved_instances; i++) {
                const ScopeAmount *a = tenant->reserved_instances + i;

                instances += a->amount;
                check_reserve(reader, tenant, instances, &a->place, "ReservedInstances",
                              QUOTA_INSTANCES);
        }
        if (limit_is_set(ids))
                check_reserve(reader, tenant, ids->value, &ids->place, "ReservedDomainIds",
                              QUOTA_DOMAIN_IDS);
        if (limit_is_set(memory))
                check_reserve(reader, tenant, memory->value, &memory->place, "ReservedPinnedMemory",
                              QUOTA_PINNED_MEMORY);
}

/* The reserves of this tenant and of those before him. */
static void check_capacity(ConfigReader *reader, size_t n) {
        const Config *config = &reader->config;
        const Policy *policy = config->policy;
        const PartyPolicy *tenant = policy->tenants + n;
        uint64_t ids = 0, capacity = HOST_DOMAIN_IDS - config->domain_ids_reserved;

        for (size_t i = 0; i < tenant->n_reserved_instances; i++) {
                const ScopeAmount *a = tenant->reserved_instances + i;
                const HostIommuPolicy *iommu = policy_find_host_iommu(policy, a->scope);
                uint64_t sum = 0, instances = iommu && limit_is_set(&iommu->instances)
                                                      ? iommu->instances.value
                                                      : config->instances_per_iommu;

                for (size_t j = 0; j <= n; j++)
                        sum += tenant_reserved_instances(policy->tenants + j, a->scope);
                if (a->amount > 0 && sum > instances)
                        reader_refuse_at(reader, &a->place,
                                         "With ReservedInstances=ivhd%" PRIu32 ":%" PRIu64
                                         " of [Tenant %s], %" PRIu64 " of the %" PRIu64
                                         " instances of ivhd%" PRIu32 " would be reserved.",
                                         a->scope, a->amount, tenant->name, sum, instances,
                                         a->scope);
        }

        for (size_t j = 0; j <= n; j++)
                ids += limit_is_set(&policy->tenants[j].reserved_domain_ids)
                               ? policy->tenants[j].reserved_domain_ids.value
                               : 0;
        if (limit_is_set(&tenant->reserved_domain_ids) && ids > capacity)
                reader_refuse_at(reader, &tenant->reserved_domain_ids.place,
                                 "With ReservedDomainIds= of [Tenant %s], %" PRIu64
                                 " of the %" PRIu64 " domain ids that VMs may have would be "
                                 "reserved.",
                                 tenant->name, ids, capacity);
}

/* A limit of each VM that is above one of whoever has the VM is never reached. */
static void compare_with_vm(ConfigReader *reader, const char *word, const PartyPolicy *party) {
        for (QuotaKind kind = 0; kind < _QUOTA_KIND_MAX; kind++) {
                const Limit *vm = reader->config.policy->vm.max + kind, *max = party->max + kind;

                if (limit_is_set(vm) && limit_is_set(max) && vm->value > max->value)
                        reader_warn_at(reader, &vm->place,
                                       "%s= of [Vm] is %" PRIu64 ", but [%s %s] may have %" PRIu64
                                       " in all (%s:%i).",
                                       quota_kind_to_key(kind), vm->value, word, party->name,
                                       max->value, max->place.file, max->place.line);
        }
}

/* Each reservation counts as a VM. */
static void compare_reservations(ConfigReader *reader, const char *word, const PartyPolicy *party) {
        const Limit *vms = party->max + QUOTA_VMS, *max = party->max + QUOTA_RESERVATIONS;

        if (limit_is_set(vms) && limit_is_set(max) && max->value > vms->value)
                reader_warn_at(reader, &max->place,
                               "MaxReservations= of [%s %s] is %" PRIu64
                               ", but with its MaxVms=%" PRIu64
                               " (%s:%i) it has no more: each counts as a VM.",
                               word, party->name, max->value, vms->value, vms->place.file,
                               vms->place.line);
}

void policy_check(ConfigReader *reader) {
        const Policy *policy = reader->config.policy;

        for (size_t i = 0; i < policy->n_tenants; i++) {
                check_tenant(reader, policy->tenants + i);
                check_capacity(reader, i);
                compare_with_vm(reader, "Tenant", policy->tenants + i);
                compare_reservations(reader, "Tenant", policy->tenants + i);
        }
        for (size_t i = 0; i < policy->n_users; i++) {
                compare_with_vm(reader, "User", policy->users + i);
                compare_reservations(reader, "User", policy->users + i);
        }
}
