/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What several verbs ask the daemon: the Manager's properties, the host IOMMUs, the VMs and what they hold. */

#include "ctl/ctl.h"
#include "lib/pages.h"
#include "lib/reply.h"

typedef struct Tier {
        const char *name, *reason;
        bool is_available;
} Tier;

typedef struct TierList {
        Tier *items;
        size_t n;
} TierList;

typedef struct Status {
        sd_bus_message *message; /* the strings are in it */
        const char *version, *kernel, *kernel_level;
        TierList tiers;
        StringList problems;
        ResourceList resources;
        uint32_t n_vms, n_reservations, n_functions, n_host_iommus;
        size_t n_quarantined;
        bool may_count; /* anybody may read the rest, but not ask what is quarantined */
} Status;

typedef struct VmRow {
        const char *uuid, *name, *tier, *handover, *state, *path, *tenant; /* "": none */
        uint32_t n_functions, owner_uid;
} VmRow;

typedef struct VmRows {
        Pages pages; /* the strings are in it */
        VmRow *items;
        size_t n;
} VmRows;

typedef struct HostIommu {
        const char *path;
        const char *name, *vendor, *pci_address, *kernel_level, *kernel_level_reason;
        uint16_t segment;
        int32_t numa_node;
        uint64_t efr, efr2;
        StringList features;
        ResourceList resources;
} HostIommu;

typedef struct HostIommuList {
        sd_bus_message *message; /* the strings are in it */
        HostIommu *items;
        size_t n;
} HostIommuList;

/* The Manager's properties. Of @ret, zeroed, status_done() is due in any case. Returns 0 or a negative errno (failure set). */
int survey_status(Ctl *ctl, Status *ret);
void status_done(Status *s);

/* All VMs, in the order of their UUIDs. As above, with vm_rows_done(). */
int survey_vms(Ctl *ctl, VmRows *ret);
void vm_rows_done(VmRows *l);

/* All host IOMMUs, by name. As above, with host_list_done(). */
int survey_hosts(Ctl *ctl, HostIommuList *ret);
void host_iommu_done(HostIommu *h);
void host_list_done(HostIommuList *l);

/* What the VM at @path holds; the strings are in @ret_message. A VM that has gone meanwhile holds nothing.
 * Returns 0 or a negative errno (failure set). */
int survey_charges(Ctl *ctl, const char *path, sd_bus_message **ret_message, ChargeList *ret);
