/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config/policy.h"

const char *quota_kind_to_key(QuotaKind kind) {
        static const char *const keys[_QUOTA_KIND_MAX] = {
                [QUOTA_VMS] = "MaxVms",
                [QUOTA_FUNCTIONS] = "MaxFunctions",
                [QUOTA_RESERVATIONS] = "MaxReservations",
                [QUOTA_INSTANCES] = "MaxInstances",
                [QUOTA_DOMAIN_IDS] = "MaxDomainIds",
                [QUOTA_PINNED_MEMORY] = "MaxPinnedMemory",
        };

        assert(kind < _QUOTA_KIND_MAX);
        return keys[kind];
}

static void party_done(PartyPolicy *party) {
        free(party->reserved_instances);
        free(party->users);
        free(party->groups);
}

Policy *policy_free(Policy *policy) {
        if (!policy)
                return NULL;

        for (size_t i = 0; i < policy->n_files; i++)
                free(policy->files[i]);
        for (size_t i = 0; i < policy->n_settings; i++) {
                free(policy->settings[i].section);
                free(policy->settings[i].key);
                free(policy->settings[i].value);
        }
        for (size_t i = 0; i < policy->n_segments; i++)
                free(policy->segments[i].hotplug_buses);
        for (size_t i = 0; i < policy->n_tenants; i++)
                party_done(policy->tenants + i);
        for (size_t i = 0; i < policy->n_users; i++)
                party_done(policy->users + i);
        party_done(&policy->vm);
        free(policy->files);
        free(policy->settings);
        free(policy->host_iommus);
        free(policy->nodes);
        free(policy->segments);
        free(policy->tenants);
        free(policy->users);
        free(policy->excluded);
        free(policy);
        return NULL;
}

const PartyPolicy *policy_find_tenant(const Policy *policy, const char *name) {
        for (size_t i = 0; policy && i < policy->n_tenants; i++)
                if (streq(policy->tenants[i].name, name))
                        return policy->tenants + i;
        return NULL;
}

const PartyPolicy *policy_find_user(const Policy *policy, uid_t uid) {
        const PartyPolicy *others = NULL;

        for (size_t i = 0; policy && i < policy->n_users; i++)
                if (streq(policy->users[i].name, "*"))
                        others = policy->users + i;
                else if (policy->users[i].uid == uid)
                        return policy->users + i;
        return uid == 0 ? NULL : others;
}

#define FIND(array, wanted)                                                                        \
        for (size_t i = 0; policy && i < policy->n_##array; i++)                                   \
                if (policy->array[i].scope == (wanted))                                            \
                        return policy->array + i;                                                  \
        return NULL

const HostIommuPolicy *policy_find_host_iommu(const Policy *policy, uint32_t index) {
        FIND(host_iommus, index);
}

const NodePolicy *policy_find_node(const Policy *policy, uint32_t node) {
        FIND(nodes, node);
}

const SegmentPolicy *policy_find_segment(const Policy *policy, uint32_t segment) {
        FIND(segments, segment);
}

const FunctionPattern *policy_find_excluding(const Policy *policy, const PciAddress *function,
                                             uint32_t class_code) {
        for (size_t i = 0; policy && i < policy->n_excluded; i++) {
                const FunctionPattern *p = policy->excluded + i;

                if (p->class_mask ? (class_code & p->class_mask) == p->class_code
                                  : pci_address_compare(&p->first, function) <= 0 &&
                                            pci_address_compare(function, &p->last) <= 0)
                        return p;
        }
        return NULL;
}

bool tenant_may_be_used_by(const PartyPolicy *tenant, uid_t uid, const gid_t *groups,
                           size_t n_groups) {
        if ((tenant->n_users == 0 && tenant->n_groups == 0) || uid == 0)
                return true;
        for (size_t i = 0; i < tenant->n_users; i++)
                if (tenant->users[i].uid == uid)
                        return true;
        for (size_t i = 0; i < tenant->n_groups; i++)
                for (size_t j = 0; j < n_groups; j++)
                        if (tenant->groups[i].gid == groups[j])
                                return true;
        return false;
}

uint64_t tenant_reserved_instances(const PartyPolicy *tenant, uint32_t host_iommu) {
        for (size_t i = 0; i < tenant->n_reserved_instances; i++)
                if (tenant->reserved_instances[i].scope == host_iommu)
                        return tenant->reserved_instances[i].amount;
        return 0;
}
