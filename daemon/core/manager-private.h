/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of core/ share among themselves. */

#include "base/log.h"
#include "core/manager.h"
#include "vm/unplug-watch.h"

/* "0000…" form of a VM's UUID, for messages. */
#define VM_UUID_STRING(vm) SD_ID128_TO_UUID_STRING((vm)->uuid)

/* ---- VMs (manager.c) ---- */

/* Links a new VM; fails with -EEXIST (UUID or name), -ENOMEM. */
int manager_link_vm(Manager *m, Vm *vm);

/* Unlinks and frees a VM without operations. */
void manager_remove_vm(Manager *m, Vm *vm);

/* What the deciders see; the functions of m->deciding_for count as free. */
AdmissionView manager_get_view(Manager *m);

void manager_notify_vm(Vm *vm);
void manager_notify_capacity(Manager *m);

/* ---- claims (claims.c) ---- */

/* Claims all functions listed in @ctx for @vm or for @reservation, or none. What @reservation holds already is lent to @vm: it
 * goes back with claims_remove_all(), unless reservation_use_up() comes first. Returns 0 or -ENOMEM. That they are free is
 * the admission's to know (asserted). */
int claims_add(Manager *m, Vm *vm, Reservation *reservation, const VmContext *ctx);
int claims_add_one(Manager *m, Vm *vm, const PciAddress *function);
void claims_remove(Manager *m, const PciAddress *function);
void claims_remove_all(Manager *m, const VmContext *ctx);
Claim *claims_find(const Manager *m, const PciAddress *function);

/* ---- reservations (reservations.c) ---- */

/* Takes the reservation that a request names, NULL when it names none: what it holds counts as free for the decision that
 * follows, and nobody else can use it. -ENOENT with the problem: unknown, another user's, or taken. */
int reservation_take(Manager *m, const char *token, uid_t uid, Reservation **ret,
                     Problem *reterr_problem);

/* The decision is made; others see the functions as held again. NULL is fine. */
void reservation_decided(Reservation *reservation);

/* The end of taking it: as before, or used up. NULL is fine. */
void reservation_put_back(Reservation *reservation);
void reservation_use_up(Reservation *reservation);

void reservations_free_all(Manager *m);

/* ---- operations (operations.c) ---- */

/* Queues *op on its VM and takes it. -EBUSY with reterr_problem when too many wait; urgent ones are always taken. */
int operation_submit(Operation **op, Problem *reterr_problem);

/* Answers the one who asked, once. */
void operation_answer(Operation *op, int r, const Problem *problem);

/* For requests of the API: sets the answer, then submits. */
int operation_submit_for(Operation **op, OperationAnswer answer, void *userdata,
                         Problem *reterr_problem);

/* Cancels what is in flight or waits, except what takes down. @caller: only that caller's; NULL: all. */
void vm_cancel_operations(Vm *vm, const char *caller);

/* Starts taking down for a reason of VmRemoved. */
void vm_drain(Vm *vm, const char *reason);

/* What a leash calls when it ends. */
void vm_on_leash_ended(Leash *leash, const char *reason);

/* ---- detaching (detach.c) ---- */

/* Has the functions that drain asked about again after a while. */
void detach_retry_later(Vm *vm);

/* ---- probing (probing.c) ---- */

typedef struct ProbeTarget {
        uint32_t host_iommu;
        PciAddress function;
        bool has_vf_token;
        uint8_t vf_token[16];
        KernelProbe result;
        int error;
} ProbeTarget;

/* Probes in one job; claims the functions meanwhile for @vm (NULL: the daemon). Takes @targets. Calls @done on the loop
 * when the levels are set. Returns 0 or -ENOMEM (then @targets is still the caller's). */
int probing_start(Manager *m, Vm *vm, ProbeTarget *targets, size_t n_targets,
                  void (*done)(void *userdata, const ProbeTarget *targets, size_t n_targets),
                  void *userdata);

/* ---- the host (hotplug.c) ---- */

int hotplug_start(Manager *m);

/* The host wants a function back that the daemon holds. */
void hotplug_unplug_wanted(Vm *vm, const PciAddress *function);

/* ---- prepared contexts (prepared.c) ---- */

/* Takes the prepared iommufd of a VM, -1 when there is none. */
int prepared_take(Manager *m, sd_id128_t uuid);
void prepared_name_vanished(Manager *m, const char *name);
void prepared_free_all(Manager *m);
