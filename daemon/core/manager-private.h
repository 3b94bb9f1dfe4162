/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of core/ share among themselves. */

#include "base/log.h"
#include "core/manager.h"
#include "state/prepared-record.h"
#include "state/reservation-record.h"
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

/* On whose account the VM is. */
QuotaSubject vm_quota_subject(const Vm *vm);

/* What the host has, the configuration allows and the service manager keeps, into the ledger. Returns 0 or -ENOMEM. */
int manager_update_capacity(Manager *m);

/* Takes another configuration over (*config has no policy any more), or stays with the one before. Returns 0 or -ENOMEM. */
int manager_set_config(Manager *m, Config *config);

void manager_notify_vm(Vm *vm);
void manager_notify_capacity(Manager *m);

/* ---- claims (claims.c) ---- */

/* Claims all functions listed in @ctx for @vm or for @reservation, or none. What @reservation holds already is lent to @vm: it
 * goes back with claims_remove_all(), unless reservation_use_up() comes first. Returns 0 or -ENOMEM. That they are free is
 * the admission's to know (asserted). */
int claims_add(Manager *m, Vm *vm, Reservation *reservation, const VmContext *ctx);

/* One function, for a while: free, or of the reservation that is being decided for, which lends it. Returns 0 or -ENOMEM. */
int claims_add_one(Manager *m, Vm *vm, const PciAddress *function);
void claims_remove_one(Manager *m, const PciAddress *function);

void claims_remove(Manager *m, const PciAddress *function);
void claims_remove_all(Manager *m, const VmContext *ctx);
Claim *claims_find(const Manager *m, const PciAddress *function);

/* ---- reservations (reservations.c) ---- */

/* Takes the reservation that a request names, NULL when it names none: what it holds counts as free for the decision that
 * follows, and nobody else can use it. -ENOENT, -ESTALE, -ETIME, -EPERM or -EBUSY with the problem: unknown, used, expired, another
 * user's, or being used. */
int reservation_take(Manager *m, const char *token, uid_t uid, Reservation **ret,
                     Problem *reterr_problem);

/* The same for a look that takes nothing; NULL when it cannot be taken. */
Reservation *reservation_look(Manager *m, const char *token, uid_t uid);

/* Its token; null for NULL. */
sd_id128_t reservation_get_token(const Reservation *reservation);

/* The decision is made; others see the functions as held again. NULL is fine. */
void reservation_decided(Reservation *reservation);

/* The end of taking it: as before, or used up. NULL is fine. */
void reservation_put_back(Reservation *reservation);
void reservation_use_up(Reservation *reservation);

void reservations_free_all(Manager *m);

/* Whose it is, when it ends and what can be done about it, to end a sentence with. */
void reservation_get_title(const Reservation *reservation, char ret[static RESERVATION_TITLE_SIZE]);

/* Remembers how a reservation ended, in place of the oldest that is remembered (reservation-ends.c). */
void reservation_ended(Manager *m, sd_id128_t token, uid_t uid, ReservationEnd end);

/* The refusal for a token or id that is not there (any more). */
int reservation_refuse(const Manager *m, const char *name, uid_t uid, Problem *reterr_problem);
/* Names what reservations hold, for quotas. */
void reservations_list_holdings(const Manager *m, HoldingFound found, void *userdata);

/* ---- definitions (definitions.c, definition-starts.c) ---- */

/* Reads those that the last daemon has left. What cannot be read is said, and stands in the list as such. Returns 0 or -ENOMEM. */
int definitions_recover(Manager *m);

/* Takes the record of a start in this boot on; once the definitions are there. */
void definition_recover_start(Manager *m, const StateEntry *entry);

/* NULL when there is none; also one that is being made. */
Definition *definition_find(const Manager *m, sd_id128_t uuid);

/* One that can be started or changed. Returns 0, -ENOENT, -EBUSY (it is being made), -EBADMSG, -EUCLEAN with the problem. */
int definition_find_readable(const Manager *m, sd_id128_t uuid, Definition **ret,
                             Problem *reterr_problem);

/* It is another one than before: what came of its last start is of no interest any more, and the daemon does not start it in this
 * boot. */
void definition_changed(Manager *m, Definition *definition);

/* The host's functions may be others: what waits for some is tried again. */
void definitions_look_again(Manager *m);

/* It is gone: so is the record of its starts. */
void definition_forget_start(Manager *m, const Definition *definition);

void definitions_free_all(Manager *m);

/* ---- records (records.c) ---- */

/* Before the kernel is asked: what will be if the operation succeeds, with what is not there yet marked pending; nothing of a VM that is
 * released. An operation that
 * charges or grants is refused when that cannot be written; any other goes on. Returns 0 or a negative errno with op->problem. */
int record_intent(Operation *op);

/* What an operation that grants has come to; refused when it cannot be written. */
int record_result(Operation *op);

/* The refusals that go with it: of what cannot be written, and on top of a newer version's record. Return @r, and 0 or -EUCLEAN. */
int record_refuse(const Manager *m, int r, Problem *reterr_problem);
int record_check_newer(const Manager *m, Problem *reterr_problem);

/* The VM as it is now; removes its record when it is released. What cannot be written is tried again. */
void record_vm(Vm *vm);

/* What could not be written, removed or taken out of the fd store is tried again after a while. */
void records_try_again(Manager *m);

/* Writes a record in place of the one before, as state_store_write() does. */
int record_store(Manager *m, RecordKind kind, sd_id128_t id, const char *body);

/* Removes a record that says nothing any more; one that cannot be removed is tried again. */
void record_forget(Manager *m, RecordKind kind, sd_id128_t id);

/* Takes a descriptor out of the fd store, some time (unstore.c): allocated before the point from which nothing may fail, and
 * given away by unstore_submit(). @stored: 0: nothing. */
Unstore *unstore_new(void);
Unstore *unstore_free(Unstore *unstore);
void unstore_submit(Unstore **unstore, Manager *m, uint32_t stored);
void unstore_try_again(Manager *m); /* those that failed */
void unstore_free_all(Manager *m);

/* ---- after a restart (repair.c, reservations.c, memory.c) ---- */

/* Whether an operation was going on when the last daemon ended, and putting right what it left: an operation that is queued. */
bool repair_is_needed(const VmContext *context);
int vm_repair(Vm *vm);

/* Whether that was tried in vain, and does not only wait for something that is held still: until it succeeds the VM takes no requests but its end. */
bool repair_has_failed(const Vm *vm);

/* Takes a reservation on that the last daemon has left; not one that is @used: a VM says that it was made of it, or has a function of it.
 * Returns 0, -EBADMSG, -ENOMEM. */
int reservation_recover(Manager *m, sd_id128_t token, const ReservationRecord *record, bool used,
                        uint64_t now_usec);

/* Adds to @set what mappings of @mapped_bytes in all are charged beyond @less_bytes in all. Returns 0 or -ENOMEM. */
int memory_charge_excess(DemandSet *set, const Vm *vm, uint64_t less_bytes, uint64_t mapped_bytes);

/* ---- memory that a VMM has pinned (memory.c) ---- */

/* What is to be charged in addition where a VM of @memory bytes, whose VMM maps them, gets functions. */
uint64_t memory_uncharged(const Vm *vm, uint64_t memory);

/* A function of the VM has gone: gives back what is charged and cannot be pinned any more. */
void memory_settle(Vm *vm);

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

/* What a VM that is draining held goes back: it is released. */
void release_finish(Vm *vm);

/* It could not be shown to be gone, for the reason that *op has. */
void release_quarantine(Operation *op);

/* What could not be taken down now is tried again after a while, until it can or the daemon stops. */
void release_try_again(Vm *vm);

/* ---- detaching (detach.c) ---- */

/* Has the functions that drain, and the vIOMMUs that they have left, asked about again after a while. */
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

/* Writes down what a probe has found (levels.c), and takes a record of it on, or removes it if it says nothing. */
void level_save(Manager *m, const HostIommu *iommu);
void level_recover(Manager *m, const StateEntry *entry);

/* Takes a record of the last daemon's bus on (callers.c). */
void callers_recover(Manager *m, const StateEntry *entry);

/* ---- the host (hotplug.c) ---- */

int hotplug_start(Manager *m);

/* The host wants a function back that the daemon holds. */
int hotplug_unplug_wanted(Vm *vm, const PciAddress *function);

/* ---- who is in which group (user-groups.c) ---- */

/* Has a request know the groups of its user where nobody has connected for it, so that the bus tells of none, and its tenant has
 * groups. Asks the host, and remembers the answer for a while. Returns 0 or -ENOMEM. */
int user_groups_complete(Manager *m, VmRequest *request);
void user_groups_forget(Manager *m);

/* ---- prepared contexts (prepared.c) ---- */

/* Lends the prepared iommufd of a VM to a CreateVm, -1 when there is none. It stays the prepared context's until it is used up, that is the VM's. */
int prepared_lend(Manager *m, sd_id128_t uuid, uint32_t *ret_stored);

/* Whether there is one where the request wants one, and that one which is there is @uid's to use. Returns 0 or -ENOENT. */
int prepared_check(const Manager *m, const VmRequest *request, uid_t uid, Problem *reterr_problem);
void prepared_give_back(Manager *m, sd_id128_t uuid);
void prepared_use_up(Manager *m, sd_id128_t uuid);

/* A VM of this UUID, @uid's, was admitted whose VMM opens everything itself. What was prepared for it may be what that one has: to keep it
 * would keep pinned what is mapped in it, and give it to the next VMM, too. */
void prepared_forgo(Manager *m, sd_id128_t uuid, uid_t uid);

/* Takes one on that the last daemon has left; *iommufd too. Returns 0 or -ENOMEM. */
int prepared_recover(Manager *m, sd_id128_t uuid, const PreparedRecord *record, int *iommufd);
void prepared_list_callers(const Manager *m, void (*found)(void *userdata, const char *name),
                           void *userdata);
void prepared_name_vanished(Manager *m, const char *name);
void prepared_free_all(Manager *m);
