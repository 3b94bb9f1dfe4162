/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What things cost, and what the host has: pure translation between the inventory and the ledger's amounts. The same
 * functions serve the grant and the return, so what comes back is what was taken.
 */

#include "config/config.h"
#include "inventory/inventory.h"
#include "ledger/ledger.h"
#include "vm/context.h"

/* Contiguous memory behind one instance: device and domain tables. Spec: 48882, DevID and DomID mapping tables (1 MiB and
 * 512 KiB per Guest ID) */
#define VIOMMU_TABLE_BYTES (UINT64_C(3) << 19)

/* The VM itself: its stage-2 table's domain id, the guest memory that may be pinned, and two descriptors that are kept. */
int charge_for_vm(DemandSet *set, uint64_t memory_bytes);

/* Guest memory that is pinned. */
int charge_for_memory(DemandSet *set, uint64_t bytes);

/* One vIOMMU: Guest ID with VF MMIO page, TransDevID, tables, the guest's domain ids. */
int charge_for_viommu(DemandSet *set, const ContextViommu *viommu, uint32_t guest_domains);

/* One function: a descriptor, and outside the hardware tier a domain id for its address space. */
int charge_for_function(DemandSet *set, VmTier tier);

/* What a VM of @memory_bytes that has @ctx gives back piece by piece before its end: its functions, its vIOMMUs, and what of its mappings
 * goes beyond its memory. Returns 0, -ENOMEM, -EOVERFLOW. */
int charge_for_context(DemandSet *set, const VmContext *ctx, uint32_t guest_domains,
                       uint64_t memory_bytes);

/* Sets the ledger's capacities from what the host has and what the configuration allows. Scopes that have gone keep their
 * account with capacity 0. Returns 0 or -ENOMEM. */
int capacity_update(Ledger *ledger, const Inventory *inventory, const Config *config);
