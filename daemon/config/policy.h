/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What an administrator allows beyond [Manager]: limits of single host IOMMUs, nodes and segments, quotas and reserves of tenants,
 * quotas of users and of each VM, functions that nobody gets. Plain data, read by config/, judged elsewhere.
 */

#include <sys/types.h>

#include "base/pci-address.h"
#include "base/tenant.h"

/* Where something is said. */
typedef struct ConfigPlace {
        const char *file; /* the policy's; NULL: nowhere */
        int line;
} ConfigPlace;

/* A number that may have been said. */
typedef struct Limit {
        uint64_t value;
        ConfigPlace place; /* .file NULL: not said, .value means nothing */
} Limit;

static inline bool limit_is_set(const Limit *limit) {
        return limit->place.file;
}

/* What a quota is of. */
typedef enum QuotaKind {
        QUOTA_VMS,
        QUOTA_FUNCTIONS,
        QUOTA_RESERVATIONS,  /* that are not used yet */
        QUOTA_INSTANCES,     /* vIOMMUs of the hardware tier, on all host IOMMUs together */
        QUOTA_DOMAIN_IDS,    /* guest domains, and the domain ids of VMs and functions */
        QUOTA_PINNED_MEMORY, /* bytes */
        _QUOTA_KIND_MAX,
} QuotaKind;

/* "MaxInstances". */
const char *quota_kind_to_key(QuotaKind kind);

/* Bits of PartyPolicy.tiers. */
typedef enum TierBit {
        TIER_BIT_HARDWARE = 1 << 0,
        TIER_BIT_EMULATED = 1 << 1,
        TIER_BIT_VIRTIO = 1 << 2,
} TierBit;

/* So many of one scope. */
typedef struct ScopeAmount {
        uint32_t scope;
        uint64_t amount;
        ConfigPlace place;
} ScopeAmount;

typedef struct UserId {
        uid_t uid;
} UserId;

typedef struct GroupId {
        gid_t gid;
} GroupId;

/* [Tenant NAME], [User NAME], [Vm]: a quota without a limit is none. Reserves, users and groups are a tenant's alone. */
typedef struct PartyPolicy {
        char name[TENANT_SIZE]; /* as it was written; "" of [Vm]; "*" of [User *] */
        uid_t uid;              /* of a user */
        ConfigPlace place;
        Limit max[_QUOTA_KIND_MAX];
        unsigned tiers;                  /* those allowed; 0: all */
        ScopeAmount *reserved_instances; /* by host IOMMU */
        size_t n_reserved_instances;
        Limit reserved_domain_ids, reserved_pinned_memory; /* the latter in bytes */
        UserId *users; /* who may act for it; neither users nor groups: anybody */
        size_t n_users;
        GroupId *groups; /* whose members may too */
        size_t n_groups;
} PartyPolicy;

/* [HostIommu ivhdN], [Node N]: .scope is N. */
typedef struct HostIommuPolicy {
        uint32_t scope;
        Limit instances;
} HostIommuPolicy;

typedef struct NodePolicy {
        uint32_t scope;
        Limit contiguous_memory_percent;
} NodePolicy;

typedef struct BusRange {
        uint8_t first, last;
} BusRange;

/* [Segment SSSS] */
typedef struct SegmentPolicy {
        uint32_t scope;
        Limit hotplug_devids_reserved;
        BusRange *hotplug_buses; /* on which functions may appear: their device ids are kept back */
        size_t n_hotplug_buses;
} SegmentPolicy;

/* A part of [Functions] Exclude=: addresses from @first to @last, or, where @class_mask is not 0, what is of that class. */
typedef struct FunctionPattern {
        PciAddress first, last;
        uint32_t class_code, class_mask; /* 24 bits */
        ConfigPlace place;
} FunctionPattern;

/* One line as it was written, for who wants to see. */
typedef struct Setting {
        char *section, *key, *value;
        ConfigPlace place;
} Setting;

typedef struct Policy {
        char **files; /* in the order in which they were read */
        size_t n_files;
        Setting *settings;
        size_t n_settings;
        HostIommuPolicy *host_iommus;
        size_t n_host_iommus;
        NodePolicy *nodes;
        size_t n_nodes;
        SegmentPolicy *segments;
        size_t n_segments;
        PartyPolicy *tenants, *users;
        size_t n_tenants, n_users;
        PartyPolicy vm;
        FunctionPattern *excluded;
        size_t n_excluded;
} Policy;

Policy *policy_free(Policy *policy);
DEFINE_CLEANUP(Policy, policy_free);

/* What is said of one of them, or NULL. @policy may be NULL. */
const PartyPolicy *policy_find_tenant(const Policy *policy, const char *name);

/* [User *] is every user's who has no section of his own, but for uid 0. */
const PartyPolicy *policy_find_user(const Policy *policy, uid_t uid);
const HostIommuPolicy *policy_find_host_iommu(const Policy *policy, uint32_t index);
const NodePolicy *policy_find_node(const Policy *policy, uint32_t node);
const SegmentPolicy *policy_find_segment(const Policy *policy, uint32_t segment);

/* What excludes a function, or NULL. @class_code: 24 bits. */
const FunctionPattern *policy_find_excluding(const Policy *policy, const PciAddress *function,
                                             uint32_t class_code);

/* Whether @uid, who is in @groups (NULL: in none), may act for the tenant. */
bool tenant_may_be_used_by(const PartyPolicy *tenant, uid_t uid, const gid_t *groups,
                           size_t n_groups);

/* How much of one host IOMMU's instances are kept for the tenant. */
uint64_t tenant_reserved_instances(const PartyPolicy *tenant, uint32_t host_iommu);
