/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Between a VM in memory and its record (state/vm-record.h). Pure: no file, no kernel. */

#include "state/vm-record.h"
#include "vm/vm.h"

/* Charges, as they stand in records. vm_record_done() or free() for the one, demand_set_done() for the other. -EBADMSG for what no
 * resource is called, and for amounts that nobody has. */
int demand_set_save(const DemandSet *set, RecordCharge **ret, size_t *ret_n);
int demand_set_load(const RecordCharge *charges, size_t n, DemandSet *ret);

/* What a record is to say: the VM, but for what the operation in flight has changed or is about to. */
typedef struct VmSnapshot {
        const Vm *vm;
        const VmContext *context;
        const Receipt *more; /* charged by the operation in flight, NULL: nothing */
        uint64_t memory; /* bytes that the operation in flight has raised it to; 0: it has not */
        VmState state;
        LeashKind leash;
        const char *leash_caller; /* NULL: none */
        uint32_t leash_stored;
        uint64_t deadline_usec; /* CLOCK_MONOTONIC, 0: no clock */
} VmSnapshot;

/* Returns 0 or -ENOMEM; then *ret has to be freed with vm_record_done(). */
int vm_save(const VmSnapshot *snapshot, VmRecord *ret);

/* What a record says of a VM's life; the rest is in the Vm. */
typedef struct VmSaved {
        VmState state;
        LeashKind leash;
        DemandSet charges;
} VmSaved;

void vm_saved_done(VmSaved *saved);

/* Makes a VM of a record: identity, context without descriptors, state VM_ADMITTED, no leash, no receipt. What else is to be known of
 * it is in *ret_saved. The words and amounts of @record are checked, since no other room knows them: -EBADMSG.
 * Returns 0, -EBADMSG, -ENOMEM. */
int vm_load(Manager *manager, sd_event *event, LeashEnded ended, const VmRecord *record, Vm **ret,
            VmSaved *ret_saved);
