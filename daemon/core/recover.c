/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Taking on what the last daemon left: records and descriptors are brought together, the kernel is asked what is still there
 * (core/recovery.h decides), and VMs, prepared contexts and reservations stand as before. Runs before the loop, and asks the kernel
 * only what it answers at once; what has to be done about a VM follows as an operation of its own.
 */

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/fd-util.h"
#include "core/manager-private.h"
#include "core/recover-fds.h"
#include "core/recovery.h"
#include "vm/vm-saved.h"

/* A record that waits until all VMs are there. */
typedef struct LeftRecord {
        RecordKind kind;
        sd_id128_t id;
        char *body;
        size_t body_length;
} LeftRecord;

typedef struct Recovery {
        Manager *m;
        uint64_t now_usec;
        LeftFds fds;
        LeftRecord *later;
        size_t n_later;
        sd_id128_t *
                used; /* the tokens of reservations that VMs were made of, sorted before @later is gone through */
        size_t n_used;
        size_t n_adopted, n_released, n_dropped;
} Recovery;

/* ---- a VM ---- */

static RecoveryWitness find_witness(const LeftFd *leash) {
        bool ended;

        if (!leash || pidfd_has_ended(leash->fd, &ended) < 0)
                return WITNESS_MISSING;
        return ended ? WITNESS_ENDED : WITNESS_ALIVE;
}

/* Only "not there" is a no. */
static bool exists(Kernel *k, int iommufd, KernelObjectKind kind, uint32_t id) {
        return id == 0 || k->ops->object_probe(k, iommufd, kind, id) != -ENOENT;
}

static void gather_functions(const Recovery *rec, const Vm *vm, const LeftFd *iommufd,
                             RecoveryFunction *facts) {
        Kernel *k = rec->m->kernel;

        for (size_t i = 0; i < vm->context.n_functions; i++) {
                const ContextFunction *f = vm->context.functions + i;

                facts[i].kept = left_fds_find_cdev(&rec->fds, f);
                facts[i].bound = iommufd && f->device_id != 0 &&
                                 recovery_asks_for_binding(&vm->context, i) &&
                                 exists(k, iommufd->fd, KERNEL_OBJECT_DEVICE, f->device_id);
        }
}

/* Asks to be told when the host wants a function back: the last daemon's ears are gone. */
static void listen(Manager *m, ContextFunction *f) {
        Kernel *k = m->kernel;

        if (unplug_eventfd_new(&f->unplug_fd) < 0)
                return;
        (void)k->ops->cdev_notify_request(k, f->cdev, f->unplug_fd);
}

static void claim_descriptors(const Recovery *rec, Vm *vm, LeftFd *iommufd) {
        vm->context.iommufd = left_fd_claim(iommufd);
        if (!iommufd)
                vm->context.iommufd_stored = 0;
        for (size_t i = 0; i < vm->context.n_functions; i++) {
                ContextFunction *f = vm->context.functions + i;

                f->cdev = left_fd_claim(left_fds_find_cdev(&rec->fds, f));
                if (f->cdev < 0)
                        f->stored = 0;
        }
}

static int adopt_leash(const Recovery *rec, Vm *vm, const VmRecord *record,
                       const RecoveryDecision *d, LeftFd *leash) {
        uint64_t timeout = rec->m->config.admission_timeout_usec;
        int r = 0;

        switch (d->leash) {
        case LEASH_NONE:
                r = leash_start_clock(&vm->leash, d->new_clock || record->deadline_usec == 0
                                                          ? rec->now_usec + timeout
                                                          : record->deadline_usec);
                break;
        case LEASH_PIDFD:
                r = leash_adopt_pidfd(&vm->leash, left_fd_claim(leash));
                break;
        case LEASH_CALLER:
                r = leash_set_caller(&vm->leash, record->leash_caller);
                break;
        case LEASH_AGENT:
                leash_set_agent(&vm->leash);
                break;
        case LEASH_DEFINITION:
                leash_set_definition(&vm->leash);
                break;
        case _LEASH_KIND_MAX:
                abort();
        }
        /* The number of a leash that is lost will be another one's. */
        if (d->leash != LEASH_PIDFD)
                vm->leash_stored = 0;
        if (r >= 0 && d->leash != LEASH_NONE)
                vm_move(vm, VM_EVENT_LEASHED);
        return r;
}

/* Whether the record names numbers of what is not there: they will be another one's. */
static bool names_what_is_lost(const VmRecord *record, const Vm *vm) {
        bool names = record->leash_stored != vm->leash_stored ||
                     record->iommufd_stored != vm->context.iommufd_stored;

        for (size_t i = 0; i < record->n_functions; i++)
                names |= record->functions[i].stored != vm->context.functions[i].stored;
        return names;
}

static int adopt(Recovery *rec, Vm *vm, const VmRecord *record, const RecoveryFacts *facts,
                 const RecoveryDecision *d, LeftFd *iommufd, LeftFd *leash) {
        int r;

        for (size_t i = 0; i < vm->context.n_functions; i++) {
                ContextFunction *f = vm->context.functions + i;
                FunctionFate fate = recovery_decide_function(facts, i);

                f->draining |= fate == FUNCTION_DETACH;
                f->handed_over |= fate == FUNCTION_HAND_OVER;
        }
        claim_descriptors(rec, vm, iommufd);
        for (size_t i = 0; i < vm->context.n_functions; i++)
                if (vm->context.functions[i].cdev >= 0 && !vm->context.functions[i].handed_over)
                        listen(rec->m, vm->context.functions + i);

        vm_move(vm, VM_EVENT_REALIZED);
        r = adopt_leash(rec, vm, record, d, leash);
        if (r >= 0)
                r = unplug_watches_sync(vm, rec->m->event, hotplug_unplug_wanted);
        if (r >= 0 && names_what_is_lost(record, vm))
                record_vm(vm);
        rec->n_adopted++;
        return r;
}

static void say(const Vm *vm, const RecoveryDecision *d) {
        static const char *const fates[_RECOVERY_VERDICT_MAX] = {
                [RECOVERY_ADOPT] = "It goes on, and needs a new leash",
                [RECOVERY_RELEASE] = "What is left of it is taken down",
                [RECOVERY_DROP] = "There is nothing left to be taken down",
        };

        if (d->lost)
                log_event(LOG_WARNING, MESSAGE_VM_LOSSES,
                          &(LogFields){
                                  .vm = VM_UUID_STRING(vm), .name = vm->name, .reason = d->lost },
                          "VM \"%s\" has lost %s while the daemon was down. %s.", vm->name, d->lost,
                          fates[d->verdict]);
}

/* What goes back piece by piece has to have been charged. */
static int check_charges(const Vm *vm, const DemandSet *charges) {
        _cleanup_(demand_set_done) DemandSet due = {};
        int r;

        r = charge_for_context(&due, &vm->context, vm->guest_domains, vm->memory);
        if (r >= 0 && !demand_set_covers(charges, &due))
                r = -EBADMSG;
        return r == -EOVERFLOW ? -EBADMSG : r;
}

/* Charges and claims what the VM holds, whatever there is left of it. */
static int restore(Manager *m, Vm *vm, const VmSaved *saved) {
        int r;

        r = check_charges(vm, &saved->charges);
        for (size_t i = 0; i < vm->context.n_functions && r >= 0; i++)
                if (claims_find(m, &vm->context.functions[i].address))
                        r = -EBADMSG; /* two cannot have it */
        if (r >= 0)
                r = ledger_restore(m->ledger, &saved->charges, &vm->receipt);
        if (r >= 0)
                r = claims_add(m, vm, NULL, &vm->context);
        if (r < 0)
                return r == -EOVERFLOW ? -EBADMSG : r;

        r = manager_link_vm(m, vm);
        if (r < 0)
                claims_remove_all(m, &vm->context);
        return r == -EEXIST ? -EBADMSG : r;
}

/* A VM that is not dropped has used up what it was made of, whether its record went in time or not. */
static int note_used(Recovery *rec, sd_id128_t token) {
        sd_id128_t *grown;

        if (sd_id128_is_null(token))
                return 0;
        grown = reallocarray(rec->used, rec->n_used + 1, sizeof(sd_id128_t));
        if (!grown)
                return -ENOMEM;
        rec->used = grown;
        grown[rec->n_used++] = token;
        return 0;
}

static int token_compare(const void *a, const void *b) {
        return memcmp(a, b, sizeof(sd_id128_t));
}

static bool is_used(const Recovery *rec, const sd_id128_t *token) {
        return rec->n_used > 0 &&
               bsearch(token, rec->used, rec->n_used, sizeof(sd_id128_t), token_compare);
}

static int recover_loaded(Recovery *rec, Vm **vm, const VmRecord *record, const VmSaved *saved) {
        Vm *mine = *vm;
        _cleanup_free_ RecoveryFunction *functions = new0(
                RecoveryFunction, MAX(mine->context.n_functions, (size_t)1));
        LeftFd *iommufd = left_fds_find_iommufd(&rec->fds, mine->context.iommufd_stored),
               *leash = left_fds_find_pidfd(&rec->fds, mine->leash_stored);
        Kernel *k = rec->m->kernel;
        RecoveryFacts facts = {
                .context = &mine->context,
                .state = saved->state,
                .leash = saved->leash,
                .end_reason = mine->end_reason,
                .iommufd = iommufd,
                .witness = find_witness(leash),
                .functions = functions,
        };
        RecoveryDecision d;
        int r;

        if (!functions)
                return -ENOMEM;
        gather_functions(rec, mine, iommufd, functions);
        facts.base = iommufd && exists(k, iommufd->fd, KERNEL_OBJECT_IOAS, mine->context.ioas_id) &&
                     exists(k, iommufd->fd, KERNEL_OBJECT_ANY, mine->context.hwpt_id);
        d = recovery_decide(&facts);
        if (d.verdict == RECOVERY_DROP) {
                say(mine, &d);
                rec->n_dropped++;
                record_forget(rec->m, RECORD_VM, mine->uuid);
                return 0;
        }

        r = restore(rec->m, mine, saved);
        if (r < 0)
                return r;
        r = note_used(rec, mine->reservation);
        TAKE_PTR(*vm);
        if (r < 0)
                return r;
        say(mine, &d);
        mine->announced = true;
        if (d.verdict == RECOVERY_ADOPT)
                return adopt(rec, mine, record, &facts, &d, iommufd, leash);

        claim_descriptors(rec, mine, iommufd);
        if (leash) /* taken, or another record that names the number would count on it; removed with the rest of the VM */
                fd_close(left_fd_claim(leash));
        else
                mine->leash_stored = 0;
        mine->end_reason = d.end_reason;
        rec->n_released++;
        return 0;
}

static int recover_vm(Recovery *rec, const StateEntry *entry) {
        _cleanup_(vm_record_done) VmRecord record = {};
        _cleanup_(vm_saved_done) VmSaved saved = {};
        _cleanup_(vm_freep) Vm *vm = NULL;
        int r;

        r = vm_record_parse(entry->body, entry->body_length, &record);
        if (r >= 0 && !sd_id128_equal(record.uuid, entry->id))
                r = -EBADMSG;
        if (r >= 0)
                r = vm_load(rec->m, rec->m->event, vm_on_leash_ended, &record, &vm, &saved);
        if (r < 0)
                return r;

        vm->recorded = 1; /* there is one, of what it was */
        return recover_loaded(rec, &vm, &record, &saved);
}

/* ---- the rest ---- */

/* Whether the daemon died before it gave up what a VM without handover may have (prepared_forgo()). */
static bool is_forgone(const Recovery *rec, const LeftRecord *left, const PreparedRecord *record) {
        const Vm *vm = manager_find_vm(rec->m, left->id);

        return vm && vm->context.handover == HANDOVER_NONE &&
               (vm->owner_uid == record->uid || vm->owner_uid == 0);
}

static int recover_prepared(Recovery *rec, const LeftRecord *left) {
        PreparedRecord record;
        LeftFd *fd;
        int r;

        r = prepared_record_parse(left->body, left->body_length, &record);
        if (r < 0)
                return r;
        fd = left_fds_find_iommufd(&rec->fds, record.stored);
        if (!fd || is_forgone(rec, left, &record)) {
                record_forget(rec->m, RECORD_PREPARED, left->id);
                return 0;
        }

        r = prepared_recover(rec->m, left->id, &record, &fd->fd);
        fd->claimed = r >= 0;
        return r;
}

static int recover_reservation(Recovery *rec, const LeftRecord *left) {
        _cleanup_(reservation_record_done) ReservationRecord record = {};
        int r;

        r = reservation_record_parse(left->body, left->body_length, &record);
        return r < 0 ? r
                     : reservation_recover(rec->m, left->id, &record, is_used(rec, &left->id),
                                           rec->now_usec);
}

/* ---- records that are no good ---- */

static int keep(Manager *m, const StateEntry *entry, RecordVerdict verdict) {
        KeptRecord *grown = reallocarray(m->kept, m->n_kept + 1, sizeof(KeptRecord));

        if (!grown)
                return -ENOMEM;
        m->kept = grown;
        grown[m->n_kept++] = (KeptRecord){ entry->kind, entry->id, verdict };
        return 0;
}

static int set_aside(Recovery *rec, const StateEntry *entry) {
        const char *kind = record_kind_to_string(entry->kind),
                   *id = SD_ID128_TO_UUID_STRING(entry->id);
        const LogFields fields = { .record = id };
        int r;

        r = state_store_set_aside(rec->m->records, entry->kind, entry->id);
        if (r < 0)
                log_event(LOG_ERR, MESSAGE_RECORD_DAMAGED, &fields,
                          "The record %s of %s is damaged and cannot be set aside (%s).", kind, id,
                          strerror(-r));
        else
                log_event(LOG_ERR, MESSAGE_RECORD_DAMAGED, &fields,
                          "The record %s of %s is damaged. It is set aside in %s/damaged, and what "
                          "was kept for it is let go: what a VMM "
                          "still holds of it is not counted.",
                          kind, id, state_store_get_path(rec->m->records));
        return keep(rec->m, entry, RECORD_DAMAGED);
}

static int postpone(Recovery *rec, const StateEntry *entry) {
        LeftRecord *grown = reallocarray(rec->later, rec->n_later + 1, sizeof(LeftRecord));

        if (!grown)
                return -ENOMEM;
        rec->later = grown;
        grown[rec->n_later] = (LeftRecord){ entry->kind, entry->id,
                                            strndup(entry->body, entry->body_length),
                                            entry->body_length };
        return grown[rec->n_later++].body ? 0 : -ENOMEM;
}

static int on_record(void *userdata, const StateEntry *entry) {
        Recovery *rec = userdata;
        int r;

        if (entry->kind == RECORD_LEVEL) {
                level_recover(rec->m, entry);
                return 0;
        }
        if (entry->kind == RECORD_BUS) {
                callers_recover(rec->m, entry);
                return 0;
        }
        if (entry->kind == RECORD_STARTED) {
                definition_recover_start(rec->m, entry);
                return 0;
        }
        if (entry->kind == RECORD_DEFINITION) /* not here */
                return 0;
        switch (entry->verdict) {
        case RECORD_GOOD:
                r = entry->kind == RECORD_VM ? recover_vm(rec, entry) : postpone(rec, entry);
                return r == -EBADMSG ? set_aside(rec, entry) : r;
        case RECORD_OTHER_BOOT:
                log_msg(LOG_INFO, "The record %s of %s is of another boot, it is removed.",
                        record_kind_to_string(entry->kind), SD_ID128_TO_UUID_STRING(entry->id));
                record_forget(rec->m, entry->kind, entry->id);
                return 0;
        case RECORD_NEWER:
                log_event(LOG_ERR, MESSAGE_RECORD_NEWER,
                          &(LogFields){ .record = SD_ID128_TO_UUID_STRING(entry->id) },
                          "The record %s of %s was written by a newer aviommud. It is kept, and "
                          "nothing is granted as long as it is there: "
                          "run that version again.",
                          record_kind_to_string(entry->kind), SD_ID128_TO_UUID_STRING(entry->id));
                return keep(rec->m, entry, RECORD_NEWER);
        default:
                return set_aside(rec, entry);
        }
}

static int recover_later(Recovery *rec) {
        int r = 0;

        if (rec->n_used > 1)
                qsort(rec->used, rec->n_used, sizeof(sd_id128_t), token_compare);

        for (size_t i = 0; i < rec->n_later && r >= 0; i++) {
                const LeftRecord *left = rec->later + i;
                const StateEntry entry = { .kind = left->kind, .id = left->id };

                r = left->kind == RECORD_PREPARED ? recover_prepared(rec, left)
                                                  : recover_reservation(rec, left);
                if (r == -EBADMSG)
                        r = set_aside(rec, &entry);
        }
        return r;
}

/* ---- all of it ---- */

/* Only when what nobody has claimed is gone: it would keep what is taken back here, as a function does that was bound and not yet recorded. */
static int finish_operations(Manager *m) {
        int r = 0;

        for (size_t i = 0; i < m->n_vms && r >= 0; i++) {
                Vm *vm = m->vms[i];

                if (!vm_is_alive(vm))
                        vm_drain(vm, vm->end_reason);
                else if (repair_is_needed(&vm->context))
                        r = vm_repair(vm);
                detach_retry_later(vm);
        }
        return r;
}

int manager_recover(Manager *m) {
        Recovery rec = { .m = m };
        int r;

        if (sd_event_now(m->event, CLOCK_MONOTONIC, &rec.now_usec) < 0)
                return -EIO;
        r = definitions_recover(m);
        if (r >= 0)
                r = left_fds_collect(&rec.fds, m);
        if (r >= 0 && m->records)
                r = state_store_read(m->records, on_record, &rec);
        if (r >= 0)
                r = recover_later(&rec);
        if (r >= 0)
                r = left_fds_let_go(&rec.fds);
        if (r >= 0)
                r = finish_operations(m);
        if (rec.n_adopted + rec.n_released + rec.n_dropped > 0)
                log_event(LOG_INFO, MESSAGE_RECOVERED, NULL,
                          "Took on %zu VM(s); %zu more are taken down, and %zu were gone.",
                          rec.n_adopted, rec.n_released, rec.n_dropped);

        for (size_t i = 0; i < rec.n_later; i++)
                free(rec.later[i].body);
        free(rec.later);
        free(rec.used);
        left_fds_done(&rec.fds);
        manager_notify_capacity(m);
        return r;
}
