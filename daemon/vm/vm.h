/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One admitted VM: identity, state, leash, what it holds of the ledger, its context in the kernel, and its operations.
 *
 * Operations of a VM run one after the other (vm/operation.h). Only the one in flight touches the kernel, on a copy of the
 * context; the loop reads vm->context, which is what the last finished operation left.
 *
 * Owned by the manager. vm_free() asserts that no operation is left; the receipt goes back with the VM.
 */

#include <systemd/sd-id128.h>

#include "base/hash.h"
#include "base/tenant.h"
#include "ledger/ledger.h"
#include "vm/context.h"
#include "vm/leash.h"
#include "vm/vm-state.h"

typedef struct Manager Manager;
typedef struct Operation Operation;

#define VM_NAME_MAX 128

typedef struct Vm {
        Manager *manager;
        sd_id128_t uuid;
        char *name;
        char *title; /* "VM name", for sentences */
        uid_t owner_uid;
        char tenant[TENANT_SIZE]; /* "": none */
        sd_id128_t reservation;   /* the token that it has used up; null: none */

        VmState state;
        char state_reason[sizeof(((Problem *)0)->text)];
        bool announced;         /* VmAdded has been sent */
        const char *end_reason; /* why it is being taken down, a word of VmRemoved */

        uint64_t memory;        /* bytes, from the request, or more by AttachDevice */
        uint32_t guest_domains; /* per vIOMMU, from the request */
        Receipt *receipt;       /* everything it is charged */

        Leash leash;
        uint32_t leash_stored; /* the number of its pidfd in the fd store, 0: none */
        int n_missing;         /* how many reports of an agent in a row have not named it */
        VmContext context;
        uint64_t recorded; /* checksum of the record that is on file; 0: none, 1: it is not known */
        bool unrecorded;   /* what the last operation has come to could not be written */

        Operation *operation; /* in flight, with those waiting behind it */
        size_t n_operations;
        bool beginning; /* operations are being begun, one after the other */

        /* Why what an earlier daemon left half done is not put right yet, a negative errno; -EBUSY: it waits for something that is
         * held still. 0: it is. */
        int unrepaired;
        sd_event_source *retry; /* of a quarantined VM, or of what drains */
        struct UnplugWatch *unplug_watches;
        UT_hash_handle hh_name;
} Vm;

int vm_new(Manager *manager, sd_event *event, sd_id128_t uuid, const char *name, LeashEnded ended,
           Vm **ret);
Vm *vm_free(Vm *vm);
DEFINE_CLEANUP(Vm, vm_free);

/* Moves the state; an event without a place in the state is a fault of the daemon's own and asserts. */
void vm_move(Vm *vm, VmEvent event);

/* Whether the VM takes new operations that build on it. */
static inline bool vm_is_alive(const Vm *vm) {
        return vm->state == VM_REALIZED || vm->state == VM_BOUND;
}
