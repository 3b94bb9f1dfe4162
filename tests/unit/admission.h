/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A host, a ledger and requests for the tests of admission: a World is what a decision looks at, and the macros are the words
 * of its tables. Everything here is plain data; no kernel is asked.
 */

#include "core/admission-function.h"
#include "core/admission.h"
#include "host.h"
#include "ledger/quota.h"
#include "oom.h"
#include "unit.h"

#define GIB        (UINT64_C(1) << 30)
#define TABLE      VIOMMU_TABLE_BYTES
#define HELD_MAX   4
#define FNS_MAX    6
#define DEMAND_MAX 10

#define HW           TIER_HARDWARE, HANDOVER_DAEMON
#define HW_VMM       TIER_HARDWARE, HANDOVER_VMM
#define EMU          TIER_EMULATED, HANDOVER_VMM
#define EMU_DAEMON   TIER_EMULATED, HANDOVER_DAEMON
#define VIRTIO_NONE  TIER_VIRTIO, HANDOVER_NONE
#define INSTANCE(i)  { RESOURCE_INSTANCES, i, 1 }
#define TRANS(s, n)  { RESOURCE_TRANS_DEVIDS, s, n }
#define TABLES(n, k) { RESOURCE_CONTIGUOUS_MEMORY, n, (k) * TABLE }
#define DOMAINS(n)   { RESOURCE_DOMAIN_IDS, 0, n }
#define PINNED(n)    { RESOURCE_PINNED_MEMORY, 0, n }

typedef struct World {
        Inventory *inventory;
        Ledger *ledger;
        Config config;
        AdmissionView view;
        struct {
                PciAddress function;
                const char *holder;
        } held[HELD_MAX];
        size_t n_held;
} World;

typedef struct Fn {
        const char *address;
        const char *guest; /* NULL: to be chosen */
        bool managed;
} Fn;

/* On the standard host (its description is with standard_scan()), whose IOMMUs are all accelerated; or on one that it takes. */
void world_init(World *w);
void world_init_on(World *w, HostScan *scan, KernelLevel level);
void world_done(World *w);

HostScan *standard_scan(void);

/* From now on @function is @holder's. */
void world_hold(World *w, const char *function, const char *holder);

/* What the ledger has of a resource, UINT64_MAX without an account. */
uint64_t capacity(const World *w, ResourceKind kind, uint32_t scope);

/* @fns ends with one without an address, or after FNS_MAX. */
void request_init(VmRequest *request, VmTier tier, VmHandover handover, const Fn *fns);

/* That @set is @expected, which ends with an amount of 0; @name goes to the message. */
void assert_demands(const DemandSet *set, const Demand *expected, const char *name);
